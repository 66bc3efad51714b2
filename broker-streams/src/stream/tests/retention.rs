use super::*;
use crate::config::Discard;

fn subjects(bench: &mut Bench, subjects: &str) {
    for subject in subjects.split(' ') {
        bench.publish(subject, "", "12345678");
    }
}

#[test]
fn old_messages_make_room_for_new_ones() {
    let mut bench = Bench::new(StreamConfig { max_messages: 2, ..StreamConfig::default() });
    subjects(&mut bench, "a b c d");
    assert_eq!(bench.sequences(), [3, 4]);
    assert_eq!(bench.told.removed, [(1, "a".into()), (2, "b".into())]);
    // Each message counts 25 bytes.
    let mut bench = Bench::new(StreamConfig { max_bytes: 50, ..StreamConfig::default() });
    subjects(&mut bench, "a b c");
    assert_eq!(bench.sequences(), [2, 3]);
    bench.publish("a", "", &"x".repeat(100));
    assert_eq!(bench.sequences(), [] as [u64; 0]);
    // The message that has not been reported as stored is not reported as removed.
    assert_eq!((bench.told.removed.len(), bench.told.cleared), (3, 1));
}

#[test]
fn each_subject_has_its_limit() {
    let config = StreamConfig { max_messages_per_subject: 2, ..StreamConfig::default() };
    let mut bench = Bench::new(config);
    subjects(&mut bench, "a a b a a b b");
    assert_eq!(bench.sequences(), [4, 5, 6, 7]);
}

#[test]
fn new_messages_are_refused() {
    let failed = |text: &str| refused(ApiError::stream_store_failed(text));
    let config = StreamConfig { discard: Discard::New, ..StreamConfig::default() };
    let mut bench = Bench::new(StreamConfig { max_messages: 1, ..config.clone() });
    subjects(&mut bench, "a");
    assert_eq!(bench.publish("a", "", ""), failed("maximum messages exceeded"));
    let mut bench = Bench::new(StreamConfig { max_bytes: 30, ..config.clone() });
    subjects(&mut bench, "a");
    assert_eq!(bench.publish("a", "", ""), failed("maximum bytes exceeded"));
    let config = StreamConfig { max_messages_per_subject: 1, ..config };
    let mut bench = Bench::new(StreamConfig { max_messages: 1, ..config.clone() });
    subjects(&mut bench, "a");
    // The message replaces another one.
    assert_eq!(bench.publish("a", "", ""), ack(2));
    assert_eq!(bench.publish("b", "", ""), failed("maximum messages exceeded"));
    let mut bench = Bench::new(StreamConfig { discard_new_per_subject: true, ..config });
    subjects(&mut bench, "a");
    assert_eq!(bench.publish("a", "", ""), failed("maximum messages per subject exceeded"));
    assert_eq!(bench.publish("b", "", ""), ack(2));
}

#[test]
fn a_message_replaces_those_before_it() {
    let mut bench = Bench::new(StreamConfig { allow_rollup: true, ..StreamConfig::default() });
    subjects(&mut bench, "a b a");
    assert_eq!(bench.publish("a", "Nats-Rollup: SUB", ""), ack(4));
    assert_eq!(bench.sequences(), [2, 4]);
    assert_eq!((bench.told.removed.len(), bench.told.cleared), (0, 1), "both at once");
    assert_eq!(bench.publish("c", "Nats-Rollup: all", ""), ack(5));
    assert_eq!(bench.sequences(), [5]);
    let invalid = refused(ApiError::stream_rollup_failed("rollup value invalid: \\\"x\\\""));
    assert_eq!(bench.publish("c", "Nats-Rollup: X", ""), invalid);
}

#[test]
fn messages_are_purged_by_subject_sequence_and_number() {
    let purge = |request: PurgeRequest| {
        let mut bench = Bench::new(StreamConfig::default());
        subjects(&mut bench, "a.1 b a.2 b a.1");
        let purged = bench.with(|stream, context| stream.purge(&request, context)).unwrap();
        (purged, bench.sequences(), bench.stream.state().last_sequence)
    };
    let all = PurgeRequest::default();
    let of = |subject: &str| PurgeRequest { subject: subject.into(), ..PurgeRequest::default() };
    assert_eq!(purge(all.clone()), (5, vec![], 5));
    assert_eq!(purge(of(">")), (5, vec![], 5));
    assert_eq!(purge(of("a.*")), (3, vec![2, 4], 5));
    assert_eq!(purge(of("b")), (2, vec![1, 3, 5], 5));
    assert_eq!(purge(of("c")), (0, vec![1, 2, 3, 4, 5], 5));
    assert_eq!(purge(PurgeRequest { keep: 2, ..all.clone() }), (3, vec![4, 5], 5));
    assert_eq!(purge(PurgeRequest { keep: 1, ..of("a.*") }), (2, vec![2, 4, 5], 5));
    assert_eq!(purge(PurgeRequest { sequence: 1, ..all.clone() }), (0, vec![1, 2, 3, 4, 5], 5));
    assert_eq!(purge(PurgeRequest { sequence: 3, ..all.clone() }), (2, vec![3, 4, 5], 5));
    assert_eq!(purge(PurgeRequest { sequence: 3, ..of("b") }), (1, vec![1, 3, 4, 5], 5));
    // The next message has this sequence.
    assert_eq!(purge(PurgeRequest { sequence: 9, ..all }), (5, vec![], 8));
}

#[test]
fn a_large_purge_is_reported_at_once() {
    let mut bench = Bench::new(StreamConfig::default());
    for _ in 0..102 {
        subjects(&mut bench, "a b");
    }
    let request = PurgeRequest { subject: "a".into(), ..PurgeRequest::default() };
    let purged = bench.with(|stream, context| stream.purge(&request, context));
    assert_eq!(purged, Ok(102));
    assert_eq!((bench.told.removed.len(), bench.told.cleared), (0, 1));
}

#[test]
fn a_lower_limit_that_removes_many_messages_is_reported_at_once() {
    for (removed, told) in [(99, (99, 0)), (500, (100, 1))] {
        let mut bench = Bench::new(StreamConfig::default());
        for _ in 0..=removed {
            subjects(&mut bench, "a");
        }
        let config = StreamConfig { max_messages: 1, ..bench.stream.config().clone() };
        bench.with(|stream, context| stream.update(config, context)).unwrap();
        assert_eq!(bench.stream.state().messages, 1);
        assert_eq!((bench.told.removed.len(), bench.told.cleared), told);
    }
}

#[test]
fn a_message_is_removed_by_its_sequence() {
    let mut bench = Bench::new(StreamConfig::default());
    subjects(&mut bench, "a b");
    assert_eq!(bench.with(|stream, context| stream.remove(1, false, context)), Ok(true));
    assert_eq!(bench.with(|stream, context| stream.remove(1, true, context)), Ok(false));
    assert_eq!(bench.told.removed, [(1, "a".into())]);
    assert_eq!(bench.sequences(), [2]);
}

#[test]
fn messages_expire_by_age() {
    let mut bench = Bench::new(StreamConfig { max_age: 10 * SECOND, ..StreamConfig::default() });
    subjects(&mut bench, "a");
    assert_eq!(bench.stream.deadline(), Some(START.plus(10 * SECOND)));
    bench.tick(4);
    subjects(&mut bench, "b");
    bench.tick(6);
    assert_eq!(bench.sequences(), [2]);
    assert_eq!(bench.stream.deadline(), Some(START.plus(14 * SECOND)));
    bench.tick(3);
    assert_eq!(bench.sequences(), [2]);
    bench.tick(1);
    assert_eq!(bench.sequences(), [] as [u64; 0]);
    assert_eq!(bench.stream.deadline(), None);
    // Many are removed at once.
    for _ in 0..200 {
        subjects(&mut bench, "a");
    }
    bench.tick(10);
    assert_eq!((bench.told.removed.len(), bench.told.cleared), (2, 1));
    assert_eq!(bench.stream.state().messages, 0);
}

#[test]
fn age_applies_to_messages_from_before_a_restart() {
    let config = memory(StreamConfig { max_age: 10 * SECOND, ..StreamConfig::default() });
    let mut bench = Bench::new(config.clone());
    subjects(&mut bench, "a");
    bench.now = bench.now.plus(20 * SECOND);
    let storage = bench.stream.storage;
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    bench.tick(0);
    assert_eq!(bench.sequences(), [] as [u64; 0]);
}

#[test]
fn messages_have_times_to_live_of_their_own() {
    let config =
        StreamConfig { allow_message_ttl: true, max_age: 60 * SECOND, ..StreamConfig::default() };
    let mut bench = Bench::new(config.clone());
    bench.publish("never", "Nats-TTL: never", "");
    bench.publish("short", "Nats-TTL: 1s", "");
    bench.publish("plain", "", "");
    bench.publish("long", "Nats-TTL: 30", "");
    bench.tick(1);
    assert_eq!(bench.sequences(), [1, 3, 4]);
    let storage = bench.stream.storage;
    let config = memory(config);
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    bench.tick(29);
    assert_eq!(bench.sequences(), [1, 3]);
    bench.tick(29);
    assert_eq!(bench.sequences(), [1, 3]);
    bench.tick(1);
    assert_eq!(bench.sequences(), [1]);
    assert_eq!(bench.stream.deadline(), None);
    bench.publish("plain", "", "");
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus(60 * SECOND)));
    bench.tick(60);
    assert_eq!(bench.sequences(), [1]);
}

#[test]
fn an_expiry_is_forgotten_with_its_message() {
    let config = StreamConfig {
        allow_message_ttl: true,
        max_messages_per_subject: 1,
        ..StreamConfig::default()
    };
    let mut bench = Bench::new(config);
    for _ in 0..10 {
        bench.publish("a", "Nats-TTL: 10s", "");
    }
    bench.publish("a", "", "");
    assert_eq!(bench.stream.deadline(), None);
}

#[test]
fn a_marker_replaces_the_last_message_of_a_subject() {
    let config = StreamConfig {
        allow_message_ttl: true,
        allow_rollup: true,
        subject_delete_marker_ttl: 90 * SECOND,
        max_age: 10 * SECOND,
        ..StreamConfig::default()
    };
    let mut bench = Bench::new(config);
    subjects(&mut bench, "a b a");
    bench.tick(10);
    assert_eq!(bench.stored(), [(4, "b".into()), (5, "a".into())]);
    let marker =
        "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m30s\r\nNats-Rollup: sub\r\n\r\n";
    assert_eq!(bench.message(4), (marker.into(), String::new()));
    // A marker expires without another one: by age here.
    bench.tick(10);
    assert_eq!(bench.sequences(), [] as [u64; 0]);
    // Messages live as long as markers.
    bench.publish("c", "Nats-TTL: 1", "");
    assert_eq!(bench.message(6).0, "NATS/1.0\r\nNats-TTL: 90\r\n\r\n");
}

#[test]
fn a_smaller_limit_applies_at_once() {
    let mut bench = Bench::new(StreamConfig::default());
    subjects(&mut bench, "a b a b a");
    let mut update = |config: StreamConfig| {
        bench.with(|stream, context| stream.update(memory(config), context)).unwrap();
        bench.sequences()
    };
    assert_eq!(update(StreamConfig { max_messages: 4, ..Default::default() }), [2, 3, 4, 5]);
    let config = StreamConfig { max_messages_per_subject: 1, ..Default::default() };
    assert_eq!(update(config), [4, 5]);
    assert_eq!(update(StreamConfig { max_bytes: 30, ..Default::default() }), [5]);
    bench.tick(20);
    let config = memory(StreamConfig { max_age: 10 * SECOND, ..Default::default() });
    bench.with(|stream, context| stream.update(config, context)).unwrap();
    bench.tick(0);
    assert_eq!(bench.sequences(), [] as [u64; 0]);
}
