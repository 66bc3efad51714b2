//! The service over a broker without sockets: what monitoring and operators are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use broker_core::endpoint::Scratch;
use broker_core::{Broker, HeaderMap};
use futures_executor::block_on;

use super::task::Task;
use super::{MessageRange, Options, StreamHealth, Streams};
use crate::config::limits::AccountLimits;
use crate::filters::Filters;
use crate::store::SyncJob;

struct World {
    broker: Broker,
    streams: Streams,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::new(broker_core::Options::default(), (Instant::now, SystemTime::now));
        let options = Options {
            directory: Some(directory.path().to_owned()),
            max_payload: 1 << 20,
            accounts: BTreeMap::from([("$G".to_owned(), Some(AccountLimits::default()))]),
            ..Options::default()
        };
        let streams = Streams::start(&broker, options).unwrap();
        Self { broker, streams, _directory: directory }
    }

    fn request(&self, subject: &str, payload: &str) -> serde_json::Value {
        let client = self.broker.client();
        let answer = block_on(client.request(subject, payload.to_owned().into())).unwrap();
        if answer.payload.is_empty() {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&answer.payload).unwrap()
    }

    fn create(&self, name: &str) {
        let config = format!(r#"{{"name":"{name}","subjects":["{name}.>"]}}"#);
        let answer = self.request(&format!("$JS.API.STREAM.CREATE.{name}"), &config);
        assert_eq!(answer["config"]["name"], name, "{answer}");
    }

    fn publish(&self, subject: &str, count: u64) {
        for _ in 0..count {
            let answer = self.request(subject, "hello");
            assert!(answer["seq"].is_u64(), "{answer}");
        }
    }
}

struct ForeignJob;

impl SyncJob for ForeignJob {
    fn run(&mut self) {}
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_stream_whose_store_fails_is_not_healthy_until_it_is_stored_again() {
    let world = World::new();
    world.create("A");
    world.create("B");
    world.publish("A.x", 1);
    let viewer = world.streams.viewer();
    let health = || viewer.health("$G").unwrap();
    assert!(health().values().all(|health| *health == StreamHealth::Served));
    let unit = viewer.unit("$G", "A").unwrap();
    unit.finish_sync(Box::new(ForeignJob), &mut Scratch::new());
    let failed =
        StreamHealth::WriteFailed("the store has failed: the job is of another store".into());
    assert_eq!((&health()["A"], &health()["B"]), (&failed, &StreamHealth::Served));
    assert_eq!(viewer.counts().store_failures, 1);
    let rows = viewer.stream_rows();
    assert!(rows[0].error.is_some() && rows[1].error.is_none(), "{rows:?}");
    until("it is tried again", || {
        // Whatever was asked of the failed job, the next one succeeds.
        let client = world.broker.client();
        block_on(client.publish("A.x", "again".into())).unwrap();
        health()["A"] == StreamHealth::Served
    });
}

#[test]
fn times_and_writes_are_counted_and_outlive_their_stream() {
    let world = World::new();
    world.create("A");
    let viewer = world.streams.viewer();
    world.publish("A.x", 3);
    let counts = viewer.counts();
    assert_eq!(counts.latencies.publish_to_durable.count(), 3);
    assert_eq!(counts.latencies.deliver_to_ack.count(), 0);
    assert!(counts.syncs >= 3 && counts.written_bytes >= 15, "{counts:?}");
    assert_eq!((counts.store_failures, counts.damages, counts.dropped_requests), (0, 0, 0));

    let config = r#"{"stream_name":"A","config":{"name":"c","ack_policy":"explicit"}}"#;
    world.request("$JS.API.CONSUMER.CREATE.A.c", config);
    let client = world.broker.client();
    let next = client.request("$JS.API.CONSUMER.MSG.NEXT.A.c", "1".into());
    let message = block_on(next).unwrap();
    let ack = message.reply.unwrap();
    assert_eq!(viewer.stream_rows()[0].ack_pending, 1);
    assert_eq!(world.request(ack.as_str(), "+ACK"), serde_json::Value::Null);
    world.request(ack.as_str(), "+ACK");
    let acked = viewer.counts().latencies.deliver_to_ack;
    assert_eq!(acked.count(), 1, "one that is acknowledged already is not counted");

    world.request("$JS.API.STREAM.DELETE.A", "");
    let counts = viewer.counts();
    assert_eq!(counts.latencies.publish_to_durable.count(), 3);
    assert_eq!(counts.latencies.deliver_to_ack, acked);
}

#[test]
fn messages_are_shown_in_parts() {
    let world = World::new();
    world.create("A");
    for number in 1..=5_u32 {
        world.publish(&format!("A.{}", number % 2), 1);
    }
    let viewer = world.streams.viewer();
    let shown = |range: MessageRange| -> Vec<u64> {
        let range = MessageRange { count: 3, bytes: 2, ..range };
        let found = viewer.messages(("$G", "A"), &range).unwrap();
        assert!(found.iter().all(|one| one.payload == b"he" && one.payload_bytes == 5));
        found.iter().map(|one| one.sequence).collect()
    };
    let odd = Filters::new(vec![broker_core::SubjectFilter::parse("A.1").unwrap()]);
    let all = MessageRange::default;
    assert_eq!(shown(all()), [1, 2, 3]);
    assert_eq!(shown(MessageRange { from: 4, ..all() }), [4, 5]);
    assert_eq!(shown(MessageRange { from: u64::MAX, backwards: true, ..all() }), [5, 4, 3]);
    assert_eq!(shown(MessageRange { from: 2, backwards: true, ..all() }), [2, 1]);
    assert_eq!(shown(MessageRange { from: 2, filters: odd, ..all() }), [3, 5]);
    assert!(viewer.messages(("$G", "B"), &all()).is_none());
    assert!(viewer.messages(("X", "A"), &all()).is_none());
    assert_eq!(viewer.consumers(("$G", "A"), (0, 9)).map(|(_, total)| total), Some(0));
    let (free, all) = viewer.disk().unwrap();
    assert!(free <= all && all > 0);
}

#[test]
fn the_audit_names_the_client_whatever_it_claims() {
    let world = World::new();
    let client = world.broker.client();
    let mut audits = block_on(client.subscribe("$JS.EVENT.ADVISORY.API")).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Request-Info", r#"{"acc":"X","user":"forged","id":77}"#);
    block_on(client.publish_with_headers("$JS.API.INFO", headers, "".into())).unwrap();
    let audit = block_on(audits.next()).unwrap();
    let audit: serde_json::Value = serde_json::from_slice(&audit.payload).unwrap();
    let told = &audit["client"];
    assert_eq!((&told["acc"], &told["user"]), (&"$G".into(), &serde_json::Value::Null), "{told}");
    assert!(told["id"].as_u64().is_some_and(|id| id != 77), "{told}");
    let keys: Vec<&String> = audit.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["client", "id", "response", "server", "subject", "timestamp", "type"]);
}

#[test]
fn a_push_consumer_delivers_to_those_who_subscribe_to_its_very_subject() {
    let world = World::new();
    world.create("A");
    let client = world.broker.client();
    let mut all = block_on(client.subscribe("to.>")).unwrap();
    let _member = block_on(client.queue_subscribe("to.1", "group")).unwrap();
    let consumer =
        r#"{"name":"c","durable_name":"c","deliver_subject":"to.1","ack_policy":"none"}"#;
    let request = format!(r#"{{"stream_name":"A","config":{consumer}}}"#);
    world.request("$JS.API.CONSUMER.CREATE.A.c", &request);
    world.publish("A.x", 1);
    let info = || world.request("$JS.API.CONSUMER.INFO.A.c", "");
    assert_eq!((&info()["num_pending"], &info()["push_bound"]), (&1.into(), &Default::default()));
    let mut own = block_on(client.subscribe("to.1")).unwrap();
    assert_eq!(info()["push_bound"], true);
    assert_eq!(block_on(own.next()).unwrap().subject.as_str(), "A.x");
    assert!(block_on(all.next()).is_some(), "it sees what is delivered to others");
}
