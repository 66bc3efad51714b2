//! Faults of clients, close reasons, and the table from a fault to the error that the client receives.

use std::borrow::Cow;
use std::fmt;

use crate::auth::Denied;

/// An operation or a state of a client that the broker refuses.
///
/// Displays as the line in the operator's log, in NATS's words. Only [`Self::answer`] knows the error that the
/// client receives, and whether the connection is closed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientFault {
    /// A first byte, a verb or a byte after a payload that is not in the protocol.
    #[error("Client parser ERROR")]
    UnknownOperation,
    /// A verb with the wrong number of arguments.
    #[error("{} Parse Error", step(.0))]
    BadArguments(&'static str),
    /// A size that is not one to nine decimal digits, or headers longer than the whole.
    #[error("{} Bad or Missing Size", step(.0))]
    BadSize(&'static str),
    /// CONNECT or INFO carried invalid JSON.
    #[error("bad JSON for {0}")]
    BadJson(&'static str),
    /// `HPUB` from a client that did not announce headers.
    #[error("message headers not supported")]
    HeadersNotSupported,
    /// `-ERR` from a client.
    #[error("Client Error {}", .0.escaped())]
    ClientError(Quoted),
    /// A control line beyond the limit.
    #[error("maximum control line exceeded")]
    MaxControlLine,
    /// A payload beyond the limit.
    #[error("maximum payload exceeded: {size} vs {limit}")]
    MaxPayload {
        /// The announced size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection exceeds the limit of the server.
    #[error("maximum connections exceeded")]
    MaxConnections,
    /// The connection exceeds the limit of its account.
    #[error("maximum account active connections exceeded")]
    MaxAccountConnections,
    /// The subscription exceeds a limit.
    #[error("maximum subscriptions exceeded")]
    MaxSubscriptions,
    /// A filter with too many tokens.
    #[error("Subscription Violation Too Many Tokens - Subject {subject}, SID {}", sid.escaped())]
    TooManyTokens {
        /// The filter.
        subject: Quoted,
        /// The sid of the subscription.
        sid: Quoted,
    },
    /// Wrong credentials, or an operation before authentication.
    #[error("authentication error")]
    AuthorizationViolation,
    /// The client does not come through a trusted proxy, and must.
    #[error("authentication error")]
    ProxyRequired,
    /// The client comes through a proxy that is not trusted.
    #[error("authentication error")]
    ProxyNotTrusted,
    /// No credentials in time.
    #[error("Authentication Timeout")]
    AuthenticationTimeout,
    /// The grant has expired.
    #[error("User Authentication Expired")]
    AuthenticationExpired,
    /// The account of the grant has expired.
    #[error("Account Authentication Expired")]
    AccountExpired,
    /// The account has revoked the credentials of the user.
    #[error("User Authentication Revoked")]
    AuthenticationRevoked,
    /// CONNECT requested an unknown protocol version.
    #[error("invalid client protocol")]
    BadProtocol,
    /// CONNECT requested no-responders replies without support for headers.
    #[error("no responders requires headers support")]
    NoRespondersRequiresHeaders,
    /// The user may not publish to this subject.
    #[error("Publish Violation - Subject {0}")]
    PublishDenied(Quoted),
    /// The reply subject is reserved for the server.
    #[error("Publish Violation - Reply {0}")]
    ReplyDenied(Quoted),
    /// The user may not subscribe to this filter, or not with this queue group.
    #[error(
        "Subscription Violation - Subject {subject}{}, SID {}",
        queue.as_ref().map(|queue| format!(", Queue: {queue}")).unwrap_or_default(),
        sid.escaped()
    )]
    SubscribeDenied {
        /// The filter.
        subject: Quoted,
        /// The queue group.
        queue: Option<Quoted>,
        /// The sid of the subscription.
        sid: Quoted,
    },
    /// The user may no longer subscribe to this filter: the subscription has been ended.
    #[error(
        "Removed sub {subject}{} (sid {sid})",
        queue.as_ref().map(|queue| format!(" using queue {queue}")).unwrap_or_default()
    )]
    SubscriptionRevoked {
        /// The filter.
        subject: Quoted,
        /// The queue group.
        queue: Option<Quoted>,
        /// The sid of the subscription.
        sid: Quoted,
    },
    /// A pedantic client published to an invalid subject.
    #[error("Invalid Publish Subject")]
    InvalidPublishSubject,
    /// An invalid filter.
    #[error("Invalid Subject")]
    InvalidSubject,
    /// PINGs were not answered.
    #[error("Stale Client Connection - Closing")]
    StaleConnection,
    /// The client did not start TLS, or not in time.
    #[error("TLS handshake error: {0}")]
    TlsRequired(String),
    /// The TLS handshake failed. The reason may quote what the client sent.
    #[error("TLS handshake error: {}", Escaped(.0.as_bytes()))]
    TlsHandshake(String),
    /// The TLS handshake did not finish in time.
    #[error("TLS handshake error: timeout")]
    TlsTimeout,
    /// The limit of concurrent TLS handshakes or credential checks is reached.
    #[error("Connection throttling is active")]
    Throttled,
}

/// Credentials that could not be checked are not wrong: clients give up after an authentication error, but
/// reconnect after [`ClientFault::Throttled`].
impl From<Denied> for ClientFault {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Credentials
            | Denied::ConnectionKind
            | Denied::Unknown
            | Denied::Refused(_)
            | Denied::Source
            | Denied::TimeOfDay
            | Denied::Revoked
            | Denied::SignerRemoved => Self::AuthorizationViolation,
            Denied::ProxyRequired => Self::ProxyRequired,
            Denied::ProxyNotTrusted => Self::ProxyNotTrusted,
            Denied::Unavailable => Self::Throttled,
        }
    }
}

/// Returns the prefix by which NATS's logs name the failed operation.
fn step(verb: &str) -> &'static str {
    match verb {
        "PUB" => "processPub",
        "HPUB" => "processHeaderPub",
        "SUB" => "processSub",
        _ => "processUnsub",
    }
}

impl ClientFault {
    /// Returns true if the client is told `Authorization Violation`.
    pub(crate) fn is_about_authorization(&self) -> bool {
        matches!(self, Self::AuthorizationViolation | Self::ProxyRequired | Self::ProxyNotTrusted)
    }

    /// Returns the text of `-ERR '…'`, if there is one, and the close reason, if the connection is closed.
    // NATS 2.14: the texts and whether they close, seen on the wire (tests/transcripts).
    pub fn answer(&self) -> (Option<Cow<'static, str>>, Option<CloseReason>) {
        use CloseReason as Close;
        let text = |text: &'static str| Some(Cow::Borrowed(text));
        let violation =
            |of: fmt::Arguments<'_>| (Some(format!("Permissions Violation for {of}").into()), None);
        match self {
            Self::UnknownOperation => {
                (text("Unknown Protocol Operation"), Some(Close::ProtocolViolation))
            }
            Self::BadArguments(_) | Self::BadSize(_) | Self::HeadersNotSupported => {
                (None, Some(Close::ProtocolViolation))
            }
            // NATS 2.14 closes without an error. The text is the one in its documentation.
            Self::BadJson(_) => (text("Parser Error"), Some(Close::ProtocolViolation)),
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
            Self::MaxAccountConnections => (
                text("maximum account active connections exceeded"),
                Some(Close::MaxAccountConnectionsExceeded),
            ),
            Self::MaxSubscriptions => (text("maximum subscriptions exceeded"), None),
            Self::TooManyTokens { subject, .. } => {
                violation(format_args!("Subscription to {subject}, too many tokens"))
            }
            Self::AuthorizationViolation => {
                (text("Authorization Violation"), Some(Close::AuthenticationViolation))
            }
            // NATS 2.14: auth.go getAuthErrClosedState.
            Self::ProxyRequired => (text("Authorization Violation"), Some(Close::ProxyRequired)),
            Self::ProxyNotTrusted => {
                (text("Authorization Violation"), Some(Close::ProxyNotTrusted))
            }
            Self::AuthenticationTimeout => {
                (text("Authentication Timeout"), Some(Close::AuthenticationTimeout))
            }
            // NATS 2.14: client.go authExpired.
            Self::AuthenticationExpired => {
                (text("User Authentication Expired"), Some(Close::AuthenticationExpired))
            }
            // NATS 2.14: client.go accountAuthExpired.
            Self::AccountExpired => {
                (text("Account Authentication Expired"), Some(Close::AuthenticationExpired))
            }
            // NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
            Self::AuthenticationRevoked => {
                (text("User Authentication Revoked"), Some(Close::CredentialsRevoked))
            }
            Self::BadProtocol => {
                (text("invalid client protocol"), Some(Close::BadClientProtocolVersion))
            }
            Self::NoRespondersRequiresHeaders => (
                text("no responders requires headers support"),
                Some(Close::NoRespondersRequiresHeaders),
            ),
            Self::PublishDenied(subject) => violation(format_args!("Publish to {subject}")),
            Self::ReplyDenied(reply) => violation(format_args!("Publish with Reply of {reply}")),
            Self::SubscribeDenied { subject, queue: None, .. } => {
                violation(format_args!("Subscription to {subject}"))
            }
            Self::SubscribeDenied { subject, queue: Some(queue), .. } => {
                violation(format_args!("Subscription to {subject} using queue {queue}"))
            }
            Self::SubscriptionRevoked { subject, queue: None, sid } => {
                violation(format_args!("Subscription to {subject} (sid {sid})"))
            }
            Self::SubscriptionRevoked { subject, queue: Some(queue), sid } => {
                violation(format_args!("Subscription to {subject} using queue {queue} (sid {sid})"))
            }
            Self::InvalidPublishSubject => (text("Invalid Publish Subject"), None),
            Self::InvalidSubject => (text("Invalid Subject"), None),
            Self::StaleConnection => (text("Stale Connection"), Some(Close::StaleConnection)),
            Self::TlsRequired(_) => {
                (text("Secure Connection - TLS Required"), Some(Close::TlsHandshakeFailure))
            }
            Self::TlsHandshake(_) | Self::TlsTimeout => (None, Some(Close::TlsHandshakeFailure)),
            Self::Throttled => (
                text("Connection throttling is active. Please try again later."),
                Some(Close::MaxConnectionsExceeded),
            ),
        }
    }
}

/// Bytes from a client, for display: in quotes, with everything escaped that is not text or could break the
/// line that contains it.
///
/// ```
/// use broker_core::error::Quoted;
///
/// assert_eq!(Quoted::from("a\tb").to_string(), r#""a\tb""#);
/// assert_eq!(Quoted::from(&b"gr\xc3\xb6\xc3\x9fe \xff"[..]).to_string(), r#""größe \xff""#);
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Quoted(Box<[u8]>);

impl Quoted {
    /// Displays the text without the quotes.
    pub fn escaped(&self) -> impl fmt::Display + '_ {
        Escaped(&self.0)
    }
}

impl From<&[u8]> for Quoted {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(&self.0))
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as Go's `%q` displays them, which NATS uses to quote a client.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| escape(c, f))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

fn escape(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '"' | '\\' => write!(f, "\\{c}"),
        '\x07' => f.write_str("\\a"),
        '\x08' => f.write_str("\\b"),
        '\x0c' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\x0b' => f.write_str("\\v"),
        ' '..='~' => fmt::Write::write_char(f, c),
        '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(c)),
        c if is_printable(c) => fmt::Write::write_char(f, c),
        '\u{80}'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(c)),
        c => write!(f, "\\U{:08x}", u32::from(c)),
    }
}

/// Returns true if the character is visible. The standard library exposes this only by escaping; a combining
/// mark is left unescaped behind a letter.
fn is_printable(c: char) -> bool {
    !c.is_whitespace() && String::from_iter(['a', c]).escape_debug().count() == 2
}

/// The reason why a connection ended.
///
/// Displays as in NATS's monitoring, so that logs and `/connz?state=closed` can be searched for the same
/// words.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the connection.
    ClientClosed,
    /// The client did not authenticate in time.
    AuthenticationTimeout,
    /// The grant has expired.
    AuthenticationExpired,
    /// The account has revoked the credentials.
    CredentialsRevoked,
    /// The user or account was removed, or the user was moved to another account.
    UserRemoved,
    /// The credentials were wrong.
    AuthenticationViolation,
    /// The TLS handshake failed.
    TlsHandshakeFailure,
    /// The pending bytes exceeded the limit.
    SlowConsumerPendingBytes,
    /// The client did not read pending data in time.
    SlowConsumerWriteDeadline,
    /// Writing to the connection failed.
    WriteError,
    /// Reading from the connection failed.
    ReadError,
    /// The client sent `-ERR`.
    ParseError,
    /// The client did not answer PINGs.
    StaleConnection,
    /// The client violated the protocol.
    ProtocolViolation,
    /// The client requested an unknown protocol version.
    BadClientProtocolVersion,
    /// The connection exceeded the limit of the server.
    MaxConnectionsExceeded,
    /// The connection exceeded the limit of its account.
    MaxAccountConnectionsExceeded,
    /// The payload was too large.
    MaxPayloadExceeded,
    /// The control line was too long.
    MaxControlLineExceeded,
    /// The server shut down.
    ServerShutdown,
    /// The client requested no-responders replies without support for headers.
    NoRespondersRequiresHeaders,
    /// The embedding program closed the connection.
    Kicked,
    /// The other server is connected already, or is this one.
    DuplicateRoute,
    /// A reload removed the route, or changed what it depends on.
    RouteRemoved,
    /// The other server has another cluster's name.
    ClusterNameConflict,
    /// Two servers of the cluster have JetStream, whose streams are not replicated.
    JetStreamConflict,
    /// The other server has this server's name.
    DuplicateServerName,
    /// The account of the route does not exist.
    MissingAccount,
    /// The client came through a proxy that is not trusted, or no longer.
    ProxyNotTrusted,
    /// The client must come through a trusted proxy.
    ProxyRequired,
    /// A client connected to the port of servers.
    WrongPort,
    /// A gateway connected to the port of routes.
    WrongGateway,
}

impl CloseReason {
    /// Returns true for slow consumers.
    pub fn is_slow_consumer(self) -> bool {
        matches!(self, Self::SlowConsumerPendingBytes | Self::SlowConsumerWriteDeadline)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // NATS 2.14: the connection of a removed user ends as if the client had closed it.
            Self::ClientClosed | Self::UserRemoved => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::CredentialsRevoked => "Credentials Revoked",
            Self::AuthenticationViolation => "Authentication Failure",
            Self::TlsHandshakeFailure => "TLS Handshake Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::MaxConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaxAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::MaxPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaxControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::Kicked => "Kicked",
            Self::DuplicateRoute => "Duplicate Route",
            Self::RouteRemoved => "Route Removed",
            Self::ClusterNameConflict => "Cluster Name Conflict",
            Self::JetStreamConflict => "JetStream Conflict",
            Self::DuplicateServerName => "Duplicate Server Name",
            Self::MissingAccount => "Missing Account",
            Self::ProxyNotTrusted => "Proxy Not Trusted",
            Self::ProxyRequired => "Proxy Required",
            Self::WrongPort => "Incorrect Port",
            Self::WrongGateway => "Wrong Gateway",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_of_a_client_stays_on_one_line() {
        let fault = ClientFault::PublishDenied("a\"b\\c\r\n-ERR 'x'".into());
        let (text, close) = fault.answer();
        assert_eq!(
            text.as_deref(),
            Some(r#"Permissions Violation for Publish to "a\"b\\c\r\n-ERR 'x'""#)
        );
        assert_eq!(close, None);
        let fault = ClientFault::ClientError("'x\x1b[2J'".into());
        assert_eq!(fault.to_string(), r"Client Error 'x\x1b[2J'");
    }

    /// The expected text is that of Go's `strconv.Quote`.
    #[test]
    fn invalid_text_is_escaped_as_in_the_reference() {
        for (bytes, shown) in [
            (&b"\x00\x07\x08\x0c\x0b\x7f'"[..], r#""\x00\a\b\f\v\x7f'""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("\u{80}\u{a0}\u{200b}\u{e000}".as_bytes(), r#""\u0080\u00a0\u200b\ue000""#),
            ("\u{10ffff}".as_bytes(), r#""\U0010ffff""#),
            ("größe€ e\u{301} 日本 🎈".as_bytes(), "\"größe€ e\u{301} 日本 🎈\""),
        ] {
            assert_eq!(Quoted::from(bytes).to_string(), shown);
        }
    }

    #[test]
    fn faults_print_as_the_reference_logs_them() {
        let denied = |queue: Option<&str>| ClientFault::SubscribeDenied {
            subject: "a".into(),
            queue: queue.map(Into::into),
            sid: "7".into(),
        };
        for (fault, line) in [
            (denied(None), r#"Subscription Violation - Subject "a", SID 7"#),
            (denied(Some("q")), r#"Subscription Violation - Subject "a", Queue: "q", SID 7"#),
            (ClientFault::BadArguments("HPUB"), "processHeaderPub Parse Error"),
            (
                ClientFault::TlsHandshake("refused (CN=a\r\nb)".into()),
                r"TLS handshake error: refused (CN=a\r\nb)",
            ),
            (ClientFault::MaxPayload { size: 2, limit: 1 }, "maximum payload exceeded: 2 vs 1"),
        ] {
            assert_eq!(fault.to_string(), line);
        }
    }
}
