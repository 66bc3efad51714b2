//! Options as parsing, documentation, `--help` and reload see them.
//!
//! Each option is declared once, by `declare::section!` in [`crate::options`]: name, type, default,
//! purpose, and a [`Key`] that describes its value. The macro generates a struct field and an entry
//! of a [`Block`].

pub mod kind;

use std::any::Any;

use figment::value::{Dict, Value};

use super::field::Field;
use super::lang::{Map, Node};
use kind::Kind;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in a file.
    pub name: &'static str,
    /// The purpose: a first sentence that can stand alone, and details.
    pub help: &'static str,
    /// Other names accepted in a file.
    pub aliases: &'static [&'static str],
    /// The kind of its value.
    pub kind: Kind,
    /// The command-line flag that sets it.
    pub flag: Option<Flag>,
    /// When a change takes effect.
    pub reload: Reload,
    /// The degree to which the option is supported.
    pub status: Status,
    /// The documentation's text in place of an empty default.
    pub unset: &'static str,
    /// The name in errors of a refused reload, if not the name in capitals.
    pub called: &'static str,
    /// Zero requests the default.
    pub(in crate::config) zero_is_default: bool,
    /// Values that are ignored with a warning although their part is not implemented.
    pub(crate) passed_over: Option<PassedOver>,
    /// Switches that this one also turns on, unless the same source sets them.
    pub(in crate::config) implies: &'static [&'static str],
    /// Accesses its value in a section.
    field: Option<FieldOf>,
}

/// Accesses a field of its section.
pub(crate) type FieldOf = for<'a> fn(&'a dyn Any) -> Option<&'a dyn Field>;

/// A flag of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The group in the help.
    pub group: Group,
    /// The names without dashes; each may be written with one dash or two.
    pub names: &'static [&'static str],
    /// The placeholder for its value in the help; empty for a switch.
    pub value: &'static str,
}

/// Groups of flags in the help.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Listeners and files.
    Server,
    /// The log.
    Logging,
    /// JetStream.
    JetStream,
    /// Authorization.
    Authorization,
    /// Encryption.
    Tls,
    /// Clustering.
    Cluster,
    /// The profiler.
    Profiling,
}

impl Group {
    /// All groups in the order of the help.
    pub const ALL: [Self; 7] = [
        Self::Server,
        Self::Logging,
        Self::JetStream,
        Self::Authorization,
        Self::Tls,
        Self::Cluster,
        Self::Profiling,
    ];

    /// The heading in the help.
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Logging => "Logging",
            Self::JetStream => "JetStream",
            Self::Authorization => "Authorization",
            Self::Tls => "TLS",
            Self::Cluster => "Cluster",
            Self::Profiling => "Profiling",
        }
    }
}

/// Values that are ignored with a warning although they request an unimplemented part. Allowed only
/// if no operator can lose anything unknowingly: for example a port to which connections are
/// refused anyway, but never work that the server would have to do by itself, data to keep, or a
/// restriction to enforce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedOver {
    /// Returns true if the value requests nothing else.
    pub(in crate::config) is: fn(&Value) -> bool,
    /// The condition as the documentation states it: `without remotes`; empty if unconditional.
    pub(crate) when: &'static str,
    /// The text of the warning.
    pub(in crate::config) so: &'static str,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reload {
    /// Upon the reload.
    AtOnce,
    /// For connections accepted after the reload.
    NewConnections,
    /// A reload that changes it is refused.
    Restart,
}

/// The degree to which an option is supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Implemented.
    Supported,
    /// Accepted without effect, for this reason.
    NoEffect(&'static str),
    /// Refused if it requests this unimplemented part, or ignored with a warning if that is harmless.
    NotYet(&'static str),
    /// Not settable by name from files, environment or flags.
    Internal,
}

impl Key {
    /// Creates an option with this kind of value; builder methods set the rest.
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            name: "",
            help: "",
            aliases: &[],
            kind,
            flag: None,
            reload: Reload::Restart,
            status: Status::Supported,
            unset: "",
            called: "",
            zero_is_default: false,
            passed_over: None,
            implies: &[],
            field: None,
        }
    }

    /// Sets the fields that the macro knows.
    pub(crate) const fn declare(
        self,
        name: &'static str,
        help: &'static str,
        field: Option<FieldOf>,
    ) -> Self {
        let name = match name.as_bytes() {
            // A field whose name is a Rust keyword.
            [b'r', b'#', ..] => name.split_at(2).1,
            _ => name,
        };
        Self { name, help, field, ..self }
    }

    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn flag(
        self,
        group: Group,
        names: &'static [&'static str],
        value: &'static str,
    ) -> Self {
        Self { flag: Some(Flag { group, names, value }), ..self }
    }

    pub(crate) const fn at_once(self) -> Self {
        Self { reload: Reload::AtOnce, ..self }
    }

    pub(crate) const fn new_connections(self) -> Self {
        Self { reload: Reload::NewConnections, ..self }
    }

    pub(crate) const fn not_yet(self, part: &'static str) -> Self {
        Self { status: Status::NotYet(part), ..self }
    }

    pub(crate) const fn no_effect(self, reason: &'static str) -> Self {
        Self { status: Status::NoEffect(reason), ..self }
    }

    pub(crate) const fn internal(self) -> Self {
        Self { status: Status::Internal, ..self }
    }

    pub(crate) const fn unset(self, unset: &'static str) -> Self {
        Self { unset, ..self }
    }

    pub(crate) const fn called(self, called: &'static str) -> Self {
        Self { called, ..self }
    }

    pub(crate) const fn zero_is_default(self) -> Self {
        Self { zero_is_default: true, ..self }
    }

    /// Ignores every value with the warning `so`.
    pub(crate) const fn passed_over(self, so: &'static str) -> Self {
        self.passed_over_if(|_| true, "", so)
    }

    /// Ignores a value with a warning if `is` returns true for it.
    pub(crate) const fn passed_over_if(
        self,
        is: fn(&Value) -> bool,
        when: &'static str,
        so: &'static str,
    ) -> Self {
        Self { passed_over: Some(PassedOver { is, when, so }), ..self }
    }

    pub(crate) const fn implies(self, implies: &'static [&'static str]) -> Self {
        Self { implies, ..self }
    }

    /// Returns all names accepted in a file.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Returns true if the option can be set.
    pub fn is_option(&self) -> bool {
        self.status != Status::Internal
    }

    /// Returns its value in `section`.
    pub fn field<'a>(&self, section: &'a dyn Any) -> Option<&'a dyn Field> {
        self.field.and_then(|field| field(section))
    }
}

/// A group of options in braces; the outermost block is the whole file.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The name in errors and documentation.
    pub title: &'static str,
    /// The purpose.
    pub help: &'static str,
    /// The options that it may contain.
    pub keys: &'static [Key],
    /// The accepted short form.
    pub short: Option<Short>,
    /// Returns true if the contents disable the block's part.
    pub(in crate::config) is_off: fn(&Dict) -> bool,
}

/// A short form of a block.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    /// The expectation in errors and documentation: `a map, true or false`.
    pub expects: &'static str,
    /// Interprets the short form.
    pub(in crate::config) read: fn(&Node) -> Meaning,
}

/// The meaning of a short form.
pub(crate) enum Meaning {
    /// Equals this block.
    Is(Map),
    /// Equals an unset option.
    Unset,
    /// Not a short form.
    Unknown,
}

impl Block {
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, help: "", keys: &[], short: None, is_off: Dict::is_empty }
    }

    pub(crate) const fn declare(self, help: &'static str, keys: &'static [Key]) -> Self {
        Self { help, keys, ..self }
    }

    pub(crate) const fn short(self, expects: &'static str, read: fn(&Node) -> Meaning) -> Self {
        Self { short: Some(Short { expects, read }), ..self }
    }

    pub(crate) const fn off(self, is_off: fn(&Dict) -> bool) -> Self {
        Self { is_off, ..self }
    }

    /// Returns the option of this name, ignoring case.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.options().find(|key| key.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Returns the options that can be set in it.
    pub fn options(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().filter(|key| key.is_option())
    }
}

/// A struct whose fields are options.
pub trait Section: Any {
    /// Returns the block of options.
    fn block() -> &'static Block;
}
