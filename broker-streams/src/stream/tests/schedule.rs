use super::*;

fn bench() -> Bench {
    Bench::new(StreamConfig {
        allow_message_schedules: true,
        allow_message_ttl: true,
        allow_rollup: true,
        subjects: vec!["s.*".into(), "t.*".into()],
        ..StreamConfig::default()
    })
}

fn at(seconds: i64) -> String {
    format!("Nats-Schedule: @at {}|Nats-Schedule-Target: t.1", START.plus(seconds * SECOND))
}

#[test]
fn a_message_is_published_at_a_time_and_its_schedule_is_removed() {
    let mut bench = bench();
    bench.stream.config.subjects = vec!["s.*".into(), "t.*".into()];
    let fields = at(5) + "|A: b|Nats-Schedule-TTL: 1m|Nats-Msg-Id: x";
    assert_eq!(bench.publish("s.1", &fields, "payload"), ack(1));
    assert!(bench.message(1).0.ends_with("Nats-Rollup: sub\r\n\r\n"));
    assert_eq!(bench.stream.deadline(), Some(START.plus(5 * SECOND)));
    bench.tick(4);
    assert_eq!(bench.sequences(), [1]);
    bench.tick(1);
    assert_eq!(bench.stored(), [(2, "t.1".into())]);
    let fields = "A: b\r\nNats-Scheduler: s.1\r\nNats-Schedule-Next: purge\r\nNats-TTL: 1m\r\n";
    assert_eq!(bench.message(2), (format!("NATS/1.0\r\n{fields}\r\n"), "payload".into()));
    assert_eq!(bench.stream.deadline(), Some(START.plus(65 * SECOND)));
}

#[test]
fn a_message_is_published_again_and_again() {
    let mut bench = bench();
    let fields = "Nats-Schedule: @every 10s|Nats-Schedule-Target: t.1|Nats-Schedule-Source: t.2";
    assert_eq!(bench.publish("s.1", fields, "own"), ack(1));
    bench.tick(10);
    bench.publish("t.2", "X: y", "other");
    bench.tick(10);
    let stored = [(1, "s.1".into()), (2, "t.1".into()), (3, "t.2".into()), (4, "t.1".into())];
    assert_eq!(bench.stored(), stored);
    assert_eq!(bench.message(2).1, "own");
    let fields = "X: y\r\nNats-Scheduler: s.1\r\nNats-Schedule-Next: 2023-11-14T22:13:50Z\r\n";
    assert_eq!(bench.message(4), (format!("NATS/1.0\r\n{fields}\r\n"), "other".into()));
    // It continues after a restart, and makes up for missed times once.
    bench.now = bench.now.plus(100 * SECOND);
    let config = bench.stream.config().clone();
    let storage = bench.stream.storage;
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus(10 * SECOND)));
    bench.tick(10);
    assert_eq!(bench.stream.state().last_sequence, 5);
    // Without its message it ends.
    bench.with(|stream, context| stream.remove(1, false, context)).unwrap();
    assert_eq!(bench.stream.deadline(), None);
}

#[test]
fn a_schedule_is_replaced_and_ended_by_messages() {
    let mut bench = bench();
    bench.publish("s.1", &at(5), "");
    bench.publish("s.1", &at(9), "");
    assert_eq!(bench.sequences(), [2]);
    assert_eq!(bench.stream.deadline(), Some(START.plus(9 * SECOND)));
    assert_eq!(bench.publish("t.1", "Nats-Scheduler: s.1|Nats-Schedule-Next: purge", ""), ack(3));
    assert_eq!(bench.sequences(), [3]);
    assert_eq!(bench.stream.deadline(), None);
    bench.publish("s.1", &at(5), "");
    bench.publish("s.1", "", "");
    assert_eq!(bench.stream.deadline(), None);
}

#[test]
fn wrong_schedules_are_refused() {
    let mut bench = bench();
    bench.stream.config.subjects = vec!["s.*".into(), "t.*".into()];
    bench.publish("t.9", "", "");
    let target = || refused(ApiError::MESSAGE_SCHEDULES_TARGET_INVALID);
    let source = || refused(ApiError::MESSAGE_SCHEDULES_SOURCE_INVALID);
    let scheduler = || refused(ApiError::MESSAGE_SCHEDULES_SCHEDULER_INVALID);
    let rollup = || refused(ApiError::MESSAGE_SCHEDULES_ROLLUP_INVALID);
    for (fields, answer) in [
        ("Nats-Schedule: x".into(), refused(ApiError::MESSAGE_SCHEDULES_PATTERN_INVALID)),
        ("Nats-Schedule: @every 5s".into(), target()),
        ("Nats-Schedule: @every 5s|Nats-Schedule-Target: s.1".into(), target()),
        ("Nats-Schedule: @every 5s|Nats-Schedule-Target: s.*".into(), target()),
        ("Nats-Schedule: @every 5s|Nats-Schedule-Target: u".into(), target()),
        (at(5) + "|Nats-Schedule-Source: t.1", source()),
        (at(5) + "|Nats-Schedule-Source: s.1", source()),
        (at(5) + "|Nats-Schedule-Source: u", source()),
        (at(5) + "|Nats-Schedule-TTL: x", refused(ApiError::MESSAGE_SCHEDULES_TTL_INVALID)),
        (at(5) + "|Nats-Schedule-Rollup: all", rollup()),
        (at(5) + "|Nats-Rollup: all", rollup()),
        (
            at(5) + "|Nats-Schedule-Time-Zone: Nowhere",
            refused(ApiError::MESSAGE_SCHEDULES_TIME_ZONE_INVALID),
        ),
        ("Nats-Schedule-Next: purge".into(), scheduler()),
        ("Nats-Scheduler: s.2".into(), scheduler()),
        ("Nats-Schedule-Next: x|Nats-Scheduler: s.2".into(), scheduler()),
        ("Nats-Schedule-Next: purge|Nats-Scheduler: s.1".into(), scheduler()),
        ("Nats-Schedule-Next: purge|Nats-Scheduler: t.9".into(), scheduler()),
    ] {
        assert_eq!(bench.publish("s.1", &fields, ""), answer, "{fields}");
    }
    let mut bench = Bench::new(StreamConfig::default());
    let disabled = refused(ApiError::MESSAGE_SCHEDULES_DISABLED);
    assert_eq!(bench.publish("s.1", &at(5), ""), disabled);
    assert_eq!(bench.publish("s.1", "Nats-Schedule: x", ""), disabled);
}

#[test]
fn a_refused_scheduled_message_waits() {
    let mut bench = bench();
    bench.publish("s.1", &at(5), "");
    bench.room.account = 0;
    bench.tick(5);
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus(SECOND)));
    bench.room = Room::default();
    bench.tick(1);
    assert_eq!(bench.stored(), [(2, "t.1".into())]);
}
