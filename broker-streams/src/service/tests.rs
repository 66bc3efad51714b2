//! The service over a broker without sockets: what monitoring and operators are told.

use std::collections::BTreeMap;
#[cfg(feature = "testing")]
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import};
use broker_core::auth::Grant;
use broker_core::endpoint::Scratch;
#[cfg(feature = "testing")]
use broker_core::session::client::Arrival;
use broker_core::{Broker, HeaderMap, SubjectFilter};
use futures_executor::block_on;

use super::task::Task;
#[cfg(feature = "testing")]
use super::{Due, Work};
use super::{MessageRange, Options, StreamHealth, Streams};
use crate::config::limits::AccountLimits;
use crate::consumer::AckForm;
use crate::filters::Filters;
use crate::store::{SyncJob, UNREADABLE};

struct World {
    broker: Broker,
    streams: Streams,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::new(broker_core::Options::default(), (Instant::now, SystemTime::now));
        let options = Options {
            directory: Some(directory.path().to_owned()),
            max_payload: 1 << 20,
            accounts: BTreeMap::from([("$G".to_owned(), Some(AccountLimits::default()))]),
            ..options
        };
        let streams = Streams::start(&broker, options).unwrap();
        Self { broker, streams, directory }
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
fn the_files_of_a_stream_that_cannot_be_read_stay() {
    let world = World::new();
    world.create("A");
    world.publish("A.x", 3);
    let World { broker, streams, directory } = world;
    drop(streams);
    let path = directory.path().join("natsd/$G/A/0000000000000001.log");
    let mut damaged = std::fs::read(&path).unwrap();
    // Within the configuration, which is the first record.
    damaged[100..200].fill(0xff);
    std::fs::write(&path, &damaged).unwrap();
    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let streams = Streams::start(&broker, options).unwrap();
    let world = World { broker, streams, directory };
    let config = r#"{"name":"A","subjects":["A.>"]}"#;
    for (subject, request) in [
        ("STREAM.INFO.A", ""),
        ("STREAM.CREATE.A", config),
        ("STREAM.UPDATE.A", config),
        ("STREAM.PURGE.A", ""),
        ("STREAM.DELETE.A", ""),
        ("STREAM.SNAPSHOT.A", r#"{"deliver_subject":"to"}"#),
        ("STREAM.RESTORE.A", &format!(r#"{{"config":{config},"state":{{}}}}"#)),
    ] {
        let answer = world.request(&format!("$JS.API.{subject}"), request);
        assert_eq!(answer["error"]["err_code"], 10194, "{subject}: {answer}");
    }
    let kept = std::fs::read(&path).unwrap();
    assert!(kept.len() > 500 && damaged.starts_with(&kept), "only free space is given back");
    world.create("B");
    assert_eq!(world.request("$JS.API.STREAM.INFO.C", "")["error"]["err_code"], 10059);
}

#[test]
fn files_are_left_durable_only_by_a_server_that_has_made_all_of_them_durable() {
    let world = World::new();
    world.create("A");
    world.publish("A.x", 3);
    let World { broker, streams, directory } = world;
    let left = || std::fs::read_to_string(directory.path().join("natsd/natsd.lock")).unwrap();
    assert_eq!(left(), "");
    drop(streams);
    assert_eq!(left(), "durable\n");

    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let start = |broker: &Broker| Streams::start(broker, options.clone()).unwrap();
    let streams = start(&broker);
    assert_eq!(left(), "");
    assert_eq!(streams.viewer().stream_rows().len(), 1);
    // Its streams end before the server, and begin again with what they have written meanwhile.
    streams.set_account("$G", None).unwrap();
    streams.set_account("$G", Some(AccountLimits::default())).unwrap();
    drop(streams);
    assert_eq!(left(), "");

    drop(start(&broker));
    assert_eq!(left(), "durable\n");
    // An account that is not opened stays as durable as it was.
    let nobody = Options { accounts: BTreeMap::from([("$G".to_owned(), None)]), ..options.clone() };
    drop(Streams::start(&broker, nobody).unwrap());
    assert_eq!(left(), "durable\n");
}

#[test]
fn a_file_in_which_nothing_can_be_read_stays_and_one_that_is_empty_does_not() {
    let world = World::new();
    world.create("A");
    world.publish("A.x", 3);
    world.create("B");
    let World { broker, streams, directory } = world;
    drop(streams);
    let path = |name: &str| directory.path().join(format!("natsd/$G/{name}"));
    let file = "0000000000000001.log";
    let damaged = [0xff; 4096];
    std::fs::write(path("A").join(file), damaged).unwrap();
    // As a creation that was interrupted before its first write.
    std::fs::write(path("B").join(file), [0; 4096]).unwrap();
    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let streams = Streams::start(&broker, options.clone()).unwrap();
    assert!(!path("B").exists());
    assert_eq!(std::fs::read(path("A").join(UNREADABLE)).unwrap(), damaged);

    let (a, b) = (path("A"), path("B"));
    let world = World { broker, streams, directory };
    for name in ["A", "B"] {
        let answer = world.request(&format!("$JS.API.STREAM.INFO.{name}"), "");
        assert_eq!(answer["error"]["err_code"], 10059, "{answer}");
        world.create(name);
    }
    world.publish("A.x", 2);
    let World { broker, streams, directory } = world;
    drop(streams);
    let streams = Streams::start(&broker, options).unwrap();
    let world = World { broker, streams, directory };
    let answer = world.request("$JS.API.STREAM.INFO.A", "");
    assert_eq!(answer["state"]["messages"], 2, "{answer}");
    assert_eq!(std::fs::read(a.join(UNREADABLE)).unwrap(), damaged);
    assert_eq!(world.request("$JS.API.STREAM.DELETE.A", "")["success"], true);
    assert!(!a.exists() && b.exists());
}

#[test]
fn the_trace_of_a_message_tells_what_its_stream_has_done() {
    let world = World::new();
    world.create("A");
    let client = world.broker.client();
    let mut traces = block_on(client.subscribe("t")).unwrap();
    let mut hop = |lines: &[(&'static str, &'static str)]| {
        let headers: HeaderMap = lines.iter().copied().chain([("Nats-Trace-Dest", "t")]).collect();
        block_on(client.publish_with_headers("A.x", headers, "x".into())).unwrap();
        let event = block_on(traces.next()).unwrap();
        let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        let mut hop = event["events"][1].clone();
        assert!(hop.as_object_mut().unwrap().remove("ts").is_some());
        hop.to_string()
    };
    let stored = r#"{"stream":"A","subject":"A.x","type":"js"}"#;
    assert_eq!(hop(&[]), stored);
    assert_eq!(hop(&[("Nats-Trace-Only", "true")]), stored);
    let refused = r#"{"error":"last sequence mismatch: 9 vs 1","stream":"A","type":"js"}"#;
    assert_eq!(hop(&[("Nats-Expected-Last-Sequence", "9")]), refused);
    world.publish("A.x", 1);
    assert_eq!(world.request("$JS.API.STREAM.INFO.A", "")["state"]["messages"], 2);
}

#[test]
fn consumers_are_acknowledged_by_both_forms_of_subjects() {
    for (ack_form, prefix) in [(AckForm::Short, "$JS.ACK.A.c."), (AckForm::Long, "$JS.ACK._.")] {
        let world = World::with(Options { ack_form, ..Options::default() });
        world.create("A");
        world.publish("A.x", 2);
        let config = r#"{"stream_name":"A","config":{"name":"c","ack_policy":"explicit"}}"#;
        world.request("$JS.API.CONSUMER.CREATE.A.c", config);
        for form in [AckForm::Short, AckForm::Long] {
            let client = world.broker.client();
            let next = client.request("$JS.API.CONSUMER.MSG.NEXT.A.c", "1".into());
            let reply = block_on(next).unwrap().reply.unwrap().to_string();
            assert!(reply.starts_with(prefix), "{reply}");
            let numbers = reply.split_once(".A.c.").unwrap().1;
            let place = match form {
                AckForm::Short => String::new(),
                AckForm::Long => format!("_.{}.", crate::hash::hash("$G")),
            };
            world.request(&format!("$JS.ACK.{place}A.c.{numbers}"), "+ACK");
        }
        let info = world.request("$JS.API.CONSUMER.INFO.A.c", "");
        assert_eq!(
            (&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]),
            (&0.into(), &2.into())
        );
    }
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

/// The thread of deliveries is not woken before the client has the answer to the creation of its consumer: it would read both at
/// once, and could have handled the messages before it knows of its consumer.
#[cfg(feature = "testing")]
#[test]
fn the_answer_to_the_creation_of_a_consumer_leaves_before_its_deliveries_begin() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let note = |event| {
        let events = Arc::clone(&events);
        move || events.lock().unwrap().push(event)
    };
    let broker = Broker::new(broker_core::Options::default(), (Instant::now, SystemTime::now));
    let options = Options {
        accounts: BTreeMap::from([("$G".to_owned(), Some(AccountLimits::default()))]),
        ..Options::default()
    };
    let (_streams, work) =
        Streams::start_without_threads(&broker, options, None, note("woken")).unwrap();
    let client = broker.client();
    let publish = |subject: &str, reply: &str, payload: &str| {
        let payload = payload.to_owned().into();
        let (subject, reply) = (subject.to_owned(), reply.to_owned());
        block_on(client.publish_with_reply(subject, reply, payload)).unwrap();
        events.lock().unwrap().clear();
        while work.turn() == Due::Now {}
    };
    let handle = |subject: &str, event| {
        let note = note(event);
        broker.handle(Grant::anonymous(), subject, None, move |_, _| note()).unwrap()
    };
    let _handlers = [handle("answer", "answered"), handle("to", "delivered")];
    publish("$JS.API.STREAM.CREATE.S", "r", r#"{"name":"S","subjects":["s"],"storage":"memory"}"#);
    publish("s", "r", "1");
    let config = r#"{"stream_name":"S","config":{"deliver_subject":"to"}}"#;
    publish("$JS.API.CONSUMER.CREATE.S", "answer", config);
    let mut events = events.lock().unwrap().clone();
    events.dedup();
    assert_eq!(events, ["answered", "woken", "delivered"]);
}

/// A connection whose bytes nobody reads.
#[cfg(feature = "testing")]
#[derive(Clone, Default)]
struct Connection(Arc<Mutex<usize>>);

#[cfg(feature = "testing")]
impl broker_core::endpoint::WriteHandle for Connection {
    fn try_write(&self, pieces: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {
        *self.0.lock().unwrap() += 1;
    }
}

#[cfg(feature = "testing")]
#[test]
fn publishers_wait_for_a_disk_that_is_slower_than_they_are_and_not_for_one_that_hangs() {
    let begin = Instant::now();
    let time = Arc::new(Mutex::new(Duration::ZERO));
    let clock = {
        let (monotonic, system) = (Arc::clone(&time), Arc::clone(&time));
        (
            move || begin + *monotonic.lock().unwrap(),
            move || SystemTime::UNIX_EPOCH + *system.lock().unwrap(),
        )
    };
    let broker = Broker::new(broker_core::Options::default(), clock);
    let options = Options {
        accounts: BTreeMap::from([("$G".to_owned(), Some(AccountLimits::default()))]),
        ..Options::default()
    };
    let disk = crate::testing::TestDisk::new(7);
    let (_streams, work) =
        Streams::start_without_threads(&broker, options, Some(&disk), || ()).unwrap();
    let work = || while work.turn() == Due::Now {};
    let config = r#"{"name":"S","subjects":["s"]}"#;
    block_on(broker.client().publish("$JS.API.STREAM.CREATE.S", config.into())).unwrap();
    work();
    let (connection, mut scratch) = (Connection::default(), Scratch::new());
    let mut sessions = [(); 2].map(|()| {
        let handle = Box::new(connection.clone());
        broker.open(Arrival::default(), handle, begin, &mut scratch)
    });
    let message = format!("PUB s 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    let mut send = |by: usize, text: &str| {
        let received = sessions[by].receive(begin, text.as_bytes(), None, &mut scratch);
        assert_eq!(received.used, text.len());
        sessions[by].is_patient()
    };
    for by in [0, 1] {
        send(by, "CONNECT {\"verbose\":false}\r\n");
    }
    for _ in 0..2 {
        for count in 1..=33 {
            assert!(!send(0, &message), "{count} MB wait");
        }
        assert!(send(0, &message), "34 MB wait");
        let wakes = *connection.0.lock().unwrap();
        work();
        assert_eq!(*connection.0.lock().unwrap(), wakes + 1, "the session is woken");
        assert!(!send(0, ""), "all is written");
    }
    for _ in 0..34 {
        send(0, &message);
    }
    *time.lock().unwrap() += Duration::from_millis(1_999);
    assert!(send(1, &message));
    *time.lock().unwrap() += Duration::from_millis(1);
    work();
    assert!(!send(1, ""), "it is behind no more");
    for _ in 0..34 {
        send(0, &message);
    }
    *time.lock().unwrap() += Duration::from_secs(2);
    assert!(!send(1, &message), "nothing was written for two seconds");
}

/// Account B mirrors a stream of account C, whose streams start later.
#[cfg(feature = "testing")]
#[test]
fn a_mirror_of_another_account_goes_on_at_once_after_a_restart() {
    let filter = |text| SubjectFilter::parse(text).unwrap();
    let accounts = [
        AccountConfig::new("C")
            .with_export(Export::service(filter("$JS.API.>")))
            .with_export(Export::stream(filter("to.>"))),
        AccountConfig::new("B")
            .with_import(Import::service("C", filter("$JS.API.>")).with_to("C.API.>"))
            .with_import(Import::stream("C", filter("to.>"))),
    ];
    let accounts = accounts.map(Into::into).into();
    let broker_options = broker_core::Options { accounts, ..Default::default() };
    let disk = crate::testing::TestDisk::new(7);
    let moment = (Instant::now(), SystemTime::now());
    let begin = || {
        let clock = (move || moment.0, move || moment.1);
        let broker = Broker::new(broker_options.clone(), clock);
        let options = Options::default();
        let (streams, work) =
            Streams::start_without_threads(&broker, options, Some(&disk), || ()).unwrap();
        (broker, streams, work)
    };
    let publish = |broker: &Broker, account: &str, subject: &str, payload: &str| {
        let client = broker.client_as(Grant::anonymous().with_account(account));
        block_on(client.publish(subject, payload.to_owned().into())).unwrap();
    };
    let mirrored = |streams: &Streams| {
        let rows = streams.viewer().stream_rows();
        rows.iter().find(|row| row.name == "M").map(|row| row.messages)
    };
    let settle = |work: &Work| while work.turn() == Due::Now {};

    let (broker, streams, work) = begin();
    publish(&broker, "C", "$JS.API.STREAM.CREATE.S", r#"{"name":"S","subjects":["s"]}"#);
    settle(&work);
    let external = r#"{"api":"C.API","deliver":"to"}"#;
    let config = format!(r#"{{"name":"M","mirror":{{"name":"S","external":{external}}}}}"#);
    publish(&broker, "B", "$JS.API.STREAM.CREATE.M", &config);
    settle(&work);
    publish(&broker, "C", "s", "1");
    settle(&work);
    assert_eq!(mirrored(&streams), Some(1));
    drop((streams, work, broker));

    let (broker, streams, work) = begin();
    settle(&work);
    publish(&broker, "C", "s", "2");
    settle(&work);
    assert_eq!(mirrored(&streams), Some(2), "no time has passed");
}

#[test]
fn an_account_that_has_gone_answers_nothing_until_it_comes_back() {
    let world = World::new();
    let setter = world.streams.account_setter();
    let client = world.broker.client_as(Grant::anonymous().with_account("X"));
    let ask = |subject: &str, payload: &str| {
        let answer =
            block_on(client.request(subject.to_owned(), payload.to_owned().into())).ok()?;
        serde_json::from_slice::<serde_json::Value>(&answer.payload).ok()
    };
    for round in 0..3_u32 {
        setter.set("X", Some(AccountLimits::default()));
        if round == 0 {
            ask("$JS.API.STREAM.CREATE.S", r#"{"name":"S","subjects":["s"]}"#).unwrap();
        }
        // Answered when the streams are at work.
        ask("$JS.API.STREAM.INFO.S", "").unwrap();
        let seq = ask("s", "").unwrap()["seq"].as_u64();
        assert_eq!(seq, Some(u64::from(round) + 1), "what it stored before is there");
        setter.remove("X");
        assert_eq!(ask("$JS.API.INFO", ""), None, "nobody answers");
        // In the order of the queue: the streams of the other account have ended.
        world.request("$JS.API.INFO", "");
    }
    until("it is forgotten", || {
        setter.remove("Y");
        world.streams.viewer().all_accounts().len() == 1
    });
}

#[test]
fn the_system_account_is_told_that_it_has_no_streams() {
    let world = World::new();
    let system = world.broker.system_account();
    let client = world.broker.client_as(Grant::anonymous().with_account(&*system));
    for (subject, kind) in
        [("INFO", "account_info"), ("STREAM.NAMES", "system"), ("DIRECT.GET.X", "system")]
    {
        let answer = block_on(client.request(format!("$JS.API.{subject}"), "".into())).unwrap();
        let error =
            r#"{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}"#;
        let kind = format!("io.nats.jetstream.api.v1.{kind}_response");
        assert_eq!(answer.payload, format!(r#"{{"type":"{kind}","error":{error}}}"#));
    }
}

#[test]
fn requests_of_a_cluster_are_not_answered() {
    let world = World::new();
    let system = world.broker.system_account();
    let client = world.broker.client_as(Grant::anonymous().with_account(&*system));
    let mut answers = block_on(client.subscribe("in")).unwrap();
    let requests = [
        "META.LEADER.STEPDOWN",
        "SERVER.REMOVE",
        "ACCOUNT.STREAM.MOVE.A.S",
        "ACCOUNT.STREAM.CANCEL_MOVE.A.S",
    ];
    for request in requests.into_iter().chain(["ACCOUNT.STREAM.MOVE.A"]) {
        block_on(client.publish_with_reply(format!("$JS.API.{request}"), "in", "".into())).unwrap();
    }
    let answer = block_on(answers.next()).unwrap();
    assert!(answer.payload.ends_with(br#""description":"JetStream not enabled for account"}}"#));
    assert!(answers.try_next().is_none(), "one answer, to a subject that is no request");
}

#[test]
fn the_system_account_purges_other_accounts() {
    let world = World::new();
    let setter = world.streams.account_setter();
    setter.set("X", Some(AccountLimits::default()));
    let ask = |account: &str, subject: &str, payload: &str| {
        let client = world.broker.client_as(Grant::anonymous().with_account(account));
        let answer = client.request(subject.to_owned(), payload.to_owned().into());
        String::from_utf8_lossy(&block_on(answer).unwrap().payload).into_owned()
    };
    let system = world.broker.system_account();
    let mut audits = block_on(
        world
            .broker
            .client_as(Grant::anonymous().with_account(&*system))
            .subscribe("$JS.EVENT.ADVISORY.API"),
    )
    .unwrap();
    for (account, name, storage) in
        [("X", "S", "file"), ("X", "M", "memory"), ("$G", "OTHER", "file")]
    {
        let config = format!(r#"{{"name":"{name}","storage":"{storage}"}}"#);
        let created = ask(account, &format!("$JS.API.STREAM.CREATE.{name}"), &config);
        assert!(created.contains("stream_create_response"), "{created}");
    }
    // Left by a server that ended during a restoration, and by an account that does not exist any more.
    let natsd = world.directory.path().join("natsd");
    std::fs::create_dir_all(natsd.join("X/.restore-1")).unwrap();
    std::fs::create_dir_all(natsd.join("GONE/OLD")).unwrap();
    let mut events = block_on(
        world
            .broker
            .client_as(Grant::anonymous().with_account("X"))
            .subscribe("$JS.EVENT.ADVISORY.STREAM.DELETED.*"),
    )
    .unwrap();

    let done = r#"{"type":"io.nats.jetstream.api.v1.account_purge_response","initiated":true}"#;
    for account in ["X", "GONE", "NEVER", "X"] {
        assert_eq!(ask(&system, &format!("$JS.API.ACCOUNT.PURGE.{account}"), ""), done);
        let audit = block_on(audits.next()).unwrap();
        let audit: serde_json::Value = serde_json::from_slice(&audit.payload).unwrap();
        assert_eq!(
            (&audit["response"], &audit["client"]["acc"]),
            (&done.into(), &(&*system).into())
        );
        assert!(!natsd.join(account).exists(), "{account}");
    }
    assert!(natsd.join("$G/OTHER").exists());
    for name in ["M", "S"] {
        let event = block_on(events.next()).unwrap();
        assert_eq!(event.subject.as_str(), format!("$JS.EVENT.ADVISORY.STREAM.DELETED.{name}"));
    }
    assert!(ask("X", "$JS.API.STREAM.NAMES", "").contains(r#""total":0"#));
    let again = ask("X", "$JS.API.STREAM.CREATE.S", r#"{"name":"S"}"#);
    assert!(again.contains("did_create"), "{again}");

    let refused = ask(&system, "$JS.API.ACCOUNT.PURGE.a/b", "");
    let error = r#"{"code":500,"err_code":10051,"description":"account name can not contain path separators"}"#;
    assert_eq!(
        refused,
        format!(r#"{{"type":"io.nats.jetstream.api.v1.account_purge_response","error":{error}}}"#)
    );
    assert!(ask(&system, "$JS.API.ACCOUNT.PURGE.a.b", "").contains("10039"));
    let client = world.broker.client_as(Grant::anonymous().with_account("X"));
    block_on(client.publish_with_reply("$JS.API.ACCOUNT.PURGE.X", "nobody", "".into())).unwrap();
    assert!(
        ask("X", "$JS.API.STREAM.NAMES", "").contains(r#""total":1"#),
        "another account may not"
    );
}

#[test]
fn an_account_that_imports_the_api_of_another_one_leaves_all_requests_to_it() {
    let filter = |text| SubjectFilter::parse(text).unwrap();
    let accounts = [
        AccountConfig::new("A").with_export(Export::service(filter("$JS.API.INFO"))),
        AccountConfig::new("B").with_import(Import::service("A", filter("$JS.API.INFO"))),
    ];
    let accounts = accounts.map(Into::into).into();
    let options = broker_core::Options { accounts, ..Default::default() };
    let broker = Broker::new(options, (Instant::now, SystemTime::now));
    let with_streams = [("A", Some(AccountLimits::default())), ("B", None), ("C", None)];
    let accounts = with_streams.map(|(name, limits)| (name.to_owned(), limits)).into();
    let _streams = Streams::start(&broker, Options { accounts, ..Options::default() }).unwrap();
    let ask = |account: &str, subject: &str| {
        let client = broker.client_as(Grant::anonymous().with_account(account));
        let answer = block_on(client.request(subject.to_owned(), "".into()));
        answer.ok().map(|answer| String::from_utf8_lossy(&answer.payload).into_owned())
    };
    assert!(ask("B", "$JS.API.INFO").unwrap().contains(r#""streams":0"#));
    assert_eq!(ask("B", "$JS.API.CONSUMER.INFO.S.c"), None, "there are no responders");
    assert!(ask("C", "$JS.API.CONSUMER.INFO.S.c").unwrap().contains("10039"));
}
