//! Backups of streams: archives of files whose checksums are right, and bytes that are none.

#![no_main]

use std::hash::Hasher;

use broker_core::s2::{BATCH_BYTES, Encoder, IDENTIFIER};
use broker_core::transport::CompressionLevel;
use broker_streams::backup::{BackupError, Start, Target, restore, write};
use broker_streams::cell::{Cell, CellScope};
use broker_streams::config::limits::{ServerLimits, TierLimits};
use broker_streams::config::{StreamConfig, Time};
use broker_streams::outbox::{Outbox, Outgoing};
use broker_streams::store::{MemoryStorage, Storage};
use broker_streams::stream::Options;
use highway::{HighwayHasher, Key};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const NOW: Time = Time(1_800_000_000_000_000_000);
const META: &[u8] = br#"{"Created":"2026-01-01T00:00:00Z","name":"S"}"#;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let bytes = match how % 4 {
        0 => data.to_vec(),
        1 => compressed(data),
        _ => compressed(&archive(data)),
    };
    let Ok(cell) = restored(&bytes) else { return };
    let state = cell.stream().state();
    assert!(state.first_sequence <= state.last_sequence + 1);
    // A restored stream is backed up and restored alike.
    let again = backup(&cell);
    let copy = restored(&again).expect("it was written by natsd");
    assert_eq!(copy.stream().state(), state);
    assert_eq!(copy.consumer_names(), cell.consumer_names());
    assert_eq!(backup(&copy), again);
});

struct Nowhere;

impl Outbox for Nowhere {
    fn send(&mut self, _message: &Outgoing<'_>) -> bool {
        false
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        false
    }
}

fn restored(mut bytes: &[u8]) -> Result<Cell, BackupError> {
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        replicas: 1,
        ..StreamConfig::default()
    };
    let (server, tier) = (ServerLimits::default(), TierLimits::default());
    let target = Target { account: "$G", config: &config, server: &server, tier: &tier };
    let mut storage = MemoryStorage::new();
    let mut check = |_bytes, storage: &mut dyn Storage| {
        // Compressed input is short. A fuzzer must not spend its time on what it grows to.
        let is_short = storage.state().bytes < 1 << 22;
        if is_short { Ok(()) } else { Err(BackupError::StreamClosed) }
    };
    let journal = restore(&mut bytes, &target, &mut storage, &mut check)?.journal;
    let (storage, scope) = (Box::new(storage), CellScope::default());
    let cell = Cell::recover(storage, &journal, scope, Options::default(), NOW, &mut Nowhere);
    Ok(cell.expect("the configuration was checked"))
}

fn backup(cell: &Cell) -> Vec<u8> {
    let mut out = Vec::new();
    let mut see = |read: &mut dyn FnMut(&Cell)| {
        read(cell);
        true
    };
    write(&mut out, &Start::of(cell), true, NOW, &mut see).expect("nothing refuses it");
    out
}

/// Makes an archive of files from the input: a byte for the kind of file, one for its length and its contents.
fn archive(mut data: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    file(&mut archive, "meta.inf", META);
    file(&mut archive, "meta.sum", text(&sum("S", &[META])).as_bytes());
    let mut number = 0;
    while let [kind, length, rest @ ..] = data {
        let (contents, behind) = rest.split_at(rest.len().min(usize::from(*length) * 2));
        data = behind;
        match kind % 6 {
            0 | 1 => {
                number += 1;
                let block = block(&format!("S-{number}"), contents);
                file(&mut archive, &format!("msgs/{number}.blk"), &block);
            }
            2 => {
                let sum = sum("S", &[contents]);
                file(&mut archive, "msgs/index.db", &[contents, &sum].concat());
            }
            3 => {
                file(&mut archive, "obs/C/meta.inf", contents);
                file(&mut archive, "obs/C/meta.sum", text(&sum("S/C", &[contents])).as_bytes());
            }
            4 => file(&mut archive, "obs/C/o.dat", contents),
            _ => file(&mut archive, "msgs/other", contents),
        }
    }
    archive.extend_from_slice(&[0; 1024]);
    archive
}

/// Makes records whose lengths and checksums are right: sequence, time, lengths of the subject and the headers, then these.
fn block(key: &str, mut data: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    while let [flags, low, high, subject, headers, rest @ ..] = data {
        let (subject, rest) = rest.split_at(rest.len().min(usize::from(*subject) % 16));
        let (headers, rest) = rest.split_at(rest.len().min(usize::from(*headers) % 64));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*flags) % 8));
        data = rest;
        let mut sequence = u64::from(u16::from_le_bytes([*low, *high]));
        sequence |= u64::from(flags >> 6) << 62;
        if flags & 0x20 != 0 {
            sequence |= 1 << 61;
        }
        let mut fixed = sequence.to_le_bytes().to_vec();
        fixed.extend_from_slice(&NOW.0.to_le_bytes());
        let prefix = if headers.is_empty() { 0 } else { 4 };
        let length = 22 + subject.len() + prefix + headers.len() + payload.len() + 8;
        let flag = if headers.is_empty() { 0 } else { 1 << 31 };
        block.extend_from_slice(&(length as u32 | flag).to_le_bytes());
        block.extend_from_slice(&fixed);
        block.extend_from_slice(&(subject.len() as u16).to_le_bytes());
        block.extend_from_slice(subject);
        if !headers.is_empty() {
            block.extend_from_slice(&(headers.len() as u32).to_le_bytes());
            block.extend_from_slice(headers);
        }
        block.extend_from_slice(payload);
        block.extend_from_slice(&sum(key, &[&fixed, subject, headers, payload]));
    }
    block
}

fn sum(name: &str, parts: &[&[u8]]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(name).into();
    let (words, _) = hash.as_chunks();
    let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut hasher = HighwayHasher::new(Key([words[0], words[1], words[2], words[3]]));
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish().to_le_bytes()
}

fn text(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(archive: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("it is short");
    header.set_size(contents.len() as u64);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), IDENTIFIER.to_vec());
    for batch in bytes.chunks(BATCH_BYTES) {
        encoder.append(CompressionLevel::Fast, batch, &mut out);
    }
    out
}
