//! How values are written, and what an error says was expected.

use std::time::Duration;

use broker_core::SubjectFilter;

use super::duration;
use super::table::Block;

/// How the value of an option is written.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true`, `yes`, `on`, or the opposite.
    Bool,
    /// A whole number within bounds.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number of bytes: `65536`, `64k`, `1MB`.
    Size {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number of bytes, or in quotes with K, M, G or T: `"10G"`.
    Storage,
    /// 0 to 65535, or -1 for any free port.
    Port,
    /// A text such as `"1m30s"`.
    Duration {
        /// What a number without a unit is.
        bare: Bare,
        /// The shortest.
        min: Duration,
    },
    /// A duration; a negative one is for ever.
    Lifetime,
    /// A text.
    Text(Format),
    /// A text, number or switch, read as the text that it is written as.
    Spelled(Format),
    /// A text or an array of texts.
    List(Format),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array of these words.
    Choices(&'static [&'static str]),
    /// `host:port` or a port; sets two other options.
    Listen {
        /// The option that takes the host.
        host: &'static str,
        /// The option that takes the port.
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
        /// How the name is written.
        name: Format,
        /// What each holds.
        block: fn() -> &'static Block,
    },
    /// Arrays of blocks, or single ones, by name.
    NamedLists {
        /// How the name is written.
        name: Format,
        /// What each holds.
        block: fn() -> &'static Block,
    },
}

/// What a number is where a duration is expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bare {
    /// Seconds, with a warning.
    Deprecated,
    /// Seconds, and fractions of them.
    Seconds,
    /// An error.
    Refused,
}

/// What may stand in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Anything.
    Any,
    /// Anything, and nobody may see it.
    Secret,
    /// A file or directory.
    Path,
    /// No blanks.
    Word,
    /// A host name or address, with or without a port.
    HostPort,
    /// The address of a server; it may hold a password.
    Url,
    /// A subject, wildcards allowed.
    Subject,
    /// A subject, or one and a queue group.
    SubjectAndQueue,
    /// A public key or seed: its first letters, and what to call it.
    Nkey(&'static str, &'static str),
    /// A SHA-256 fingerprint.
    Fingerprint,
    /// `2.14.5`
    Version,
    /// A way to connect, such as `WEBSOCKET`.
    ConnectionKind,
    /// `"10ms"`
    Duration,
    /// `50` or `"50%"`
    Percent,
    /// As a percentage, or `headers`.
    Sampling,
    /// A switch, `auto`, or how long to wait for the other side to begin.
    HandshakeFirst,
    /// A duration or `always`.
    SyncInterval,
}

impl Kind {
    /// What an error says.
    pub(crate) fn expects(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => match (*min, *max) {
                (i64::MIN, i64::MAX) => "a whole number".into(),
                (min, i64::MAX | MANY) => format!("a whole number of at least {min}"),
                (min, max) => format!("a whole number from {min} to {max}"),
            },
            Self::Size { max: i64::MAX, .. } => "a size, such as 64MB".into(),
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

    /// What the documentation calls it.
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

    /// The block or blocks that it holds.
    pub(crate) fn block(&self) -> Option<&'static Block> {
        match self {
            Self::Block(block)
            | Self::Blocks(block)
            | Self::Named { block, .. }
            | Self::NamedLists { block, .. } => Some(block()),
            _ => None,
        }
    }

    /// May nobody see its value?
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Text(format) | Self::List(format) if format.is_secret())
    }
}

/// A bound that stands for none.
pub(crate) const MANY: i64 = i32::MAX as i64;

/// What a heading is linked by.
pub(crate) fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-").replace(|c: char| !(c.is_alphanumeric() || c == '-'), "")
}

impl Format {
    fn expects(self) -> &'static str {
        match self {
            Self::Any | Self::Secret => "a string",
            Self::Path => "a path",
            Self::Word => "a string without blanks",
            Self::HostPort => "\"host\" or \"host:port\"",
            Self::Url => "an address, such as \"nats://host:port\"",
            Self::Subject => "a subject",
            Self::SubjectAndQueue => "a subject, perhaps with a queue group",
            Self::Nkey(_, name) => name,
            Self::Fingerprint => "a SHA-256 fingerprint of 64 hexadecimal digits",
            Self::Version => "a version, such as \"2.14.0\"",
            Self::Duration => "a duration, such as \"10ms\"",
            Self::Percent => "a percentage from 0 to 100",
            Self::Sampling => "a percentage from 1 to 100, or \"headers\"",
            Self::HandshakeFirst => "true, false, \"auto\", or a duration such as \"300ms\"",
            Self::SyncInterval => "a duration, such as \"2m\", or \"always\"",
            Self::ConnectionKind => {
                "a kind of connection: STANDARD, WEBSOCKET, LEAFNODE, LEAFNODE_WS, MQTT, MQTT_WS or \
                 IN_PROCESS"
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any | Self::Word => "text",
            Self::Secret => "secret",
            Self::Path => "path",
            Self::HostPort => "host:port",
            Self::Url => "URL",
            Self::Subject | Self::SubjectAndQueue => "subject",
            Self::Nkey(..) => "nkey",
            Self::Fingerprint => "fingerprint",
            Self::Version => "version",
            Self::ConnectionKind => "kind of connection",
            Self::Duration => "duration",
            Self::Percent => "percentage",
            Self::Sampling => "percentage, headers",
            Self::HandshakeFirst => "true, false, auto, duration",
            Self::SyncInterval => "duration, always",
        }
    }

    fn names(self) -> String {
        match self {
            Self::ConnectionKind => "kinds of connections".into(),
            _ => format!("{}s", self.name()),
        }
    }

    pub(crate) fn is_secret(self) -> bool {
        // A URL may hold a password, a seed is one.
        matches!(self, Self::Secret | Self::Url | Self::Nkey("S", _))
    }

    /// Could `text` be one? Empty text is as good as none.
    pub(crate) fn fits(self, text: &str) -> bool {
        if text.is_empty() {
            return matches!(
                self,
                Self::Any | Self::Secret | Self::Path | Self::Word | Self::HostPort | Self::Url
            );
        }
        match self {
            Self::Any | Self::Secret | Self::Path => true,
            Self::Word => !text.contains(char::is_whitespace),
            Self::HostPort => split_host_port(text).is_some(),
            Self::Url => !text.trim().contains(char::is_whitespace),
            Self::Subject => SubjectFilter::parse(text).is_ok(),
            Self::SubjectAndQueue => {
                let words: Vec<_> = text.split_whitespace().collect();
                SubjectFilter::parse(text).is_ok()
                    || (words.len() == 2
                        && words.iter().all(|word| SubjectFilter::parse(*word).is_ok()))
            }
            Self::Nkey(prefix, _) => {
                let is_base32 = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
                let length = if prefix == "S" { 58 } else { 56 };
                text.starts_with(prefix) && text.len() == length && text.bytes().all(is_base32)
            }
            Self::Fingerprint => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Self::Version => {
                let parts: Vec<_> = text.trim_start_matches('v').split('.').collect();
                parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
            }
            Self::Duration => is_duration(text),
            Self::Percent => percent(text).is_some(),
            Self::Sampling => {
                text.trim().eq_ignore_ascii_case("headers") || percent(text).is_some_and(|p| p > 0)
            }
            Self::HandshakeFirst => {
                let words = ["true", "on", "false", "off", "auto", "auto_fallback"];
                words.iter().any(|word| word.eq_ignore_ascii_case(text)) || is_duration(text)
            }
            Self::SyncInterval => {
                text.eq_ignore_ascii_case("always")
                    || text.parse::<u32>().is_ok()
                    || is_duration(text)
            }
            Self::ConnectionKind => text.parse::<broker_core::auth::ConnectionKind>().is_ok(),
        }
    }
}

fn is_duration(text: &str) -> bool {
    duration::parse(text).is_ok_and(|(negative, _)| !negative)
}

fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100)
}

/// `host`, `host:port`, `[v6]:port`, `:port`; the port as it is written, empty if there is none.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return None,
            Some(split) => split,
            None => (text, ""),
        },
    };
    if !port.is_empty() && port.parse::<i32>().is_err() {
        return None;
    }
    Some((host, port))
}
