//! Updates, pauses, resets, and unused consumers.

use super::*;

#[test]
fn a_paused_consumer_waits() {
    let mut bench = Bench::new(pull_config(), &[]);
    let until = START.plus(10 * SECOND);
    bench.update(ConsumerConfig { pause_until: Some(until), ..pull_config() });
    let event = bench.out.events[0].1.clone();
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.consumer_pause");
    assert_eq!(
        (&event["paused"], &event["pause_until"]),
        (&true.into(), &until.to_string().into())
    );
    bench.request("r", "10");
    bench.publish(&["a"]);
    bench.pass(4 * SECOND);
    let info = bench.info();
    assert_eq!((info.paused, info.pause_remaining), (true, 6 * SECOND));
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(6 * SECOND);
    assert_eq!(bench.texts(), ["r: a"]);
    assert_eq!(bench.out.events[1].1["paused"], false);
    assert_eq!((bench.info().paused, bench.info().pause_remaining), (false, 0));

    assert!(!bench.consumer.pause(Some(until.plus(SECOND)), bench.now, &mut bench.out));
    bench.publish(&["b"]);
    assert!(bench.consumer.pause(None, bench.now, &mut bench.out));
    bench.deliver();
    assert_eq!(bench.texts(), ["r: b"]);
    assert_eq!(bench.out.events[3].1["pause_until"], "0001-01-01T00:00:00Z");
}

#[test]
fn a_consumer_that_begins_with_a_pause_says_so() {
    let until = Some(START.plus(SECOND));
    let mut bench = Bench::new(ConsumerConfig { pause_until: until, ..pull_config() }, &[]);
    bench.consumer.announce(bench.now, &mut bench.out);
    bench.pass(SECOND);
    let paused: Vec<_> =
        bench.out.events.iter().map(|(_, event)| event["paused"].as_bool()).collect();
    assert_eq!(paused, [None, Some(true), Some(false)]);
}

fn reset(bench: &mut Bench, sequence: u64) -> Result<u64, ResetError> {
    let view = View { storage: &bench.storage, visible: bench.storage.state().last_sequence };
    bench.consumer.reset(view, sequence)
}

#[test]
fn a_consumer_starts_again() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "c", "d"]);
    bench.request("r", "3");
    let sent = bench.sent();
    bench.ack(&sent[0], "");
    assert_eq!(reset(&mut bench, 0), Ok(2));
    let info = bench.info();
    assert_eq!((info.num_pending, info.num_ack_pending), (3, 0));
    assert_eq!((info.delivered.consumer, info.delivered.stream), (0, 1));
    assert_eq!((info.ack_floor.consumer, info.ack_floor.stream), (0, 1));
    bench.restart();
    bench.request("r", "1");
    assert_eq!(bench.sent()[0].numbers(), (1, 2, 1, 2));
    assert_eq!(reset(&mut bench, 4), Ok(4));
    assert_eq!(reset(&mut bench, u64::MAX), Ok(u64::MAX / 2));
    assert_eq!(reset(&mut bench, 1), Ok(1));
    bench.request("r", "9");
    assert_eq!(bench.sent().len(), 4);
}

#[test]
fn the_deliver_policy_limits_resets() {
    let start = |deliver_policy| ConsumerConfig {
        deliver_policy,
        start_sequence: if deliver_policy == DeliverPolicy::ByStartSequence { 3 } else { 0 },
        start_time: (deliver_policy == DeliverPolicy::ByStartTime).then_some(START),
        ..pull_config()
    };
    for (policy, sequence, expected) in [
        (DeliverPolicy::ByStartSequence, 2, Err(ResetError::BelowStartSequence)),
        (DeliverPolicy::ByStartSequence, 3, Ok(3)),
        (DeliverPolicy::ByStartTime, 1, Ok(1)),
        (DeliverPolicy::New, 2, Err(ResetError::NotAllowed)),
        (DeliverPolicy::New, 0, Ok(5)),
        (DeliverPolicy::LastPerSubject, 1, Err(ResetError::NotAllowed)),
    ] {
        let mut bench = Bench::new(start(policy), &["a", "b", "c", "d"]);
        assert_eq!(reset(&mut bench, sequence), expected, "{policy:?}");
    }
    let mut bench = Bench::new(start(DeliverPolicy::ByStartTime), &["a"]);
    bench.consumer.config.start_time = Some(START.plus(1));
    assert_eq!(reset(&mut bench, 1), Err(ResetError::BelowStartTime));
    assert_eq!(ResetError::BelowStartTime.to_string(), "below start time");
}

#[test]
fn an_update_takes_effect_at_once() {
    let config = ConsumerConfig { max_ack_pending: 1, ..pull_config() };
    let mut bench = Bench::new(config.clone(), &["a", "b", "c", "b"]);
    bench.request("r", "10");
    assert_eq!(bench.texts(), ["r: a"]);
    let config = ConsumerConfig { max_ack_pending: 2, ..config };
    bench.update(config.clone());
    assert_eq!(bench.texts(), ["r: b"]);
    let config = ConsumerConfig { max_ack_pending: 10, filter_subject: "b".into(), ..config };
    bench.update(config.clone());
    assert_eq!(bench.texts(), ["r: b"]);
    assert_eq!(bench.info().num_pending, 0);
    bench.update(ConsumerConfig { ack_wait: 5 * SECOND, ..config.clone() });
    bench.pass(5 * SECOND + MILLI);
    assert_eq!(bench.sent().len(), 3);
    bench.update(ConsumerConfig { max_deliver: 2, ..config });
    bench.pass(100 * SECOND);
    assert_eq!(bench.sent().len(), 0);
}

#[test]
fn a_work_queue_keeps_what_another_filter_selects() {
    for (retention, released) in [(Retention::Interest, true), (Retention::WorkQueue, false)] {
        let config = ConsumerConfig { filter_subject: "b".into(), ..pull_config() };
        let mut bench = Bench::new(config.clone(), &["a", "b", "c"]);
        bench.consumer.scope.retention = retention;
        bench.request("r", "10");
        assert_eq!(bench.texts(), ["r: b"]);
        bench.update(ConsumerConfig { filter_subject: "c".into(), ..config });
        let mut ranges = Vec::new();
        bench.consumer.take_released(&mut ranges);
        assert_eq!(ranges.iter().any(|range| range.contains(&3)), released, "{retention:?}");
    }
}

/// Returns the messages that a consumer of a work queue releases when it is recovered.
fn released_at_recovery(bench: &mut Bench) -> Vec<u64> {
    let mut entry = Vec::new();
    bench.consumer.take_changes(&mut entry);
    let config = bench.consumer.config().clone();
    let scope = Scope { retention: Retention::WorkQueue, ..scope() };
    let mut consumer = Consumer::restore(scope, config, bench.consumer.created());
    consumer.restore_passed(bench.consumer.passed());
    consumer.apply(&entry);
    let view = View { storage: &bench.storage, visible: bench.storage.state().last_sequence };
    consumer.recovered(view, bench.now);
    let mut ranges = Vec::new();
    consumer.take_released(&mut ranges);
    ranges.into_iter().flatten().collect()
}

#[test]
fn a_work_queue_keeps_at_the_recovery_what_was_not_delivered() {
    let config = ConsumerConfig { filter_subject: "b".into(), ..pull_config() };
    let mut bench = Bench::new(config.clone(), &["a", "b", "c", "b", "b"]);
    bench.request("r", "10");
    let sent = bench.sent();
    bench.ack(&sent[0], "");
    bench.ack(&sent[2], "");
    // The consumer works on 4; nobody has received 1 and 3.
    assert_eq!(released_at_recovery(&mut bench), [2, 5]);
    bench.ack(&sent[1], "");
    let filter_subjects = vec!["a".into(), "b".into()];
    bench.update(ConsumerConfig { filter_subject: String::new(), filter_subjects, ..config });
    bench.publish(&["a", "c"]);
    bench.request("r", "10");
    let sent = bench.sent();
    bench.ack(&sent[0], "");
    // 1 was passed before the filters selected it.
    assert_eq!(released_at_recovery(&mut bench), [6]);
}

#[test]
fn a_pull_consumer_that_nobody_asks_is_unused() {
    let config = ConsumerConfig { inactive_threshold: 3 * SECOND, ..pull_config() };
    let mut bench = Bench::new(config, &["a"]);
    bench.pass(3 * SECOND);
    bench.request("r", "{\"batch\":10,\"expires\":20000000000}");
    let sent = bench.sent();
    // A request waits, then a message is worked on.
    assert!(!bench.pass(23 * SECOND));
    bench.ack(&sent[0], "+WPI");
    assert!(!bench.pass(30 * SECOND));
    bench.ack(&sent[0], "");
    assert!(!bench.pass(3 * SECOND));
    assert!(bench.pass(2 * SECOND));

    let mut bench = Bench::new(pull_config(), &["a"]);
    assert!(!bench.pass(1_000_000 * SECOND));
}

#[test]
fn advisories_name_the_consumer() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.consumer.announce(bench.now, &mut bench.out);
    let (subject, event) = bench.out.events.remove(0);
    assert_eq!(subject, "$JS.EVENT.ADVISORY.CONSUMER.CREATED.S.C");
    let id = event["id"].as_str().unwrap();
    assert_eq!(
        event.to_string().len(),
        serde_json::json!({
            "type": "io.nats.jetstream.advisory.v1.consumer_action",
            "id": id,
            "timestamp": START.to_string(),
            "stream": "S",
            "consumer": "C",
            "action": "create",
        })
        .to_string()
        .len()
    );
}

#[test]
fn information_is_written_as_the_reference_writes_it() {
    let mut bench = Bench::new(pull_config(), &["a"]);
    let info = serde_json::to_value(bench.info()).unwrap();
    let fields: Vec<_> = info.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "ack_floor",
            "config",
            "created",
            "delivered",
            "name",
            "num_ack_pending",
            "num_pending",
            "num_redelivered",
            "num_waiting",
            "stream_name",
            "ts",
        ]
    );
    assert_eq!(info["delivered"], serde_json::json!({"consumer_seq": 0, "stream_seq": 0}));
}
