//! Random operations on a stream and on a model of it, by seed.

use super::*;
use crate::config::Discard;
use crate::random::Random;

/// A message of the model.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    sequence: u64,
    time: Time,
    /// Never by itself, if it is `None`.
    expires: Option<Time>,
    subject: String,
    bytes: u64,
    id: Option<u64>,
}

/// A stream as a list.
#[derive(Debug, Default)]
struct Model {
    config: StreamConfig,
    entries: Vec<Entry>,
    last: u64,
    ids: Vec<(u64, u64, Time)>,
}

/// The answer to a message.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Stored(u64),
    Duplicate(u64),
    Refused,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn of(&self, subject: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.subject == subject).collect()
    }

    fn publish(&mut self, entry: Entry, is_rollup: bool) -> Outcome {
        let config = &self.config;
        if let Some(id) = entry.id {
            let window = config.duplicate_window;
            let known = self
                .ids
                .iter()
                .rev()
                .find(|(other, _, time)| *other == id && entry.time.since(*time) < window);
            if let Some((_, sequence, _)) = known {
                return Outcome::Duplicate(*sequence);
            }
        }
        if config.discard == Discard::New && !self.has_room(&entry, is_rollup) {
            return Outcome::Refused;
        }
        self.last += 1;
        if let Some(id) = entry.id {
            self.ids.push((id, self.last, entry.time));
        }
        let subject = entry.subject.clone();
        self.entries.push(Entry { sequence: self.last, ..entry });
        self.limit();
        if is_rollup {
            let last = self.last;
            self.entries.retain(|entry| entry.subject != subject || entry.sequence == last);
        }
        Outcome::Stored(self.last)
    }

    fn has_room(&self, entry: &Entry, is_rollup: bool) -> bool {
        let config = &self.config;
        let (messages, bytes) = (config.max_messages as usize, config.max_bytes as u64);
        let per_subject = config.max_messages_per_subject as usize;
        let same = self.of(&entry.subject);
        let replaces = per_subject > 0 && same.len() >= per_subject;
        if replaces && config.discard_new_per_subject && !is_rollup {
            return false;
        }
        if messages > 0 && self.entries.len() >= messages && !replaces {
            return false;
        }
        let is_over = bytes > 0 && self.bytes() + entry.bytes > bytes;
        !is_over || replaces && same[0].bytes >= entry.bytes
    }

    fn limit(&mut self) {
        self.limit_subjects();
        self.limit_all();
    }

    fn limit_subjects(&mut self) {
        let per_subject = self.config.max_messages_per_subject as usize;
        for subject in 0..4 {
            let subject = format!("s.{subject}");
            while per_subject > 0 && self.of(&subject).len() > per_subject {
                let first = self.of(&subject)[0].sequence;
                self.entries.retain(|entry| entry.sequence != first);
            }
        }
    }

    fn limit_all(&mut self) {
        let (messages, bytes) = (self.config.max_messages as usize, self.config.max_bytes as u64);
        while self.config.discard == Discard::Old
            && (messages > 0 && self.entries.len() > messages || bytes > 0 && self.bytes() > bytes)
        {
            self.entries.remove(0);
        }
    }

    fn tick(&mut self, now: Time) {
        let max_age = self.config.max_age;
        self.entries.retain(|entry| {
            let by_age = max_age > 0 && now.since(entry.time) >= max_age;
            let by_itself = entry.expires.is_some_and(|expires| expires <= now);
            !by_age && !by_itself
        });
    }

    fn purge(&mut self, request: &PurgeRequest) -> u64 {
        let before = self.entries.len();
        let is_selected =
            |entry: &Entry| request.subject.is_empty() || request.subject == entry.subject;
        let selected = self.entries.iter().filter(|entry| is_selected(entry)).count() as u64;
        let mut most = selected.saturating_sub(request.keep);
        self.entries.retain(|entry| {
            let is_before = request.sequence == 0 || entry.sequence < request.sequence;
            let is_removed = is_selected(entry) && is_before && most > 0;
            most -= u64::from(is_removed);
            !is_removed
        });
        if request.subject.is_empty() && request.sequence > 1 {
            self.last = self.last.max(request.sequence - 1);
        }
        (before - self.entries.len()) as u64
    }

    /// Ids are known from messages that are stored.
    fn restart(&mut self, now: Time) {
        let window = self.config.duplicate_window;
        let entries = self.entries.iter().filter(|entry| now.since(entry.time) < window);
        self.ids =
            entries.filter_map(|entry| Some((entry.id?, entry.sequence, entry.time))).collect();
    }
}

fn any_config(random: &mut Random) -> StreamConfig {
    let mut any = |choices: &[i64]| choices[random.next() as usize % choices.len()];
    memory(StreamConfig {
        discard: if any(&[0, 1]) == 0 { Discard::Old } else { Discard::New },
        max_messages: any(&[0, 0, 3, 6]),
        max_bytes: any(&[-1, 0, 100, 300]),
        max_messages_per_subject: any(&[0, 1, 2, 3]),
        discard_new_per_subject: any(&[0, 1]) == 1,
        max_age: any(&[0, 10, 20]) * SECOND,
        duplicate_window: any(&[0, 5, 15]) * SECOND,
        allow_message_ttl: true,
        allow_rollup: true,
        ..StreamConfig::default()
    })
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let config = any_config(&mut random);
    let mut bench = Bench::new(config.clone());
    let mut model = Model { config, ..Model::default() };
    for step in 0..80 {
        let mut below = |bound: u64| random.next() % bound;
        match below(20) {
            0 => {
                let sequence = below(model.last + 2);
                bench.with(|stream, context| stream.remove(sequence, false, context)).unwrap();
                model.entries.retain(|entry| entry.sequence != sequence);
            }
            1 => {
                let mut request = PurgeRequest::default();
                match below(4) {
                    0 => request.sequence = below(model.last + 4),
                    1 => request.keep = below(4),
                    2 => request.subject = format!("s.{}", below(5)),
                    _ => (request.subject, request.keep) = (format!("s.{}", below(5)), below(3)),
                }
                // Sequence 1 removes nothing, and 0 is none.
                let purged = bench.with(|stream, context| stream.purge(&request, context));
                let expected = if request.sequence == 1 { 0 } else { model.purge(&request) };
                assert_eq!(purged, Ok(expected), "seed {seed}, step {step}: {request:?}");
            }
            2 => {
                let storage = bench.stream.storage;
                let (config, options) = (model.config.clone(), Options::default());
                bench.stream = Stream::open(config, START, storage, options, bench.now).unwrap();
                model.restart(bench.now);
            }
            3 => {
                let config = any_config(&mut random);
                let config = StreamConfig {
                    discard: model.config.discard,
                    duplicate_window: model.config.duplicate_window,
                    ..config
                };
                bench.with(|stream, context| stream.update(config.clone(), context)).unwrap();
                model.config = config;
                // NATS 2.14: memstore.go UpdateConfig has this order.
                model.limit_all();
                model.limit_subjects();
                bench.tick(1);
                model.tick(bench.now);
            }
            4..8 => {
                bench.tick(1 + below(6) as i64);
                model.tick(bench.now);
            }
            _ => publish(&mut bench, &mut model, &mut random, seed),
        }
        let expected: Vec<_> = model.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(bench.sequences(), expected, "seed {seed}, step {step}");
        let state = bench.stream.state();
        let totals = (state.messages, state.bytes, state.last_sequence);
        let expected = (model.entries.len() as u64, model.bytes(), model.last);
        assert_eq!(totals, expected, "seed {seed}, step {step}");
    }
}

fn publish(bench: &mut Bench, model: &mut Model, random: &mut Random, seed: u64) {
    let mut below = |bound: u64| random.next() % bound;
    let subject = format!("s.{}", below(4));
    let payload = "x".repeat(below(60) as usize);
    let id = (below(3) == 0).then(|| below(4));
    let ttl = (below(4) == 0).then(|| 1 + below(12) as i64);
    let is_rollup = below(12) == 0;
    let mut fields = Vec::new();
    fields.extend(id.map(|id| format!("Nats-Msg-Id: {id}")));
    fields.extend(ttl.map(|ttl| format!("Nats-TTL: {ttl}")));
    fields.extend(is_rollup.then(|| "Nats-Rollup: sub".to_owned()));
    let fields = fields.join("|");
    let headers = if fields.is_empty() { 0 } else { "NATS/1.0\r\n\r\n\r\n".len() + fields.len() };
    // A separator stands for two bytes.
    let bytes = 16 + subject.len() + payload.len() + headers + fields.matches('|').count();
    let entry = Entry {
        sequence: 0,
        time: bench.now,
        expires: ttl.map(|ttl| bench.now.plus(ttl * SECOND)),
        subject: subject.clone(),
        bytes: bytes as u64,
        id,
    };
    let answer = bench.publish(&subject, &fields, &payload);
    let expected = model.publish(entry, is_rollup);
    let outcome = match answer.as_str() {
        answer if answer.contains("\"error\"") => Outcome::Refused,
        answer => {
            let number = answer.split("\"seq\":").nth(1).unwrap();
            let number = number.split([',', '}']).next().unwrap().parse().unwrap();
            match answer.contains("duplicate") {
                true => Outcome::Duplicate(number),
                false => Outcome::Stored(number),
            }
        }
    };
    assert_eq!(outcome, expected, "seed {seed}: {subject} {fields}");
}

#[test]
fn a_stream_does_what_a_list_does() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    (0..seeds).for_each(play);
}
