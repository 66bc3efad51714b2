//! Time of a delivery and its acknowledgement: `cargo bench -p broker-streams --bench deliver`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails as a test does")]

use std::hint::black_box;
use std::time::Instant;

use broker_streams::config::{AckPolicy, ConsumerConfig, Time};
use broker_streams::consumer::{AckSubject, Consumer, Scope, View};
use broker_streams::outbox::{Outbox, Outgoing};
use broker_streams::store::{MemoryStorage, Record, Storage};

const MESSAGES: u64 = 1_000_000;

/// Keeps the last subject for an acknowledgement.
#[derive(Default)]
struct Out {
    replies: Vec<Vec<u8>>,
    used: usize,
}

impl Outbox for Out {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        black_box(message);
        if !message.reply.is_empty() {
            if self.replies.len() == self.used {
                self.replies.push(Vec::new());
            }
            self.replies[self.used].clear();
            self.replies[self.used].extend_from_slice(message.reply);
            self.used += 1;
        }
        true
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        true
    }
}

fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    let payload = [b'x'; 128];
    for sequence in 1..=MESSAGES {
        let subject = format!("orders.{}", sequence % 10);
        let record = Record {
            sequence,
            time: Time(1_700_000_000_000_000_000),
            subject: subject.as_bytes(),
            payload: &payload,
            ..Record::default()
        };
        storage.append(&record).expect("memory");
    }
    storage
}

fn run(name: &str, storage: &MemoryStorage, config: ConsumerConfig, batch: usize) {
    let scope = Scope { stream: "ORDERS".into(), name: "billing".into(), ..Scope::default() };
    let view = View { storage, visible: MESSAGES };
    let mut now = Time(1_700_000_001_000_000_000);
    let is_pull = config.deliver_subject.is_empty();
    let has_acks = config.ack_policy != AckPolicy::None;
    let mut consumer = Consumer::create(scope, config, view, now);
    let mut out = Out::default();
    consumer.interest_changed(now, &mut out);
    let (mut entry, mut entries, mut messages) = (Vec::new(), 0, 0);
    let start = Instant::now();
    let request = format!("{{\"batch\":{batch},\"expires\":1000000000}}");
    loop {
        out.used = 0;
        now = now.plus(100_000);
        if is_pull {
            consumer.request(view, b"_INBOX.abcdefgh.1", request.as_bytes(), now, &mut out);
        }
        consumer.deliver(view, now, &mut out, batch);
        if out.used == 0 {
            break;
        }
        messages += out.used;
        let Out { replies, used } = std::mem::take(&mut out);
        for reply in &replies[..used] {
            if has_acks {
                let ack = AckSubject::parse(reply).expect("a subject of acknowledgements");
                consumer.ack(view, &ack, b"", b"", now, &mut out);
            }
        }
        (out.replies, out.used) = (replies, 0);
        entry.clear();
        consumer.take_changes(&mut entry);
        entries += entry.len();
    }
    let nanos = start.elapsed().as_nanos() / messages as u128;
    let bytes = entries as f64 / messages as f64;
    println!("{name}: {nanos} ns a message, {bytes:.1} B of journal");
}

fn main() {
    let storage = storage();
    let pull = ConsumerConfig {
        durable: "billing".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30_000_000_000,
        max_deliver: -1,
        max_waiting: 512,
        max_ack_pending: 1000,
        ..ConsumerConfig::default()
    };
    run("pull 100, explicit", &storage, pull.clone(), 100);
    run("pull 1, explicit", &storage, pull.clone(), 1);
    let filtered = ConsumerConfig { filter_subject: "orders.7".into(), ..pull.clone() };
    run("pull 100, explicit, one of ten subjects", &storage, filtered, 100);
    let filters = vec!["orders.7".into(), "orders.8".into()];
    let filtered = ConsumerConfig { filter_subjects: filters, ..pull.clone() };
    run("pull 100, explicit, two of ten subjects", &storage, filtered, 100);
    let push = ConsumerConfig {
        deliver_subject: "_INBOX.abcdefgh.2".into(),
        ack_policy: AckPolicy::None,
        ack_wait: 0,
        ..pull
    };
    run("push, none", &storage, push, 1000);
}
