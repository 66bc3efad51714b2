//! Traces of the operations of a client.

use std::fmt::Write;

use super::ClientSession;
use crate::endpoint::Destination;
use crate::proto::json::{self, NotJson};
use crate::proto::{Op, Publish};
use crate::sync::Arc;
use crate::trace::Trace;

/// Traces an operation that is not a message.
pub(super) fn operation(trace: &Trace, op: &Op<'_>) {
    let text = |bytes| String::from_utf8_lossy(bytes);
    match *op {
        Op::Connect(json) => trace.received(&format_args!("CONNECT {}", connect(json))),
        Op::Subscribe { filter, queue: None, sid } => {
            trace.received(&format_args!("SUB {} {}", text(filter), text(sid)));
        }
        Op::Subscribe { filter, queue: Some(queue), sid } => {
            trace.received(&format_args!("SUB {} {} {}", text(filter), text(queue), text(sid)));
        }
        Op::Unsubscribe { sid, max: None } => trace.received(&format_args!("UNSUB {}", text(sid))),
        Op::Unsubscribe { sid, max: Some(max) } => {
            trace.received(&format_args!("UNSUB {} {max}", text(sid)));
        }
        Op::Ping => trace.received(&"PING"),
        Op::Pong => trace.received(&"PONG"),
        // NATS 2.14: operations of servers are not traced.
        Op::Info(_) | Op::Ok | Op::Err(_) | Op::Publish(_) => {}
    }
}

/// Traces a message without its payload.
pub(super) fn message(trace: &Trace, message: &Publish<'_>) {
    let text = |bytes| String::from_utf8_lossy(bytes);
    let verb = if message.header_len.is_some() { "HPUB" } else { "PUB" };
    let blank = if message.reply.is_empty() { "" } else { " " };
    trace.received(&format_args!(
        "{verb} {}{blank}{} {}",
        text(message.subject),
        text(message.reply),
        text(message.sizes)
    ));
}

/// Prints the JSON of CONNECT from the fields that are known to be no secret. Unknown fields are not
/// shown.
fn connect(json: &[u8]) -> String {
    let mut shown = String::from("{");
    let read = json::for_each_member(json, |key, value| {
        let value = match key {
            "pass" | "auth_token" | "sig" | "proxy_sig" | "jwt" => Ok("\"[REDACTED]\"".to_owned()),
            "verbose" | "pedantic" | "tls_required" | "echo" | "headers" | "no_responders"
            | "new_account" => value.bool().map(|value| value.to_string()),
            "protocol" => value.integer::<i64>().map(|value| value.to_string()),
            "user" | "nkey" | "name" | "lang" | "version" | "account" => {
                value.string().map(|value| serde_json::Value::String(value).to_string())
            }
            _ => Err(NotJson),
        };
        // Values of another type are not shown, like unknown fields.
        if let Ok(value) = value {
            let comma = if shown.len() > 1 { "," } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(shown, "{comma}\"{key}\":{value}");
        }
        Ok(())
    });
    if read.is_ok() { shown + "}" } else { "[REDACTED]".to_owned() }
}

impl ClientSession {
    /// Starts or stops tracing if the option has changed, and updates the label of the client.
    pub(super) fn follow_trace(&mut self) {
        let options = self.shared.options.load();
        let is_traced = options.trace;
        #[cfg(feature = "testing")]
        let is_traced = is_traced || self.shared.seam.wants_lines();
        let trace = is_traced.then(|| {
            let trace = Trace::new(self.label().to_string(), &options);
            #[cfg(feature = "testing")]
            let trace = trace.read_by(&self.shared.seam);
            Arc::new(trace)
        });
        self.byte_queue.set_trace(trace.clone());
        self.trace = trace;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_shown_in_its_order_without_secrets() {
        let json =
            br#"{"verbose":true,"user":"eva","Pass":"x","name":"a\"b","protocol":1,"echo":false}"#;
        let shown = r#"{"verbose":true,"user":"eva","pass":"[REDACTED]","name":"a\"b","protocol":1,"echo":false}"#;
        assert_eq!(connect(json), shown);
        assert_eq!(connect(br#"{"name":"svc-\ud83d"}"#), "{\"name\":\"svc-\u{fffd}\"}");
    }

    #[test]
    fn possible_secrets_are_not_shown() {
        for json in [
            r#"{"passwd":"marker"}"#,
            r#"{"pass":{"deep":"marker"}}"#,
            r#"{"name":["marker"]}"#,
            r#"{"user":{"pass":"marker"}}"#,
            r#"{"pass":"marker"#,
            "{\"pa\u{17f}s\":\"marker\"}",
            r#"{"pass":"marker"} x"#,
            r#""marker""#,
            r#"["marker"]"#,
            r#"{"marker":1}"#,
            r#"{"pass":"a","pass":"marker"}"#,
            r#"{"sig":"marker","jwt":"marker","auth_token":"marker"}"#,
        ] {
            assert!(!connect(json.as_bytes()).contains("marker"), "{json}");
        }
    }
}
