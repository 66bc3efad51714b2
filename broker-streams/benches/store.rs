//! Times and memory of stores: `cargo bench -p broker-streams --bench store -- SCENARIO [DIRECTORY]`.
//!
//! Scenarios: `memory` (1 M messages), `subjects` (1 M subjects in memory), `file` (10 M messages, durable in batches of 500; opened
//! again; searched with a sparse filter).

#![allow(clippy::expect_used, reason = "a benchmark fails as a test does")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use broker_core::SubjectFilter;
use broker_streams::config::Time;
use broker_streams::filters::Filters;
use broker_streams::store::{FileDisk, FileOptions, FileStorage, MemoryStorage, Record, Storage};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
    let directory = arguments.get(1).map_or("/tmp/natsd-bench-store", String::as_str);
    match arguments.first().map(String::as_str) {
        Some("memory") => memory(),
        Some("subjects") => subjects(),
        Some("file") => file(directory),
        _ => println!("scenarios: memory, subjects, file [directory]"),
    }
}

fn append(storage: &mut dyn Storage, sequence: u64, subject: &str) {
    let payload = [b'x'; 128];
    let record = Record {
        sequence,
        time: Time(1_700_000_000_000_000_000 + sequence as i64 * 1000),
        subject: subject.as_bytes(),
        payload: &payload,
        ..Record::default()
    };
    storage.append(&record).expect("append");
}

fn report(what: &str, count: u64, start: Instant) {
    let taken = start.elapsed();
    let each = taken.as_nanos() / u128::from(count.max(1));
    println!("{what}: {taken:.1?}, {each} ns each, RSS {} MB", rss_megabytes());
}

fn rss_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

fn memory() {
    const MESSAGES: u64 = 1_000_000;
    let mut storage = MemoryStorage::new();
    let start = Instant::now();
    for sequence in 1..=MESSAGES {
        append(&mut storage, sequence, "orders.new");
    }
    report("append", MESSAGES, start);
    let (mut buffer, start) = (Vec::new(), Instant::now());
    for sequence in 1..=MESSAGES {
        black_box(storage.load(sequence, &mut buffer).expect("load"));
    }
    report("load", MESSAGES, start);
    let start = Instant::now();
    for sequence in 1..=MESSAGES {
        storage.remove(sequence, false).expect("remove");
    }
    report("remove", MESSAGES, start);
}

fn subjects() {
    const MESSAGES: u64 = 1_000_000;
    let mut storage = MemoryStorage::new();
    let start = Instant::now();
    for sequence in 1..=MESSAGES {
        append(&mut storage, sequence, &format!("kv.bucket.key-{sequence}"));
    }
    report("append", MESSAGES, start);
    let start = Instant::now();
    for sequence in 1..=MESSAGES {
        let subject = format!("kv.bucket.key-{}", sequence.wrapping_mul(7919) % MESSAGES + 1);
        black_box(storage.subject(subject.as_bytes()));
    }
    report("last of a subject", MESSAGES, start);
    let all = Filters::new(vec![SubjectFilter::parse("kv.*.*").expect("filter")]);
    let start = Instant::now();
    black_box(storage.count(&all, 500_000, true));
    report("count of a new filter", 1, start);
}

fn file(directory: &str) {
    const MESSAGES: u64 = 10_000_000;
    let disk = Arc::new(FileDisk::open(directory).expect("directory"));
    let open = || FileStorage::open(disk.clone(), FileOptions::default()).expect("open").storage;
    let mut storage = open();
    let before = storage.state().last_sequence;
    let start = Instant::now();
    for sequence in before + 1..=MESSAGES {
        let rare = sequence % 100_000 == 0;
        let subject = if rare { "rare".to_owned() } else { format!("orders.{}", sequence % 100) };
        append(&mut storage, sequence, &subject);
        if sequence % 500 == 0 {
            sync(&mut storage);
        }
    }
    while sync(&mut storage) {}
    report("append, durable", MESSAGES - before, start);
    drop(storage);
    let start = Instant::now();
    let storage = open();
    report("open", storage.state().messages, start);
    let rare = Filters::new(vec![SubjectFilter::parse("rare").expect("filter")]);
    let (mut buffer, mut next, mut found, start) = (Vec::new(), 0, 0, Instant::now());
    while let Some(sequence) = storage.next_match(&rare, next) {
        black_box(storage.load(sequence, &mut buffer).expect("load"));
        (next, found) = (sequence + 1, found + 1);
    }
    report("sparse filter", found, start);
    let start = Instant::now();
    for sequence in 1..=1_000_000 {
        black_box(storage.load(sequence, &mut buffer).expect("load"));
    }
    report("load in order", 1_000_000, start);
}

fn sync(storage: &mut FileStorage) -> bool {
    let Some(mut job) = storage.begin_sync() else { return false };
    job.run();
    storage.finish_sync(job).expect("sync");
    true
}
