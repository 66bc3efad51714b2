use super::*;
use crate::config::{Republish, TransformConfig};

#[test]
fn subjects_are_changed_before_messages_are_stored() {
    let subject_transform =
        Some(TransformConfig { source: "in.*".into(), destination: "out.$1".into() });
    let mut bench = Bench::new(StreamConfig { subject_transform, ..StreamConfig::default() });
    bench.publish("in.a", "", "");
    bench.publish("other", "", "");
    let fields = "Nats-Expected-Last-Subject-Sequence: 1";
    assert_eq!(bench.publish("in.a", fields, ""), ack(3));
    assert_eq!(bench.stored(), [(1, "out.a".into()), (2, "other".into()), (3, "out.a".into())]);
}

#[test]
fn stored_messages_are_published_again() {
    let republish =
        Republish { source: "a.>".into(), destination: "copy.a.>".into(), headers_only: false };
    let mut bench =
        Bench::new(StreamConfig { republish: Some(republish.clone()), ..Default::default() });
    bench.publish("b", "", "");
    bench.publish("a.1", "", "x");
    bench.publish("a.1", "A: b", "y");
    let headers = |fields: &str, sequence, last| {
        format!(
            "NATS/1.0\r\n{fields}Nats-Stream: S\r\nNats-Subject: a.1\r\nNats-Sequence: {sequence}\r\n\
             Nats-Time-Stamp: 2023-11-14T22:13:20Z\r\nNats-Last-Sequence: {last}\r\n"
        )
    };
    let first = ("copy.a.1".into(), headers("", 2, 0) + "\r\n", "x".into());
    let second = ("copy.a.1".into(), headers("A: b\r\n", 3, 2) + "\r\n", "y".into());
    assert_eq!(bench.sent.0, [first, second]);
    let republish = Some(Republish { headers_only: true, ..republish });
    let config = memory(StreamConfig { republish, ..StreamConfig::default() });
    bench.with(|stream, context| stream.update(config, context)).unwrap();
    bench.publish("a.1", "", "xyz");
    let third = headers("", 4, 3) + "Nats-Msg-Size: 3\r\n\r\n";
    assert_eq!(bench.sent.0[2..], [("copy.a.1".into(), third, String::new())]);
}

#[test]
fn nothing_is_published_again_under_a_subject_with_white_space() {
    let republish = Republish {
        source: "a".into(),
        destination: "b\r\nPUB c 0\r\n".into(),
        headers_only: false,
    };
    let mut bench = Bench::new(StreamConfig { republish: Some(republish), ..Default::default() });
    assert_eq!(bench.publish("a", "", "x"), ack(1));
    assert_eq!(bench.sent.0, []);
}

#[test]
fn a_transform_that_is_none_is_refused() {
    let subject_transform = Some(TransformConfig { source: "a".into(), destination: "$1".into() });
    let config = memory(StreamConfig { subject_transform, ..StreamConfig::default() });
    let mut bench = Bench::new(StreamConfig::default());
    let updated = bench.with(|stream, context| stream.update(config, context));
    assert!(updated.is_err());
    assert_eq!(bench.publish("a", "", ""), ack(1));
}
