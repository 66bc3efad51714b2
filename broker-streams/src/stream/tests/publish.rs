use super::*;

#[test]
fn a_message_is_stored_and_acknowledged() {
    let mut bench = Bench::new(StreamConfig::default());
    assert_eq!(bench.publish("a", "", "1"), ack(1));
    assert_eq!(bench.publish("b", "X: y", "2"), ack(2));
    assert_eq!(bench.message(2), ("NATS/1.0\r\nX: y\r\n\r\n".into(), "2".into()));
    let mut bench = Bench::new(StreamConfig { no_ack: true, ..StreamConfig::default() });
    assert_eq!(bench.publish("a", "", "1"), "none");
}

#[test]
fn an_acknowledgement_names_the_domain() {
    let options = Options { domain: "hub".into(), ..Options::default() };
    let storage = Box::new(MemoryStorage::new());
    let stream = Stream::open(memory(StreamConfig::default()), START, storage, options, START);
    let mut out = Vec::new();
    let answer = Answer::Ack(PubAck { sequence: 7, ..PubAck::default() });
    assert!(stream.unwrap().encode(&answer, &mut out));
    assert_eq!(out, br#"{"stream":"S","domain":"hub","seq":7}"#);
}

#[test]
fn an_id_is_stored_once_within_the_window() {
    let mut bench =
        Bench::new(StreamConfig { duplicate_window: 10 * SECOND, ..StreamConfig::default() });
    assert_eq!(bench.publish("a", "Nats-Msg-Id: 1", ""), ack(1));
    let duplicate = r#"{"stream":"S","seq":1,"duplicate": true}"#;
    assert_eq!(bench.publish("b", "Nats-Msg-Id: 1", ""), duplicate);
    bench.tick(9);
    assert_eq!(bench.publish("b", "Nats-Msg-Id: 1", ""), duplicate);
    bench.tick(1);
    assert_eq!(bench.publish("b", "Nats-Msg-Id: 1", ""), ack(2));
    assert_eq!(bench.sequences(), [1, 2]);
}

#[test]
fn ids_and_the_last_id_are_known_after_a_restart() {
    let config = memory(StreamConfig { duplicate_window: 10 * SECOND, ..Default::default() });
    let mut bench = Bench::new(config.clone());
    bench.publish("a", "Nats-Msg-Id: 1", "");
    bench.tick(5);
    bench.publish("a", "Nats-Msg-Id: 2", "");
    bench.tick(6);
    let storage = bench.stream.storage;
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    assert_eq!(
        bench.publish("a", "Nats-Msg-Id: 2", ""),
        r#"{"stream":"S","seq":2,"duplicate": true}"#
    );
    assert_eq!(
        bench.publish("a", "Nats-Expected-Last-Msg-Id: 1", ""),
        refused(ApiError::stream_wrong_last_msg_id("2"))
    );
    assert_eq!(bench.publish("a", "Nats-Expected-Last-Msg-Id: 2|Nats-Msg-Id: 1", ""), ack(3));
}

#[test]
fn expectations_are_checked() {
    let mut bench = Bench::new(StreamConfig::default());
    bench.publish("a", "", "");
    bench.publish("b", "", "");
    let last = |sequence: u64| refused(ApiError::stream_wrong_last_sequence(sequence));
    for (headers, answer) in [
        ("Nats-Expected-Stream: T", refused(ApiError::STREAM_NOT_MATCH)),
        ("Nats-Expected-Last-Sequence: 1", last(2)),
        ("Nats-Expected-Last-Sequence: 0", last(2)),
        ("Nats-Expected-Last-Sequence: x", last(2)),
        ("Nats-Expected-Last-Subject-Sequence: 2", last(1)),
        ("Nats-Expected-Last-Subject-Sequence: 0", last(1)),
        (
            "Nats-Expected-Last-Subject-Sequence: 1|Nats-Expected-Last-Subject-Sequence-Subject: b",
            last(2),
        ),
        (
            "Nats-Expected-Last-Subject-Sequence: 0|Nats-Expected-Last-Subject-Sequence-Subject: *",
            last(2),
        ),
        (
            "Nats-Expected-Last-Subject-Sequence: 0|Nats-Expected-Last-Subject-Sequence-Subject: a.>|\
             Nats-Expected-Last-Sequence: 1",
            last(2),
        ),
        (
            "Nats-Expected-Last-Subject-Sequence-Subject: b",
            refused(ApiError::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID),
        ),
        ("Nats-Expected-Last-Msg-Id: x", refused(ApiError::stream_wrong_last_msg_id(""))),
        ("Nats-TTL: 1s", refused(ApiError::MESSAGE_TTL_DISABLED)),
        ("Nats-TTL: x", refused(ApiError::MESSAGE_TTL_INVALID)),
        ("Nats-Rollup: sub", refused(ApiError::stream_rollup_failed("rollup not permitted"))),
        ("Nats-Incr: 1", refused(ApiError::MESSAGE_INCR_DISABLED)),
        ("Nats-Incr: x", refused(ApiError::MESSAGE_INCR_INVALID)),
    ] {
        assert_eq!(bench.publish("a", headers, ""), answer, "{headers}");
    }
    let fields = "Nats-Expected-Stream: S|Nats-Expected-Last-Sequence: 2|\
                  Nats-Expected-Last-Subject-Sequence: 1|Nats-Expected-Last-Msg-Id:";
    assert_eq!(bench.publish("a", fields, ""), ack(3));
    let fields = "Nats-Expected-Last-Subject-Sequence: 0";
    assert_eq!(bench.publish("new", fields, ""), ack(4));
}

#[test]
fn the_subject_of_an_expectation_may_have_wildcards() {
    let mut bench = Bench::new(StreamConfig::default());
    for subject in ["a.1.x", "a.1.y", "a.2.x"] {
        bench.publish(subject, "", "");
    }
    let mut publish = |filter: &str, sequence: u64| {
        let expected = format!("Nats-Expected-Last-Subject-Sequence: {sequence}");
        let of = format!("Nats-Expected-Last-Subject-Sequence-Subject: {filter}");
        bench.publish("a.1.z", &format!("{expected}|{of}"), "")
    };
    let last = |sequence: u64| refused(ApiError::stream_wrong_last_sequence(sequence));
    for (filter, sequence) in [("a.1.*", 2), ("a.*.x", 3), ("a.>", 3), (">", 3), ("a.*", 0)] {
        assert_eq!(publish(filter, 77), last(sequence), "{filter}");
    }
    assert_eq!(publish("a.1.*", 0), last(2));
    assert_eq!(publish("a.1.*", 2), ack(4));
    assert_eq!(publish("a.1.*", 4), ack(5));
    assert_eq!(publish("b.*", 0), ack(6));
}

#[test]
fn a_sealed_stream_takes_nothing() {
    let mut bench = Bench::new(StreamConfig { sealed: true, ..StreamConfig::default() });
    assert_eq!(bench.publish("a", "", ""), refused(ApiError::STREAM_SEALED));
    let purged = bench.with(|stream, context| stream.purge(&PurgeRequest::default(), context));
    assert!(purged.is_err());
}

#[test]
fn sizes_are_limited() {
    let mut bench = Bench::new(StreamConfig { max_message_size: 20, ..StreamConfig::default() });
    let exceeds = refused(ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    assert_eq!(bench.publish("a", "", &"x".repeat(21)), exceeds);
    assert_eq!(bench.publish("a", "A: b", "xxx"), exceeds);
    assert_eq!(bench.publish("a", "", &"x".repeat(20)), ack(1));
    let mut bench = Bench::new(StreamConfig::default());
    let long = format!("A: {}", "x".repeat(65_600));
    assert_eq!(bench.publish("a", &long, ""), refused(ApiError::STREAM_HEADER_EXCEEDS_MAXIMUM));
}

#[test]
fn there_must_be_room_in_the_server_and_the_account() {
    let mut bench = Bench::new(StreamConfig::default());
    bench.room.account = 16;
    assert_eq!(bench.publish("a", "", ""), refused(ApiError::ACCOUNT_RESOURCES_EXCEEDED));
    bench.room.server = 16;
    assert_eq!(bench.publish("a", "", ""), refused(ApiError::INSUFFICIENT_RESOURCES));
    bench.room = Room::default();
    assert_eq!(bench.publish("a", "", ""), ack(1));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut storage = NaiveStorage::default();
    storage.is_full = true;
    let mut bench = Bench::over(StreamConfig::default(), storage);
    let answer = bench.publish("a", "Nats-Msg-Id: 1", "");
    assert!(answer.contains("\"err_code\":10077"), "{answer}");
    bench.stream.storage = Box::new(MemoryStorage::new());
    assert_eq!(bench.publish("a", "Nats-Msg-Id: 1", ""), ack(1));
}

#[test]
fn messages_that_no_consumer_wants_use_a_sequence() {
    let config = StreamConfig {
        retention: crate::config::Retention::Interest,
        duplicate_window: SECOND,
        ..StreamConfig::default()
    };
    let mut bench = Bench::new(config);
    bench.told.wanted = vec!["a"];
    assert_eq!(bench.publish("b", "Nats-Msg-Id: 1", ""), ack(1));
    let first = bench.stream.state().last_time;
    assert_eq!(first, bench.now);
    assert_eq!(bench.publish("a", "", ""), ack(2));
    assert_eq!(bench.sequences(), [2]);
    let duplicate = r#"{"stream":"S","seq":1,"duplicate": true}"#;
    assert_eq!(bench.publish("b", "Nats-Msg-Id: 1", ""), duplicate);
}

#[test]
fn counters_are_added_up() {
    let mut bench =
        Bench::new(StreamConfig { allow_message_counter: true, ..StreamConfig::default() });
    assert_eq!(bench.publish("a", "", ""), refused(ApiError::MESSAGE_INCR_MISSING));
    assert_eq!(bench.publish("a", "Nats-Incr: 1", "x"), refused(ApiError::MESSAGE_INCR_PAYLOAD));
    let fields = "Nats-Incr: 1|Nats-Expected-Last-Sequence: 0";
    assert_eq!(bench.publish("a", fields, ""), refused(ApiError::MESSAGE_INCR_INVALID));
    let counted = |sequence, value| format!(r#"{{"stream":"S","seq":{sequence},"val":"{value}"}}"#);
    assert_eq!(bench.publish("a", "Nats-Incr: +1", ""), counted(1, "1"));
    assert_eq!(bench.publish("a", "Nats-Incr: 9", ""), counted(2, "10"));
    assert_eq!(bench.publish("b", "Nats-Incr: -3", ""), counted(3, "-3"));
    assert_eq!(
        bench.publish("a", "Nats-Incr: 18446744073709551616", ""),
        counted(4, "18446744073709551626")
    );
    assert_eq!(bench.message(2).1, r#"{"val":"10"}"#);
    assert_eq!(bench.message(2).0, "NATS/1.0\r\nNats-Incr: 9\r\n\r\n");
}

#[test]
fn the_first_sequence_can_be_set() {
    let mut bench = Bench::new(StreamConfig { first_sequence: 100, ..StreamConfig::default() });
    assert_eq!(bench.stream.state().first_sequence, 100);
    assert_eq!(bench.publish("a", "", ""), ack(100));
}
