//! Replies to a client that are not messages, and their log lines.

use std::fmt;

use super::{ClientSession, Served};
use crate::endpoint::{ByteQueue, Endpoint, Scratch};
use crate::error::{ClientFault, CloseReason, Escaped, Quoted};
use crate::proto::{ConnectOptions, encode};
use crate::sync::Arc;
use crate::trace::Trace;

/// The part of malformed input that the log shows, in bytes.
// NATS 2.14: PROTO_SNIPPET_SIZE.
const SNIPPET_BYTES: usize = 32;

/// The label of a client in log lines.
#[derive(Clone, Copy)]
pub(super) struct ClientLabel<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) served: Option<&'a Served>,
    pub(super) options: &'a ConnectOptions,
}

/// Address and id; after authentication also the client's language, version, name and user.
// NATS 2.14: client.go processConnect.
impl fmt::Display for ClientLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.endpoint, f)?;
        let Some(served) = self.served else { return Ok(()) };
        let ConnectOptions { version, lang, name, .. } = self.options;
        let version = if version.is_empty() { String::new() } else { format!("v{version}") };
        let program: Vec<&str> =
            [&*version, lang, name].into_iter().filter(|part| !part.is_empty()).collect();
        if !program.is_empty() {
            write!(f, " - {}", Quoted::from(&*program.join(":")))?;
        }
        if let Some(user) = self.user(served) {
            let account = &served.member.account.name;
            // NATS 2.14: accounts.go traceLabel.
            let named = served.identity.as_ref().and_then(|one| one.account_name.as_ref());
            let named = named.map(|name| format!("/{name}")).unwrap_or_default();
            write!(f, " - {}", Quoted::from(&*format!("{account}{named}/{user}")))?;
        }
        Ok(())
    }
}

impl ClientLabel<'_> {
    fn user(&self, served: &Served) -> Option<String> {
        if let Some(named) = served.identity.as_ref().and_then(|one| one.user.as_ref()) {
            return Some(format!("user:{named}"));
        }
        let ConnectOptions { nkey, user, .. } = self.options;
        if !nkey.is_empty() {
            return Some(format!("nkey:{nkey}"));
        }
        if !user.is_empty() {
            return Some(format!("user:{user}"));
        }
        if let Some(key) = served.token_key() {
            return Some(format!("jwt:{key}"));
        }
        if self.options.has_token() {
            return Some("token".to_owned());
        }
        served.user.as_ref().map(|user| format!("user:{user}"))
    }

    /// Returns the user as monitoring shows it.
    // NATS 2.14: client.go getRawAuthUser.
    pub(super) fn shown_user(&self) -> Option<Arc<str>> {
        // A service has given the client another name.
        let named = self.served.and_then(|served| served.identity.as_ref()?.user.as_ref());
        if let Some(named) = named {
            return Some(Arc::clone(named));
        }
        let ConnectOptions { nkey, user, .. } = self.options;
        let token_key = self.served.and_then(Served::token_key);
        match (&**nkey, &**user) {
            ("", "") if token_key.is_some() => token_key.cloned(),
            ("", "") if self.options.has_token() => Some("[REDACTED]".into()),
            ("", "") => self.served.and_then(|served| served.user.clone()),
            ("", user) => Some(user.into()),
            (nkey, _) => Some(nkey.into()),
        }
    }

    /// Returns the user named in CONNECT.
    // NATS 2.14: client.go getAuthUser.
    fn claim(&self) -> Option<String> {
        let ConnectOptions { nkey, user, .. } = self.options;
        if !nkey.is_empty() {
            Some(format!("Nkey {}", Quoted::from(&**nkey)))
        } else if !user.is_empty() {
            Some(format!("User {}", Quoted::from(&**user)))
        } else if let Some(key) = self.served.and_then(Served::token_key) {
            Some(format!("JWT User {}", Quoted::from(&**key)))
        } else if self.options.has_token() {
            Some("Token \"[REDACTED]\"".to_owned())
        } else {
            None
        }
    }
}

/// Writes replies to a client, everything but messages, and traces them.
#[derive(Clone, Copy)]
pub(super) struct ReplyWriter<'a> {
    pub(super) label: ClientLabel<'a>,
    pub(super) byte_queue: &'a ByteQueue,
    pub(super) trace: Option<&'a Trace>,
}

impl ReplyWriter<'_> {
    pub(super) fn ok(&self, scratch: &mut Scratch) {
        self.say("OK", encode::OK, scratch);
    }

    pub(super) fn ping(&self, scratch: &mut Scratch) {
        self.say("PING", encode::PING, scratch);
    }

    pub(super) fn pong(&self, scratch: &mut Scratch) {
        self.say("PONG", encode::PONG, scratch);
    }

    fn say(&self, name: &str, line: &[u8], scratch: &mut Scratch) {
        if let Some(trace) = self.trace {
            trace.sent(&name);
        }
        self.byte_queue.send(scratch, |out| out.extend_from_slice(line));
    }

    /// Writes the error of a fault and its log line. Returns the close reason if the fault ends the
    /// connection. `input`: the malformed input, if the fault is a parse error.
    pub(super) fn fault(
        &self,
        fault: &ClientFault,
        input: &[u8],
        scratch: &mut Scratch,
    ) -> Option<CloseReason> {
        let (text, close) = fault.answer();
        if let Some(text) = &text {
            if let Some(trace) = self.trace {
                trace.sent(&format_args!("-ERR {text}"));
            }
            self.byte_queue.send(scratch, |out| encode::error(out, text));
        }
        let label = self.label;
        match fault {
            // NATS 2.14: an error for the client, no log line.
            ClientFault::InvalidPublishSubject | ClientFault::InvalidSubject => {}
            // NATS 2.14: port probes are not logged.
            ClientFault::AuthenticationTimeout
            | ClientFault::AuthenticationExpired
            | ClientFault::AccountExpired
            | ClientFault::AuthenticationRevoked
            | ClientFault::StaleConnection
            | ClientFault::TlsRequired(_)
            | ClientFault::TlsTimeout
            | ClientFault::Throttled => {
                tracing::debug!(client = %label, "{fault}");
            }
            ClientFault::AuthorizationViolation
            | ClientFault::ProxyRequired
            | ClientFault::ProxyNotTrusted => {
                let claim = label.claim().map(|claim| format!(" - {claim}")).unwrap_or_default();
                tracing::error!(client = %label, "{fault}{claim}");
            }
            // NATS 2.14: the server's line, not the client's.
            ClientFault::SubscriptionRevoked { .. } => {
                let claim = label.claim().unwrap_or_else(|| "N/A".to_owned());
                tracing::info!("{fault} for {claim} - not authorized");
            }
            ClientFault::UnknownOperation => {
                tracing::error!(client = %label, "{fault}, proto='\"{}\"...'", snippet(input));
            }
            ClientFault::BadArguments(_) | ClientFault::BadSize(_) => {
                tracing::error!(client = %label, "{fault}: {}", Quoted::from(arguments(input)));
            }
            _ => tracing::error!(client = %label, "{fault}"),
        }
        close
    }

    /// Logs the close.
    pub(super) fn log_end(&self, reason: CloseReason) {
        let Self { label, byte_queue, .. } = self;
        super::super::slow::log_end(label, byte_queue, reason);
        tracing::debug!(client = %label, "Client connection closed: {reason}");
    }
}

impl ClientSession {
    /// Logs that the input violated the protocol of its transport, so that nothing more can be read.
    // NATS 2.14: client.go readLoop.
    pub fn log_read_error(&self, why: &dyn fmt::Display) {
        tracing::error!(client = %self.label(), "read error: {why}");
    }
}

/// Returns the part of the input that shows which protocol a misdirected client uses: of text the first
/// word, of anything else up to [`SNIPPET_BYTES`].
///
/// Credentials follow a verb, or are in JSON: an unknown operation may be a mistyped CONNECT, a request of
/// HTTP or the login of another protocol. The CONNECT of MQTT has a password in its first bytes; only its
/// header is shown.
fn snippet(input: &[u8]) -> Escaped<'_> {
    let shown = &input[..input.len().min(SNIPPET_BYTES)];
    let is_text = shown.first().is_some_and(u8::is_ascii_graphic);
    let ends_word = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'{' | b'?' | b'"');
    let len = if is_text {
        shown.iter().position(ends_word)
    } else {
        // Protocol name, version and flags: see MQTT 3.1 to 5.0, "CONNECT".
        [&b"MQTT"[..], b"MQIsdp"].iter().find_map(|name| {
            let at = shown.windows(name.len()).position(|window| window == *name)?;
            Some(at + name.len())
        })
    };
    Escaped(&shown[..len.unwrap_or(shown.len())])
}

/// Returns the text between the verb and the end of the line.
fn arguments(input: &[u8]) -> &[u8] {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let verb = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    line[verb.len()..].trim_ascii()
}
