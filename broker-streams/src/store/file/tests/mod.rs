//! The store on a simulated disk.

mod damage;
mod encryption;
mod summaries;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use broker_core::auth::Secret;

use super::simulated::SimulatedDisk;
use super::*;
use crate::config::{Compression, StorageType};
use crate::filters::Filters;
use crate::store::Storage;
use crate::store::tests::{Model, Random, change, compare, compare_all};

const SMALL: FileOptions = FileOptions { segment_bytes: 4096, is_durable: false };

/// The mode of a store: its compression and encryption.
#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    cipher: Option<Cipher>,
    compression: Compression,
}

const PLAIN: Mode = Mode { cipher: None, compression: Compression::None };

const MODES: [Mode; 5] = [
    PLAIN,
    Mode { cipher: None, compression: Compression::S2 },
    Mode { cipher: Some(Cipher::Aes), compression: Compression::None },
    Mode { cipher: Some(Cipher::ChaCha), compression: Compression::None },
    Mode { cipher: Some(Cipher::ChaCha), compression: Compression::S2 },
];

impl Mode {
    fn of(seed: u64) -> Self {
        MODES[seed as usize % MODES.len()]
    }

    fn open(self, disk: &SimulatedDisk) -> Result<Opened, StorageError> {
        self.open_with(disk, "a key", None)
    }

    fn open_with(
        self,
        disk: &SimulatedDisk,
        key: &str,
        previous: Option<&str>,
    ) -> Result<Opened, StorageError> {
        let previous_key = previous.map(Secret::from);
        let encryption = self.cipher.map(|cipher| {
            Encryption { cipher, key: Secret::from(key), previous_key }.of_store("A", "S")
        });
        let framed = FramedDisk::open(Arc::new(disk.clone()), encryption.as_ref())?;
        let mut opened = FileStorage::open(Arc::new(framed), SMALL)?;
        opened.storage.set_compression(self.compression);
        Ok(opened)
    }
}

fn open(disk: &SimulatedDisk) -> Opened {
    PLAIN.open(disk).unwrap()
}

/// Runs a job, if there is one.
fn sync(storage: &mut FileStorage) -> Result<(), StorageError> {
    let Some(mut job) = storage.begin_sync() else { return Ok(()) };
    job.run();
    storage.finish_sync(job)
}

/// Runs jobs until nothing is left to do.
fn settle(storage: &mut FileStorage) {
    for _ in 0..2000 {
        let Some(mut job) = storage.begin_sync() else { return };
        job.run();
        storage.finish_sync(job).unwrap();
    }
    panic!("there is always something left to do");
}

fn record(sequence: u64, payload: &[u8]) -> Record<'_> {
    Record { sequence, time: Time(sequence as i64), subject: b"s", payload, ..Record::default() }
}

fn fill(storage: &mut FileStorage, messages: std::ops::RangeInclusive<u64>) {
    for sequence in messages {
        storage.append(&record(sequence, &[sequence as u8; 100])).unwrap();
    }
}

#[test]
fn a_store_in_files_agrees_with_the_model() {
    for seed in 0..seeds(20) {
        let (mut random, disk, mode) =
            (Random::new(seed), SimulatedDisk::new(seed), Mode::of(seed));
        let mut model = Model::new(StorageType::File);
        let mut storage = mode.open(&disk).unwrap().storage;
        for _ in 0..300 {
            change(&mut storage, &mut model, &mut random);
            match random.below(12) {
                0 => settle(&mut storage),
                1..4 => sync(&mut storage).unwrap(),
                4 => {
                    settle(&mut storage);
                    let opened = mode.open(&disk).unwrap();
                    assert_eq!((opened.damage, opened.cut_bytes), (vec![], 0), "seed {seed}");
                    assert_eq!(opened.journal, model.journal);
                    storage = opened.storage;
                }
                _ => {}
            }
            if random.below(4) == 0 {
                compare(&storage, &model, &mut random);
            }
        }
        compare_all(&storage, &model);
        settle(&mut storage);
        compare_all(&storage, &model);
    }
}

#[test]
fn what_changes_nothing_is_durable_at_once() {
    let mut storage = open(&SimulatedDisk::new(1)).storage;
    settle(&mut storage);
    assert_eq!(storage.remove_before(1).unwrap(), 0);
    storage.skip_to(0, None).unwrap();
    assert_eq!(storage.remove(1, true).unwrap(), None);
    assert_eq!(storage.durable(), storage.position());
    fill(&mut storage, 1..=3);
    assert!(storage.durable() < storage.position());
    settle(&mut storage);
    assert_eq!(storage.remove_before(1).unwrap(), 0);
    assert_eq!(storage.durable(), storage.position());
    assert_eq!(storage.remove_before(3).unwrap(), 2);
    assert!(storage.durable() < storage.position());
    settle(&mut storage);
    assert_eq!(storage.durable(), storage.position());
}

#[test]
fn a_job_may_take_long() {
    for seed in 0..seeds(15) {
        let (mut random, disk, mode) =
            (Random::new(seed), SimulatedDisk::new(seed), Mode::of(seed));
        let mut model = Model::new(StorageType::File);
        let mut storage = mode.open(&disk).unwrap().storage;
        for _ in 0..60 {
            let job = storage.begin_sync();
            for _ in 0..random.below(8) {
                change(&mut storage, &mut model, &mut random);
            }
            compare(&storage, &model, &mut random);
            if let Some(mut job) = job {
                job.run();
                compare(&storage, &model, &mut random);
                storage.finish_sync(job).unwrap();
            }
            compare(&storage, &model, &mut random);
        }
        settle(&mut storage);
        assert_eq!(storage.durable(), storage.position());
        compare_all(&mode.open(&disk).unwrap().storage, &model);
    }
}

/// The states that the store may have after a crash: by position, from the durable one on.
type States = BTreeMap<u64, Model>;

#[test]
fn a_crash_takes_back_only_what_was_not_durable() {
    for seed in 0..seeds(150) {
        let (mut random, disk, mode) =
            (Random::new(seed), SimulatedDisk::new(seed), Mode::of(seed));
        let mut model = Model::new(StorageType::File);
        for _ in 0..4 {
            disk.crash_after(random.below(4));
            let Some(opened) = reopen(&disk, mode, &mut random) else { continue };
            let mut states = States::from([(0, model.clone())]);
            let (mut storage, journal) = (opened.storage, opened.journal);
            model = check(&storage, &journal, &states, 0, seed);
            disk.crash_after(5 + random.below(80));
            states = States::from([(0, model.clone())]);
            while run(&disk, &mut storage, &mut model, &mut states, &mut random) {}
            let durable = storage.durable();
            disk.restart();
            let opened = mode.open(&disk).unwrap();
            assert_eq!(opened.damage, [], "seed {seed}");
            model = check(&opened.storage, &opened.journal, &states, durable, seed);
            compare_all(&opened.storage, &model);
        }
    }
}

/// Returns the number of seeds: `SEEDS`, or these few.
fn seeds(few: u64) -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(few)
}

/// Opens a store; `None` if the disk crashed meanwhile.
fn reopen(disk: &SimulatedDisk, mode: Mode, random: &mut Random) -> Option<Opened> {
    let opened = mode.open(disk);
    if opened.is_err() || disk.is_crashed() || random.below(4) == 0 {
        disk.restart();
        return None;
    }
    disk.crash_after(u64::MAX / 2);
    opened.ok()
}

/// Makes some changes and syncs. Returns false after the crash.
fn run(
    disk: &SimulatedDisk,
    storage: &mut FileStorage,
    model: &mut Model,
    states: &mut States,
    random: &mut Random,
) -> bool {
    let job = storage.begin_sync();
    for _ in 0..random.below(10) {
        change(storage, model, random);
        states.insert(storage.position(), model.clone());
    }
    let Some(mut job) = job else { return true };
    job.run();
    storage.finish_sync(job).is_ok() && !disk.is_crashed()
}

/// Finds the state that the store is in.
fn check(
    storage: &FileStorage,
    journal: &[Vec<u8>],
    states: &States,
    durable: u64,
    seed: u64,
) -> Model {
    let found = Model::of(storage, journal);
    let same = |state: &&Model| found.is_after(state, &states[&durable]);
    let state = states.range(durable..).map(|(_, state)| state).find(same);
    assert!(state.is_some(), "seed {seed}: {:?} is after {durable}", storage.state());
    found
}

#[test]
fn a_change_is_durable_after_its_job() {
    let disk = SimulatedDisk::new(1);
    let mut storage = open(&disk).storage;
    fill(&mut storage, 1..=3);
    assert_eq!((storage.durable(), storage.position()), (0, 3));
    let mut job = storage.begin_sync().unwrap();
    fill(&mut storage, 4..=4);
    assert!(storage.begin_sync().is_none(), "one job is out");
    job.run();
    storage.finish_sync(job).unwrap();
    assert_eq!((storage.durable(), storage.position()), (3, 4));
    disk.crash_after(0);
    assert!(sync(&mut storage).is_err());
    disk.restart();
    assert!(open(&disk).storage.state().last_sequence >= 3);
}

#[test]
fn a_new_store_is_opened_without_a_sync() {
    let disk = SimulatedDisk::new(1);
    disk.fail_after(1, ErrorKind::Other);
    assert!(FileStorage::open(Arc::new(disk.clone()), SMALL).is_ok());
    assert!(disk.sync().is_err(), "the first change of the disk");
    let mut storage = open(&disk).storage;
    fill(&mut storage, 1..=1);
    sync(&mut storage).unwrap();
    disk.crash_after(0);
    // The change at which it crashes may be made.
    let _ = disk.sync();
    assert!(disk.is_crashed());
    disk.restart();
    // What was read from a directory with files is not used before it is durable.
    disk.fail_after(1, ErrorKind::Other);
    assert!(FileStorage::open(Arc::new(disk.clone()), SMALL).is_err());
    assert_eq!(open(&disk).storage.state().last_sequence, 1);
}

#[test]
fn a_failed_sync_is_never_repeated() {
    // After the cut of the segment before: create, allocate, write, sync the file and the directory.
    for operation in 2..=6 {
        let disk = SimulatedDisk::new(1);
        let mut storage = open(&disk).storage;
        fill(&mut storage, 1..=1);
        settle(&mut storage);
        let payload = vec![1; 100_000];
        storage.append(&record(2, &payload)).unwrap();
        disk.fail_after(operation, ErrorKind::Other);
        assert!(matches!(sync(&mut storage), Err(StorageError::Io(_))), "{operation}");
        assert_eq!(storage.durable(), 1);
        assert!(storage.begin_sync().is_none());
        let refused = storage.append(&record(3, b"")).unwrap_err();
        assert!(matches!(refused, StorageError::Failed(_)));
        for result in
            [storage.journal(b"x"), storage.skip_to(9, None), storage.replace_journal(&[])]
        {
            assert!(matches!(result, Err(StorageError::Failed(_))));
        }
        assert!(storage.remove(1, false).is_err() && storage.remove_before(2).is_err());
        assert_eq!(storage.load(1, &mut Vec::new()).unwrap(), Some(record(1, &[1; 100])));
        // Opened again, it continues.
        let mut storage = open(&disk).storage;
        let next = storage.state().last_sequence + 1;
        storage.append(&record(next, b"")).unwrap();
        settle(&mut storage);
    }
}

#[test]
fn a_job_that_was_not_run_fails_the_store() {
    let mut storage = open(&SimulatedDisk::new(1)).storage;
    fill(&mut storage, 1..=1);
    let job = storage.begin_sync().unwrap();
    assert!(storage.finish_sync(job).is_err());
    assert!(matches!(storage.append(&record(2, b"")), Err(StorageError::Failed(_))));
}

#[test]
fn a_full_disk_refuses_is_emptied_and_goes_on() {
    for capacity in (60_000..70_000).step_by(1000) {
        let disk = SimulatedDisk::new(capacity as u64);
        disk.set_capacity(capacity);
        let mut storage = open(&disk).storage;
        let mut last = 0;
        let refused = loop {
            if let Err(refused) = storage.append(&record(last + 1, &[7; 100])) {
                break refused;
            }
            last += 1;
            assert!(last < 1000, "the disk is full at some time");
            // The job that finds the disk full may have written everything.
            let _ = sync(&mut storage);
        };
        assert!(
            matches!(&refused, StorageError::Io(error) if error.kind() == ErrorKind::StorageFull)
        );
        assert_eq!(storage.state().last_sequence, last, "nothing has changed");
        assert_eq!(storage.remove_before(last).unwrap(), last - 1);
        storage.remove(last, false).unwrap();
        for _ in 0..3 {
            let _ = sync(&mut storage);
        }
        assert_eq!(storage.durable(), storage.position(), "{capacity}");
        fill(&mut storage, last + 1..=last + 20);
        settle(&mut storage);
        let opened = open(&disk);
        assert_eq!((opened.damage, opened.storage.state().messages), (vec![], 20));
    }
}

#[test]
fn a_full_disk_with_one_segment_goes_on_when_it_is_emptied() {
    for mode in MODES {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        storage.options = FileOptions::default();
        disk.set_capacity(500_000);
        let mut last = 0;
        let payload: Vec<u8> = (0..4000).map(|at: u32| (at * at / 7) as u8).collect();
        while storage.append(&record(last + 1, &payload)).is_ok() {
            last += 1;
            assert!(last < 10_000, "the disk is full at some time");
            let _ = sync(&mut storage);
        }
        assert_eq!(storage.remove_before(last + 1).unwrap(), last);
        for _ in 0..4 {
            let _ = sync(&mut storage);
        }
        fill(&mut storage, last + 1..=last + 20);
        settle(&mut storage);
        let opened = mode.open(&disk).unwrap();
        assert_eq!((opened.damage, opened.storage.state().messages), (vec![], 20), "{mode:?}");
    }
}

#[test]
fn a_journal_longer_than_a_segment_is_not_moved_without_end() {
    for length in [0, 11, 1500, 5000] {
        let disk = SimulatedDisk::new(1);
        let mut storage = open(&disk).storage;
        let entry = vec![7; length];
        for sequence in 1..=150 {
            fill(&mut storage, sequence..=sequence);
            storage.journal(&entry).unwrap();
            if sequence % 10 == 0 {
                settle(&mut storage);
            }
        }
        storage.remove_before(151).unwrap();
        settle(&mut storage);
        let needed = 150 * (length + 32);
        assert!(disk.used() < 3 * needed + 100_000, "{} of {needed}", disk.used());
        let mut opened = open(&disk);
        assert_eq!((opened.damage, opened.journal.len()), (vec![], 150));
        assert!(opened.journal.iter().all(|found| *found == entry));
        opened.storage.replace_journal(&[b"all".to_vec()]).unwrap();
        settle(&mut opened.storage);
        assert!(disk.used() < 60_000, "{}", disk.used());
        assert_eq!(open(&disk).journal, [b"all"]);
    }
}

#[test]
fn space_is_given_back() {
    let disk = SimulatedDisk::new(1);
    let mut storage = open(&disk).storage;
    let options = FileOptions { segment_bytes: 256 * 1024, ..SMALL };
    storage.options = options;
    storage.journal(b"created").unwrap();
    fill(&mut storage, 1..=20_000);
    settle(&mut storage);
    let before = disk.used();
    assert!(before > 20_000 * 136, "{before}");
    for sequence in (1..=20_000).filter(|sequence| sequence % 10 != 0) {
        storage.remove(sequence, false).unwrap();
    }
    settle(&mut storage);
    assert!(disk.used() < before / 2, "{} of {before}", disk.used());
    for sequence in (1..=20_000).filter(|sequence| sequence % 100 != 0) {
        storage.remove(sequence, false).unwrap();
    }
    settle(&mut storage);
    let opened = FileStorage::open(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(opened.journal, [b"created"]);
    let mut storage = opened.storage;
    assert_eq!(storage.state().messages, 200);
    storage.remove_before(20_001).unwrap();
    storage.journal(b"more").unwrap();
    settle(&mut storage);
    settle(&mut storage);
    assert!(disk.used() < 300_000, "{} of {before}", disk.used());
    let opened = FileStorage::open(Arc::new(disk), options).unwrap();
    assert_eq!(opened.journal, [&b"created"[..], b"more"]);
    assert_eq!(opened.storage.state().last_sequence, 20_000);
}

#[test]
fn an_erased_message_is_overwritten() {
    for mode in &MODES[..2] {
        let disk = SimulatedDisk::new(1);
        let mut storage = mode.open(&disk).unwrap().storage;
        for sequence in 1..=3 {
            storage.append(&record(sequence, b"the secret of this test")).unwrap();
            settle(&mut storage);
        }
        let has_secrets = || {
            let of =
                |bytes: &Vec<u8>| bytes.windows(10).filter(|bytes| bytes == b"the secret").count();
            disk.contents().iter().map(of).sum::<usize>()
        };
        assert_eq!(has_secrets(), 3);
        storage.remove(2, true).unwrap();
        storage.remove(1, true).unwrap();
        settle(&mut storage);
        assert_eq!(has_secrets(), 1, "{mode:?}");
        assert_eq!(storage.load(3, &mut Vec::new()).unwrap().unwrap().sequence, 3);
        storage.append(&record(4, b"more")).unwrap();
        settle(&mut storage);
        let opened = mode.open(&disk).unwrap();
        assert_eq!((opened.damage, opened.storage.state().first_sequence), (vec![], 3));
        assert_eq!(opened.storage.state().last_sequence, 4);
    }
}

fn compare_files(one: &FileStorage, other: &FileStorage) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for sequence in 1..=one.state().last_sequence {
        let expected = other.load(sequence, &mut second).unwrap();
        assert_eq!(one.load(sequence, &mut first).unwrap(), expected);
    }
}

/// Opens a copy of a disk without summaries, as opening changes it.
fn open_copy(disk: &SimulatedDisk, mode: Mode) -> Opened {
    let copy = disk.copy();
    for name in copy.names().unwrap().iter().filter(|name| name.ends_with(".sum")) {
        copy.remove(name).unwrap();
    }
    mode.open(&copy).unwrap()
}

#[test]
fn a_store_with_summaries_is_opened_without_its_messages() {
    for seed in 0..30 {
        let (mut random, disk) = (Random::new(seed), SimulatedDisk::new(seed));
        let mut model = Model::new(StorageType::File);
        let mut storage = open(&disk).storage;
        for _ in 0..300 {
            change(&mut storage, &mut model, &mut random);
        }
        settle(&mut storage);
        let closed = storage.segments.len() - 1;
        let with_messages = storage.segments.range(..closed).filter(|segment| segment.messages > 0);
        let summaries = with_messages.map(|segment| summary::name_of(segment.number));
        let names = disk.names().unwrap();
        assert!(summaries.into_iter().all(|name| names.contains(&name)), "seed {seed}");
        let opened = open(&disk.copy());
        assert_eq!((opened.damage, &opened.journal), (vec![], &model.journal));
        let with = opened.storage;
        let without = open_copy(&disk, PLAIN).storage;
        for (with, without) in with.segments.iter().zip(&without.segments) {
            let of = |segment: &Segment| {
                (segment.version(), segment.end, segment.first, segment.last, segment.latest)
            };
            assert_eq!(of(with), of(without), "seed {seed}");
            let of = |segment: &Segment| {
                (
                    segment.messages,
                    segment.counted,
                    segment.message_bytes,
                    segment.entries,
                    (segment.expiring, segment.has_headers),
                )
            };
            assert_eq!(of(with), of(without), "seed {seed}");
        }
        compare_all(&with, &model);
        compare(&with, &model, &mut random);
        compare_all(&without, &model);
        check_headers(&with);
        // Bits of summaries do not matter: the segment is read instead.
        for name in names.iter().filter(|name| name.ends_with(".sum")) {
            disk.flip(name, random.below(disk.length(name) as u64) as usize, 3);
        }
        compare_all(&open(&disk).storage, &model);
    }
}

#[test]
fn a_torn_summary_is_not_used() {
    for seed in 0..30 {
        let (mut random, disk) = (Random::new(seed), SimulatedDisk::new(seed));
        let mut model = Model::new(StorageType::File);
        let mut storage = open(&disk).storage;
        for _ in 0..300 {
            change(&mut storage, &mut model, &mut random);
        }
        settle(&mut storage);
        let names = disk.names().unwrap();
        for (at, name) in names.iter().filter(|name| name.ends_with(".sum")).enumerate() {
            let length = disk.length(name) as u64;
            disk.open(name).unwrap().truncate(length - 1 - at as u64 % 20).unwrap();
        }
        let opened = open(&disk);
        assert_eq!(opened.journal, model.journal, "seed {seed}");
        compare_all(&opened.storage, &model);
        assert_eq!(opened.storage.state(), open_copy(&disk, PLAIN).storage.state());
    }
}

/// Checks that no message with headers is passed over.
fn check_headers(storage: &FileStorage) {
    let mut buffer = Vec::new();
    for sequence in storage.messages_until(0, u64::MAX) {
        let record = storage.load(sequence, &mut buffer).unwrap().unwrap();
        if !record.headers.is_empty() {
            assert_eq!(storage.next_with_headers(sequence), Some(sequence));
        }
    }
}

#[test]
fn segments_without_headers_are_passed_over() {
    let disk = SimulatedDisk::new(1);
    let mut storage = open(&disk).storage;
    for sequence in 1..=300 {
        let headers: &[u8] = if sequence == 200 { b"NATS/1.0\r\nA: b\r\n\r\n" } else { b"" };
        storage.append(&Record { headers, ..record(sequence, &[7; 100]) }).unwrap();
        settle(&mut storage);
    }
    for storage in [&storage, &open(&disk).storage] {
        let (next, of) = (storage.next_with_headers(1).unwrap(), storage.segment_of(200));
        assert_eq!(next, storage.segments[of].first);
        assert!(next > 50 && storage.segments.len() > of + 2, "{next}");
        assert_eq!(storage.next_with_headers(storage.segments[of].last + 1), None);
    }
}

#[test]
fn two_hundred_thousand_messages_are_read_in_any_order() {
    let disk = SimulatedDisk::new(1);
    let opened = FileStorage::open(Arc::new(disk), FileOptions::default()).unwrap();
    let mut storage = opened.storage;
    for round in 0..20 {
        fill(&mut storage, round * 10_000 + 1..=round * 10_000 + 10_000);
        settle(&mut storage);
    }
    let (mut buffer, mut random) = (Vec::new(), Random::new(1));
    for sequence in 1..=200_000 {
        let of = if sequence % 2 == 0 { sequence } else { 1 + random.below(200_000) };
        let expected = [of as u8; 100];
        assert_eq!(storage.load(of, &mut buffer).unwrap(), Some(record(of, &expected)));
    }
}
