//! Acknowledgements and redelivery.

use super::*;

fn floor(bench: &mut Bench) -> (u64, u64) {
    let floor = bench.info().ack_floor;
    (floor.consumer, floor.stream)
}

#[test]
fn the_floor_follows_the_first_unacknowledged_message() {
    let mut bench = Bench::new(pull_config(), &["a", "a", "a", "a"]);
    bench.request("r", "4");
    let sent = bench.sent();
    let outcome = bench.ack(&sent[1], "+ACK");
    assert!(outcome.delivered.is_some());
    assert_eq!(outcome, AckOutcome { respond: true, deliver: false, ..outcome });
    assert_eq!(floor(&mut bench), (0, 0));
    bench.ack(&sent[0], "");
    assert_eq!(floor(&mut bench), (2, 2));
    bench.ack(&sent[3], "+OK");
    assert_eq!((floor(&mut bench), bench.info().num_ack_pending), ((2, 2), 1));
    bench.ack(&sent[2], "");
    assert_eq!(floor(&mut bench), (4, 4));
    let again = bench.ack(&sent[2], "");
    assert!(again.respond && again.delivered.is_none());
}

#[test]
fn acknowledgements_of_messages_that_were_not_delivered_are_ignored() {
    let mut bench = Bench::new(pull_config(), &["a", "a"]);
    bench.request("r", "1");
    for subject in ["$JS.ACK.S.C.1.2.2.0.0", "$JS.ACK.S.C.1.0.0.0.0", "$JS.ACK.S.C.1.x.1.0.0"] {
        let sent = Sent { reply: subject.into(), ..Sent::default() };
        assert!(!bench.ack(&sent, "").respond, "{subject}");
    }
    assert_eq!(bench.info().num_ack_pending, 1);
    assert_eq!(floor(&mut bench), (0, 0));
}

#[test]
fn one_acknowledgement_covers_all_before() {
    let config = ConsumerConfig { ack_policy: AckPolicy::All, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "a", "a", "a"]);
    bench.request("r", "4");
    let sent = bench.sent();
    bench.ack(&sent[2], "");
    assert_eq!((floor(&mut bench), bench.info().num_ack_pending), ((3, 3), 1));
    assert!(bench.ack(&sent[0], "").respond);
    assert_eq!(floor(&mut bench), (3, 3));
    // A number of a delivery that was not made changes no more than the sequence allows.
    let forged = Sent { reply: "$JS.ACK.S.C.1.4.99999.0.0".into(), ..Sent::default() };
    bench.ack(&forged, "");
    assert_eq!(floor(&mut bench), (4, 4));
}

#[test]
fn without_acknowledgements_messages_are_done_when_they_are_sent() {
    let config = ConsumerConfig {
        ack_policy: AckPolicy::None,
        ack_wait: 0,
        max_ack_pending: 0,
        ..pull_config()
    };
    let mut bench = Bench::new(config, &["a", "a"]);
    bench.request("r", "2");
    assert_eq!(bench.info().num_ack_pending, 0);
    assert_eq!(floor(&mut bench), (2, 2));
    assert_eq!(bench.consumer.deadline(), None);
}

#[test]
fn unacknowledged_messages_are_delivered_again_in_order() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "c"]);
    bench.request("r", "3");
    let sent = bench.sent();
    bench.ack(&sent[1], "");
    bench.request("s", "5");
    bench.pass(30 * SECOND);
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(MILLI);
    let sent = bench.sent();
    let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
    assert_eq!(numbers, [(2, 1, 4, 0), (2, 3, 5, 0)]);
    assert_eq!(bench.info().num_redelivered, 2);
    bench.ack(&sent[0], "");
    assert_eq!(bench.info().num_redelivered, 1);
    bench.ack(&sent[1], "");
    assert_eq!((floor(&mut bench), bench.info().num_redelivered), ((5, 3), 0));
}

#[test]
fn progress_postpones_the_redelivery() {
    let mut bench = Bench::new(pull_config(), &["a"]);
    bench.request("r", "2");
    let sent = bench.sent();
    bench.pass(20 * SECOND);
    assert!(bench.ack(&sent[0], "+WPI").respond);
    bench.pass(29 * SECOND);
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(2 * SECOND);
    assert_eq!(bench.texts(), ["r: a"]);
}

#[test]
fn the_backoff_decides_the_waits() {
    let config =
        ConsumerConfig { backoff: vec![SECOND, 5 * SECOND], ack_wait: SECOND, ..pull_config() };
    let mut bench = Bench::new(config, &["a"]);
    bench.request("r", "9");
    bench.sent();
    for wait in [SECOND, 5 * SECOND, 5 * SECOND] {
        bench.pass(wait - MILLI);
        assert_eq!(bench.texts(), [""; 0]);
        bench.pass(2 * MILLI);
        assert_eq!(bench.texts(), ["r: a"]);
    }
}

#[test]
fn messages_are_delivered_no_more_often_than_allowed() {
    for max_deliver in [1, 3] {
        let config = ConsumerConfig { max_deliver, ..pull_config() };
        let mut bench = Bench::new(config, &["a", "b"]);
        bench.request("r", "1");
        bench.request("r", "{\"batch\":10}");
        bench.pass(31 * SECOND * max_deliver + SECOND);
        let deliveries = bench.sent().len() as i64;
        assert_eq!(deliveries, 2 * max_deliver);
        let advisory = bench.out.events[0].1.clone();
        assert_eq!(advisory["type"], "io.nats.jetstream.advisory.v1.max_deliver");
        assert_eq!(
            (&advisory["stream_seq"], &advisory["deliveries"]),
            (&1.into(), &max_deliver.into())
        );
        assert_eq!(bench.events(), ["MAX_DELIVERIES", "MAX_DELIVERIES"]);
        let info = bench.info();
        assert_eq!(info.num_ack_pending, 0);
        assert_eq!(info.num_redelivered, if max_deliver == 1 { 0 } else { 2 });
        assert_eq!((info.ack_floor.consumer, info.ack_floor.stream), (0, 0));
        // A stream that keeps messages by interest keeps them.
        assert!(bench.consumer.needs(1, b"a"));
        bench.restart();
        assert!(bench.consumer.needs(1, b"a"));
        bench.pass(100 * SECOND);
        assert_eq!(bench.texts(), [""; 0]);
        bench.publish(&["c"]);
        bench.request("s", "1");
        let sent = bench.sent();
        bench.ack(&sent[0], "");
        assert_eq!(floor(&mut bench).1, 3, "the next acknowledgement moves it");
    }
}

#[test]
fn a_negative_acknowledgement_delivers_again_at_once_or_later() {
    let mut bench = Bench::new(pull_config(), &["a", "b"]);
    bench.request("r", "10");
    let sent = bench.sent();
    assert!(bench.ack(&sent[1], "-NAK").respond);
    assert_eq!(bench.texts(), ["r: b"]);
    let event = bench.out.events[0].1.clone();
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.nak");
    assert_eq!((&event["consumer_seq"], &event["stream_seq"]), (&2.into(), &2.into()));
    assert_eq!(event["deliveries"], 1);

    for delay in ["-NAK {\"delay\": 2000000000}", "-NAK 2s"] {
        bench.ack(&sent[0], delay);
        bench.pass(1999 * MILLI);
        assert_eq!(bench.texts(), [""; 0]);
        bench.pass(2 * MILLI);
        assert_eq!(bench.texts(), ["r: a"]);
    }
    // A delay that cannot be read is none.
    bench.ack(&sent[0], "-NAK soon");
    assert_eq!(bench.texts(), ["r: a"]);
    bench.ack(&sent[0], "");
    bench.ack(&sent[0], "-NAK");
    assert_eq!(bench.texts(), [""; 0]);
}

#[test]
fn a_terminated_message_is_not_delivered_again() {
    let mut bench = Bench::new(pull_config(), &["a"]);
    bench.request("r", "10");
    let sent = bench.sent();
    assert!(bench.ack(&sent[0], "+TERM  too large ").respond);
    let event = bench.out.events[0].1.clone();
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.terminated");
    assert_eq!(event["reason"], "too large");
    assert_eq!(bench.events(), ["MSG_TERMINATED"]);
    bench.pass(100 * SECOND);
    assert_eq!(bench.texts(), [""; 0]);
    assert_eq!(floor(&mut bench), (1, 1));
}

#[test]
fn an_acknowledgement_can_ask_for_more() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "c"]);
    bench.request("r", "1");
    let sent = bench.sent();
    assert!(!bench.ack(&sent[0], "+NXT").respond);
    assert_eq!(bench.texts(), ["answer: b"]);
    bench.ack(&sent[0], "+NXT {\"batch\":2}");
    assert_eq!(bench.texts(), ["answer: c"]);
    assert_eq!((bench.info().num_waiting, bench.info().num_ack_pending), (1, 2));
}

#[test]
fn too_many_unacknowledged_messages_stop_the_delivery() {
    let config = ConsumerConfig { max_ack_pending: 2, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b", "c", "d"]);
    bench.request("r", "{\"batch\":10,\"no_wait\":true}");
    let sent = bench.sent();
    assert_eq!(
        sent.len(),
        2,
        "a request that does not wait for messages waits for acknowledgements"
    );
    assert!(bench.ack(&sent[0], "").deliver);
    assert_eq!(bench.texts(), ["r: c"]);
    // A message that is delivered again does not count twice.
    bench.ack(&sent[1], "-NAK");
    assert_eq!(bench.texts(), ["r: b"]);
}

#[test]
fn samples_tell_how_long_acknowledgements_took() {
    let config = ConsumerConfig { sample_frequency: "100%".into(), ..pull_config() };
    let mut bench = Bench::new(config, &["a"]);
    bench.request("r", "1");
    let sent = bench.sent();
    bench.pass(3 * SECOND);
    bench.ack(&sent[0], "");
    let (subject, event) = bench.out.events.remove(0);
    assert_eq!(subject, "$JS.EVENT.METRIC.CONSUMER.ACK.S.C");
    assert_eq!(event["type"], "io.nats.jetstream.metric.v1.consumer_ack");
    assert_eq!((&event["ack_time"], &event["deliveries"]), (&(3 * SECOND).into(), &1.into()));
    assert_eq!(event["id"].as_str().unwrap().len(), 22);
    bench.ack(&sent[0], "");
    assert!(bench.out.events.is_empty());
}

#[test]
fn a_removed_message_is_not_waited_for() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "c"]);
    bench.request("r", "2");
    let sent = bench.sent();
    bench.remove(2);
    bench.remove(3);
    let info = bench.info();
    assert_eq!((info.num_ack_pending, info.num_pending), (1, 0));
    bench.pass(0);
    let event = bench.out.events.remove(0).1;
    assert_eq!(event["reason"], "Unacknowledged message was deleted");
    assert_eq!((&event["stream_seq"], &event["deliveries"]), (&2.into(), &1.into()));
    bench.ack(&sent[0], "-NAK");
    bench.remove(1);
    bench.request("r", "2");
    assert_eq!(bench.texts(), [""; 0]);
    assert_eq!(bench.info().num_ack_pending, 0);
}

#[test]
fn a_removed_message_makes_room_for_others() {
    let config = ConsumerConfig { max_ack_pending: 1, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b"]);
    bench.request("r", "2");
    assert_eq!(bench.texts(), ["r: a"]);
    bench.remove(1);
    bench.pass(0);
    assert_eq!(bench.texts(), ["r: b"]);
    let info = bench.info();
    assert_eq!(info.ack_floor.last, Some(START));
}

#[test]
fn a_stream_learns_which_messages_are_not_needed() {
    let released = |bench: &mut Bench| {
        let mut released = Vec::new();
        bench.consumer.take_released(&mut released);
        released.into_iter().flatten().collect::<Vec<_>>()
    };
    for (ack_policy, expected) in [
        (AckPolicy::Explicit, &[3][..]),
        (AckPolicy::All, &[1, 2, 3]),
        (AckPolicy::None, &[1, 2, 3, 4]),
    ] {
        let config = ConsumerConfig { ack_policy, ..pull_config() };
        let mut bench = Bench::new(config, &[]);
        bench.consumer.scope.retention = Retention::Interest;
        bench.publish(&["a", "a", "a", "a", "a"]);
        assert!(bench.consumer.needs(4, b"a"));
        bench.request("r", "4");
        let sent = bench.sent();
        bench.ack(&sent[2], "");
        assert_eq!(released(&mut bench), expected, "{ack_policy:?}");
        for sequence in 1..=5 {
            let is_needed = !expected.contains(&sequence);
            assert_eq!(bench.consumer.needs(sequence, b"a"), is_needed, "{sequence}");
        }
        assert_eq!(released(&mut bench), [0; 0]);
    }
}

#[test]
fn messages_without_interest_are_not_needed() {
    let config = ConsumerConfig { filter_subject: "a.*".into(), ..pull_config() };
    let bench = Bench::new(config, &["a.b"]);
    assert!(bench.consumer.needs(1, b"a.b"));
    assert!(!bench.consumer.needs(1, b"b"));
}

#[test]
fn what_was_acknowledged_survives_a_restart() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "c", "d", "e"]);
    bench.request("r", "4");
    let sent = bench.sent();
    bench.ack(&sent[0], "");
    bench.ack(&sent[2], "");
    bench.ack(&sent[3], "-NAK");
    bench.request("r", "1");
    bench.sent();
    let before = bench.info();
    bench.restart();
    let after = bench.info();
    assert_eq!(ConsumerInfo { num_waiting: 0, ..before }, after);
    bench.request("s", "10");
    assert_eq!(bench.texts(), ["s: e"]);
    bench.pass(31 * SECOND);
    let numbers: Vec<_> = bench.sent().iter().map(Sent::numbers).collect();
    assert_eq!(numbers, [(2, 2, 7, 0), (3, 4, 8, 0), (2, 5, 9, 0)]);
}

#[test]
fn a_restart_releases_what_was_acknowledged() {
    let config = pull_config();
    let mut consumer = Consumer::restore(scope(), config.clone(), START);
    let mut entry = Vec::new();
    consumer.snapshot(&mut entry);
    assert!(entry.is_empty(), "a state that was not recovered is none");

    let mut bench = Bench::new(config.clone(), &["a", "a", "a", "a"]);
    bench.request("r", "3");
    let sent = bench.sent();
    bench.ack(&sent[1], "");
    bench.consumer.snapshot(&mut entry);
    let scope = Scope { retention: Retention::WorkQueue, ..scope() };
    consumer = Consumer::restore(scope, config, START);
    assert!(consumer.apply(&entry));
    consumer.recovered(View { storage: &bench.storage, visible: 4 }, START);
    let mut released = Vec::new();
    consumer.take_released(&mut released);
    assert_eq!(released, [2..=2]);
    let needed: Vec<_> = (1..=4).filter(|sequence| consumer.needs(*sequence, b"a")).collect();
    assert_eq!(needed, [1, 3, 4]);
}

#[test]
fn entries_of_others_are_not_applied() {
    let mut bench = Bench::new(pull_config(), &["a", "b"]);
    bench.request("r", "2");
    let mut entry = Vec::new();
    bench.consumer.snapshot(&mut entry);
    let mut consumer = Consumer::restore(scope(), pull_config(), START);
    for length in 0..entry.len() {
        assert!(!consumer.apply(&entry[..length]), "{length}");
    }
    assert!(!consumer.apply(&[&entry[..], b"x"].concat()));
    assert!(!consumer.apply(b"{}"));
    assert!(consumer.apply(&entry));
}

#[test]
fn consumers_in_memory_store_nothing() {
    for config in [
        ConsumerConfig { memory_storage: true, ..pull_config() },
        ConsumerConfig { direct: true, ..pull_config() },
    ] {
        let mut bench = Bench::new(config, &["a"]);
        bench.request("r", "1");
        assert!(!bench.consumer.has_changes());
        assert!(!bench.consumer.take_changes(&mut Vec::new()));
    }
}
