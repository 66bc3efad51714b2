//! What a traced client says and is told, for the log. Credentials are left out.

use super::ClientSession;
use crate::proto::{Op, Publish};

impl ClientSession {
    pub(super) fn trace_op(&self, op: &Op<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = match op {
            // What it means is logged, not what it said: any part of that may be a secret.
            Op::Connect(_) => String::from("CONNECT"),
            Op::Subscribe { filter, queue: None, sid } => {
                format!("SUB {} {}", text(filter), text(sid))
            }
            Op::Subscribe { filter, queue: Some(queue), sid } => {
                format!("SUB {} {} {}", text(filter), text(queue), text(sid))
            }
            Op::Unsubscribe { sid, max: None } => format!("UNSUB {}", text(sid)),
            Op::Unsubscribe { sid, max: Some(max) } => format!("UNSUB {} {max}", text(sid)),
            Op::Ping => String::from("PING"),
            Op::Pong => String::from("PONG"),
            Op::Info(_) => String::from("INFO"),
            Op::Ok => String::from("OK"),
            Op::Err(error) => format!("-ERR {}", text(error)),
            Op::Publish(_) => return,
        };
        tracing::trace!(client = %self.label(), "<<- [{said}]");
    }

    pub(super) fn trace_message(&self, way: &str, message: &Publish<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let verb = if message.header_len.is_some() { "HPUB" } else { "PUB" };
        let reply = if message.reply.is_empty() {
            String::new()
        } else {
            format!(" {}", text(message.reply))
        };
        let label = self.label();
        tracing::trace!(
            client = %label,
            "{way} [{verb} {}{reply} {}]",
            text(message.subject),
            text(message.sizes)
        );
        if let Some(shown) = payload(message.body, self.shared.options.load().max_traced_msg_len) {
            tracing::trace!(client = %label, "{way} MSG_PAYLOAD: [{shown}]");
        }
    }

    pub(super) fn trace_out(&self, said: &str) {
        if self.is_traced {
            tracing::trace!(client = %self.label(), "->> [{said}]");
        }
    }
}

/// A payload in quotes, of at most `max` bytes unless that is 0. An empty one is not worth a line.
// NATS 2.14: client.go traceMsgInternal.
fn payload(body: &[u8], max: usize) -> Option<String> {
    let (shown, more) = match body {
        [] => return None,
        _ if max > 0 && body.len() > max => (&body[..max], "..."),
        _ => (body, ""),
    };
    Some(format!("\"{}{more}\"", String::from_utf8_lossy(shown).escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_payload_is_cut_if_asked_for() {
        assert_eq!(payload(b"Hello", 0).as_deref(), Some("\"Hello\""));
        assert_eq!(payload(b"Hello", 5).as_deref(), Some("\"Hello\""));
        assert_eq!(payload(b"Hello", 4).as_deref(), Some("\"Hell...\""));
        assert_eq!(payload(b"", 4), None);
    }

    #[test]
    fn a_payload_cannot_end_the_line_it_is_shown_in() {
        assert_eq!(payload(b"a\"\r\n\xff", 0).as_deref(), Some("\"a\\\"\\r\\n\u{fffd}\""));
    }
}
