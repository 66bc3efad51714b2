//! Random operations on a consumer and on a naive model of it.

use std::collections::BTreeMap;

use super::*;
use crate::random::Random;

const SUBJECTS: [&str; 3] = ["a", "b.1", "b.2"];

/// The state that a consumer must keep.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// The last message that was delivered for the first time.
    last_new: u64,
    /// The messages that are not acknowledged, with the number of their deliveries.
    unacknowledged: BTreeMap<u64, u64>,
    deliveries: u64,
}

struct Model {
    seed: u64,
    random: Random,
    storage: MemoryStorage,
    consumer: Consumer,
    out: Out,
    now: Time,
    visible: u64,
    /// The entries of the journal.
    journal: Vec<Vec<u8>>,
    memory: Memory,
    /// The state that the journal keeps.
    durable: Memory,
    /// The messages that requests may receive yet.
    requests: BTreeMap<String, i64>,
    received: Vec<Sent>,
    next_request: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let policies = [AckPolicy::Explicit, AckPolicy::Explicit, AckPolicy::All, AckPolicy::None];
        let filters = [&["a"][..], &["b.>"], &["a", "b.1"], &[]];
        let ack_policy = policies[random.below(4) as usize];
        let has_acks = ack_policy != AckPolicy::None;
        let config = ConsumerConfig {
            ack_policy,
            ack_wait: if has_acks { 10 * SECOND } else { 0 },
            backoff: if has_acks && random.below(4) == 0 {
                vec![SECOND, 3 * SECOND]
            } else {
                Vec::new()
            },
            max_deliver: if has_acks { [-1, 1, 2, 3][random.below(4) as usize] } else { -1 },
            max_ack_pending: if has_acks { [1, 3, 1000][random.below(3) as usize] } else { 0 },
            filter_subjects: filters[random.below(4) as usize]
                .iter()
                .map(|filter| (*filter).to_owned())
                .collect(),
            ..pull_config()
        };
        let storage = MemoryStorage::new();
        let view = View { storage: &storage, visible: 0 };
        let consumer = Consumer::create(scope(), config, view, START);
        Self {
            seed,
            random,
            storage,
            consumer,
            out: Out::default(),
            now: START,
            visible: 0,
            journal: Vec::new(),
            memory: Memory::default(),
            durable: Memory::default(),
            requests: BTreeMap::new(),
            received: Vec::new(),
            next_request: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=5 => self.publish(),
            6..=8 => self.request(),
            9..=12 => self.acknowledge(),
            13 => self.pass(),
            14 => self.remove(),
            15 if self.random.below(4) == 0 => self.purge(),
            16 if self.random.below(3) == 0 => self.restart(),
            17 => self.sync(),
            18 => self.compact(),
            _ => self.deliver(),
        }
        self.check();
    }

    fn publish(&mut self) {
        let subject = SUBJECTS[self.random.below(3) as usize];
        store(&mut self.storage, &[subject], self.now);
        self.consumer.appended(self.storage.state().last_sequence, subject.as_bytes());
        if self.random.below(3) > 0 {
            self.visible = self.storage.state().last_sequence;
            self.deliver();
        }
    }

    fn view(&self) -> View<'_> {
        View { storage: &self.storage, visible: self.visible }
    }

    fn request(&mut self) {
        self.next_request += 1;
        let reply = format!("reply.{}", self.next_request);
        let batch = 1 + self.random.below(5).cast_signed();
        let no_wait = self.random.below(3) == 0;
        let expires = self.random.below(2).cast_signed() * 5 * SECOND;
        let payload = format!("{{\"batch\":{batch},\"no_wait\":{no_wait},\"expires\":{expires}}}");
        self.requests.insert(reply.clone(), batch);
        if self.random.below(8) == 0 {
            self.out.deaf.insert(reply.clone());
        }
        let view = View { storage: &self.storage, visible: self.visible };
        let (reply, payload) = (reply.as_bytes(), payload.as_bytes());
        if self.consumer.request(view, reply, payload, self.now, &mut self.out) {
            self.deliver();
        }
        self.take_sent();
    }

    fn acknowledge(&mut self) {
        if self.received.is_empty() {
            return;
        }
        let at = self.random.below(self.received.len() as u64) as usize;
        let message = self.received[at].clone();
        let payloads = ["", "+ACK", "+WPI", "-NAK", "-NAK {\"delay\":2000000000}", "+TERM"];
        let payload = payloads[self.random.below(6) as usize];
        let view = View { storage: &self.storage, visible: self.visible };
        let ack = message.ack();
        self.consumer.ack(view, &ack, b"r", payload.as_bytes(), self.now, &mut self.out);
        if matches!(payload, "" | "+ACK" | "+TERM") {
            self.note_ack(ack.stream_sequence);
            self.received.swap_remove(at);
        }
        self.deliver();
    }

    fn note_ack(&mut self, sequence: u64) {
        // A consumer that has forgotten the delivery ignores the acknowledgement.
        match self.consumer.config().ack_policy {
            AckPolicy::All if sequence <= self.memory.last_new => {
                self.memory.unacknowledged.retain(|other, _| *other > sequence);
            }
            AckPolicy::Explicit => {
                self.memory.unacknowledged.remove(&sequence);
            }
            _ => {}
        }
    }

    fn pass(&mut self) {
        let end = self.now.plus(self.random.below(6_000).cast_signed() * MILLI);
        while let Some(due) = self.consumer.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let view = View { storage: &self.storage, visible: self.visible };
            match self.consumer.tick(view, self.now, &mut self.out) {
                Tick::Inactive => panic!("a durable consumer is never unused"),
                Tick::Deliver => self.deliver(),
                Tick::Idle => self.take_sent(),
            }
        }
        self.now = end;
    }

    fn remove(&mut self) {
        let sequence = 1 + self.random.below(self.storage.state().last_sequence + 1);
        if let Some(subject) = self.storage.subject_of(sequence).map(<[u8]>::to_vec) {
            self.storage.remove(sequence, false).unwrap();
            self.consumer.removed(sequence, &subject);
            self.memory.unacknowledged.remove(&sequence);
        }
    }

    fn purge(&mut self) {
        let last = self.storage.state().last_sequence;
        let keep = self.random.below(5);
        self.storage.remove_before((last + 1).saturating_sub(keep)).unwrap();
        let view = View { storage: &self.storage, visible: self.visible };
        self.consumer.cleared(view, None);
        let storage = &self.storage;
        self.memory.unacknowledged.retain(|sequence, _| storage.subject_of(*sequence).is_some());
        self.memory.last_new =
            self.memory.last_new.max(storage.state().first_sequence.saturating_sub(1));
    }

    fn sync(&mut self) {
        self.visible = self.storage.state().last_sequence;
        let mut entry = Vec::new();
        let has_changes = self.consumer.has_changes();
        assert_eq!(self.consumer.take_changes(&mut entry), has_changes);
        assert!(!self.consumer.has_changes());
        if has_changes {
            self.journal.push(entry);
        }
        self.durable = self.memory.clone();
        self.deliver();
    }

    fn compact(&mut self) {
        self.sync();
        // Nothing was delivered since, or it is a change that follows.
        let mut entry = Vec::new();
        self.consumer.take_changes(&mut Vec::new());
        self.consumer.snapshot(&mut entry);
        self.journal = vec![entry];
        self.durable = self.memory.clone();
    }

    /// Stops, with or without a last sync, and starts again.
    fn restart(&mut self) {
        if self.random.below(2) == 0 {
            self.sync();
            let mut entry = Vec::new();
            if self.consumer.take_changes(&mut entry) {
                self.journal.push(entry);
            }
            self.durable = self.memory.clone();
        }
        self.visible = self.storage.state().last_sequence;
        let mut consumer = Consumer::restore(scope(), self.consumer.config().clone(), START);
        for entry in &self.journal {
            assert!(consumer.apply(entry));
        }
        consumer.recovered(self.view(), self.now);
        self.consumer = consumer;
        self.memory = self.durable.clone();
        let storage = &self.storage;
        self.memory.unacknowledged.retain(|sequence, _| storage.subject_of(*sequence).is_some());
        self.requests.clear();
    }

    fn deliver(&mut self) {
        let view = View { storage: &self.storage, visible: self.visible };
        let budget = 1 + self.random.below(5) as usize;
        while self.consumer.deliver(view, self.now, &mut self.out, budget) {}
        self.take_sent();
    }

    fn take_sent(&mut self) {
        // In the order in which they happened, as far as it matters: a message is given up after its last delivery.
        for sent in std::mem::take(&mut self.out.sent) {
            if sent.reply.is_empty() {
                if !sent.headers.contains(" 100 ") {
                    self.requests.remove(&sent.to);
                }
            } else {
                self.take_message(sent);
            }
        }
        for (subject, event) in std::mem::take(&mut self.out.events) {
            if subject.contains("MAX_DELIVERIES") {
                let sequence = event["stream_seq"].as_u64().unwrap();
                let deliveries = self.memory.unacknowledged.remove(&sequence);
                let max = self.consumer.config().max_deliver;
                assert_eq!(deliveries, Some(max.cast_unsigned()), "seed {}", self.seed);
            }
        }
    }

    fn take_message(&mut self, sent: Sent) {
        let seed = self.seed;
        let (deliveries, sequence, delivery, _) = sent.numbers();
        let left = self.requests.get_mut(&sent.to);
        let left = left.unwrap_or_else(|| panic!("seed {seed}: nobody asked for {sent:?}"));
        *left -= 1;
        assert!(*left >= 0, "seed {seed}: {} receives too much", sent.to);
        assert!(sequence <= self.visible, "seed {seed}: {sequence} is not visible");
        assert!(self.storage.subject_of(sequence).is_some(), "seed {seed}: {sequence} is gone");
        self.memory.deliveries += 1;
        assert_eq!(delivery, self.memory.deliveries, "seed {seed}");
        if deliveries == 1 {
            let next = self.storage.next_match(self.consumer.filters(), self.memory.last_new + 1);
            assert_eq!(Some(sequence), next, "seed {seed}: the order of first deliveries");
            self.memory.last_new = sequence;
            if self.consumer.config().ack_policy != AckPolicy::None {
                self.memory.unacknowledged.insert(sequence, 1);
            }
        } else {
            let before = self.memory.unacknowledged.get_mut(&sequence);
            let before = before.unwrap_or_else(|| panic!("seed {seed}: {sequence} was settled"));
            *before += 1;
            assert_eq!(deliveries, *before, "seed {seed}: deliveries of {sequence}");
        }
        let max = self.consumer.config().max_deliver;
        assert!(max < 0 || deliveries.cast_signed() <= max, "seed {seed}: {sequence} too often");
        self.received.push(sent);
    }

    fn check(&mut self) {
        let info = self.consumer.info(self.now, &mut self.out);
        self.take_sent();
        let seed = self.seed;
        let filters = self.consumer.filters();
        let pending = self.storage.count(filters, self.memory.last_new + 1, false);
        assert_eq!(info.num_pending, pending, "seed {seed}: pending, {:?}", self.memory);
        let unacknowledged = &self.memory.unacknowledged;
        assert_eq!(info.num_ack_pending, unacknowledged.len() as u64, "seed {seed}: {info:?}");
        let max = self.consumer.config().max_ack_pending;
        assert!(max <= 0 || info.num_ack_pending <= max.cast_unsigned(), "seed {seed}");
        if let Some(first) = unacknowledged.keys().next() {
            assert!(info.ack_floor.stream < *first, "seed {seed}: {info:?}");
        }
        assert!(info.ack_floor.stream <= info.delivered.stream, "seed {seed}: {info:?}");
        assert!(info.ack_floor.consumer <= info.delivered.consumer, "seed {seed}: {info:?}");
    }

    /// Asks and acknowledges until nothing is left.
    fn finish(&mut self) {
        self.sync();
        for _ in 0..10_000 {
            self.request();
            for message in std::mem::take(&mut self.received) {
                let view = View { storage: &self.storage, visible: self.visible };
                let ack = message.ack();
                self.consumer.ack(view, &ack, b"", b"", self.now, &mut self.out);
                self.note_ack(ack.stream_sequence);
            }
            self.pass();
            let info = self.consumer.info(self.now, &mut self.out);
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                // It stays before messages that were delivered as often as they may be.
                let is_limited = self.consumer.config().max_deliver > 0;
                assert!(is_limited || info.ack_floor.stream == info.delivered.stream);
                return self.check();
            }
        }
        panic!("seed {}: messages are left: {:?}", self.seed, self.memory);
    }
}

#[test]
fn a_consumer_is_as_its_model() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(300) {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.step();
        }
        model.finish();
    }
}
