//! Summaries that do not belong to their segment, and how they are made again.

use std::collections::BTreeMap;

use super::*;
use crate::store::file::recovery::read_all;

/// The summaries on a disk.
type Summaries = BTreeMap<String, Vec<u8>>;

fn summaries(disk: &SimulatedDisk) -> Summaries {
    let names = disk.names().unwrap().into_iter().filter(|name| name.ends_with(".sum"));
    names.map(|name| (name.clone(), read_all(&*disk.open(&name).unwrap()).unwrap())).collect()
}

fn put(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let _ = disk.remove(name);
    let file = disk.create(name).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

/// Stores messages and removes some, so that there are segments of which each kind is summarised.
fn extend(storage: &mut FileStorage, seed: u64, messages: std::ops::RangeInclusive<u64>) {
    let mut random = Random::new(seed);
    for sequence in messages {
        let (subject, payload) = (format!("s.{}", random.below(5)), [random.below(256) as u8; 100]);
        let payload = &payload[..50 + random.below(50) as usize];
        let record = Record { subject: subject.as_bytes(), ..record(sequence, payload) };
        storage.append(&record).unwrap();
        if random.below(4) == 0 {
            storage.remove(1 + random.below(sequence), false).unwrap();
        }
        if sequence % 20 == 0 {
            storage.journal(&sequence.to_le_bytes()).unwrap();
        }
    }
    settle(storage);
}

/// A settled store.
fn filled(seed: u64) -> (SimulatedDisk, FileStorage) {
    let disk = SimulatedDisk::new(seed);
    let mut storage = open(&disk).storage;
    extend(&mut storage, seed, 1..=400);
    (disk, storage)
}

/// Returns all that a store contains.
fn contents(storage: &FileStorage) -> Vec<(u64, Time, Vec<u8>, Vec<u8>)> {
    let mut buffer = Vec::new();
    let mut load = |sequence| {
        let record = storage.load(sequence, &mut buffer).unwrap()?;
        Some((sequence, record.time, record.subject.to_vec(), record.payload.to_vec()))
    };
    (1..=storage.state().last_sequence).filter_map(&mut load).collect()
}

/// Opens the store, compares it with one that reads its messages, and checks that the right summaries are made again.
fn check(disk: &SimulatedDisk, right: &Summaries) {
    let (opened, read) = (open(disk), open_copy(disk, PLAIN));
    assert_eq!((&opened.damage, &opened.journal), (&vec![], &read.journal));
    assert_eq!(opened.storage.state(), read.storage.state());
    assert_eq!(contents(&opened.storage), contents(&read.storage));
    let mut storage = opened.storage;
    settle(&mut storage);
    let made = summaries(disk);
    assert!(right.iter().all(|(name, bytes)| made.get(name) == Some(bytes)), "made again");
    drop(storage);
    let opened = open(disk).storage;
    assert!(opened.segments.iter().rev().skip(1).all(|one| one.has_summary || one.messages == 0));
    assert_eq!(contents(&opened), contents(&read.storage));
}

#[test]
fn a_summary_of_another_segment_is_noticed_and_made_again() {
    for seed in 0..10 {
        let (disk, _) = filled(seed);
        let right = summaries(&disk);
        assert!(right.len() > 2, "seed {seed}");
        let others = right.values().cycle().skip(1);
        for (name, other) in right.keys().zip(others) {
            put(&disk, name, other);
        }
        check(&disk, &right);
    }
}

#[test]
fn a_summary_of_another_store_is_noticed_and_made_again() {
    for seed in 0..10 {
        let ((disk, _), (other, _)) = (filled(seed), filled(seed + 1000));
        let (right, foreign) = (summaries(&disk), summaries(&other));
        let mut count = 0;
        for name in right.keys() {
            let Some(bytes) = foreign.get(name) else { continue };
            put(&disk, name, bytes);
            count += 1;
        }
        assert!(count > 2, "seed {seed}");
        check(&disk, &right);
    }
}

#[test]
fn a_summary_from_before_its_segment_was_rewritten_is_noticed_and_made_again() {
    let disk = SimulatedDisk::new(1);
    // Small segments are not rewritten.
    let options = FileOptions { segment_bytes: 1 << 20, ..SMALL };
    let open = || FileStorage::open(Arc::new(disk.clone()), options).unwrap().storage;
    let mut storage = open();
    for sequence in 1..=500 {
        storage.append(&record(sequence, &[sequence as u8; 8000])).unwrap();
        settle(&mut storage);
    }
    let before = summaries(&disk);
    for sequence in (1..=400).filter(|sequence| sequence % 10 != 0) {
        storage.remove(sequence, false).unwrap();
    }
    settle(&mut storage);
    let (right, expected) = (summaries(&disk), contents(&storage));
    drop(storage);
    let outdated =
        before.iter().filter(|(name, old)| right.get(*name).is_some_and(|new| new != *old));
    assert_eq!(outdated.map(|(name, old)| put(&disk, name, old)).count(), 3);

    let mut opened = open();
    assert_eq!(contents(&opened), expected);
    settle(&mut opened);
    assert_eq!(summaries(&disk), right);
}
