//! Faults of clients and why connections end, and the one table from a fault to what the client reads.

use std::borrow::Cow;
use std::fmt;

/// Something a client did that we refuse.
///
/// [`Self::answer`] is the only place that knows what the client is told and whether it is cut.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientFault {
    /// A first byte, a verb or a byte after a payload that is not in the protocol.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// A verb with the wrong number of arguments.
    #[error("wrong number of arguments for {0}")]
    BadArguments(&'static str),
    /// A size that is not one to nine decimal digits, or headers longer than the whole.
    #[error("bad or missing size for {0}")]
    BadSize(&'static str),
    /// CONNECT, or INFO, did not carry the JSON it must.
    #[error("bad JSON for {0}")]
    BadJson(&'static str),
    /// `HPUB` from a client that did not announce headers.
    #[error("message headers not supported")]
    HeadersNotSupported,
    /// `-ERR` from a client.
    #[error("the client reported an error: {0}")]
    ClientError(String),
    /// A control line beyond the limit.
    #[error("maximum control line exceeded")]
    MaxControlLine,
    /// A payload beyond the limit.
    #[error("maximum payload exceeded: {size} vs {limit}")]
    MaxPayload {
        /// What the client announced, in bytes.
        size: usize,
        /// What it may send.
        limit: usize,
    },
    /// One connection too many.
    #[error("maximum connections exceeded")]
    MaxConnections,
    /// One subscription too many.
    #[error("maximum subscriptions exceeded")]
    MaxSubscriptions,
    /// A filter with too many tokens.
    #[error("subscription to {0:?} has too many tokens")]
    TooManyTokens(String),
    /// Wrong credentials, or an operation before any were shown.
    #[error("authentication error")]
    AuthorizationViolation,
    /// No credentials in time.
    #[error("authentication timeout")]
    AuthenticationTimeout,
    /// CONNECT asked for a protocol that does not exist.
    #[error("invalid client protocol")]
    BadProtocol,
    /// CONNECT asked to be told of missing responders, but cannot read the headers that say so.
    #[error("no responders requires headers support")]
    NoRespondersRequiresHeaders,
    /// The user may not publish there.
    #[error("publish to {0:?} denied")]
    PublishDenied(String),
    /// The reply subject is one that only the server may use.
    #[error("publish with reply {0:?} denied")]
    ReplyDenied(String),
    /// The user may not subscribe there.
    #[error("subscription to {0:?} denied")]
    SubscribeDenied(String),
    /// The user may not subscribe there with this queue group.
    #[error("subscription to {subject:?} with queue {queue:?} denied")]
    QueueSubscribeDenied {
        /// The filter.
        subject: String,
        /// The queue group.
        queue: String,
    },
    /// A pedantic client published to something that is not a subject.
    #[error("invalid publish subject")]
    InvalidPublishSubject,
    /// A filter that is not one.
    #[error("invalid subject")]
    InvalidSubject,
    /// PINGs were not answered.
    #[error("stale connection")]
    StaleConnection,
}

impl ClientFault {
    /// What the client reads in `-ERR '…'`, if anything, and how the connection ends, if it does.
    // NATS 2.14: the texts and whether they close, seen on the wire (tests/transcripts).
    pub fn answer(&self) -> (Option<Cow<'static, str>>, Option<CloseReason>) {
        use CloseReason as Close;
        let text = |text: &'static str| Some(Cow::Borrowed(text));
        match self {
            Self::UnknownOperation => {
                (text("Unknown Protocol Operation"), Some(Close::ProtocolViolation))
            }
            Self::BadArguments(_)
            | Self::BadSize(_)
            | Self::BadJson(_)
            | Self::HeadersNotSupported => (None, Some(Close::ProtocolViolation)),
            Self::ClientError(_) => (None, Some(Close::ParseError)),
            Self::MaxControlLine => {
                (text("maximum control line exceeded"), Some(Close::MaxControlLineExceeded))
            }
            Self::MaxPayload { .. } => {
                (text("Maximum Payload Violation"), Some(Close::MaxPayloadExceeded))
            }
            Self::MaxConnections => {
                (text("maximum connections exceeded"), Some(Close::MaxConnectionsExceeded))
            }
            Self::MaxSubscriptions => (text("maximum subscriptions exceeded"), None),
            Self::TooManyTokens(subject) => (
                Some(
                    format!(
                        "Permissions Violation for Subscription to {}, too many tokens",
                        Quoted(subject)
                    )
                    .into(),
                ),
                None,
            ),
            Self::AuthorizationViolation => {
                (text("Authorization Violation"), Some(Close::AuthenticationViolation))
            }
            Self::AuthenticationTimeout => {
                (text("Authentication Timeout"), Some(Close::AuthenticationTimeout))
            }
            Self::BadProtocol => {
                (text("invalid client protocol"), Some(Close::BadClientProtocolVersion))
            }
            Self::NoRespondersRequiresHeaders => (
                text("no responders requires headers support"),
                Some(Close::NoRespondersRequiresHeaders),
            ),
            Self::PublishDenied(subject) => (
                Some(format!("Permissions Violation for Publish to {}", Quoted(subject)).into()),
                None,
            ),
            Self::ReplyDenied(reply) => (
                Some(
                    format!("Permissions Violation for Publish with Reply of {}", Quoted(reply))
                        .into(),
                ),
                None,
            ),
            Self::SubscribeDenied(subject) => (
                Some(
                    format!("Permissions Violation for Subscription to {}", Quoted(subject)).into(),
                ),
                None,
            ),
            Self::QueueSubscribeDenied { subject, queue } => (
                Some(
                    format!(
                        "Permissions Violation for Subscription to {} using queue {}",
                        Quoted(subject),
                        Quoted(queue)
                    )
                    .into(),
                ),
                None,
            ),
            Self::InvalidPublishSubject => (text("Invalid Publish Subject"), None),
            Self::InvalidSubject => (text("Invalid Subject"), None),
            Self::StaleConnection => (text("Stale Connection"), Some(Close::StaleConnection)),
        }
    }
}

/// Text from a client in quotes, with all escaped that could break the line it stands in.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\r' => f.write_str("\\r")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Why a connection ended.
///
/// Prints as NATS's monitoring does, so that logs and `/connz?state=closed` can be searched with its
/// words.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client went.
    ClientClosed,
    /// It showed no credentials in time.
    AuthenticationTimeout,
    /// It showed wrong ones.
    AuthenticationViolation,
    /// More waited for it than it may.
    SlowConsumerPendingBytes,
    /// It took too long to read what waited for it.
    SlowConsumerWriteDeadline,
    /// Writing to it failed.
    WriteError,
    /// Reading from it failed.
    ReadError,
    /// It sent an error of its own.
    ParseError,
    /// It did not answer PINGs.
    StaleConnection,
    /// It broke the protocol.
    ProtocolViolation,
    /// It asked for a protocol that does not exist.
    BadClientProtocolVersion,
    /// It was one too many.
    MaxConnectionsExceeded,
    /// Its payload was too large.
    MaxPayloadExceeded,
    /// Its control line was too long.
    MaxControlLineExceeded,
    /// The server went away.
    ServerShutdown,
    /// It wanted to be told of missing responders without reading headers.
    NoRespondersRequiresHeaders,
    /// The program that holds the broker cut it.
    Kicked,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationViolation => "Authentication Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::MaxConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaxPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaxControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::Kicked => "Kicked",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_client_cannot_break_the_line_it_is_quoted_in() {
        let fault = ClientFault::PublishDenied("a\"b\\c\r\n-ERR 'x'".into());
        let (text, close) = fault.answer();
        assert_eq!(
            text.as_deref(),
            Some(r#"Permissions Violation for Publish to "a\"b\\c\r\n-ERR 'x'""#)
        );
        assert_eq!(close, None);
    }
}
