use super::*;

/// Publishes a message of an atomic batch: `id sequence` and more fields.
fn atomic(bench: &mut Bench, subject: &str, (id, sequence): (&str, u64), more: &str) -> String {
    let separator = if more.is_empty() { "" } else { "|" };
    let fields = format!("Nats-Batch-Id: {id}|Nats-Batch-Sequence: {sequence}{separator}{more}");
    bench.publish(subject, &fields, "x")
}

fn atomic_bench(config: StreamConfig) -> Bench {
    Bench::new(StreamConfig { allow_atomic: true, ..config })
}

fn batch_ack(sequence: u64, id: &str, count: u64) -> String {
    format!("{{\"stream\":\"S\",\"seq\":{sequence},\"batch\":\"{id}\",\"count\":{count}}}")
}

const COMMIT: &str = "Nats-Batch-Commit: 1";
const END: &str = "Nats-Batch-Commit: eob";

#[test]
fn a_batch_is_stored_as_a_whole() {
    let mut bench = atomic_bench(StreamConfig::default());
    assert_eq!(atomic(&mut bench, "a", ("1", 1), ""), "");
    assert_eq!(bench.publish("z", "", ""), ack(1));
    assert_eq!(atomic(&mut bench, "b", ("1", 2), ""), "");
    assert_eq!(bench.sequences(), [1]);
    assert_eq!(atomic(&mut bench, "c", ("1", 3), COMMIT), batch_ack(4, "1", 3));
    let stored = [(1, "z".into()), (2, "a".into()), (3, "b".into()), (4, "c".into())];
    assert_eq!(bench.stored(), stored);
    // The end is a message of its own.
    assert_eq!(atomic(&mut bench, "a", ("1", 1), ""), "");
    assert_eq!(atomic(&mut bench, "a", ("1", 2), END), batch_ack(5, "1", 1));
    let fields = "Nats-Batch-Id: 1\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1";
    assert_eq!(bench.message(5).0, format!("NATS/1.0\r\n{fields}\r\n\r\n"));
    // One message is a batch.
    assert_eq!(atomic(&mut bench, "a", ("2", 1), COMMIT), batch_ack(6, "2", 1));
    assert_eq!(bench.stream.deadline(), None);
}

#[test]
fn batches_are_refused() {
    let mut bench = Bench::new(StreamConfig::default());
    assert_eq!(atomic(&mut bench, "a", ("1", 1), ""), refused(ApiError::ATOMIC_PUBLISH_DISABLED));
    let mut bench = atomic_bench(StreamConfig::default());
    let id = "x".repeat(65);
    let invalid = refused(ApiError::ATOMIC_PUBLISH_INVALID_BATCH_ID);
    assert_eq!(atomic(&mut bench, "a", (&id, 1), ""), invalid);
    let missing = refused(ApiError::ATOMIC_PUBLISH_MISSING_SEQ);
    assert_eq!(bench.publish("a", "Nats-Batch-Id: 1", ""), missing);
    let incomplete = refused(ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
    assert_eq!(atomic(&mut bench, "a", ("1", 2), ""), incomplete);
    let large = refused(ApiError::atomic_publish_too_large_batch(1000));
    assert_eq!(atomic(&mut bench, "a", ("1", 1001), ""), large);
    assert_eq!(atomic(&mut bench, "a", ("1", 1001), END), incomplete);
    assert_eq!(atomic(&mut bench, "a", ("1", 1), END), incomplete);
    assert_eq!(
        atomic(&mut bench, "a", ("1", 1), "Nats-Batch-Commit: 2"),
        refused(ApiError::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT)
    );
    assert_eq!(
        atomic(&mut bench, "a", ("1", 1), "Nats-Required-Api-Level: 5"),
        refused(ApiError::REQUIRED_API_LEVEL)
    );
    assert_eq!(atomic(&mut bench, "a", ("1", 1), "Nats-Required-Api-Level: 4"), "");
    assert_eq!(atomic(&mut bench, "a", ("1", 3), ""), incomplete);
    assert_eq!(atomic(&mut bench, "a", ("1", 2), ""), incomplete);
    assert_eq!(bench.stream.state().last_sequence, 0);
    let reasons: Vec<_> =
        bench.sent.0.iter().map(|(_, _, json)| json.rsplit('"').nth(1).unwrap()).collect();
    assert_eq!(reasons, ["incomplete", "unsupported", "incomplete"]);
    for id in 0..50 {
        assert_eq!(atomic(&mut bench, "a", (&id.to_string(), 1), ""), "");
    }
    let many = refused(ApiError::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
    assert_eq!(atomic(&mut bench, "a", ("50", 1), ""), many);
}

#[test]
fn a_batch_waits_for_its_next_message_for_a_time() {
    let mut bench = atomic_bench(StreamConfig::default());
    atomic(&mut bench, "a", ("1", 1), "");
    bench.tick(9);
    assert_eq!(atomic(&mut bench, "a", ("1", 2), ""), "");
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus(10 * SECOND)));
    bench.tick(10);
    let incomplete = refused(ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
    assert_eq!(atomic(&mut bench, "a", ("1", 3), COMMIT), incomplete);
    let (to, _, json) = &bench.sent.0[0];
    assert_eq!(to, "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S");
    assert!(json.ends_with(r#""stream":"S","batch":"1","reason":"timeout"}"#), "{json}");
}

#[test]
fn a_batch_with_one_wrong_message_is_not_stored() {
    let wrong = |config: StreamConfig, messages: &[(&str, &str)]| {
        let mut bench = atomic_bench(config);
        bench.publish("old", "Nats-Msg-Id: old", "");
        let mut answer = String::new();
        for (index, (subject, more)) in messages.iter().enumerate() {
            let is_last = index + 1 == messages.len();
            let more = match (more.is_empty(), is_last) {
                (true, true) => COMMIT.into(),
                (_, false) => (*more).to_owned(),
                (false, true) => format!("{more}|{COMMIT}"),
            };
            answer = atomic(&mut bench, subject, ("1", index as u64 + 1), &more);
        }
        (answer, bench.stream.state().last_sequence)
    };
    let config = StreamConfig { duplicate_window: SECOND, ..StreamConfig::default() };
    let last = |sequence: u64| refused(ApiError::stream_wrong_last_sequence(sequence));
    let constant = || refused(ApiError::STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
    let duplicate = || refused(ApiError::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE);
    let of_all =
        "Nats-Expected-Last-Subject-Sequence: 0|Nats-Expected-Last-Subject-Sequence-Subject: *";
    for (messages, answer) in [
        (&[("a", "Nats-Msg-Id: 1"), ("b", "Nats-Msg-Id: 1")][..], duplicate()),
        (&[("a", ""), ("b", "Nats-Msg-Id: old")], duplicate()),
        (&[("a", "Nats-Expected-Last-Sequence: 0"), ("b", "")], last(1)),
        (&[("a", ""), ("b", "Nats-Expected-Last-Sequence: 1")], last(2)),
        (&[("a", ""), ("b", "Nats-Expected-Last-Sequence: 2")], constant()),
        (&[("a", ""), ("a", "Nats-Expected-Last-Subject-Sequence: 0")], constant()),
        (&[("a", ""), ("old", "Nats-Expected-Last-Subject-Sequence: 0")], last(1)),
        (&[("a", of_all), ("b", "")], last(1)),
        (&[("a", ""), ("b", "Nats-TTL: 1")], refused(ApiError::MESSAGE_TTL_DISABLED)),
        (
            &[("a", "Nats-Expected-Last-Msg-Id: x"), ("b", "")],
            refused(ApiError::atomic_publish_unsupported_header_batch("Nats-Expected-Last-Msg-Id")),
        ),
        (&[("a", ""), ("b", "Nats-Expected-Stream: T")], refused(ApiError::STREAM_NOT_MATCH)),
    ] {
        assert_eq!(wrong(config.clone(), messages), (answer, 1), "{messages:?}");
    }
    let config = StreamConfig { allow_rollup: true, ..config };
    let rollup = |text: &str| refused(ApiError::stream_rollup_failed(text));
    for (messages, answer) in [
        (&[("a", ""), ("a", "Nats-Rollup: sub")][..], rollup("batch rollup sub invalid")),
        (&[("a", ""), ("b", "Nats-Rollup: all")], rollup("batch rollup all invalid")),
    ] {
        assert_eq!(wrong(config.clone(), messages), (answer, 1), "{messages:?}");
    }
    let config = StreamConfig {
        discard: crate::config::Discard::New,
        max_messages: 2,
        ..StreamConfig::default()
    };
    let full = refused(ApiError::stream_store_failed("maximum messages exceeded"));
    assert_eq!(wrong(config, &[("a", ""), ("b", "")]), (full, 1));
}

#[test]
fn counters_of_a_batch_are_added_up() {
    let config = StreamConfig { allow_message_counter: true, ..StreamConfig::default() };
    let mut bench = atomic_bench(config);
    let mut add = |sequence, more: &str| {
        let fields = format!("Nats-Batch-Id: 1|Nats-Batch-Sequence: {sequence}|Nats-Incr: 2{more}");
        bench.publish("a", &fields, "")
    };
    assert_eq!(add(1, ""), "");
    assert_eq!(add(2, "|Nats-Batch-Commit: 1"), batch_ack(2, "1", 2));
    assert_eq!(bench.message(2).1, r#"{"val":"4"}"#);
}

#[test]
fn a_batch_that_a_crash_has_cut_is_removed() {
    let mut bench = atomic_bench(StreamConfig::default());
    atomic(&mut bench, "a", ("1", 1), COMMIT);
    atomic(&mut bench, "a", ("2", 1), "");
    atomic(&mut bench, "b", ("2", 2), "");
    atomic(&mut bench, "c", ("2", 3), COMMIT);
    // The end was not written.
    let mut storage = MemoryStorage::new();
    let mut buffer = Vec::new();
    for sequence in 1..=3 {
        let record = bench.stream.storage().load(sequence, &mut buffer).unwrap().unwrap();
        storage.append(&record).unwrap();
    }
    let bench = Bench::over(StreamConfig::default(), storage);
    assert_eq!(bench.sequences(), [1]);
    assert_eq!(bench.stream.state().last_sequence, 3);
}

/// Publishes a message of a fast batch. Returns the reports and the answer.
fn fast(bench: &mut Bench, operation: &str, headers: &str) -> Vec<String> {
    let reply = format!("_INBOX.x.{operation}.$FI");
    let headers = match headers {
        "" => String::new(),
        fields => format!("NATS/1.0\r\n{fields}\r\n\r\n"),
    };
    let message = Incoming {
        subject: b"a",
        reply: reply.as_bytes(),
        headers: headers.as_bytes(),
        payload: b"x",
    };
    bench.sent.0.clear();
    let answer = bench.answer(&message);
    let mut all: Vec<_> = bench.sent.0.iter().map(|(_, _, json)| json.clone()).collect();
    all.extend((answer != "none").then_some(answer));
    all
}

fn fast_bench() -> Bench {
    Bench::new(StreamConfig { allow_batched: true, duplicate_window: SECOND, ..Default::default() })
}

fn flow(sequence: u64, messages: u64) -> String {
    format!("{{\"type\":\"ack\",\"seq\":{sequence},\"msgs\":{messages}}}")
}

fn gap(last: u64, sequence: u64) -> String {
    format!("{{\"type\":\"gap\",\"last_seq\":{last},\"seq\":{sequence}}}")
}

const NONE: [String; 0] = [];

#[test]
fn progress_of_a_fast_batch_is_reported_in_groups() {
    let mut bench = fast_bench();
    assert_eq!(fast(&mut bench, "id.2.fail.1.0", ""), [flow(0, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.2.1", ""), [flow(2, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.3.1", ""), NONE);
    assert_eq!(fast(&mut bench, "id.2.fail.3.4", ""), [flow(2, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.4.1", ""), [flow(4, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.5.2", ""), [batch_ack(5, "id", 5)]);
    let unknown = refused(ApiError::BATCH_PUBLISH_UNKNOWN_BATCH_ID);
    assert_eq!(fast(&mut bench, "id.2.fail.6.1", ""), [unknown]);
    // The end may be a message that is not stored.
    assert_eq!(fast(&mut bench, "id.2.fail.1.0", ""), [flow(0, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.2.3", ""), [batch_ack(6, "id", 1)]);
    assert_eq!(fast(&mut bench, "id.2.fail.1.2", ""), [batch_ack(7, "id", 1)]);
    assert_eq!(bench.stream.state().messages, 7);
}

#[test]
fn publishers_share_the_flow() {
    let mut bench = fast_bench();
    assert_eq!(fast(&mut bench, "1.900.fail.1.0", ""), [flow(0, 500)]);
    assert_eq!(fast(&mut bench, "2.900.fail.1.0", ""), [flow(0, 1), flow(1, 2)]);
    assert_eq!(fast(&mut bench, "2.900.fail.2.1", ""), NONE);
    assert_eq!(fast(&mut bench, "2.900.fail.3.1", ""), [flow(3, 4)]);
}

#[test]
fn a_gap_ends_a_fast_batch_unless_it_may_have_one() {
    let mut bench = fast_bench();
    fast(&mut bench, "id.9.fail.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.fail.3.1", ""), [gap(2, 3), batch_ack(1, "id", 1)]);
    fast(&mut bench, "id.9.fail.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.fail.2.4", ""), [gap(2, 3), batch_ack(2, "id", 1)]);
    fast(&mut bench, "id.9.ok.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.ok.3.1", ""), [gap(2, 3)]);
    assert_eq!(fast(&mut bench, "id.9.ok.5.4", ""), [gap(4, 6), flow(0, 9)]);
    assert_eq!(fast(&mut bench, "id.9.ok.6.2", ""), [batch_ack(5, "id", 6)]);
    // Back is no gap.
    fast(&mut bench, "id.9.ok.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.ok.1.0", ""), [batch_ack(6, "id", 1)]);
}

#[test]
fn a_fast_batch_reports_messages_that_are_not_stored() {
    let mut bench = fast_bench();
    let error = ApiError::MESSAGE_TTL_DISABLED;
    let report = |sequence: u64| {
        let json = go_json(&error);
        format!("{{\"type\":\"err\",\"seq\":{sequence},\"error\":{json}}}")
    };
    let ttl = "Nats-TTL: 1";
    assert_eq!(fast(&mut bench, "id.9.fail.1.0", ttl), [flow(0, 9), refused(error.clone())]);
    fast(&mut bench, "id.9.fail.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.fail.2.1", ttl), [report(2), batch_ack(1, "id", 1)]);
    fast(&mut bench, "id.9.ok.1.0", "");
    assert_eq!(fast(&mut bench, "id.9.ok.2.1", ttl), [report(2)]);
    assert_eq!(fast(&mut bench, "id.9.ok.3.2", ""), [batch_ack(3, "id", 3)]);
    // Duplicates are no errors.
    let id = "Nats-Msg-Id: 1";
    fast(&mut bench, "id.2.fail.1.0", id);
    assert_eq!(fast(&mut bench, "id.2.fail.2.1", id), [flow(2, 2)]);
    assert_eq!(fast(&mut bench, "id.2.fail.3.2", id), [batch_ack(4, "id", 3)]);
    let duplicate = r#"{"stream":"S","seq":4,"duplicate": true,"batch":"id","count":1}"#;
    assert_eq!(fast(&mut bench, "id.2.fail.1.2", id), [duplicate]);
}

fn go_json(error: &ApiError) -> String {
    String::from_utf8(broker_core::go_json::compact(error).unwrap()).unwrap()
}

#[test]
fn fast_batches_are_refused() {
    let mut bench = Bench::new(StreamConfig::default());
    let disabled = refused(ApiError::BATCH_PUBLISH_DISABLED);
    assert_eq!(fast(&mut bench, "id.9.fail.1.0", ""), [disabled]);
    let mut bench = fast_bench();
    let invalid = refused(ApiError::BATCH_PUBLISH_INVALID_PATTERN);
    assert_eq!(fast(&mut bench, "id.9.x.1.0", ""), [invalid]);
    let id = "x".repeat(65);
    let invalid = refused(ApiError::BATCH_PUBLISH_INVALID_BATCH_ID);
    assert_eq!(fast(&mut bench, &format!("{id}.9.ok.1.0"), ""), [invalid]);
    let level = refused(ApiError::REQUIRED_API_LEVEL);
    assert_eq!(fast(&mut bench, "id.9.ok.1.0", "Nats-Required-Api-Level: 9"), [level]);
    // A batch that waits too long is forgotten.
    fast(&mut bench, "id.9.ok.1.0", "");
    bench.tick(10);
    let unknown = refused(ApiError::BATCH_PUBLISH_UNKNOWN_BATCH_ID);
    assert_eq!(fast(&mut bench, "id.9.ok.2.1", ""), [unknown]);
}
