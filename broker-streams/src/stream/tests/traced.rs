//! Traced messages: what a stream reports about them.

use broker_core::StreamReport;

use super::*;
use crate::config::{Discard, Retention, TransformConfig};

impl Bench {
    /// Publishes a traced message. Returns the answer and the report: the subject, interest and error.
    fn trace(&mut self, subject: &str, fields: &str, only: bool) -> (String, String) {
        let headers = format!("NATS/1.0\r\nNats-Trace-Dest: t\r\n{fields}\r\n");
        let headers = headers.replace('|', "\r\n");
        let message = Incoming {
            subject: subject.as_bytes(),
            headers: headers.as_bytes(),
            payload: b"x",
            ..Incoming::default()
        };
        let (answer, report) =
            self.with(|stream, context| stream.publish_traced(&message, only, context));
        let mut out = Vec::new();
        let is_answered = self.stream.encode(&answer, &mut out);
        let answer = if is_answered { String::from_utf8(out).unwrap() } else { "none".into() };
        let StreamReport { subject, no_interest, error } = report;
        (answer, format!("{subject}|{no_interest}|{}", error.unwrap_or_default()))
    }

    fn reason(&mut self, fields: &str) -> String {
        self.trace("a", &format!("{fields}|"), false).1
    }
}

#[test]
fn a_traced_message_is_stored_as_one_that_is_not() {
    let mut bench = Bench::new(StreamConfig::default());
    assert_eq!(bench.trace("a", "X: y|", false), (ack(1), "a|false|".into()));
    let headers = "NATS/1.0\r\nX: y\r\nNats-Trace-Dest: trace disabled\r\n\r\n";
    assert_eq!(bench.message(1), (headers.into(), "x".into()));
    bench.publish("a", "Nats-Trace-Dest: to nowhere|X: y", "1");
    let headers = "NATS/1.0\r\nNats-Trace-Dest: to nowhere\r\nX: y\r\n\r\n";
    assert_eq!(bench.message(2).0, headers, "it was not traced");
}

#[test]
fn a_message_that_is_only_traced_is_checked_and_not_stored() {
    let transform = TransformConfig { source: "a".into(), destination: "b.c".into() };
    let mut bench = Bench::new(StreamConfig {
        subject_transform: Some(transform),
        duplicate_window: 10 * SECOND,
        ..StreamConfig::default()
    });
    assert_eq!(bench.trace("a", "Nats-Msg-Id: 1|", true), ("none".into(), "b.c|false|".into()));
    assert_eq!(bench.trace("a", "Nats-Msg-Id: 1|", true), ("none".into(), "b.c|false|".into()));
    assert!(bench.sequences().is_empty());
    assert_eq!(bench.trace("a", "Nats-Msg-Id: 1|", false), (ack(1), "b.c|false|".into()));
    let (answer, report) = bench.trace("a", "Nats-Msg-Id: 1|", true);
    assert_eq!(answer, r#"{"stream":"S","seq":1,"duplicate": true}"#);
    assert_eq!(report, "|false|msgid is duplicate");
}

#[test]
fn reasons_are_those_of_the_reference() {
    let mut bench = Bench::new(StreamConfig {
        max_message_size: 150,
        max_messages: 1,
        discard: Discard::New,
        ..StreamConfig::default()
    });
    bench.publish("a", "Nats-Msg-Id: m", "");
    for (fields, reason) in [
        ("Nats-Expected-Stream: X", "|false|expected stream does not match"),
        ("Nats-TTL: 5s", "|false|message TTL disabled"),
        ("Nats-Expected-Last-Sequence: 7", "|false|last sequence mismatch: 7 vs 1"),
        (
            "Nats-Expected-Last-Subject-Sequence: 7",
            "|false|last sequence by subject mismatch: 7 vs 1",
        ),
        (
            "Nats-Expected-Last-Subject-Sequence: 1|Nats-Expected-Last-Sequence: 7",
            "|false|last sequence mismatch: 7 vs 1",
        ),
        ("Nats-Expected-Last-Msg-Id: y", "|false|last msgid mismatch: \"y\" vs \"m\""),
        ("Nats-Rollup: sub", "|false|rollup not permitted"),
        ("Nats-Incr: 1", "|false|message counters is disabled (10168)"),
        (&format!("X: {}", "x".repeat(150)), "|false|maximum payload exceeded"),
        ("X: y", "a|false|maximum messages exceeded"),
    ] {
        assert_eq!(bench.reason(fields), reason, "{fields}");
    }
}

#[test]
fn a_message_that_no_consumer_wants_is_reported_so() {
    let mut bench =
        Bench::new(StreamConfig { retention: Retention::Interest, ..StreamConfig::default() });
    assert_eq!(bench.trace("a", "X: y|", false).1, "a|true|");
    bench.told.wanted.push("a");
    assert_eq!(bench.trace("a", "X: y|", true).1, "a|false|");
}

#[test]
fn a_message_of_a_batch_that_is_only_traced_does_not_count_in_it() {
    let mut bench = Bench::new(StreamConfig { allow_atomic: true, ..StreamConfig::default() });
    let first = "Nats-Batch-Id: b|Nats-Batch-Sequence: 1|Nats-Batch-Commit: 1|";
    assert_eq!(bench.trace("a", first, true), ("none".into(), "a|false|".into()));
    assert!(bench.sequences().is_empty());
    let (answer, report) = bench.trace("a", first, false);
    assert_eq!(
        (&*answer, &*report),
        (r#"{"stream":"S","seq":1,"batch":"b","count":1}"#, "a|false|")
    );
}
