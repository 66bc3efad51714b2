//! The first message of consumers, and their selection of messages.

use super::*;

/// Returns the sequences that a consumer delivers.
fn sequences(bench: &mut Bench) -> Vec<u64> {
    bench.request("r", "100");
    let pending = bench.sent().into_iter().map(|sent| sent.numbers().1);
    pending.collect()
}

#[test]
fn the_deliver_policy_decides_the_first_message() {
    let subjects = ["a", "b", "a", "c", "b"];
    let base = pull_config;
    let filter = |config: ConsumerConfig| ConsumerConfig { filter_subject: "a".into(), ..config };
    for (config, expected) in [
        (base(), &[1, 2, 3, 4, 5][..]),
        (ConsumerConfig { deliver_policy: DeliverPolicy::Last, ..base() }, &[5]),
        (filter(ConsumerConfig { deliver_policy: DeliverPolicy::Last, ..base() }), &[3]),
        (ConsumerConfig { deliver_policy: DeliverPolicy::New, ..base() }, &[]),
        (
            ConsumerConfig {
                deliver_policy: DeliverPolicy::ByStartSequence,
                start_sequence: 4,
                ..base()
            },
            &[4, 5],
        ),
        (
            ConsumerConfig {
                deliver_policy: DeliverPolicy::ByStartTime,
                start_time: Some(START),
                ..base()
            },
            &[1, 2, 3, 4, 5],
        ),
        (
            ConsumerConfig {
                deliver_policy: DeliverPolicy::ByStartTime,
                start_time: Some(START.plus(1)),
                ..base()
            },
            &[],
        ),
        (ConsumerConfig { deliver_policy: DeliverPolicy::LastPerSubject, ..base() }, &[3, 4, 5]),
        (filter(ConsumerConfig { deliver_policy: DeliverPolicy::LastPerSubject, ..base() }), &[3]),
        (filter(base()), &[1, 3]),
        (ConsumerConfig { filter_subjects: vec!["a".into(), "c".into()], ..base() }, &[1, 3, 4]),
        (ConsumerConfig { filter_subject: ">".into(), ..base() }, &[1, 2, 3, 4, 5]),
    ] {
        let policy = config.deliver_policy;
        let mut bench = Bench::new(config, &subjects);
        assert_eq!(bench.info().num_pending, expected.len() as u64, "{policy:?}");
        assert_eq!(sequences(&mut bench), expected, "{policy:?}");
        assert_eq!(bench.info().num_pending, 0, "{policy:?}");
        bench.publish(&["a"]);
        assert_eq!(bench.sent()[0].numbers().1, 6, "{policy:?}");
    }
}

#[test]
fn a_start_in_the_future_is_waited_for() {
    let config = ConsumerConfig {
        deliver_policy: DeliverPolicy::ByStartSequence,
        start_sequence: 4,
        ..pull_config()
    };
    let mut bench = Bench::new(config, &["a"]);
    bench.restart();
    bench.request("r", "10");
    bench.publish(&["a", "a", "a", "a"]);
    let sent = bench.sent();
    assert_eq!(sent[0].numbers(), (1, 4, 1, 0));
    assert_eq!(sent.len(), 2);
}

#[test]
fn the_last_of_each_subject_come_before_new_messages() {
    let config = ConsumerConfig { deliver_policy: DeliverPolicy::LastPerSubject, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b", "a", "c", "b", "d"]);
    bench.publish(&["a", "c"]);
    assert_eq!(bench.info().num_pending, 6);
    bench.request("r", "1");
    // Removed: one of the last ones, one before, one after.
    bench.remove(5);
    bench.remove(1);
    bench.remove(7);
    assert_eq!(bench.info().num_pending, 3);
    bench.restart();
    assert_eq!(bench.info().num_pending, 3);
    bench.request("r", "10");
    let sequences: Vec<_> = bench.sent().iter().map(|sent| sent.numbers().1).collect();
    assert_eq!(sequences, [3, 4, 6, 8]);
    assert_eq!(bench.info().num_pending, 0);
}

#[test]
fn a_stream_of_one_message_a_subject_needs_no_search() {
    let mut storage = MemoryStorage::new();
    store(&mut storage, &["a", "b"], START);
    let config = ConsumerConfig { deliver_policy: DeliverPolicy::LastPerSubject, ..pull_config() };
    let view = View { storage: &storage, visible: 2 };
    let scope = Scope { is_one_per_subject: true, ..scope() };
    let consumer = Consumer::create(scope, config, view, START);
    assert!(consumer.last_ones.is_none());
    assert_eq!(consumer.next, 1);
}

#[test]
fn a_purge_moves_consumers_behind_what_was_removed() {
    let mut bench = Bench::new(pull_config(), &["a", "a", "a", "a"]);
    bench.request("r", "2");
    bench.sent();
    bench.storage.remove_before(5).unwrap();
    bench.clear(None);
    let info = bench.info();
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0));
    assert_eq!((info.delivered.stream, info.ack_floor.stream), (4, 4));
    assert_eq!((info.delivered.consumer, info.ack_floor.consumer), (2, 2));
    bench.pass(0);
    assert_eq!(bench.events(), [""; 0]);
    assert_eq!(bench.info().ack_floor.last, Some(START));
    bench.request("r", "1");
    bench.publish(&["b"]);
    assert_eq!(bench.sent()[0].numbers(), (1, 5, 3, 0));
}

#[test]
fn a_start_behind_the_last_message_outlives_a_restart() {
    let config = ConsumerConfig {
        deliver_policy: DeliverPolicy::ByStartSequence,
        start_sequence: 6,
        ..pull_config()
    };
    let mut bench = Bench::new(config, &["a", "b"]);
    bench.restart();
    let info = bench.info();
    assert_eq!((info.delivered.stream, info.ack_floor.stream, info.num_pending), (5, 5, 0));
    bench.publish(&["c", "d", "e", "f"]);
    bench.request("r", "10");
    assert_eq!(bench.sent()[0].numbers(), (1, 6, 1, 0));
}

/// As nats-server 2.14.5: `tests/interop/streams/dialogues/purges.txt`.
#[test]
fn a_purge_moves_the_floor_by_what_it_removes() {
    let mut bench = Bench::new(pull_config(), &["a"; 8]);
    bench.request("r", "5");
    let sent = bench.sent();
    bench.ack(&sent[1], "+ACK");
    bench.ack(&sent[2], "+ACK");
    let mut purge = |before: u64| {
        bench.storage.remove_before(before).unwrap();
        bench.clear(None);
        let info = bench.info();
        (info.ack_floor.consumer, info.ack_floor.stream, info.num_ack_pending)
    };
    assert_eq!(purge(2), (3, 3, 2), "two of the others are acknowledged");
    assert_eq!(purge(4), (1, 3, 2), "both are removed, and neither was pending");
    assert_eq!(purge(5), (4, 4, 1));
    assert_eq!(purge(9), (5, 8, 0));
}

#[test]
fn a_purge_of_other_subjects_leaves_a_consumer_as_it_is() {
    let config = ConsumerConfig { filter_subject: "b".into(), ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b"]);
    bench.storage.remove(1, false).unwrap();
    bench.clear(Some("a"));
    let info = bench.info();
    assert_eq!((info.delivered.stream, info.ack_floor.stream, info.num_pending), (0, 0, 1));
    bench.clear(Some("*"));
    assert_eq!(bench.info().delivered.stream, 1);
}

#[test]
fn a_purge_of_one_subject_leaves_others() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "a", "b"]);
    bench.request("r", "2");
    bench.sent();
    for sequence in [1, 3] {
        bench.storage.remove(sequence, false).unwrap();
    }
    bench.clear(Some("a"));
    let info = bench.info();
    assert_eq!((info.num_pending, info.num_ack_pending), (1, 1));
    bench.request("r", "10");
    bench.pass(31 * SECOND);
    assert_eq!(bench.texts(), ["r: b", "r: b", "r: b"]);

    let config = ConsumerConfig { filter_subject: "a".into(), ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b", "a", "b"]);
    for sequence in [1, 3] {
        bench.storage.remove(sequence, false).unwrap();
    }
    bench.clear(Some("a"));
    let info = bench.info();
    assert_eq!((info.num_pending, info.delivered.stream, info.ack_floor.stream), (0, 4, 4));
}
