//! Cells over files: answers that wait for the disk, and restarts.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::{
    AckPolicy, ConsumerConfig, PersistMode, PriorityPolicy, Retention, StreamSource,
};
use crate::limits::WAITING_ANSWER_BYTES;
use crate::outbox::{Outbox, Outgoing};
use crate::store::{FileDisk, FileOptions, FileStorage, MemoryStorage, Opened};
use crate::stream::{Incoming, Options, PurgeRequest, Room};

/// The sent messages: the subject by which receivers are found, and the payload.
#[derive(Default)]
struct Sent(Vec<(String, String)>);

impl Sent {
    fn take(&mut self, to: &str) -> Vec<String> {
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(|(one, _)| one == to);
        self.0 = kept;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, payload)| payload).collect()
    }
}

impl Outbox for Sent {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(message.to), text(message.payload)));
        true
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        true
    }
}

const NOW: Time = Time(1_700_000_000_000_000_000);

fn open(path: &Path) -> Opened {
    let disk = FileDisk::open(path).unwrap();
    FileStorage::open(Arc::new(disk), FileOptions::default()).unwrap()
}

fn create(path: &Path) -> Cell {
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec!["a.>".into()],
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        ..StreamConfig::default()
    };
    let storage = Box::new(open(path).storage);
    let stream = Stream::open(config, NOW, storage, Options::default(), NOW).unwrap();
    Cell::create(stream, CellScope::default()).unwrap()
}

fn recover(path: &Path, sent: &mut Sent) -> Cell {
    let Opened { storage, journal, .. } = open(path);
    let (scope, options) = (CellScope::default(), Options::default());
    Cell::recover(Box::new(storage), &journal, scope, options, NOW, sent).unwrap()
}

fn publish(cell: &mut Cell, reply: &str, sent: &mut Sent) {
    let incoming = Incoming {
        subject: b"a.b",
        reply: reply.as_bytes(),
        headers: b"",
        payload: reply.as_bytes(),
    };
    cell.publish(&incoming, NOW, Room::default(), sent);
}

/// As the owner does it: syncs, and runs what has begun with that.
fn sync(cell: &mut Cell, sent: &mut Sent) {
    sync_only(cell, sent);
    if cell.begins() {
        cell.run(NOW, sent);
    }
}

fn sync_only(cell: &mut Cell, sent: &mut Sent) {
    while let Some(mut job) = cell.begin_sync() {
        job.run();
        cell.finish_sync(job, NOW, sent).unwrap();
    }
}

fn add_consumer(cell: &mut Cell, sent: &mut Sent) {
    let config = ConsumerConfig {
        durable: "C".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30_000_000_000,
        max_deliver: -1,
        max_ack_pending: 1000,
        max_waiting: 512,
        ..ConsumerConfig::default()
    };
    cell.add_consumer("C", config, NOW, sent).unwrap();
}

#[test]
fn nobody_learns_of_a_message_before_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    sync(&mut cell, &mut sent);
    assert!(cell.request(b"C", (b"inbox", b"10"), NOW, &mut sent));
    publish(&mut cell, "p1", &mut sent);
    publish(&mut cell, "p2", &mut sent);
    assert_eq!(cell.sync(), Urgency::Now);
    assert!(sent.take("p1").is_empty() && sent.take("inbox").is_empty());
    sync(&mut cell, &mut sent);
    assert_eq!(sent.take("p1"), [r#"{"stream":"S","seq":1}"#]);
    assert_eq!(sent.take("p2"), [r#"{"stream":"S","seq":2}"#]);
    assert_eq!(sent.take("inbox"), ["p1", "p2"]);
}

#[test]
fn a_consumer_delivers_after_the_answer_to_its_creation() {
    // The disk may be faster than the thread that delivers.
    for runs_before in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let (mut cell, mut sent) = (create(directory.path()), Sent::default());
        publish(&mut cell, "p1", &mut sent);
        sync(&mut cell, &mut sent);
        let config = ConsumerConfig {
            deliver_subject: "inbox".into(),
            max_deliver: -1,
            ..ConsumerConfig::default()
        };
        cell.add_consumer("P", config, NOW, &mut sent).unwrap();
        // The acknowledgement and the advisory.
        sent.0.clear();
        cell.answer(b"creator", b"created", &mut sent);
        if runs_before {
            cell.run(NOW, &mut sent);
            cell.interest_changed(NOW, &mut sent);
        }
        assert!(sent.0.is_empty() && !cell.begins(), "the answer is first");
        sync_only(&mut cell, &mut sent);
        assert_eq!(sent.0, [("creator".to_owned(), "created".to_owned())]);
        assert!(cell.begins() && cell.has_work(NOW), "the answer leaves before the deliveries");
        assert!(!cell.begins(), "once");
        cell.run(NOW, &mut sent);
        assert_eq!(sent.take("inbox"), ["p1"]);
        publish(&mut cell, "p2", &mut sent);
        sync_only(&mut cell, &mut sent);
        assert_eq!(sent.take("inbox"), ["p2"], "later messages wait for no other turn");
    }
}

#[test]
fn requests_that_arrive_together_are_served_in_the_order_of_their_priorities() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    let config = ConsumerConfig {
        durable: "C".into(),
        priority_policy: PriorityPolicy::Prioritized,
        priority_groups: vec!["A".into()],
        max_deliver: -1,
        max_waiting: 512,
        ..ConsumerConfig::default()
    };
    cell.add_consumer("C", config, NOW, &mut sent).unwrap();
    publish(&mut cell, "p1", &mut sent);
    publish(&mut cell, "p2", &mut sent);
    sync(&mut cell, &mut sent);
    sent.0.clear();
    for (reply, priority) in [("second", 1), ("first", 0)] {
        let request = format!(r#"{{"batch":1,"group":"A","priority":{priority}}}"#);
        assert!(cell.request(b"C", (reply.as_bytes(), request.as_bytes()), NOW, &mut sent));
    }
    assert!(cell.has_work(NOW));
    cell.run(NOW, &mut sent);
    let text = |(to, payload): (&str, &str)| (to.to_owned(), payload.to_owned());
    assert_eq!(sent.0, [("first", "p1"), ("second", "p2")].map(text));
}

#[test]
fn only_a_stream_that_persists_asynchronously_acknowledges_before_the_message_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    let config =
        StreamConfig { persist_mode: PersistMode::Async, ..cell.stream().config().clone() };
    cell.update(config, NOW, Room::default(), &mut sent).unwrap();
    add_consumer(&mut cell, &mut sent);
    sync(&mut cell, &mut sent);
    assert!(cell.request(b"C", (b"inbox", b"10"), NOW, &mut sent));
    publish(&mut cell, "p1", &mut sent);
    assert_eq!(sent.take("p1"), [r#"{"stream":"S","seq":1}"#]);
    assert!(sent.take("inbox").is_empty(), "consumers see what no crash takes back");
    assert_eq!(cell.sync(), Urgency::Now);
    sync(&mut cell, &mut sent);
    assert_eq!(sent.take("inbox"), ["p1"]);
    assert!(sent.take("p1").is_empty(), "acknowledged once");
}

#[test]
fn a_request_between_a_message_and_its_sync_receives_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    sync(&mut cell, &mut sent);
    publish(&mut cell, "p1", &mut sent);
    assert!(cell.request(b"C", (b"inbox", b"10"), NOW, &mut sent));
    assert!(sent.take("inbox").is_empty());
    sync(&mut cell, &mut sent);
    assert_eq!(sent.take("inbox"), ["p1"]);
}

#[test]
fn an_answer_waits_for_the_changes_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    cell.answer(b"api", b"created", &mut sent);
    assert!(sent.take("api").is_empty());
    sync(&mut cell, &mut sent);
    assert_eq!(sent.take("api"), ["created"]);
    cell.answer(b"api", b"again", &mut sent);
    assert_eq!(sent.take("api"), ["again"], "nothing has changed since");
}

#[test]
fn a_restart_finds_consumers_with_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut sent = Sent::default();
    {
        let mut cell = create(directory.path());
        add_consumer(&mut cell, &mut sent);
        for reply in ["p1", "p2", "p3"] {
            publish(&mut cell, reply, &mut sent);
        }
        sync(&mut cell, &mut sent);
        cell.request(b"C", (b"inbox", b"2"), NOW, &mut sent);
        assert_eq!(sent.take("inbox"), ["p1", "p2"]);
        for sequence in 1..=2 {
            let ack = format!("$JS.ACK.S.C.1.{sequence}.{sequence}.{}.0", NOW.0);
            cell.acknowledge(ack.as_bytes(), (b"acked", b""), NOW, &mut sent);
        }
        assert!(sent.take("acked").is_empty(), "not durable yet");
        sync(&mut cell, &mut sent);
        assert_eq!(sent.take("acked").len(), 2);
    }
    let mut cell = recover(directory.path(), &mut sent);
    assert_eq!(cell.consumer_names(), ["C"]);
    cell.request(b"C", (b"inbox", b"10"), NOW, &mut sent);
    assert_eq!(sent.take("inbox"), ["p3"]);
    assert!(cell.remove_consumer("C", NOW, &mut sent).unwrap());
    sync(&mut cell, &mut sent);
    drop(cell);
    assert!(recover(directory.path(), &mut sent).consumer_names().is_empty());
}

#[test]
fn a_restart_forgets_consumers_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut sent = Sent::default();
    {
        let mut cell = create(directory.path());
        add_consumer(&mut cell, &mut sent);
        for (name, is_direct) in [("MEMORY", false), ("DIRECT", true), ("GONE", false)] {
            let config = ConsumerConfig {
                ack_policy: AckPolicy::Explicit,
                memory_storage: !is_direct,
                direct: is_direct,
                ..Default::default()
            };
            cell.add_consumer(name, config, NOW, &mut sent).unwrap();
        }
        assert!(cell.remove_consumer("GONE", NOW, &mut sent).unwrap());
        assert_eq!(cell.consumer_names(), ["C", "DIRECT", "MEMORY"]);
        sync(&mut cell, &mut sent);
        cell.answer(b"api", b"created", &mut sent);
        assert_eq!(sent.take("api"), ["created"]);
        let config = ConsumerConfig { memory_storage: true, ..Default::default() };
        cell.add_consumer("NEW", config, NOW, &mut sent).unwrap();
        cell.answer(b"api", b"created", &mut sent);
        assert_eq!(sent.take("api"), ["created"], "there is nothing to store");
    }
    assert_eq!(recover(directory.path(), &mut sent).consumer_names(), ["C"]);
}

#[test]
fn nothing_is_delivered_while_deliveries_are_paused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    cell.request(b"C", (b"inbox", b"10"), NOW, &mut sent);
    let until = NOW.plus(5);
    cell.pause(until);
    publish(&mut cell, "p1", &mut sent);
    sync(&mut cell, &mut sent);
    assert!(sent.take("inbox").is_empty());
    assert!(!cell.has_work(NOW) && cell.has_work(until));
    assert!(cell.wake_at().is_some_and(|at| at <= until));
    cell.run(until, &mut sent);
    assert_eq!(sent.take("inbox"), ["p1"]);
}

#[test]
fn clients_that_acknowledge_while_the_disk_hangs_take_limited_memory() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    publish(&mut cell, "p1", &mut sent);
    sync(&mut cell, &mut sent);
    cell.request(b"C", (b"inbox", b"1"), NOW, &mut sent);
    let (ack, reply) = (format!("$JS.ACK.S.C.1.1.1.{}.0", NOW.0), "r".repeat(1 << 20));
    sent.0.clear();
    for _ in 0..100 {
        cell.acknowledge(ack.as_bytes(), (reply.as_bytes(), b""), NOW, &mut sent);
    }
    assert!(sent.0.is_empty(), "not durable yet");
    sync(&mut cell, &mut sent);
    assert_eq!(sent.0.len(), WAITING_ANSWER_BYTES / reply.len());
}

#[test]
fn consumers_follow_the_retention_of_their_stream() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    for reply in ["p1", "p2", "p3"] {
        publish(&mut cell, reply, &mut sent);
    }
    sync(&mut cell, &mut sent);
    cell.request(b"C", (b"inbox", b"3"), NOW, &mut sent);
    let ack = |sequence: u64| format!("$JS.ACK.S.C.1.{sequence}.{sequence}.{}.0", NOW.0);
    cell.acknowledge(ack(2).as_bytes(), (b"", b""), NOW, &mut sent);
    let mut update = |cell: &mut Cell, retention| {
        let config = StreamConfig { retention, ..cell.stream().config().clone() };
        cell.update(config, NOW, Room::default(), &mut sent).unwrap();
    };
    assert_eq!(cell.stream().state().messages, 3);
    update(&mut cell, Retention::Interest);
    assert_eq!(cell.stream().state().messages, 2, "the acknowledged message is removed");
    cell.acknowledge(ack(1).as_bytes(), (b"", b""), NOW, &mut Sent::default());
    assert_eq!(cell.stream().state().messages, 1);
    update(&mut cell, Retention::Limits);
    cell.acknowledge(ack(3).as_bytes(), (b"", b""), NOW, &mut Sent::default());
    assert_eq!(cell.stream().state().messages, 1, "acknowledgements remove nothing");
}

/// A mirror in memory, and the subjects that its owner subscribes to.
struct Mirror {
    cell: Cell,
    places: Arc<Mutex<Vec<FeedPlace>>>,
    sent: Sent,
}

impl Mirror {
    /// Creates a mirror whose consumer was requested.
    fn start() -> Self {
        let source = StreamSource { name: "O".into(), ..StreamSource::default() };
        let config =
            StreamConfig { name: "M".into(), mirror: Some(source), ..StreamConfig::default() };
        let storage = Box::new(MemoryStorage::new());
        let stream = Stream::open(config, NOW, storage, Options::default(), NOW).unwrap();
        let cell = Cell::create(stream, CellScope::default()).unwrap();
        let mut mirror = Self { cell, places: Arc::default(), sent: Sent::default() };
        let places = Arc::clone(&mirror.places);
        mirror.cell.set_follower(Box::new(move |_, changes| {
            for change in changes {
                if let Change::Feeds(now) = change {
                    places.lock().unwrap().clone_from(now);
                }
            }
        }));
        assert_eq!(mirror.cell.wake_at(), Some(NOW));
        mirror.cell.tick(NOW, &mut mirror.sent);
        mirror.cell.request_feeds(NOW, &mut mirror.sent);
        assert!(mirror.sent.0.is_empty(), "nobody is subscribed to the answer yet");
        mirror.follow();
        assert_eq!(mirror.sent.take("$JS.API.CONSUMER.CREATE.O").len(), 1);
        mirror
    }

    fn follow(&mut self) {
        self.cell.follow_changes();
        self.cell.request_feeds(NOW, &mut self.sent);
    }

    fn reply(&self) -> String {
        self.places.lock().unwrap()[0].reply.clone()
    }

    fn respond(&mut self) {
        let (reply, room) = (self.reply(), Room::default());
        self.cell.feed_response(&reply, br#"{"name":"C"}"#, NOW, room, &mut self.sent);
    }

    fn take(&mut self, feed: &str, ack: &str, headers: &str) {
        let message = Incoming {
            subject: b"a",
            reply: ack.as_bytes(),
            headers: headers.as_bytes(),
            payload: if headers.is_empty() { b"x" } else { b"" },
        };
        self.cell.feed_message(feed, &message, NOW, Room::default(), &mut self.sent);
    }
}

#[test]
fn what_a_mirror_takes_is_followed_with_the_next_turn() {
    let mut mirror = Mirror::start();
    mirror.respond();
    add_consumer(&mut mirror.cell, &mut mirror.sent);
    mirror.cell.run(NOW, &mut mirror.sent);
    mirror.cell.request(b"C", (b"inbox", b"1"), NOW, &mut mirror.sent);
    let feed = mirror.reply();
    mirror.take("_INBOX.ended", &format!("$JS.ACK.O.C.1.1.1.{}.0", NOW.0), "");
    assert_eq!(mirror.cell.stream().state().last_sequence, 0, "of a feed that has ended");
    mirror.take(&feed, &format!("$JS.ACK.O.C.1.1.1.{}.0", NOW.0), "");
    mirror.take(&feed, "$JS.FC.O.C.1", "NATS/1.0 100 FlowControl Request\r\n\r\n");
    assert_eq!(mirror.cell.stream().state().last_sequence, 1);
    assert!(mirror.sent.take("inbox").is_empty() && mirror.sent.take("$JS.FC.O.C.1").is_empty());
    assert!(mirror.cell.has_work(NOW));
    mirror.cell.run(NOW, &mut mirror.sent);
    assert_eq!(mirror.sent.take("inbox"), ["x"]);
    assert_eq!(mirror.sent.take("$JS.FC.O.C.1").len(), 1);
}

#[test]
fn a_mirror_that_is_promoted_or_deleted_deletes_its_consumer() {
    for is_promoted in [true, false] {
        let mut mirror = Mirror::start();
        mirror.respond();
        if is_promoted {
            let config = StreamConfig { mirror: None, ..mirror.cell.stream().config().clone() };
            mirror.cell.update(config, NOW, Room::default(), &mut mirror.sent).unwrap();
            mirror.follow();
            assert!(mirror.places.lock().unwrap().is_empty());
        } else {
            mirror.cell.close(NOW, &mut mirror.sent);
        }
        let [(subject, _)] = &mirror.sent.0[..] else { panic!("{:?}", mirror.sent.0) };
        assert!(subject.starts_with("$JS.API.CONSUMER.DELETE.O.JS_MIRROR_"), "{subject}");
    }
}

/// The origin was deleted, and its consumer with it. The mirror creates a consumer again, and continues.
#[test]
fn a_mirror_asks_again_when_its_origin_is_gone() {
    let mut mirror = Mirror::start();
    mirror.respond();
    let feed = mirror.reply();
    mirror.take(&feed, &format!("$JS.ACK.O.C.1.7.1.{}.0", NOW.0), "");
    let Mirror { cell, sent, places } = &mut mirror;
    let mut replies = vec![feed];
    for _ in 0..2 {
        // The first turn gives up the consumer, the second one asks again.
        for _ in 0..2 {
            let at = cell.stream().deadline().unwrap();
            cell.tick(at, sent);
            cell.follow_changes();
            cell.request_feeds(at, sent);
        }
        let request = sent.take("$JS.API.CONSUMER.CREATE.O").pop().unwrap();
        assert!(request.contains(r#""opt_start_seq":8"#), "{request}");
        let reply = places.lock().unwrap()[0].reply.clone();
        assert!(!replies.contains(&reply));
        replies.push(reply);
    }
    mirror.respond();
    mirror.take(&replies[2], &format!("$JS.ACK.O.C.1.8.1.{}.0", NOW.0), "");
    assert_eq!(mirror.cell.stream().state().last_sequence, 8);
}

/// The sequences are those that nats-server 2.14.5 states.
#[test]
fn a_purge_that_removes_nothing_moves_the_consumers() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    add_consumer(&mut cell, &mut sent);
    let floors = |cell: &mut Cell| {
        let info = cell.consumer_info("C", NOW, &mut Sent::default()).unwrap();
        (info.delivered.stream, info.ack_floor.stream)
    };
    assert_eq!(floors(&mut cell), (0, 0));
    let purge = PurgeRequest { sequence: 4, ..PurgeRequest::default() };
    assert_eq!(cell.purge(&purge, NOW, &mut sent), Ok(0));
    assert_eq!(floors(&mut cell), (3, 3));
    publish(&mut cell, "p4", &mut sent);
    sync(&mut cell, &mut sent);
    let purge = PurgeRequest { subject: "a.none".into(), ..PurgeRequest::default() };
    assert_eq!(cell.purge(&purge, NOW, &mut sent), Ok(0));
    assert_eq!(floors(&mut cell), (3, 3), "the consumer selects more than was purged");
}

#[test]
fn a_message_reaches_only_the_consumers_that_select_its_subject() {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, mut sent) = (create(directory.path()), Sent::default());
    let filters = ["a.b", "a.*", "a.c", "a.>", ""];
    for (number, filter) in filters.iter().enumerate() {
        let config = ConsumerConfig {
            durable: format!("C{number}"),
            filter_subject: (*filter).into(),
            max_deliver: -1,
            max_waiting: 512,
            ack_policy: AckPolicy::None,
            ..ConsumerConfig::default()
        };
        cell.add_consumer(&format!("C{number}"), config, NOW, &mut sent).unwrap();
    }
    let ask = |cell: &mut Cell, sent: &mut Sent| {
        for number in 0..filters.len() {
            let (name, inbox) = (format!("C{number}"), format!("inbox{number}"));
            assert!(cell.request(name.as_bytes(), (inbox.as_bytes(), b"1"), NOW, sent));
        }
    };
    ask(&mut cell, &mut sent);
    publish(&mut cell, "p1", &mut sent);
    sync(&mut cell, &mut sent);
    let found = |sent: &mut Sent| {
        (0..filters.len())
            .map(|number| sent.take(&format!("inbox{number}")).len())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&mut sent), [1, 1, 0, 1, 1]);
    // Another filter, and a consumer less.
    let config = cell.consumer("C2").unwrap().config().clone();
    let config = ConsumerConfig { filter_subject: "a.b".into(), ..config };
    assert!(cell.update_consumer("C2", config, NOW, &mut sent).unwrap());
    assert!(cell.remove_consumer("C3", NOW, &mut sent).unwrap());
    sent.take("inbox2");
    for number in [0, 1, 2, 4] {
        let (name, inbox) = (format!("C{number}"), format!("inbox{number}"));
        assert!(cell.request(name.as_bytes(), (inbox.as_bytes(), b"1"), NOW, &mut sent));
    }
    sent.0.clear();
    publish(&mut cell, "p2", &mut sent);
    sync(&mut cell, &mut sent);
    assert_eq!(found(&mut sent), [1, 1, 1, 0, 1]);
}
