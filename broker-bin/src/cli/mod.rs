//! The command line, in the syntax of Go's `flag` package: one dash or two, `-p 4222` or `-p=4222`,
//! several letters after one dash (`-DV`), a negative number as the next argument (`-p -1`).
//!
//! Flags are declared with the options that they set; parsing and help both use these declarations.
//! No CLI crate supports this syntax: each argument would first have to be rewritten, from the same
//! declarations.

mod completions;
mod flags;
mod manual;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::config::format::dashed;
use crate::config::kind::Kind;
use crate::config::lang::{Node, Span, Value};
use crate::config::layer::Layer;
use crate::config::problem::{Findings, Origin};
use crate::config::table::{Group, Key, Section as _};
use crate::config::{check_value, value_of_text};
use crate::options::Request;
use broker_net::TlsOptions;
use flags::{Effect, Flag, Show};

pub use completions::{Shell, completions};
pub use manual::manual;

/// The action that a command line requests.
#[derive(Debug)]
#[non_exhaustive]
pub enum Invocation {
    /// Run a server.
    Serve(Request),
    /// Check the configuration.
    Check(Request),
    /// Ask the server that runs with this configuration for its health.
    Healthcheck(Request),
    /// Print [`completions`].
    Completions(Shell),
    /// Print [`manual`].
    Manual,
    /// Send a signal to a running server: `reload`, `stop=1234`.
    Signal(String),
    /// Print [`help`].
    Help,
    /// Print [`help_tls`].
    HelpTls,
    /// Print the version.
    Version,
}

/// The reason why a command line was refused.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// Unknown flag.
    #[error("flag provided but not defined: -{0}")]
    UnknownFlag(String),
    /// The last flag has no value.
    #[error("flag needs an argument: -{0}")]
    MissingValue(String),
    /// The value is of the wrong kind.
    #[error("invalid value {value:?} for flag -{flag}: {why}")]
    BadValue {
        /// The flag as it was written, without its dashes.
        flag: String,
        /// The value as it was written, unless it may be a password.
        value: String,
        /// The expected form of a value.
        why: String,
    },
    /// Something like `-=x`, or a bare `-`.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// An argument that is not a flag.
    #[error("unrecognized command: {0:?}")]
    UnknownCommand(String),
    /// An argument that is not Unicode.
    #[error("argument is not valid UTF-8: {0:?}")]
    NotUnicode(OsString),
    /// The configuration check was requested without a configuration.
    #[error("flag -t needs a configuration file: -c <file>")]
    NothingToCheck,
}

/// Parses the arguments after the program's name. If a flag is repeated, the last one wins.
///
/// # Errors
///
/// Returns the first error, from left to right.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: BTreeMap<String, String>,
) -> Result<Invocation, UsageError> {
    let known = flags::all();
    let mut given = Given { layer: Layer::new("the command line"), ..Given::default() };
    let mut args = args.into_iter();

    while let Some(arg) = args.next() {
        let arg = arg.into_string().map_err(UsageError::NotUnicode)?;
        let Some((name, inline)) = split_flag(&arg)? else {
            // Only the first non-flag argument is examined; after `--`, no argument is a flag.
            let word = if arg == "--" { args.next() } else { Some(arg.into()) };
            if let Some(word) = word {
                let word = word.into_string().map_err(UsageError::NotUnicode)?;
                given.show = given.show.or(Some(command(&word)?));
            }
            break;
        };
        let flag = known
            .iter()
            .find(|flag| flag.names.contains(&name))
            .ok_or_else(|| UsageError::UnknownFlag(name.to_owned()))?;
        if flag.is_switch() {
            given.switch(flag, name, switch(name, inline)?)?;
            continue;
        }
        let value = match inline {
            Some(value) => value.to_owned(),
            None => args
                .next()
                .ok_or_else(|| UsageError::MissingValue(name.to_owned()))?
                .into_string()
                .map_err(UsageError::NotUnicode)?,
        };
        given.value(flag, name, value)?;
    }

    let request = Request { file: given.file, flags: given.layer, environment };
    Ok(match (given.show, given.signal, given.check) {
        (Some(Show::Version), ..) => Invocation::Version,
        (Some(Show::Help), ..) => Invocation::Help,
        (Some(Show::Tls), ..) => Invocation::HelpTls,
        (Some(Show::Manual), ..) => Invocation::Manual,
        _ if let Some(shell) = given.completions => Invocation::Completions(shell),
        (None, None, _) if given.healthcheck => Invocation::Healthcheck(request),
        (None, Some(signal), _) => Invocation::Signal(signal),
        (None, None, true) if request.file.is_none() => return Err(UsageError::NothingToCheck),
        (None, None, true) => Invocation::Check(request),
        (None, None, false) => Invocation::Serve(request),
    })
}

/// The arguments parsed so far.
#[derive(Default)]
struct Given {
    layer: Layer,
    file: Option<PathBuf>,
    signal: Option<String>,
    check: bool,
    healthcheck: bool,
    completions: Option<Shell>,
    show: Option<Show>,
}

impl Given {
    fn switch(&mut self, flag: &Flag, name: &str, on: bool) -> Result<(), UsageError> {
        match flag.effect {
            Effect::Switches(paths) => {
                for path in paths {
                    self.layer.set(path, on.into(), Origin::Flag(name.to_owned()));
                }
            }
            Effect::Option(key) => self.set(key, &flag.path, name, Value::Bool(on), "")?,
            Effect::Check => self.check = on,
            Effect::Healthcheck => self.healthcheck = on,
            Effect::Show(what) if on => self.show = self.show.max(Some(what)),
            // NATS 2.14: `-tls=false` overrides the file.
            Effect::Tls => {
                let origin = Origin::Flag(name.to_owned());
                self.layer.set("tls_off", (!on).into(), origin.clone());
                if on {
                    self.layer.open("tls", origin);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, flag: &Flag, name: &str, text: String) -> Result<(), UsageError> {
        match flag.effect {
            // In Go, an empty string equals an unset flag.
            Effect::File => self.file = Some(text).filter(|t| !t.is_empty()).map(PathBuf::from),
            Effect::Signal => self.signal = Some(text).filter(|text| !text.is_empty()),
            Effect::Completions => {
                let shell = Shell::from_name(&text).ok_or_else(|| UsageError::BadValue {
                    flag: name.to_owned(),
                    value: text,
                    why: "not bash, fish or zsh".to_owned(),
                })?;
                self.completions = Some(shell);
            }
            Effect::Cluster => self.cluster(name, &text)?,
            // NATS 2.14: main.go ConfigureOptions: `--routes ''` has no effect.
            Effect::Option(Key { kind: Kind::List(_), .. }) if text.is_empty() => {
                self.layer.unset(&flag.path);
            }
            Effect::Option(key) => {
                let number = || text.parse().map_err(|_| bad(key, name, &text, "not a number"));
                let value = match value_of_text(key.kind, &text) {
                    Some(value) => value,
                    None => Value::Integer(number()?),
                };
                self.set(key, &flag.path, name, value, &text)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set(
        &mut self,
        key: &'static Key,
        path: &str,
        name: &str,
        value: Value,
        text: &str,
    ) -> Result<(), UsageError> {
        let mut findings = Findings::default();
        let node = Node { value, span: Span { file: "".into(), line: 1, column: 1 } };
        let origin = Origin::Flag(name.to_owned());
        check_value(&mut self.layer, key, path, &node, &origin, &mut findings);
        match findings.errors.into_iter().next() {
            Some(problem) => Err(bad(key, name, text, &problem.what)),
            None => Ok(()),
        }
    }

    /// Parses `nats://user:password@host:port`; an empty URL means no cluster.
    // NATS 2.14: opts.go overrideCluster.
    fn cluster(&mut self, name: &str, url: &str) -> Result<(), UsageError> {
        let cluster = crate::options::Cluster::block();
        // The address may hold a password.
        let hidden = "[redacted]";
        let mut set = |path: &str, value: Value| {
            let key_name = path.rsplit('.').next().unwrap_or(path);
            let block = if path.contains("authorization") {
                crate::options::PeerAuthorization::block()
            } else {
                cluster
            };
            block.key(key_name).map_or(Ok(()), |key| self.set(key, path, name, value, hidden))
        };
        if url.is_empty() {
            return set("cluster.port", Value::Integer(0));
        }
        let address = url.split_once("://").map_or(url, |(_, rest)| rest);
        let address = address.split(['/', '?', '#']).next().unwrap_or(address);
        let (user, address) = address.rsplit_once('@').unwrap_or(("", address));
        set("cluster.listen", Value::String(address.to_owned()))?;
        let (user, password) = match user.split_once(':') {
            Some(parts) => parts,
            None if user.is_empty() => ("", ""),
            None => {
                let (flag, value) = (name.to_owned(), hidden.to_owned());
                let why = "expected cluster password to be set".to_owned();
                return Err(UsageError::BadValue { flag, value, why });
            }
        };
        set("cluster.authorization.user", Value::String(user.to_owned()))?;
        set("cluster.authorization.password", Value::String(password.to_owned()))
    }
}

/// Describes an invalid value; quotes the value only if it cannot be a password.
fn bad(key: &Key, flag: &str, value: &str, why: &str) -> UsageError {
    let value = if key.kind.is_secret() { "[redacted]" } else { value };
    UsageError::BadValue { flag: flag.to_owned(), value: value.to_owned(), why: why.to_owned() }
}

/// Splits `--name=value` into name and value; returns `None` for an argument without a leading dash
/// and for `--`.
fn split_flag(arg: &str) -> Result<Option<(&str, Option<&str>)>, UsageError> {
    let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
        return Ok(None);
    };
    if arg == "-" || arg == "--" {
        return Ok(None);
    }
    if body.starts_with(['-', '=']) {
        return Err(UsageError::BadSyntax(arg.to_owned()));
    }
    Ok(Some(match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    }))
}

/// Parses a switch, which never takes the next argument: `-T false` is `-T` followed by a
/// positional argument, as in Go.
fn switch(name: &str, inline: Option<&str>) -> Result<bool, UsageError> {
    match inline {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(UsageError::BadValue {
            flag: name.to_owned(),
            value: other.to_owned(),
            why: "neither true nor false".to_owned(),
        }),
    }
}

fn command(word: &str) -> Result<Show, UsageError> {
    match word.to_ascii_lowercase().as_str() {
        "version" => Ok(Show::Version),
        "help" => Ok(Show::Help),
        _ => Err(UsageError::UnknownCommand(word.to_owned())),
    }
}

/// Returns the text of `--help`.
pub fn help(program: &str) -> String {
    let mut text = format!("\nUsage: {program} [options]\n");
    let (later, now): (Vec<Flag>, Vec<Flag>) =
        flags::all().into_iter().partition(|flag| flag.part().is_some());
    let groups = Group::ALL.map(Some).into_iter().chain([None]);
    for group in groups {
        let members: Vec<&Flag> = now.iter().filter(|flag| flag.group == group).collect();
        if members.is_empty() {
            continue;
        }
        let _ = write!(text, "\n{} Options:\n", group.map_or("Common", Group::title));
        for flag in members {
            let left = if flag.value.is_empty() {
                spellings(flag)
            } else {
                format!("{} {}", spellings(flag), flag.value)
            };
            // Flags with a long name only are aligned with the long names of the others.
            let indent = if left.starts_with("--") { 8 } else { 4 };
            let _ =
                writeln!(text, "{:indent$}{left:<width$} {}", "", flag.help, width = 36 - indent);
        }
    }
    text.push_str(
        "\nEach option can be set in the configuration file, and as NATSD_<OPTION> in the environment too:\n\
         flags come before the environment, and the environment before the file.\n",
    );
    text.push_str("\nFlags of nats-server that are not supported yet:\n");
    for flag in later {
        let _ = writeln!(text, "    {}", spellings(&flag));
    }
    text
}

/// Returns the text of `--help_tls`.
pub fn help_tls() -> String {
    let options = TlsOptions::default_algorithms();
    let list =
        |names: &[&str]| names.iter().map(|name| format!("    {name}\n")).collect::<String>();
    format!(
        "TLS is set up in the configuration file:\n\n\
         tls {{\n    cert_file: \"server.pem\"\n    key_file: \"server-key.pem\"\n}}\n\n\
         docs/config.md lists all options.\n\nCipher suites:\n{}\nCurves:\n{}",
        list(&options.cipher_suites),
        list(&options.curves),
    )
}

fn spellings(flag: &Flag) -> String {
    let dashed: Vec<_> = flag.names.iter().map(|name| dashed(name)).collect();
    dashed.join(", ")
}

#[cfg(test)]
mod tests;
