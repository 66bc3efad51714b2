//! The kinds of option values, and their descriptions in errors.

use std::time::Duration;

use super::Block;
use crate::config::duration;
pub use crate::config::format::Format;

/// The kind of an option's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true`, `yes`, `on`, or the opposite.
    Bool,
    /// A whole number within bounds.
    Integer {
        /// The minimum.
        min: i64,
        /// The maximum.
        max: i64,
    },
    /// A number of bytes: `65536`, `64k`, `1MB`.
    Size {
        /// The minimum.
        min: i64,
        /// The maximum.
        max: i64,
    },
    /// A number of bytes, or a text with the suffix K, M, G or T: `"10G"`.
    Storage,
    /// 0 to 65535, or -1 for any free port.
    Port,
    /// A text such as `"1m30s"`.
    Duration {
        /// The meaning of a number without a unit.
        bare: Bare,
        /// The minimum.
        min: Duration,
    },
    /// A duration; a negative one means unlimited.
    Lifetime,
    /// A text.
    Text(Format),
    /// A text, number or switch, read as written.
    Spelled(Format),
    /// A text or an array of texts.
    List(Format),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array of these words.
    Choices(&'static [&'static str]),
    /// `host:port` or a port; sets two other options.
    Listen {
        /// The option that receives the host.
        host: &'static str,
        /// The option that receives the port.
        port: &'static str,
    },
    /// A map of texts.
    Texts,
    /// A map of switches.
    Switches,
    /// One block.
    Block(fn() -> &'static Block),
    /// An array of blocks.
    Blocks(fn() -> &'static Block),
    /// Blocks by name.
    Named {
        /// The format of the names.
        name: Format,
        /// The block under each name.
        block: fn() -> &'static Block,
    },
    /// Arrays of blocks, or single blocks, by name.
    NamedLists {
        /// The format of the names.
        name: Format,
        /// The block under each name.
        block: fn() -> &'static Block,
    },
}

/// The meaning of a number in place of a duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bare {
    /// Seconds, with a warning.
    Deprecated,
    /// Seconds, possibly fractional.
    Seconds,
    /// An error.
    Refused,
}

impl Kind {
    /// The expectation as error messages state it.
    pub(crate) fn expects(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => match (*min, *max) {
                (i64::MIN, i64::MAX) => "a whole number".into(),
                (i64::MIN, max) => format!("a whole number of at most {max}"),
                (min, i64::MAX | MANY) => format!("a whole number of at least {min}"),
                (min, max) => format!("a whole number from {min} to {max}"),
            },
            Self::Size { max: i64::MAX, .. } => "a size, such as 64MB".into(),
            Self::Size { min: -1, max } => {
                format!("a size of at most {max} bytes, such as 1MB, or -1")
            }
            Self::Size { max, .. } => format!("a size of at most {max} bytes, such as 1MB"),
            Self::Storage => "a size, such as 10GB".into(),
            Self::Port => "a port: 1 to 65535, or -1 for any that is free".into(),
            Self::Duration { min, .. } if !min.is_zero() => {
                format!("a duration of at least {}, such as \"2m\"", duration::show(*min))
            }
            Self::Duration { .. } | Self::Lifetime => {
                "a duration, such as \"2m\" or \"1.5s\"".into()
            }
            Self::Text(format) | Self::Spelled(format) => format.expects().into(),
            Self::List(format) => format!("{}, or an array of them", format.expects()),
            Self::Choice(words) => match words.split_last() {
                Some((last, [])) => format!("{last:?}"),
                Some((last, others)) => {
                    let others: Vec<_> = others.iter().map(|word| format!("{word:?}")).collect();
                    format!("{} or {last:?}", others.join(", "))
                }
                None => "nothing".into(),
            },
            Self::Choices(words) => format!("an array of {}", words.join(", ")),
            Self::Listen { .. } => "\"host:port\" or a port".into(),
            Self::Texts => "a map of strings".into(),
            Self::Switches => "a map of true and false".into(),
            Self::Block(block) => block().short.map_or("a map", |short| short.expects).into(),
            Self::Blocks(_) => "an array of maps".into(),
            Self::Named { .. } | Self::NamedLists { .. } => "a map of maps".into(),
        }
    }

    /// The name in the documentation.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Bool => "true, false".into(),
            Self::Integer { .. } => "number".into(),
            Self::Size { .. } | Self::Storage => "size".into(),
            Self::Port => "port".into(),
            Self::Duration { .. } | Self::Lifetime => "duration".into(),
            Self::Text(format) | Self::Spelled(format) => format.name().into(),
            Self::List(format) => format!("list of {}", format.names()),
            Self::Choice(words) => words.join(", "),
            Self::Choices(words) => format!("list of {}", words.join(", ")),
            Self::Listen { .. } => "host:port".into(),
            Self::Texts => "map of texts".into(),
            Self::Switches => "map of switches".into(),
            Self::Block(block) => format!("[{}](#{})", block().title, anchor(block().title)),
            Self::Blocks(block) => {
                format!("list of [{}](#{})", block().title, anchor(block().title))
            }
            Self::Named { block, .. } | Self::NamedLists { block, .. } => {
                format!("[{}](#{}) by name", block().title, anchor(block().title))
            }
        }
    }

    /// The block that it contains.
    pub(crate) fn block(&self) -> Option<&'static Block> {
        match self {
            Self::Block(block)
            | Self::Blocks(block)
            | Self::Named { block, .. }
            | Self::NamedLists { block, .. } => Some(block()),
            _ => None,
        }
    }

    /// Returns true if values may not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Text(format) | Self::List(format) if format.is_secret())
    }
}

/// A bound that means unbounded.
pub(crate) const MANY: i64 = i32::MAX as i64;

/// The link target of a heading.
pub(crate) fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-").replace(|c: char| !(c.is_alphanumeric() || c == '-'), "")
}
