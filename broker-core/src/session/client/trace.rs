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
        tracing::trace!(client = %label, "{way} MSG_PAYLOAD: [{:?}]", text(message.body));
    }

    pub(super) fn trace_out(&self, said: &str) {
        if self.is_traced {
            tracing::trace!(client = %self.label(), "->> [{said}]");
        }
    }
}
