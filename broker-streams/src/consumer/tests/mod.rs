//! Tests of consumers.

mod acks;
mod control;
mod model;
mod priority;
mod pull;
mod push;
mod start;

use std::collections::HashSet;

use super::*;
use crate::config::{AckPolicy, DeliverPolicy, Retention};
use crate::outbox::{Outbox, Outgoing};
use crate::store::{MemoryStorage, Record};

const SECOND: i64 = 1_000_000_000;
const MILLI: i64 = 1_000_000;

/// A message that left.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Sent {
    to: String,
    subject: String,
    reply: String,
    headers: String,
    payload: String,
}

impl Sent {
    /// Returns the numbers of the acknowledgement subject: deliveries, sequence, delivery, pending.
    fn numbers(&self) -> (u64, u64, u64, u64) {
        let ack = self.ack();
        (ack.deliveries, ack.stream_sequence, ack.consumer_sequence, ack.pending)
    }

    fn ack(&self) -> AckSubject<'_> {
        AckSubject::parse(self.reply.as_bytes()).unwrap()
    }
}

/// An outbox that records the messages.
#[derive(Default)]
struct Out {
    sent: Vec<Sent>,
    events: Vec<(String, serde_json::Value)>,
    /// Subjects without a subscriber.
    deaf: HashSet<String>,
}

impl Outbox for Out {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let to = text(message.to);
        if self.deaf.contains(&to) {
            return false;
        }
        if to.starts_with("$JS.EVENT.") {
            self.events.push((to, serde_json::from_slice(message.payload).unwrap()));
            return true;
        }
        self.sent.push(Sent {
            to,
            subject: text(message.subject),
            reply: text(message.reply),
            headers: text(message.headers),
            payload: text(message.payload),
        });
        true
    }

    fn has_interest(&mut self, subject: &[u8], _group: Option<&[u8]>) -> bool {
        !self.deaf.contains(std::str::from_utf8(subject).unwrap())
    }
}

/// A consumer with its stream, whose messages are visible at once.
struct Bench {
    storage: MemoryStorage,
    consumer: Consumer,
    out: Out,
    now: Time,
}

const START: Time = Time(1_700_000_000 * SECOND);

fn scope() -> Scope {
    Scope {
        account: "A".into(),
        stream: "S".into(),
        name: "C".into(),
        burst_bytes: 1_000,
        seed: 7,
        ..Scope::default()
    }
}

/// A durable pull consumer with the defaults that the API fills in.
fn pull_config() -> ConsumerConfig {
    ConsumerConfig {
        durable: "C".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30 * SECOND,
        max_deliver: -1,
        max_waiting: 512,
        max_ack_pending: 1000,
        ..ConsumerConfig::default()
    }
}

fn push_config() -> ConsumerConfig {
    ConsumerConfig { max_waiting: 0, deliver_subject: "push".into(), ..pull_config() }
}

impl Bench {
    /// Creates a consumer of a stream with a message for each subject.
    fn new(config: ConsumerConfig, subjects: &[&str]) -> Self {
        let mut storage = MemoryStorage::new();
        store(&mut storage, subjects, START);
        let view = View { storage: &storage, visible: storage.state().last_sequence };
        let mut consumer = Consumer::create(scope(), config, view, START);
        let mut out = Out::default();
        consumer.interest_changed(START, &mut out);
        Self { storage, consumer, out, now: START }
    }

    /// Stores messages; the time is that of the bench.
    fn publish(&mut self, subjects: &[&str]) {
        for subject in subjects {
            store(&mut self.storage, &[subject], self.now);
            let sequence = self.storage.state().last_sequence;
            if self.consumer.appended(sequence, subject.as_bytes()) {
                self.deliver();
            }
        }
    }

    fn deliver(&mut self) {
        let Self { storage, consumer, out, now } = self;
        let view = View { storage, visible: storage.state().last_sequence };
        while consumer.deliver(view, *now, out, 10) {}
    }

    fn request(&mut self, reply: &str, payload: &str) {
        let Self { storage, consumer, out, now } = self;
        let view = View { storage, visible: storage.state().last_sequence };
        if consumer.request(view, reply.as_bytes(), payload.as_bytes(), *now, out) {
            self.deliver();
        }
    }

    /// Acknowledges as the client that received `message`.
    fn ack(&mut self, message: &Sent, payload: &str) -> AckOutcome {
        let Self { storage, consumer, out, now } = self;
        let view = View { storage, visible: storage.state().last_sequence };
        let outcome = consumer.ack(view, &message.ack(), b"answer", payload.as_bytes(), *now, out);
        if outcome.deliver {
            self.deliver();
        }
        outcome
    }

    fn remove(&mut self, sequence: u64) {
        let subject = self.storage.subject_of(sequence).unwrap().to_vec();
        self.storage.remove(sequence, false).unwrap();
        self.consumer.removed(sequence, &subject);
    }

    /// Notes a purge that the store has made.
    fn clear(&mut self, subject: Option<&str>) {
        let subject = subject.map(|subject| SubjectFilter::parse(subject).unwrap());
        let last = self.storage.state().last_sequence;
        let view = View { storage: &self.storage, visible: last };
        self.consumer.cleared(view, subject.as_ref());
    }

    /// Lets time pass, step by step. Returns true if the consumer is unused.
    fn pass(&mut self, nanos: i64) -> bool {
        let end = self.now.plus(nanos);
        let mut steps = 0;
        while let Some(due) = self.consumer.deadline().filter(|due| *due <= end) {
            steps += 1;
            assert!(steps < 10_000, "the deadline stays at {due:?}");
            self.now = self.now.max(due);
            let Self { storage, consumer, out, now } = self;
            let view = View { storage, visible: storage.state().last_sequence };
            match consumer.tick(view, *now, out) {
                Tick::Idle => {}
                Tick::Deliver => self.deliver(),
                Tick::Inactive => return true,
            }
        }
        self.now = end;
        false
    }

    fn update(&mut self, config: ConsumerConfig) {
        let Self { storage, consumer, out, now } = self;
        let view = View { storage, visible: storage.state().last_sequence };
        if consumer.update(config, view, *now, out) {
            self.deliver();
        }
    }

    /// Replaces the consumer by one that is recovered from its changes.
    fn restart(&mut self) {
        let mut entry = Vec::new();
        self.consumer.take_changes(&mut entry);
        let config = self.consumer.config().clone();
        let mut consumer = Consumer::restore(scope(), config, self.consumer.created());
        // The changes since the creation were not taken: they are whole.
        assert!(consumer.apply(&entry));
        let view = View { storage: &self.storage, visible: self.storage.state().last_sequence };
        consumer.recovered(view, self.now);
        consumer.interest_changed(self.now, &mut self.out);
        self.consumer = consumer;
    }

    fn info(&mut self) -> ConsumerInfo {
        self.consumer.info(self.now, &mut self.out)
    }

    fn sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.out.sent)
    }

    /// Takes the sent messages, as receivers and message or status.
    fn texts(&mut self) -> Vec<String> {
        let text = |sent: Sent| {
            let line = sent.headers.lines().next().unwrap_or_default().to_owned();
            let what = if sent.reply.is_empty() { line } else { sent.subject.clone() };
            format!("{}: {}", sent.to, what.trim_start_matches("NATS/1.0 "))
        };
        self.sent().into_iter().map(text).collect()
    }

    /// Takes the names of the advisories that were sent.
    fn events(&mut self) -> Vec<String> {
        let name = |(subject, _): (String, _)| {
            let name = subject.trim_start_matches("$JS.EVENT.").trim_end_matches(".S.C");
            name.trim_start_matches("ADVISORY.CONSUMER.").to_owned()
        };
        std::mem::take(&mut self.out.events).into_iter().map(name).collect()
    }
}

fn store(storage: &mut MemoryStorage, subjects: &[&str], time: Time) {
    for subject in subjects {
        let sequence = storage.state().last_sequence + 1;
        let payload = format!("message {sequence}");
        let record = Record {
            sequence,
            time,
            subject: subject.as_bytes(),
            payload: payload.as_bytes(),
            ..Record::default()
        };
        storage.append(&record).unwrap();
    }
}
