//! The measured traffic: publishers, receivers and messages.

use broker_core::account::Mapping;

use super::chunk::{at_most, at_random, publish, publish_with_headers, repeated};
use super::routes::{Hop, RouteParsing};
use super::sessions::Sessions;

const SUBJECT: &str = "bench.subject";
const MAPPED: &str = "old.subject";
const REPLY: &str = "_INBOX.Tf8sk2QwYz0Lr5VbNc1mXa.4711";

/// Small messages per read, for scenarios in which each differs.
const READ_MESSAGES: usize = 1000;

/// Enough different subjects that few are still cached when they recur.
const ROUND_MESSAGES: usize = 128 * READ_MESSAGES;

pub(crate) fn publish_to_nobody_16_bytes() -> Sessions {
    Sessions::sending(repeated(&publish(SUBJECT, "", 16)))
}

pub(crate) fn one_to_one(payload_bytes: usize) -> Sessions {
    one_to_one_of(&publish(SUBJECT, "", payload_bytes))
}

pub(crate) fn one_to_one_128_bytes_with_reply() -> Sessions {
    one_to_one_of(&publish(SUBJECT, REPLY, 128))
}

pub(crate) fn one_to_one_128_bytes_with_headers() -> Sessions {
    one_to_one_of(&publish_with_headers(SUBJECT, 128))
}

fn one_to_one_of(message: &[u8]) -> Sessions {
    Sessions::sending(repeated(message)).heard_by(1, b"SUB bench.subject 1\r\n", 1)
}

/// Consecutive control lines differ, so that each must be parsed.
pub(crate) fn one_to_one_of_10_to_99_bytes() -> Sessions {
    let messages = at_random(90).take(READ_MESSAGES).map(|more| publish(SUBJECT, "", 10 + more));
    Sessions::sending(at_most(READ_MESSAGES / 2, messages)).heard_by(
        1,
        b"SUB bench.subject 1\r\n",
        1,
    )
}

/// As at low rates, or if each message awaits a reply: nothing is shared between messages.
pub(crate) fn one_to_one_16_bytes_each_read_by_itself() -> Sessions {
    let messages = std::iter::repeat_n(publish(SUBJECT, "", 16), 64);
    Sessions::sending(at_most(1, messages)).heard_by(1, b"SUB bench.subject 1\r\n", 1)
}

/// Mapped to the subject of the other scenarios.
pub(crate) fn mapped_16_bytes() -> Sessions {
    Sessions::sending(repeated(&publish(MAPPED, "", 16)))
        .heard_by(1, b"SUB bench.subject 1\r\n", 1)
        .mapped_by(Mapping::to("old.*", "bench.$1"))
}

/// As [`one_to_one_16_bytes_each_read_by_itself`], mapped.
pub(crate) fn mapped_16_bytes_each_read_by_itself() -> Sessions {
    let messages = std::iter::repeat_n(publish(MAPPED, "", 16), 64);
    Sessions::sending(at_most(1, messages))
        .heard_by(1, b"SUB bench.subject 1\r\n", 1)
        .mapped_by(Mapping::to("old.*", "bench.$1"))
}

/// Mapped to one of two subjects by chance, which ends most runs after two messages.
pub(crate) fn mapped_by_weight_16_bytes() -> Sessions {
    let weighted = Mapping::builder("old.*").to("bench.a.$1", 50).to("bench.b.$1", 50).build();
    Sessions::sending(repeated(&publish(MAPPED, "", 16)))
        .heard_by(1, b"SUB bench.> 1\r\n", 1)
        .mapped_by(weighted)
}

/// Measured per delivery.
pub(crate) fn fan_out(listeners: usize, payload_bytes: usize) -> Sessions {
    let messages = std::iter::repeat_n(publish(SUBJECT, "", payload_bytes), 100);
    let subscribe = b"SUB bench.subject 1\r\n";
    Sessions::sending(at_most(100, messages)).heard_by(listeners, subscribe, listeners)
}

pub(crate) fn queue_group_of_10() -> Sessions {
    let messages = repeated(&publish(SUBJECT, "", 16));
    Sessions::sending(messages).heard_by(10, b"SUB bench.subject workers 1\r\n", 1)
}

pub(crate) fn ten_thousand_subjects_into_a_wildcard() -> Sessions {
    let messages = (0..10_000).map(|number| publish(&format!("bench.{number:04}"), "", 16));
    let chunks = at_most(READ_MESSAGES, messages);
    Sessions::sending(chunks).heard_by(1, b"SUB bench.* 1\r\n", 1)
}

/// A request of a client that subscribes for each reply.
pub(crate) fn subscribe_request_unsubscribe() -> Sessions {
    let requests = (0..READ_MESSAGES).map(|number| {
        let inbox = format!("_INBOX.Tf8sk2QwYz0Lr5VbNc{number:04}");
        let subscribe = format!("SUB {inbox} {number}\r\n").into_bytes();
        let unsubscribe = format!("UNSUB {number}\r\n").into_bytes();
        [subscribe, publish("service", &inbox, 16), unsubscribe].concat()
    });
    let chunks = at_most(READ_MESSAGES / 2, requests);
    Sessions::sending(chunks).heard_by(1, b"SUB service 1\r\n", 1)
}

/// Returns an `RMSG` of the global account with 16 bytes. `between`: what stands between subject and size, with a
/// blank behind.
fn routed(subject: &str, between: &str) -> Vec<u8> {
    format!("RMSG $G {subject} {between}16\r\n0123456789abcdef\r\n").into_bytes()
}

pub(crate) fn parse_rmsg() -> RouteParsing {
    RouteParsing::of(repeated(&routed(SUBJECT, "")))
}

pub(crate) fn parse_rmsg_with_reply_and_queue() -> RouteParsing {
    RouteParsing::of(repeated(&routed(SUBJECT, &format!("+ {REPLY} workers "))))
}

pub(crate) fn parse_interest() -> RouteParsing {
    RouteParsing::of(repeated(b"RS+ $G orders.*.new workers 3\r\n"))
}

pub(crate) fn client_to_route() -> Hop {
    Hop::out(repeated(&publish(SUBJECT, "", 16)), b"RS+ $G bench.subject\r\n")
}

pub(crate) fn client_to_route_each_read_by_itself() -> Hop {
    let messages = std::iter::repeat_n(publish(SUBJECT, "", 16), 64);
    Hop::out(at_most(1, messages), b"RS+ $G bench.subject\r\n")
}

/// The way of payloads that are copied to a receiver, and that cost more than the rest.
pub(crate) fn client_to_route_1_kib() -> Hop {
    Hop::out(repeated(&publish(SUBJECT, "", 1024)), b"RS+ $G bench.subject\r\n")
}

pub(crate) fn route_to_client_1_kib() -> Hop {
    let message = format!("RMSG $G {SUBJECT} 1024\r\n{}\r\n", "x".repeat(1024));
    Hop::into_client(repeated(message.as_bytes()), b"SUB bench.subject 1\r\n")
}

pub(crate) fn client_to_queue_behind_route() -> Hop {
    Hop::out(repeated(&publish(SUBJECT, "", 16)), b"RS+ $G bench.subject workers 3\r\n")
}

pub(crate) fn route_to_client() -> Hop {
    Hop::into_client(repeated(&routed(SUBJECT, "")), b"SUB bench.subject 1\r\n")
}

pub(crate) fn route_to_client_each_read_by_itself() -> Hop {
    let messages = std::iter::repeat_n(routed(SUBJECT, ""), 64);
    Hop::into_client(at_most(1, messages), b"SUB bench.subject 1\r\n")
}

pub(crate) fn route_to_queue() -> Hop {
    let messages = repeated(&routed(SUBJECT, "| workers "));
    Hop::into_client(messages, b"SUB bench.subject workers 1\r\n")
}

pub(crate) fn ten_thousand_subjects_of_route_into_a_wildcard() -> Hop {
    let messages = (0..10_000).map(|number| routed(&format!("bench.{number:04}"), ""));
    Hop::into_client(at_most(READ_MESSAGES, messages), b"SUB bench.* 1\r\n")
}

/// Publishes randomly to that many subjects, far more than a session caches, each with its own
/// subscription.
pub(crate) fn literal_subscriptions(count: usize) -> Sessions {
    let subscribe: String =
        (0..count).map(|number| format!("SUB {} {number}\r\n", literal(number))).collect();
    let messages = at_random(count).map(|number| publish(&literal(number), "", 0));
    Sessions::sending(at_most(READ_MESSAGES, messages.take(ROUND_MESSAGES))).heard_by(
        1,
        subscribe.as_bytes(),
        1,
    )
}

/// The same for wildcard subscriptions; each message has another subject, so that all are looked
/// up.
pub(crate) fn wildcard_subscriptions(count: usize) -> Sessions {
    Sessions::sending(to_wildcards(count)).heard_by(1, wildcards(count).as_bytes(), 1)
}

/// Wildcard subscriptions beside unused literal ones.
pub(crate) fn literal_and_wildcard_subscriptions(literals: usize, count: usize) -> Sessions {
    let subscribe: String =
        (0..literals).map(|number| format!("SUB {} {number}\r\n", literal(number))).collect();
    wildcard_subscriptions(count).heard_by(1, subscribe.as_bytes(), 0)
}

fn literal(number: usize) -> String {
    format!("sensors.{:03}.{:04}", number / 10_000, number % 10_000)
}

/// Half of them have one wildcard in the middle, half another one at the end.
fn wildcards(count: usize) -> String {
    let filter = |number: usize| match number % 2 {
        0 => format!("orders.*.{number:05}"),
        _ => format!("orders.*.{number:05}.>"),
    };
    (0..count).map(|number| format!("SUB {} {number}\r\n", filter(number))).collect()
}

fn to_wildcards(count: usize) -> Vec<super::chunk::Chunk> {
    let messages = at_random(count).take(ROUND_MESSAGES).enumerate().map(|(at, number)| {
        let end = if number % 2 == 0 { "" } else { ".new" };
        publish(&format!("orders.{at:06}.{number:05}{end}"), "", 0)
    });
    at_most(READ_MESSAGES, messages)
}
