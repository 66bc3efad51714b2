//! What an option is: everything that parsing, the documentation, `--help` and a reload know of it.
//!
//! Each option is declared once, by `declare::section!` in [`crate::options`]:
//! its name, type and default, what it is for, and a [`Key`] that says how it is written. The macro makes
//! a field of a struct of it and an entry of a [`Block`].

pub mod kind;

use std::any::Any;

use figment::value::{Dict, Value};

use super::field::Field;
use super::lang::{Map, Node};
use kind::Kind;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in a file.
    pub name: &'static str,
    /// What it is for: a first sentence that can stand alone, and more.
    pub help: &'static str,
    /// Other names that a file may use.
    pub aliases: &'static [&'static str],
    /// How its value is written.
    pub kind: Kind,
    /// The flag of the command line that sets it.
    pub flag: Option<Flag>,
    /// When a change takes effect.
    pub reload: Reload,
    /// Does it do anything?
    pub status: Status,
    /// What the documentation says in place of an empty default.
    pub unset: &'static str,
    /// What a refused reload calls it, if not by its name in capitals.
    pub called: &'static str,
    /// Zero asks for the default.
    pub(in crate::config) zero_is_default: bool,
    /// Values that leave the part off which does not exist yet.
    pub(in crate::config) off: &'static [&'static str],
    /// The values that are passed over although their part does not exist yet.
    pub(crate) passed_over: Option<PassedOver>,
    /// Switches that are on where this one is, unless the same source says otherwise.
    pub(in crate::config) implies: &'static [&'static str],
    /// Its value in a section.
    field: Option<FieldOf>,
}

/// Finds a field in its section.
pub(crate) type FieldOf = for<'a> fn(&'a dyn Any) -> Option<&'a dyn Field>;

/// A flag of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Where the help shows it.
    pub group: Group,
    /// Without dashes; one dash and two mean the same for each of them.
    pub names: &'static [&'static str],
    /// What the help calls its value; empty for a switch.
    pub value: &'static str,
}

/// Flags that the help shows together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Where it listens, and its files.
    Server,
    /// The log.
    Logging,
    /// Streams.
    JetStream,
    /// Who may connect.
    Authorization,
    /// Encryption.
    Tls,
    /// Other servers.
    Cluster,
    /// The profiler.
    Profiling,
}

impl Group {
    /// In the order of the help.
    pub const ALL: [Self; 7] = [
        Self::Server,
        Self::Logging,
        Self::JetStream,
        Self::Authorization,
        Self::Tls,
        Self::Cluster,
        Self::Profiling,
    ];

    /// What the help calls it.
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

/// Values that are passed over with a warning, although they ask for a part that does not exist yet: what nobody loses
/// without being told. So a port that others would connect to, who read that the connection is refused, but not
/// what the server would have to do by itself, keep, or hold somebody to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedOver {
    /// True if the value asks for nothing else.
    pub(in crate::config) is: fn(&Value) -> bool,
    /// When that is so, for the documentation: `without remotes`; empty for always.
    pub(crate) when: &'static str,
    /// The text of the warning.
    pub(in crate::config) so: &'static str,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reload {
    /// With the reload.
    AtOnce,
    /// For the connections that come after the reload.
    NewConnections,
    /// A reload that changes it is refused.
    Restart,
}

/// Does an option do anything?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It does what it says.
    Supported,
    /// It is accepted, and nothing depends on it, for this reason.
    NoEffect(&'static str),
    /// Refused if it asks for this part, which does not exist yet, or passed over with a warning if nobody
    /// loses anything by it without being told.
    NotYet(&'static str),
    /// No option: a field that files, environment and flags do not set by name.
    Internal,
}

impl Key {
    /// An option that is written like this; everything else is said by what follows.
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
            off: &[],
            passed_over: None,
            implies: &[],
            field: None,
        }
    }

    /// What the macro knows.
    pub(crate) const fn declare(
        self,
        name: &'static str,
        help: &'static str,
        field: Option<FieldOf>,
    ) -> Self {
        let name = match name.as_bytes() {
            // A field that would be a word of Rust.
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

    pub(crate) const fn off(self, off: &'static [&'static str]) -> Self {
        Self { off, ..self }
    }

    /// Is passed over with a warning, whatever it asks for. `so` is what the warning says.
    pub(crate) const fn passed_over(self, so: &'static str) -> Self {
        self.passed_over_if(|_| true, "", so)
    }

    /// Is passed over with a warning if it asks for nothing but what `is` says.
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

    /// Every name it has in a file.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Is it an option that somebody can set?
    pub fn is_option(&self) -> bool {
        self.status != Status::Internal
    }

    /// Its value in `section`.
    pub fn field<'a>(&self, section: &'a dyn Any) -> Option<&'a dyn Field> {
        self.field.and_then(|field| field(section))
    }
}

/// Options that stand together in braces; the outermost is the whole file.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// What an error and the documentation call it.
    pub title: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
    /// What may stand in its place.
    pub short: Option<Short>,
    /// Does it leave its part off?
    pub(in crate::config) is_off: fn(&Dict) -> bool,
}

/// A short form of a block.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    /// What an error and the documentation say: `a map, true or false`.
    pub expects: &'static str,
    /// What the short form stands for.
    pub(in crate::config) read: fn(&Node) -> Meaning,
}

/// What a short form stands for.
pub(crate) enum Meaning {
    /// This block.
    Is(Map),
    /// As if the option had not been written.
    Unset,
    /// Nothing: it is no short form.
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

    /// The option of this name, in whatever case it is written.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.options().find(|key| key.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// What may be set in it.
    pub fn options(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().filter(|key| key.is_option())
    }
}

/// A struct whose fields are options.
pub trait Section: Any {
    /// How it is written.
    fn block() -> &'static Block;
}
