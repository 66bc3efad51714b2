//! What a client is told about what it does, and what the log is told.

use std::fmt;

use super::{ClientSession, Served};
use crate::error::{ClientFault, CloseReason, Escaped, Said};
use crate::outlet::{WireOutlet, Work};
use crate::proto::{ConnectOptions, encode};
use crate::receiver::Receiver;
use crate::sync::Arc;
use crate::trace::Trace;

/// How many bytes of what could not be parsed the log shows.
// NATS 2.14: PROTO_SNIPPET_SIZE.
const SNIPPET_BYTES: usize = 32;

/// A client, as far as logs name it.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) receiver: &'a Receiver,
    pub(super) served: Option<&'a Served>,
    pub(super) options: &'a ConnectOptions,
}

/// Address and number; once the client is let in also its program and its user.
// NATS 2.14: client.go processConnect.
impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.receiver, f)?;
        let Some(served) = self.served else { return Ok(()) };
        let ConnectOptions { version, lang, name, .. } = self.options;
        let version = if version.is_empty() { String::new() } else { format!("v{version}") };
        let program: Vec<&str> =
            [&*version, lang, name].into_iter().filter(|part| !part.is_empty()).collect();
        if !program.is_empty() {
            write!(f, " - {}", Said::from(&*program.join(":")))?;
        }
        if let Some(user) = self.user(served) {
            write!(f, " - {}", Said::from(&*format!("{}/{user}", served.account.name)))?;
        }
        Ok(())
    }
}

impl Who<'_> {
    fn user(&self, served: &Served) -> Option<String> {
        let ConnectOptions { nkey, user, .. } = self.options;
        if !nkey.is_empty() {
            return Some(format!("nkey:{nkey}"));
        }
        if !user.is_empty() {
            return Some(format!("user:{user}"));
        }
        if self.options.has_token() {
            return Some("token".to_owned());
        }
        served.user.as_ref().map(|user| format!("user:{user}"))
    }

    /// As monitoring shows it.
    // NATS 2.14: client.go getRawAuthUser.
    pub(super) fn shown_user(&self) -> Option<Arc<str>> {
        let ConnectOptions { nkey, user, .. } = self.options;
        match (&**nkey, &**user) {
            ("", "") if self.options.has_token() => Some("[REDACTED]".into()),
            ("", "") => self.served.and_then(|served| served.user.clone()),
            ("", user) => Some(user.into()),
            (nkey, _) => Some(nkey.into()),
        }
    }

    /// Whom a client said it was.
    // NATS 2.14: client.go getAuthUser.
    fn claim(&self) -> Option<String> {
        let ConnectOptions { nkey, user, .. } = self.options;
        if !nkey.is_empty() {
            Some(format!("Nkey {}", Said::from(&**nkey)))
        } else if !user.is_empty() {
            Some(format!("User {}", Said::from(&**user)))
        } else if self.options.has_token() {
            Some("Token \"[REDACTED]\"".to_owned())
        } else {
            None
        }
    }
}

/// Speaks to a client. Everything but messages is said here, and traced.
#[derive(Clone, Copy)]
pub(super) struct Voice<'a> {
    pub(super) who: Who<'a>,
    pub(super) outlet: &'a WireOutlet,
    pub(super) trace: Option<&'a Trace>,
}

impl Voice<'_> {
    pub(super) fn ok(&self, work: &mut Work) {
        self.say("OK", encode::OK, work);
    }

    pub(super) fn ping(&self, work: &mut Work) {
        self.say("PING", encode::PING, work);
    }

    pub(super) fn pong(&self, work: &mut Work) {
        self.say("PONG", encode::PONG, work);
    }

    fn say(&self, name: &str, line: &[u8], work: &mut Work) {
        if let Some(trace) = self.trace {
            trace.told(&name);
        }
        self.outlet.send(work, |out| out.extend_from_slice(line));
    }

    /// Tells the client of its fault, and the log, and why the connection must end, if it must.
    /// `input`: what came from the client and was at fault, if it could not be read.
    pub(super) fn fault(
        &self,
        fault: &ClientFault,
        input: &[u8],
        work: &mut Work,
    ) -> Option<CloseReason> {
        let (text, close) = fault.answer();
        if let Some(text) = &text {
            if let Some(trace) = self.trace {
                trace.told(&format_args!("-ERR {text}"));
            }
            self.outlet.send(work, |out| encode::error(out, text));
        }
        let who = self.who;
        match fault {
            // NATS 2.14: the client is told, the log is not.
            ClientFault::InvalidPublishSubject | ClientFault::InvalidSubject => {}
            // NATS 2.14: who probes a port is not worth a line.
            ClientFault::AuthenticationTimeout
            | ClientFault::StaleConnection
            | ClientFault::TlsRequired(_)
            | ClientFault::TlsTimeout
            | ClientFault::Throttled => {
                tracing::debug!(client = %who, "{fault}");
            }
            ClientFault::AuthorizationViolation => {
                let claim = who.claim().map(|claim| format!(" - {claim}")).unwrap_or_default();
                tracing::error!(client = %who, "{fault}{claim}");
            }
            // NATS 2.14: the server's line, not the client's.
            ClientFault::SubscriptionRevoked { .. } => {
                let claim = who.claim().unwrap_or_else(|| "N/A".to_owned());
                tracing::info!("{fault} for {claim} - not authorized");
            }
            ClientFault::UnknownOperation => {
                tracing::error!(client = %who, "{fault}, proto='\"{}\"...'", snippet(input));
            }
            ClientFault::BadArguments(_) | ClientFault::BadSize(_) => {
                tracing::error!(client = %who, "{fault}: {}", Said::from(arguments(input)));
            }
            _ => tracing::error!(client = %who, "{fault}"),
        }
        close
    }

    /// The log's last words on the client.
    pub(super) fn log_end(&self, reason: CloseReason) {
        let Self { who, outlet, .. } = self;
        match reason {
            CloseReason::SlowConsumerPendingBytes => {
                let max = outlet.max_pending_bytes();
                tracing::info!(client = %who, "Slow Consumer Detected: MaxPending of {max} Exceeded");
            }
            CloseReason::SlowConsumerWriteDeadline => {
                let (pieces, bytes) = outlet.left_behind();
                tracing::info!(
                    client = %who,
                    "Slow Consumer Detected: WriteDeadline of {:?} exceeded with {pieces} chunks of \
                     {bytes} total bytes.",
                    outlet.max_wait()
                );
            }
            _ => {}
        }
        tracing::debug!(client = %who, "Client connection closed: {reason}");
    }
}

impl ClientSession {
    /// Logs that what the client sent broke the protocol of its carrier, so that nothing more can be read.
    // NATS 2.14: client.go readLoop.
    pub fn log_read_error(&self, why: &dyn fmt::Display) {
        tracing::error!(client = %self.who(), "read error: {why}");
    }
}

/// What shows the operator which protocol a misdirected client speaks: of text the first word, of anything
/// else up to [`SNIPPET_BYTES`].
///
/// Credentials stand behind a verb, or in JSON: what is no operation may be a mistyped CONNECT, a request of
/// HTTP or the login of another protocol. The CONNECT of MQTT carries a password in its first bytes; only its
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

/// What stands between the verb and the end of the line.
fn arguments(input: &[u8]) -> &[u8] {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let verb = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    line[verb.len()..].trim_ascii()
}
