//! Messages to one stream beside those that it stores: acknowledgements, requests of consumers, direct gets.

use broker_core::{RawMessage, header_block};

use crate::cell::Cell;
use crate::config::Time;
use crate::config::version;
use crate::outbox::{Outbox, Outgoing};

const ACK: &[u8] = b"$JS.ACK.";
const FLOW_CONTROL: &[u8] = b"$JS.FC.";
const NEXT: &[u8] = b"$JS.API.CONSUMER.MSG.NEXT.";
const DIRECT: &[u8] = b"$JS.API.DIRECT.GET.";

/// Handles a message.
pub(super) fn handle(cell: &mut Cell, message: &RawMessage<'_>, now: Time, out: &mut dyn Outbox) {
    let subject = message.subject();
    let reply = message.reply().unwrap_or_default();
    if subject.starts_with(ACK) {
        cell.acknowledge(subject, (reply, message.payload()), now, out);
    } else if let Some(rest) = subject.strip_prefix(NEXT) {
        request_next(cell, rest, message, now, out);
    } else if let Some(rest) = subject.strip_prefix(FLOW_CONTROL) {
        if let Some(consumer) = consumer_of_flow(rest) {
            cell.flow_control(consumer, (subject, message.headers()), now, out);
        }
    } else if let Some(rest) = subject.strip_prefix(DIRECT) {
        direct_get(cell, rest, message, now, out);
    }
}

/// Returns the consumer in `<stream>.<consumer>.<token>`, which `<domain>.<account>.` may precede.
fn consumer_of_flow(rest: &[u8]) -> Option<&[u8]> {
    rest.split(|byte| *byte == b'.').rev().nth(1)
}

/// Handles a request for messages of a consumer: `rest` is `<stream>.<consumer>`.
// NATS 2.14: consumer.go processNextMsgReq.
fn request_next(
    cell: &mut Cell,
    rest: &[u8],
    message: &RawMessage<'_>,
    now: Time,
    out: &mut dyn Outbox,
) {
    let Some(reply) = message.reply() else { return };
    let Some(consumer) = rest.split(|byte| *byte == b'.').nth(1) else { return };
    let is_push = std::str::from_utf8(consumer)
        .ok()
        .and_then(|name| cell.consumer(name))
        .is_some_and(|consumer| consumer.delivers_to().is_some());
    if is_push {
        status(reply, "409 Consumer is push based", out);
    } else if exceeds_level(message) {
        status(reply, "412 Required Api Level", out);
    } else {
        cell.request(consumer, (reply, message.payload()), now, out);
    }
}

/// Handles a direct get: `rest` is `<stream>` or `<stream>.<subject>`.
// NATS 2.14: stream.go processDirectGetRequest, processDirectGetLastBySubjectRequest.
fn direct_get(
    cell: &mut Cell,
    rest: &[u8],
    message: &RawMessage<'_>,
    now: Time,
    out: &mut dyn Outbox,
) {
    let Some(reply) = message.reply() else { return };
    if exceeds_level(message) {
        return status(reply, "412 Required Api Level", out);
    }
    let subject = rest.iter().position(|byte| *byte == b'.').map(|at| &rest[at + 1..]);
    cell.direct_request((message.payload(), subject), reply, now, out);
}

/// Returns true if a message asks for a higher level of the API than this server has.
fn exceeds_level(message: &RawMessage<'_>) -> bool {
    let headers = message.headers();
    !headers.is_empty()
        && version::exceeds_level(header_block::value(
            headers,
            version::REQUIRED_LEVEL_HEADER.as_bytes(),
        ))
}

/// Answers with a status line.
fn status(reply: &[u8], text: &str, out: &mut dyn Outbox) {
    let headers = format!("NATS/1.0 {text}\r\n\r\n");
    out.send(&Outgoing {
        to: reply,
        subject: reply,
        headers: headers.as_bytes(),
        ..Outgoing::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_flow_control_names_its_consumer_in_both_forms() {
        assert_eq!(consumer_of_flow(b"S.C.abcd"), Some(&b"C"[..]));
        assert_eq!(consumer_of_flow(b"hub.hash.S.C.abcd"), Some(&b"C"[..]));
        assert_eq!(consumer_of_flow(b"abcd"), None);
    }
}
