//! The formats of text values.

use broker_core::auth::ConnectionKind;
use broker_core::{Subject, SubjectFilter};
use broker_net::Advertise;

use super::duration;

/// The format of a text value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Any text.
    Any,
    /// Any text, never shown.
    Secret,
    /// A file or directory.
    Path,
    /// A text without blanks.
    Word,
    /// A host name or address, optionally with a port.
    HostPort,
    /// The address of a server; it may hold a password.
    Url,
    /// A subject, possibly with wildcards.
    Subject,
    /// A subject without wildcards.
    Literal,
    /// A subject, optionally followed by a queue group.
    SubjectAndQueue,
    /// A public key or seed: its first letters, and its name in messages.
    Nkey(&'static str, &'static str),
    /// A SHA-256 fingerprint.
    Fingerprint,
    /// `2.14.5`
    Version,
    /// A connection type such as `WEBSOCKET`.
    ConnectionKind,
    /// `"10ms"`
    Duration,
    /// `50` or `"50%"`
    Percent,
    /// `50` or `"50%"`, but not 0.
    Share,
    /// As a percentage, or `headers`.
    Sampling,
    /// A switch, `auto`, or the time to wait for the client's first bytes.
    HandshakeFirst,
    /// A duration or `always`.
    SyncInterval,
    /// Permissions of a file: `660`.
    FileMode,
}

impl Format {
    /// The expectation as error messages state it.
    pub(crate) fn expects(self) -> &'static str {
        match self {
            Self::Any | Self::Secret => "a string",
            Self::Path => "a path",
            Self::Word => "a string without blanks",
            Self::HostPort => "\"host\" or \"host:port\"",
            Self::Url => "an address, such as \"nats://host:port\"",
            Self::Subject => "a subject",
            Self::Literal => "a subject without wildcards",
            Self::SubjectAndQueue => "a subject, perhaps with a queue group",
            Self::Nkey(_, name) => name,
            Self::Fingerprint => "a SHA-256 fingerprint of 64 hexadecimal digits",
            Self::Version => "a version, such as \"2.14.0\"",
            Self::Duration => "a duration, such as \"10ms\"",
            Self::Percent => "a percentage from 0 to 100",
            Self::Share => "a percentage from 1 to 100",
            Self::Sampling => "a percentage from 1 to 100, or \"headers\"",
            Self::HandshakeFirst => "true, false, \"auto\", or a duration such as \"300ms\"",
            Self::SyncInterval => "a duration, such as \"2m\", or \"always\"",
            Self::FileMode => "permissions of a file in octal digits, such as 660",
            Self::ConnectionKind => {
                "a kind of connection: STANDARD, WEBSOCKET, LEAFNODE, LEAFNODE_WS, MQTT, MQTT_WS or \
                 IN_PROCESS"
            }
        }
    }

    /// The name in the documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any | Self::Word => "text",
            Self::Secret => "secret",
            Self::Path => "path",
            Self::HostPort => "host:port",
            Self::Url => "URL",
            Self::Subject | Self::Literal | Self::SubjectAndQueue => "subject",
            Self::Nkey(..) => "nkey",
            Self::Fingerprint => "fingerprint",
            Self::Version => "version",
            Self::ConnectionKind => "kind of connection",
            Self::Duration => "duration",
            Self::Percent | Self::Share => "percentage",
            Self::Sampling => "percentage, headers",
            Self::HandshakeFirst => "true, false, auto, duration",
            Self::SyncInterval => "duration, always",
            Self::FileMode => "octal digits",
        }
    }

    /// The plural of [`name`](Self::name).
    pub(crate) fn names(self) -> String {
        match self {
            Self::ConnectionKind => "kinds of connections".into(),
            _ => format!("{}s", self.name()),
        }
    }

    pub(crate) fn is_secret(self) -> bool {
        // A URL may contain a password; a seed is a secret.
        matches!(self, Self::Secret | Self::Url | Self::Nkey("S", _))
    }

    /// Returns true if `text` has this format. Empty text equals an unset option.
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
            Self::HostPort => text.parse::<Advertise>().is_ok(),
            Self::Url => !text.trim().contains(char::is_whitespace),
            Self::Subject => SubjectFilter::parse(text).is_ok(),
            Self::Literal => Subject::parse(text).is_ok() && !text.contains(char::is_whitespace),
            Self::SubjectAndQueue => {
                let words: Vec<_> = text.split_whitespace().collect();
                SubjectFilter::parse(text).is_ok()
                    || (words.len() == 2
                        && words.iter().all(|word| SubjectFilter::parse(*word).is_ok()))
            }
            Self::Nkey(prefix, _) => {
                let is_base32 = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
                let length = if prefix == "S" { 58 } else { 56 };
                text.starts_with(prefix)
                    && text.len() == length
                    && text.bytes().all(is_base32)
                    && has_checksum(text)
            }
            Self::Fingerprint => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Self::Version => {
                let parts: Vec<_> = text.trim_start_matches('v').split('.').collect();
                parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
            }
            Self::Duration => is_duration(text),
            Self::Percent => percent(text).is_some(),
            Self::Share => percent(text).is_some_and(|percent| percent > 0),
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
            Self::FileMode => u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o777),
            Self::ConnectionKind => text.parse::<ConnectionKind>().is_ok(),
        }
    }
}

/// Returns true if the checksum of a key is right.
#[cfg(feature = "jwt")]
fn has_checksum(key: &str) -> bool {
    use broker_core::auth::nkey::{KeyPair, PublicKey};
    if key.starts_with('S') {
        KeyPair::from_seed(key).is_ok()
    } else {
        PublicKey::parse(key).is_ok()
    }
}

/// Without keys and JWTs the options that name keys are refused anyway.
#[cfg(not(feature = "jwt"))]
fn has_checksum(_key: &str) -> bool {
    true
}

fn is_duration(text: &str) -> bool {
    duration::parse(text).is_ok_and(|(negative, _)| !negative)
}

pub(crate) fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100)
}

/// Formats a flag for the help. Each flag is accepted with one dash or two.
pub(crate) fn dashed(name: &str) -> String {
    let short = name.len() <= 2 || name.bytes().all(|byte| byte.is_ascii_uppercase());
    format!("{}{name}", if short { "-" } else { "--" })
}
