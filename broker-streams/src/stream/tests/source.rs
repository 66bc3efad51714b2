use super::*;
use crate::config::{SourceConsumer, StreamSource, TransformConfig};

fn source(name: &str) -> StreamSource {
    StreamSource { name: name.into(), ..StreamSource::default() }
}

fn mirror() -> StreamConfig {
    StreamConfig { mirror: Some(source("O")), ..StreamConfig::default() }
}

/// Lets feeds choose subjects and send requests. Returns subject and payload of the first request.
fn request(bench: &mut Bench) -> (String, serde_json::Value) {
    bench.sent.0.clear();
    bench.tick(0);
    assert!(bench.stream.feed_subjects().next().is_some());
    bench.with(Stream::request_feeds);
    let (to, headers, payload) = bench.sent.0.remove(0);
    if !payload.is_empty() {
        assert_eq!(headers, "NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n");
    }
    (to, serde_json::from_str(&payload).unwrap_or_default())
}

fn respond(bench: &mut Bench, feed: usize, payload: &str) {
    bench.with(|stream, context| stream.feed_response(feed, payload.as_bytes(), context));
}

const CREATED: &str = r#"{"name":"C","config":{"ack_policy":"none"},"delivered":{"stream_seq":0}}"#;

fn start(bench: &mut Bench) {
    request(bench);
    respond(bench, 0, CREATED);
}

/// Delivers a message: its sequence in the other stream, and the number of the delivery.
fn deliver(
    bench: &mut Bench,
    feed: usize,
    subject: &str,
    (sequence, number): (u64, u64),
    headers: &str,
) {
    deliver_payload(bench, (feed, subject), (sequence, number), (headers, "x"));
}

/// As [`deliver`], with a payload.
fn deliver_payload(
    bench: &mut Bench,
    (feed, subject): (usize, &str),
    (sequence, number): (u64, u64),
    (headers, payload): (&str, &str),
) {
    let time = START.0 + i64::try_from(sequence).unwrap();
    let reply = format!("$JS.ACK.O.C.1.{sequence}.{number}.{time}.5");
    let headers = match headers {
        "" => String::new(),
        fields => format!("NATS/1.0\r\n{}\r\n\r\n", fields.replace('|', "\r\n")),
    };
    let message = Incoming {
        subject: subject.as_bytes(),
        reply: reply.as_bytes(),
        headers: headers.as_bytes(),
        payload: payload.as_bytes(),
    };
    bench.with(|stream, context| stream.feed_message(feed, &message, context));
}

fn control(bench: &mut Bench, headers: &str, reply: &str) {
    let message =
        Incoming { headers: headers.as_bytes(), reply: reply.as_bytes(), ..Incoming::default() };
    bench.with(|stream, context| stream.feed_message(0, &message, context));
}

#[test]
fn a_mirror_asks_for_a_consumer_and_stores_what_it_delivers() {
    let mut bench = Bench::new(mirror());
    let (subject, request) = request(&mut bench);
    assert_eq!(subject, "$JS.API.CONSUMER.CREATE.O");
    let config = &request["config"];
    assert_eq!(request["stream_name"], "O");
    assert!(config["name"].as_str().unwrap().starts_with("JS_MIRROR_"));
    assert_eq!(config["deliver_policy"], "all");
    assert_eq!((&config["direct"], &config["sourcing"]), (&true.into(), &true.into()));
    assert_eq!(config["deliver_subject"], bench.stream.feed_subjects().next().unwrap().deliver);
    respond(&mut bench, 0, CREATED);
    deliver(&mut bench, 0, "a", (1, 1), "A: b|Nats-Expected-Last-Sequence: 9");
    // The other stream has removed messages.
    deliver(&mut bench, 0, "b", (4, 2), "");
    // A message that comes again is not stored again.
    deliver(&mut bench, 0, "b", (4, 3), "");
    deliver(&mut bench, 0, "c", (5, 4), "");
    assert_eq!(bench.stored(), [(1, "a".into()), (4, "b".into()), (5, "c".into())]);
    assert_eq!(bench.message(1).0, "NATS/1.0\r\nA: b\r\n\r\n");
    let mut buffer = Vec::new();
    let record = bench.stream.storage().load(4, &mut buffer).unwrap().unwrap();
    assert_eq!(record.time, Time(START.0 + 4));
    let infos = bench.stream.feed_infos(bench.now);
    assert_eq!((infos[0].name.as_str(), infos[0].lag, infos[0].active), ("O", 4, 0));
}

#[test]
fn a_mirror_goes_on_behind_its_last_message() {
    let mut bench = Bench::new(mirror());
    start(&mut bench);
    deliver(&mut bench, 0, "a", (3, 1), "");
    // A delivery is missing.
    deliver(&mut bench, 0, "b", (5, 3), "");
    assert_eq!(bench.sequences(), [3]);
    bench.tick(2);
    let (_, request) = request(&mut bench);
    assert_eq!(request["config"]["deliver_policy"], "by_start_sequence");
    assert_eq!(request["config"]["opt_start_seq"], 4);
    respond(&mut bench, 0, CREATED);
    deliver(&mut bench, 0, "b", (5, 1), "");
    assert_eq!(bench.sequences(), [3, 5]);
    // After a restart, too.
    let config = bench.stream.config().clone();
    let storage = bench.stream.storage;
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    let (_, request) = self::request(&mut bench);
    assert_eq!(request["config"]["opt_start_seq"], 6);
}

#[test]
fn a_mirror_of_a_stream_with_a_high_sequence_begins_there() {
    let mut bench = Bench::new(mirror());
    request(&mut bench);
    let created = r#"{"name":"C","config":{},"delivered":{"stream_seq":1000}}"#;
    respond(&mut bench, 0, created);
    assert_eq!(bench.stream.state().last_sequence, 1000);
    deliver(&mut bench, 0, "a", (1001, 1), "");
    assert_eq!(bench.stream.state().last_sequence, 1001);
}

#[test]
fn messages_of_sources_name_where_they_come_from() {
    let transform = TransformConfig { source: "in.*".into(), destination: "out.$1".into() };
    let transformed = StreamSource { subject_transforms: vec![transform], ..source("B") };
    let filtered = StreamSource { filter_subject: "a.>".into(), start_sequence: 7, ..source("A") };
    let sources = vec![filtered, transformed];
    let mut bench = Bench::new(StreamConfig { sources, ..StreamConfig::default() });
    bench.publish("own", "", "");
    bench.tick(0);
    bench.with(Stream::request_feeds);
    let requests: Vec<_> = bench.sent.0.iter().map(|(to, ..)| to.clone()).collect();
    assert!(requests[0].starts_with("$JS.API.CONSUMER.CREATE.A.JS_SRC_"), "{requests:?}");
    assert!(requests[0].ends_with(".a.>"), "{requests:?}");
    assert!(requests[1].ends_with(".in.*"), "{requests:?}");
    let config: serde_json::Value = serde_json::from_str(&bench.sent.0[0].2).unwrap();
    assert_eq!(config["config"]["opt_start_seq"], 7);
    respond(&mut bench, 0, CREATED);
    respond(&mut bench, 1, CREATED);
    deliver(&mut bench, 0, "a.1", (7, 1), "Nats-Stream-Source: old|Nats-Batch-Id: 1");
    deliver(&mut bench, 1, "in.x", (2, 1), "");
    let stored = [(1, "own".into()), (2, "a.1".into()), (3, "out.x".into())];
    assert_eq!(bench.stored(), stored);
    assert_eq!(bench.message(2).0, "NATS/1.0\r\nNats-Stream-Source: A 7 a.> > a.1\r\n\r\n");
    assert_eq!(bench.message(3).0, "NATS/1.0\r\nNats-Stream-Source: B 2 in.* out.$1 in.x\r\n\r\n");
    // Their fields tell after a restart how far they have come.
    let config = bench.stream.config().clone();
    let storage = bench.stream.storage;
    bench.stream = Stream::open(config, START, storage, Options::default(), bench.now).unwrap();
    bench.tick(0);
    bench.sent.0.clear();
    bench.with(Stream::request_feeds);
    let starts: Vec<_> = bench
        .sent
        .0
        .iter()
        .map(|(_, _, payload)| {
            let request: serde_json::Value = serde_json::from_str(payload).unwrap();
            request["config"]["opt_start_seq"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(starts, [8, 3]);
}

#[test]
fn a_message_of_a_source_that_is_refused_is_asked_for_again() {
    let config = StreamConfig {
        sources: vec![source("O")],
        discard: crate::config::Discard::New,
        max_messages: 1,
        duplicate_window: 100 * SECOND,
        ..StreamConfig::default()
    };
    let mut bench = Bench::new(config);
    start(&mut bench);
    deliver(&mut bench, 0, "a", (1, 1), "Nats-Msg-Id: 1");
    deliver(&mut bench, 0, "b", (2, 2), "");
    assert_eq!(bench.sequences(), [1]);
    bench.with(|stream, context| stream.remove(1, false, context)).unwrap();
    bench.tick(2);
    let (_, request) = request(&mut bench);
    assert_eq!(request["config"]["opt_start_seq"], 2);
    respond(&mut bench, 0, CREATED);
    deliver(&mut bench, 0, "b", (2, 1), "");
    assert_eq!(bench.sequences(), [2]);
    // A duplicate is passed over.
    deliver(&mut bench, 0, "c", (3, 2), "Nats-Msg-Id: 1");
    assert_eq!(bench.sequences(), [2]);
    assert_eq!(bench.stream.feed_subjects().count(), 1);
}

#[test]
fn flow_control_is_answered_when_messages_are_durable() {
    let mut bench = Bench::over(mirror(), NaiveStorage::slow());
    start(&mut bench);
    deliver(&mut bench, 0, "a", (1, 1), "");
    bench.sent.0.clear();
    control(&mut bench, "NATS/1.0 100 FlowControl Request\r\n\r\n", "$JS.FC.x");
    assert_eq!(bench.sent.0.len(), 0);
    let job = bench.stream.begin_sync().unwrap();
    bench.stream.finish_sync(job).unwrap();
    bench.stream.flush(&mut bench.sent);
    let headers = "NATS/1.0\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 1\r\n\r\n";
    assert_eq!(bench.sent.0, [("$JS.FC.x".into(), headers.into(), String::new())]);
    bench.sent.0.clear();
    let stalled = "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Consumer-Stalled: $JS.FC.y\r\n\r\n";
    control(&mut bench, stalled, "");
    assert_eq!(bench.sent.0, [("$JS.FC.y".into(), String::new(), String::new())]);
    // A heartbeat tells that a message was lost.
    control(&mut bench, "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 2\r\n\r\n", "");
    assert_eq!(bench.stream.feed_subjects().count(), 0);
}

#[test]
fn a_consumer_that_fails_or_is_silent_is_made_again() {
    let mut bench = Bench::new(mirror());
    request(&mut bench);
    respond(
        &mut bench,
        0,
        r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#,
    );
    let infos = bench.stream.feed_infos(bench.now);
    assert_eq!(infos[0].error, Some(ApiError::STREAM_NOT_FOUND));
    assert_eq!(bench.stream.deadline(), Some(bench.now.plus(2 * SECOND)));
    bench.tick(2);
    request(&mut bench);
    // No answer.
    bench.tick(30);
    assert_eq!(bench.stream.feed_subjects().count(), 0);
    bench.tick(20);
    start(&mut bench);
    // No heartbeat.
    bench.tick(10);
    assert_eq!(bench.stream.feed_subjects().count(), 0);
    bench.tick(2);
    // The other server is older.
    request(&mut bench);
    respond(&mut bench, 0, r#"{"error":{"code":412,"err_code":10185,"description":""}}"#);
    bench.sent.0.clear();
    bench.tick(0);
    bench.with(Stream::request_feeds);
    let (_, headers, payload) = &bench.sent.0[0];
    assert!(headers.is_empty() && !payload.contains("sourcing"), "{payload}");
}

#[test]
fn a_consumer_that_exists_is_reset() {
    let consumer = SourceConsumer { name: "D".into(), deliver_subject: "deliver.d".into() };
    let mirror = StreamSource { consumer: Some(consumer), ..source("O") };
    let mut bench = Bench::new(StreamConfig { mirror: Some(mirror), ..StreamConfig::default() });
    let (subject, _) = request(&mut bench);
    assert_eq!(subject, "$JS.API.CONSUMER.RESET.O.D");
    assert_eq!(bench.stream.feed_subjects().next().unwrap().deliver, "deliver.d");
    respond(&mut bench, 0, CREATED);
    let infos = bench.stream.feed_infos(bench.now);
    assert_eq!(infos[0].error, Some(ApiError::MIRROR_CONSUMER_REQUIRES_ACK_FC));
}

#[test]
fn a_mirror_can_become_a_stream_of_its_own() {
    let mut bench = Bench::new(mirror());
    start(&mut bench);
    deliver(&mut bench, 0, "a", (3, 1), "");
    let version = bench.stream.feed_version();
    bench.with(|stream, context| stream.update(memory(StreamConfig::default()), context)).unwrap();
    assert!(bench.stream.feed_version() > version);
    assert_eq!(bench.stream.feed_subjects().count(), 0);
    assert_eq!(bench.publish("b", "", ""), ack(4));
}

#[test]
fn a_sourced_counter_keeps_the_place_of_its_increment() {
    let (sources, allow_message_counter) = (vec![source("O")], true);
    let mut bench =
        Bench::new(StreamConfig { sources, allow_message_counter, ..StreamConfig::default() });
    start(&mut bench);
    let increments = ["Nats-Incr: 3", "A: b|Nats-Incr: 40|C: d"];
    for (sequence, (total, headers)) in (1..).zip([("3", increments[0]), ("43", increments[1])]) {
        let payload = format!("{{\"val\":\"{total}\"}}");
        deliver_payload(&mut bench, (0, "a"), (sequence, sequence), (headers, &payload));
    }
    let (headers, payload) = bench.message(2);
    assert_eq!(payload, r#"{"val":"43"}"#);
    let names: Vec<_> =
        headers.lines().filter_map(|line| line.split_once(": ")).map(|field| field.0).collect();
    assert_eq!(names, ["A", "Nats-Incr", "C", "Nats-Stream-Source", "Nats-Counter-Sources"]);
    assert!(headers.contains("Nats-Incr: 40\r\n"), "{headers}");
}

#[test]
fn counts_of_sources_may_be_null() {
    for counts in [r#"{"O":null}"#, r#"{"O":{"a":null}}"#, "null"] {
        let (sources, allow_message_counter) = (vec![source("O")], true);
        let mut bench =
            Bench::new(StreamConfig { sources, allow_message_counter, ..StreamConfig::default() });
        start(&mut bench);
        let fields = format!("Nats-Incr: 1|Nats-Counter-Sources: {counts}");
        assert!(bench.publish("a", &fields, "").contains(r#""val":"1""#), "{counts}");
        deliver_payload(&mut bench, (0, "a"), (1, 1), ("Nats-Incr: 5", r#"{"val":"5"}"#));
        let (headers, payload) = bench.message(2);
        assert_eq!(payload, r#"{"val":"6"}"#, "{counts}");
        assert!(headers.contains("Nats-Counter-Sources: {\"O\":{\"a\":\"5\"}}\r\n"), "{headers}");
    }
}

#[test]
fn a_source_selects_subjects_that_it_keeps() {
    let transform = |source: &str, destination: &str| TransformConfig {
        source: source.into(),
        destination: destination.into(),
    };
    let subject_transforms = vec![
        transform("a", ""),
        transform("b", "x"),
        transform("c.*", ""),
        transform("d.>", "e.>"),
    ];
    let sources = vec![StreamSource { subject_transforms, ..source("O") }];
    let mut bench = Bench::new(StreamConfig { sources, ..StreamConfig::default() });
    let (_, request) = request(&mut bench);
    assert_eq!(request["config"]["filter_subjects"], serde_json::json!(["a", "b", "c.*", "d.>"]));
    respond(&mut bench, 0, CREATED);
    for (sequence, subject) in (1..).zip(["a", "b", "c.1", "d.2"]) {
        deliver(&mut bench, 0, subject, (sequence, sequence), "");
    }
    let subjects: Vec<_> = bench.stored().into_iter().map(|stored| stored.1).collect();
    assert_eq!(subjects, ["a", "x", "c.1", "e.2"]);
}

#[test]
fn a_stream_that_comes_to_allow_it_expires_what_it_took_from_another() {
    let config = StreamConfig { sources: vec![source("O")], ..StreamConfig::default() };
    let mut bench = Bench::new(config.clone());
    start(&mut bench);
    deliver(&mut bench, 0, "a", (1, 1), "Nats-TTL: 1s");
    deliver(&mut bench, 0, "b", (2, 2), "");
    bench.tick(5);
    assert_eq!(bench.sequences(), [1, 2]);
    let config = StreamConfig { allow_message_ttl: true, ..config };
    bench.with(|stream, context| stream.update(config, context)).unwrap();
    assert_eq!(bench.sequences(), [2]);
}

#[test]
fn sources_go_on_behind_the_fields_of_old_servers() {
    let sources = vec![source("O")];
    let mut bench = Bench::new(StreamConfig::default());
    assert_eq!(bench.publish("a", "Nats-Stream-Source: O 4", ""), ack(1));
    let config = StreamConfig { sources, ..StreamConfig::default() };
    bench.with(|stream, context| stream.update(config, context)).unwrap();
    let (_, request) = request(&mut bench);
    assert_eq!(request["config"]["opt_start_seq"], 5);
}
