//! Stores agree with a naive model, whatever the order of changes.

mod model;

use std::collections::BTreeSet;

use broker_core::SubjectFilter;

use super::*;
pub(crate) use model::Model;

/// Random numbers by seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `limit`.
    // SplitMix64.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Makes the same random change to a store and to the model.
pub(crate) fn change(storage: &mut dyn Storage, model: &mut Model, random: &mut Random) {
    let first = model.first();
    let (last, span) = (model.last, model.last + 2 - first.min(model.last));
    match random.below(100) {
        0..60 => {
            let bits = if random.below(20) == 0 { random.below(20) } else { 0 };
            let sequence = last + 1 + random.below(1 << bits);
            append(storage, model, random, sequence);
        }
        60..80 => {
            let (sequence, erase) = (first + random.below(span), random.below(8) == 0);
            assert_eq!(storage.remove(sequence, erase).unwrap(), model.remove(sequence));
        }
        80..84 => {
            let sequence = last + random.below(3);
            let time = (random.below(2) == 0).then_some(Time(model.now));
            storage.skip_to(sequence, time).unwrap();
            if sequence > last {
                (model.last, model.last_time) = (sequence, time.unwrap_or(model.last_time));
            }
        }
        84..88 => {
            let sequence = first + random.below(span.div_ceil(4));
            assert_eq!(storage.remove_before(sequence).unwrap(), model.remove_before(sequence));
        }
        88 if random.below(4) == 0 => {
            assert_eq!(storage.remove_before(last + 1).unwrap(), model.remove_before(last + 1));
        }
        89..99 => {
            let entry = vec![random.below(256) as u8; random.below(50) as usize];
            storage.journal(&entry).unwrap();
            model.journal.push(entry);
        }
        99 => {
            let entries = vec![model.journal.concat(), b"second".to_vec()];
            storage.replace_journal(&entries).unwrap();
            model.journal = entries;
        }
        _ => {}
    }
    model.changes += 1;
}

fn append(storage: &mut dyn Storage, model: &mut Model, random: &mut Random, sequence: u64) {
    let subject = match random.below(4) {
        0 => format!("a.{}", random.below(3)),
        1 => format!("b.{}.c", random.below(40)),
        _ => format!("c.{}.{}", random.below(10), random.below(10)),
    };
    let expires = if random.below(9) == 0 { 1 + random.below(1000) as i64 } else { 0 };
    let headers = vec![b'h'; random.below(3) as usize * 10];
    let large = if random.below(50) == 0 { 3000 } else { 40 };
    let payload = vec![sequence as u8; random.below(large) as usize];
    // Clocks do not always go forwards.
    model.now += random.below(12) as i64 - 1;
    let record = Record {
        sequence,
        time: Time(model.now),
        expires: Time(expires),
        subject: subject.as_bytes(),
        headers: &headers,
        payload: &payload,
    };
    storage.append(&record).unwrap();
    model.append(&record);
}

/// Compares everything that a store answers with the model.
pub(crate) fn compare(storage: &dyn Storage, model: &Model, random: &mut Random) {
    assert_eq!(storage.state(), model.state());
    assert_eq!(storage.first_time(), model.first_time());
    assert_eq!(storage.journal_bytes(), model.journal.concat().len() as u64);
    let (first, span) = (model.first(), model.last + 3 - model.first());
    let from = first.saturating_sub(1) + random.below(span);
    let mut buffer = Vec::new();
    assert_eq!(storage.load(from, &mut buffer).unwrap(), model.load(from));
    assert_eq!(storage.subject_of(from), model.load(from).map(|record| record.subject));
    for filters in filters() {
        compare_selection(storage, model, &filters, from);
    }
    for subject in ["a.0", "b.7.c", "c.1.1", "d"] {
        assert_eq!(storage.subject(subject.as_bytes()), model.subject(subject.as_bytes()));
    }
    let time = Time(random.below(model.now as u64 + 10) as i64);
    assert_eq!(storage.sequence_at(time), model.sequence_at(time), "at {time:?}");
    let mut gaps = Vec::new();
    storage.for_each_gap(&mut |first, last| {
        gaps.push((first, last));
        gaps.len() < 5
    });
    assert_eq!(gaps, model.gaps().take(5).collect::<Vec<_>>());
}

fn compare_selection(storage: &dyn Storage, model: &Model, filters: &Filters, from: u64) {
    assert_eq!(
        storage.next_match(filters, from),
        model.next_match(filters, from),
        "{filters:?} {from}"
    );
    assert_eq!(storage.previous_match(filters, from), model.previous_match(filters, from));
    for last in [false, true] {
        let counted = storage.count(filters, from, last);
        assert_eq!(counted, model.count(filters, from, last), "{filters:?} {from} {last}");
    }
    let mut subjects = BTreeSet::new();
    storage.for_each_subject(filters, &mut |subject, state| {
        assert_eq!(Some(state), model.subject(subject));
        subjects.insert(subject.to_vec())
    });
    assert_eq!(subjects, model.subjects(filters));
}

/// Compares each message.
pub(crate) fn compare_all(storage: &dyn Storage, model: &Model) {
    let mut buffer = Vec::new();
    let mut next = 0;
    for record in model.records() {
        assert_eq!(storage.next_match(&Filters::default(), next), Some(record.sequence));
        assert_eq!(storage.load(record.sequence, &mut buffer).unwrap(), Some(record));
        next = record.sequence + 1;
    }
    assert_eq!(storage.next_match(&Filters::default(), next), None);
    let mut expiries = Vec::new();
    storage.for_each_expiry(&mut |sequence, time| expiries.push((sequence, time))).unwrap();
    assert_eq!(expiries, model.expiries());
}

fn filters() -> Vec<Filters> {
    let of = |texts: &[&str]| {
        Filters::new(texts.iter().map(|text| SubjectFilter::parse(text).unwrap()).collect())
    };
    vec![
        of(&[]),
        of(&["a.1"]),
        of(&["c.*.3"]),
        of(&["b.7.*", "c.1.2"]),
        of(&["x.>"]),
        of(&["b.>", "a.2"]),
    ]
}

#[test]
fn a_store_in_memory_agrees_with_the_model() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let (mut storage, mut model) = (MemoryStorage::new(), Model::new(StorageType::Memory));
        for _ in 0..200 {
            change(&mut storage, &mut model, &mut random);
            compare(&storage, &model, &mut random);
        }
        compare_all(&storage, &model);
    }
}

#[test]
fn memory_is_given_back() {
    let mut storage = MemoryStorage::new();
    let payload = [7; 1000];
    let record =
        |sequence| Record { sequence, subject: b"s", payload: &payload, ..Record::default() };
    for sequence in 1..=5000 {
        storage.append(&record(sequence)).unwrap();
    }
    let before = storage.allocated_bytes();
    assert!(before > 5_000_000 && before < 6_000_000, "{before}");
    for sequence in (1..=5000).filter(|sequence| sequence % 10 != 0) {
        storage.remove(sequence, false).unwrap();
    }
    assert!(storage.allocated_bytes() < before / 4, "{}", storage.allocated_bytes());
    let mut buffer = Vec::new();
    assert_eq!(storage.load(10, &mut buffer).unwrap(), Some(record(10)));
    storage.remove_before(5001).unwrap();
    assert_eq!(storage.allocated_bytes(), 0);
}
