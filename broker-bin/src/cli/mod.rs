//! The command line, in the syntax of Go's `flag` package: one dash or two, `-p 4222` or `-p=4222`,
//! several letters after one dash (`-DV`), a negative number as the next argument (`-p -1`).
//!
//! The flags themselves are one table, `flags::GROUPS`: parsing and help both come from it. It is parsed
//! here and not by a CLI crate because none of those knows this syntax: every argument would have to be
//! rewritten first, from the same table.

mod flags;

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::options::{Options, OptionsError};
use flags::{Effect, Flag, GROUPS, Show};

/// What the command line asks for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Invocation {
    /// Run a server.
    Serve(Box<Options>),
    /// Print [`help`].
    Help,
    /// Print the version.
    Version,
}

/// Why a command line was refused.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    UnknownFlag(String),
    /// nats-server has this flag; natsd does not have it yet.
    #[error("flag -{0} is not supported yet")]
    NotYet(String),
    /// The command line ended where a value was due.
    #[error("flag needs an argument: -{0}")]
    MissingValue(String),
    /// The value is of the wrong kind.
    #[error("invalid value {value:?} for flag -{flag}: {why}")]
    BadValue {
        /// The flag as it was written, without its dashes.
        flag: String,
        /// The value as it was written.
        value: String,
        /// What would have been right.
        why: &'static str,
    },
    /// Something like `-=x`, or a bare `-`.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A word that is no flag.
    #[error("unrecognized command: {0:?}")]
    UnknownCommand(String),
    /// An argument that is not Unicode.
    #[error("argument is not valid UTF-8: {0:?}")]
    NotUnicode(OsString),
    /// Flags that contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// Reads the arguments behind the program's name, over `base`: the later of two equal flags wins, and
/// each wins over what `base` holds.
///
/// # Errors
///
/// The first thing that is wrong, from left to right; then flags that contradict each other.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    base: Options,
) -> Result<Invocation, UsageError> {
    let mut options = base;
    let mut show = None;
    let mut args = args.into_iter();

    while let Some(arg) = args.next() {
        let arg = arg.into_string().map_err(UsageError::NotUnicode)?;
        let Some((name, inline)) = split_flag(&arg)? else {
            if arg != "--" {
                show = show.or(Some(command(&arg)?));
            }
            break;
        };
        let flag = flags::find(name).ok_or_else(|| UsageError::UnknownFlag(name.to_owned()))?;
        let bad = |value: &str, why| UsageError::BadValue {
            flag: name.to_owned(),
            value: value.to_owned(),
            why,
        };
        let mut value = || match inline {
            Some(value) => Ok(value.to_owned()),
            None => args
                .next()
                .ok_or_else(|| UsageError::MissingValue(name.to_owned()))?
                .into_string()
                .map_err(UsageError::NotUnicode),
        };
        match flag.effect {
            Effect::NotYet => return Err(UsageError::NotYet(name.to_owned())),
            Effect::Text(set) => set(&mut options, value()?),
            Effect::Number(set) => {
                let value = value()?;
                let number = value.parse().map_err(|_| bad(&value, "not a number"))?;
                set(&mut options, number).map_err(|why| bad(&value, why))?;
            }
            Effect::Switch(set) => set(&mut options, switch(inline).map_err(|(v, w)| bad(v, w))?),
            Effect::Show(what) => {
                if switch(inline).map_err(|(v, w)| bad(v, w))? {
                    show = show.max(Some(what));
                }
            }
        }
    }

    match show {
        Some(Show::Version) => Ok(Invocation::Version),
        Some(Show::Help) => Ok(Invocation::Help),
        None => {
            options.check()?;
            Ok(Invocation::Serve(Box::new(options)))
        }
    }
}

/// `--name=value` → name and value; `None` for what does not begin with a dash, and for `--`.
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

/// A switch never takes the next argument: `-T false` is `-T` and a stray word, as in Go.
fn switch(inline: Option<&str>) -> Result<bool, (&str, &'static str)> {
    match inline {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err((other, "neither true nor false")),
    }
}

fn command(word: &str) -> Result<Show, UsageError> {
    match word.to_ascii_lowercase().as_str() {
        "version" => Ok(Show::Version),
        "help" => Ok(Show::Help),
        _ => Err(UsageError::UnknownCommand(word.to_owned())),
    }
}

/// What `--help` prints.
pub fn help(program: &str) -> String {
    let mut text = format!("\nUsage: {program} [options]\n");
    let mut not_yet = Vec::new();
    for group in GROUPS {
        let (later, now): (Vec<&Flag>, Vec<&Flag>) =
            group.flags.iter().partition(|flag| matches!(flag.effect, Effect::NotYet));
        not_yet.extend(later);
        if now.is_empty() {
            continue;
        }
        let _ = write!(text, "\n{} Options:\n", group.title);
        for flag in now {
            let left = if flag.value.is_empty() {
                spellings(flag)
            } else {
                format!("{} {}", spellings(flag), flag.value)
            };
            // A flag with a long name only is indented to where the long names of the others begin.
            let indent = if left.starts_with("--") { 8 } else { 4 };
            let _ =
                writeln!(text, "{:indent$}{left:<width$} {}", "", flag.help, width = 36 - indent);
        }
    }
    text.push_str("\nFlags of nats-server that are not supported yet:\n");
    for flag in not_yet {
        let _ = writeln!(text, "    {}", spellings(flag));
    }
    text
}

fn spellings(flag: &Flag) -> String {
    let dashed = flag.names.iter().map(|name| {
        let short = name.len() <= 2 || name.bytes().all(|byte| byte.is_ascii_uppercase());
        format!("{}{name}", if short { "-" } else { "--" })
    });
    dashed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
