//! Backups that are made and restored, and those that nobody should restore.

use std::io::Write;

use super::archive::Writer;
use super::block::{append_message, append_tombstone};
use super::checksum::Checksum;
use super::compressed::Compressed;
use super::*;
use crate::cell::{Cell, CellScope};
use crate::config::limits::{ServerLimits, TierLimits};
use crate::config::{AckPolicy, ConsumerConfig, StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::{Outbox, Outgoing};
use crate::store::{MemoryStorage, Record, Storage};
use crate::stream::{Incoming, Options, Room, Stream};

const NOW: Time = Time(1_800_000_000_000_000_000);

#[derive(Default)]
struct Sent(Vec<String>);

impl Outbox for Sent {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        self.0.push(String::from_utf8_lossy(message.reply).into_owned());
        true
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        true
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec!["a.>".into()],
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        replicas: 1,
        allow_message_ttl: true,
        ..StreamConfig::default()
    }
}

fn create(config: StreamConfig) -> Cell {
    let storage = Box::new(MemoryStorage::new());
    let stream = Stream::open(config, NOW, storage, Options::default(), NOW).unwrap();
    Cell::create(stream, CellScope::default()).unwrap()
}

fn publish(cell: &mut Cell, number: u64, headers: &[u8], payload: &[u8]) {
    let subject = format!("a.{}", number % 7);
    let incoming = Incoming { subject: subject.as_bytes(), reply: b"", headers, payload };
    let now = NOW.plus(number as i64 * 1_000_003);
    cell.publish(&incoming, now, Room::default(), &mut Sent::default());
}

fn consumer(durable: &str) -> ConsumerConfig {
    ConsumerConfig {
        durable: durable.into(),
        name: durable.into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30_000_000_000,
        max_deliver: -1,
        max_ack_pending: 1000,
        max_waiting: 512,
        ..ConsumerConfig::default()
    }
}

/// Returns a stream with gaps, erased messages, messages that expire, and a consumer that has acknowledged a part.
fn stream() -> Cell {
    let (mut cell, mut sent) = (create(config("S")), Sent::default());
    for number in 1..=40 {
        let headers: &[u8] = match number % 5 {
            0 => b"NATS/1.0\r\nNats-TTL: 3600\r\n\r\n",
            1 => b"NATS/1.0\r\nA: b\r\n\r\n",
            _ => b"",
        };
        publish(&mut cell, number, headers, format!("payload {number}").as_bytes());
    }
    cell.add_consumer("C", consumer("C"), NOW, &mut sent).unwrap();
    assert!(cell.request(b"C", (b"inbox", b"8"), NOW, &mut sent));
    let acks: Vec<_> =
        sent.0.iter().filter(|reply| reply.starts_with("$JS.ACK")).cloned().collect();
    assert_eq!(acks.len(), 8);
    for ack in [&acks[0], &acks[1], &acks[4]] {
        cell.acknowledge(ack.as_bytes(), (b"", b"+ACK"), NOW, &mut sent);
    }
    for sequence in [1, 20, 21, 40] {
        assert!(cell.remove_message(sequence, true, NOW, &mut sent).unwrap());
    }
    cell
}

/// Returns the bytes of a backup.
fn backup(cell: &Cell) -> Vec<u8> {
    let mut out = Vec::new();
    let mut see = |read: &mut dyn FnMut(&Cell)| {
        read(cell);
        true
    };
    write(&mut out, &Start::of(cell), true, NOW, &mut see).unwrap();
    out
}

/// Restores a backup into memory.
fn restored(mut bytes: &[u8], config: &StreamConfig) -> Result<Cell, BackupError> {
    let (server, tier) = (ServerLimits::default(), TierLimits::default());
    let target = Target { account: "$G", config, server: &server, tier: &tier };
    let mut storage = MemoryStorage::new();
    let journal = restore(&mut bytes, &target, &mut storage, &mut |_, _| Ok(()))?.journal;
    let (storage, scope) = (Box::new(storage), CellScope::default());
    let mut out = Sent::default();
    Ok(Cell::recover(storage, &journal, scope, Options::default(), NOW, &mut out).unwrap())
}

/// Returns all that a backup keeps of a stream.
fn contents(cell: &Cell) -> Vec<String> {
    let (storage, mut buffer) = (cell.stream().storage(), Vec::new());
    let state = storage.state();
    let mut all =
        vec![format!("{state:?} {:?} {:?}", cell.stream().created(), cell.stream().config())];
    for sequence in state.first_sequence..=state.last_sequence {
        all.push(format!("{:?}", storage.load(sequence, &mut buffer).unwrap()));
    }
    for consumer in cell.consumers() {
        let (name, created) = (consumer.name(), consumer.created());
        let mut progress = consumer.progress();
        // Times are stored in seconds.
        progress.pending.iter_mut().for_each(|(.., time)| time.0 -= time.0 % 1_000_000_000);
        all.push(format!("{name} {created:?} {:?} {progress:?}", consumer.config()));
    }
    all
}

#[test]
fn a_restored_stream_equals_the_one_that_was_backed_up() {
    let cell = stream();
    let copy = restored(&backup(&cell), cell.stream().config()).unwrap();
    assert_eq!(contents(&copy), contents(&cell));
    let progress = copy.consumer("C").unwrap().progress();
    assert_eq!((progress.floor, progress.delivered.1, progress.pending.len()), ((2, 2), 8, 5));
    assert_eq!(backup(&copy), backup(&cell));
}

#[test]
fn an_empty_stream_keeps_its_last_sequence() {
    let (mut cell, mut sent) = (create(config("S")), Sent::default());
    let empty = restored(&backup(&cell), &config("S")).unwrap();
    assert_eq!(contents(&empty), contents(&cell));
    (1..=3).for_each(|number| publish(&mut cell, number, b"", b"x"));
    for sequence in 1..=3 {
        cell.remove_message(sequence, false, NOW, &mut sent).unwrap();
    }
    let copy = restored(&backup(&cell), &config("S")).unwrap();
    assert_eq!((copy.stream().state().first_sequence, copy.stream().state().last_sequence), (4, 3));
    assert_eq!(contents(&copy), contents(&cell));
}

#[test]
fn large_streams_have_several_blocks() {
    let mut cell = create(config("S"));
    let payload: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    (1..=60).for_each(|number| publish(&mut cell, number, b"", &payload));
    let bytes = backup(&cell);
    let copy = restored(&bytes, &config("S")).unwrap();
    assert_eq!(contents(&copy), contents(&cell));
    let mut names = Vec::new();
    let mut archive = archive::Reader::new(compressed::Decompressed::new(&bytes[..]), "");
    while let Some(file) = archive.next().unwrap() {
        names.push(file.name);
    }
    assert_eq!(names, ["meta.inf", "meta.sum", "msgs/1.blk", "msgs/2.blk", "msgs/3.blk"]);
}

#[test]
fn what_happens_during_a_backup_does_not_change_what_it_contains() {
    let (mut cell, mut sent, mut out) = (stream(), Sent::default(), Vec::new());
    let start = Start::of(&cell);
    let mut calls = 0;
    let mut see = |read: &mut dyn FnMut(&Cell)| {
        calls += 1;
        publish(&mut cell, 100 + calls, b"", b"later");
        cell.request(b"C", (b"inbox", b"100"), NOW, &mut sent);
        read(&cell);
        true
    };
    write(&mut out, &start, true, NOW, &mut see).unwrap();
    let copy = restored(&out, &config("S")).unwrap();
    assert_eq!(copy.stream().state().last_sequence, 40);
    let progress = copy.consumer("C").unwrap().progress();
    assert!(progress.pending.iter().all(|(sequence, ..)| *sequence <= 40), "{progress:?}");
}

#[test]
fn a_stream_that_ends_ends_its_backup() {
    let cell = stream();
    let mut left = 1;
    let mut see = |read: &mut dyn FnMut(&Cell)| {
        read(&cell);
        left -= 1;
        left >= 0
    };
    let result = write(Vec::new(), &Start::of(&cell), true, NOW, &mut see);
    assert!(matches!(result, Err(BackupError::StreamClosed)));
}

// Made by nats-server 2.14.5: six messages of which the second is removed, and a consumer that has got five and acknowledged three.
#[test]
fn a_backup_of_nats_server_is_restored() {
    let config = StreamConfig { allow_message_ttl: false, ..config("A") };
    let cell = restored(include_bytes!("tests/reference.tar.s2"), &config).unwrap();
    let state = cell.stream().state();
    let totals = (state.messages, state.first_sequence, state.last_sequence, state.subjects);
    assert_eq!(totals, (5, 1, 6, 5));
    assert_eq!(state.last_time.to_string(), "2026-11-29T10:51:48.931424063Z");
    assert_eq!(cell.stream().created().to_string(), "2026-11-29T10:51:48.721170708Z");
    let mut buffer = Vec::new();
    let message = cell.stream().storage().load(3, &mut buffer).unwrap().unwrap();
    assert_eq!((message.subject, message.payload), (&b"a.3"[..], &b"hello 3"[..]));
    assert_eq!(message.headers, b"NATS/1.0\r\nX: y\r\n\r\n");
    let consumer = cell.consumer("c1").unwrap();
    let progress = consumer.progress();
    assert_eq!((progress.floor, progress.delivered), ((3, 3), (5, 5)));
    assert_eq!(progress.pending.iter().map(|one| one.0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!((consumer.config().ack_wait, consumer.config().pause_until), (30_000_000_000, None));
}

/// Returns an archive.
fn archive(write: impl FnOnce(&mut Writer<Compressed<Vec<u8>>>)) -> Vec<u8> {
    let mut archive = Writer::new(Compressed::new(Vec::new()), NOW);
    write(&mut archive);
    archive.finish().unwrap().finish().unwrap()
}

/// Returns a backup with these blocks.
fn backup_of(blocks: &[(&str, Vec<u8>)]) -> Vec<u8> {
    archive(|archive| {
        let meta = br#"{"name":"S"}"#;
        archive.file("meta.inf", meta).unwrap();
        let sum = Checksum::of_stream("S").text_of(meta);
        archive.file("meta.sum", sum.as_bytes()).unwrap();
        for (name, block) in blocks {
            archive.file(name, block).unwrap();
        }
    })
}

fn error_of(bytes: &[u8]) -> String {
    match restored(bytes, &config("S")) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn block(number: u32, sequences: &[u64]) -> Vec<u8> {
    let (checksum, mut out) = (Checksum::of_block("S", number), Vec::new());
    for sequence in sequences {
        let record =
            Record { sequence: *sequence, time: NOW, subject: b"a.b", ..Record::default() };
        append_message(&checksum, &record, &mut out);
    }
    out
}

#[test]
fn a_cut_or_changed_backup_is_refused() {
    let whole = backup(&stream());
    let config = config("S");
    (0..whole.len()).for_each(|end| assert!(restored(&whole[..end], &config).is_err(), "{end}"));
    let mut plain = Vec::new();
    let mut reader = compressed::Decompressed::new(&whole[..]);
    std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
    let mut accepted = 0;
    for at in (0..plain.len()).step_by(3) {
        let mut bytes = plain.clone();
        bytes[at] ^= 0x11;
        let mut compressed = Compressed::new(Vec::new());
        compressed.write_all(&bytes).unwrap();
        let copy = restored(&compressed.finish().unwrap(), &config);
        // The padding of files, the end, and the progress of consumers have no checksum.
        accepted += usize::from(copy.is_ok_and(|copy| copy.stream().state().messages != 36));
    }
    assert_eq!(accepted, 0, "with other messages");
}

#[test]
fn names_that_lead_out_of_the_archive_are_refused() {
    for name in ["../x", "/etc/passwd", "msgs/../../x", "a//b", "..", "msgs\\1.blk"] {
        let bytes = archive(|archive| archive.file(name, b"x").unwrap_or_default());
        let text = error_of(&bytes);
        let is_refused = text.starts_with("unexpected content") || text == "meta.inf is missing";
        assert!(is_refused, "{name}: {text}");
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_path("msgs/1.blk").unwrap();
    header.set_link_name("/etc/passwd").unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut compressed = Compressed::new(Vec::new());
    compressed.write_all(header.as_bytes()).unwrap();
    let bytes = compressed.finish().unwrap();
    assert_eq!(error_of(&bytes), "unexpected content (account=$G)");
}

#[test]
fn long_names_are_written_and_read() {
    let name = "n".repeat(250);
    let mut cell = create(config("S"));
    cell.add_consumer(&name, consumer(&name), NOW, &mut Sent::default()).unwrap();
    let copy = restored(&backup(&cell), &config("S")).unwrap();
    assert_eq!(copy.consumer_names(), [name]);
}

#[test]
fn wrong_metadata_are_refused() {
    assert_eq!(error_of(&archive(|_| {})), "meta.inf is missing");
    let with = |meta: &'static [u8], sum: String| {
        archive(move |archive| {
            archive.file("meta.inf", meta).unwrap();
            archive.file("meta.sum", sum.as_bytes()).unwrap();
        })
    };
    let sum = |meta: &[u8]| Checksum::of_stream("S").text_of(meta);
    let other = br#"{"name":"T"}"#;
    assert_eq!(error_of(&with(other, sum(other))), "stream names do not match");
    let only_meta = archive(|archive| archive.file("meta.inf", br#"{"name":"S"}"#).unwrap());
    assert_eq!(error_of(&only_meta), "ok");
    let wrong = with(br#"{"name":"S"}"#, sum(other));
    assert_eq!(error_of(&wrong), "meta.inf: the checksum does not match");
    let text = error_of(&with(b"{", sum(b"{")));
    assert_eq!(text, "meta.inf: unexpected end of JSON input");
    let failed = archive(|archive| archive.file("errors.txt", b"disk").unwrap());
    assert_eq!(error_of(&failed), "the backup is not complete: disk");
    let long = archive(|archive| archive.file("meta.inf", &vec![b' '; 2 << 20]).unwrap());
    assert_eq!(error_of(&long), "meta.inf is too large");
}

#[test]
fn wrong_blocks_are_refused() {
    assert_eq!(error_of(&backup_of(&[("msgs/1.blk", block(1, &[1, 2]))])), "ok");
    let cases = [
        (vec![("msgs/1.blk", block(2, &[1]))], "the checksum does not match"),
        (vec![("msgs/1.blk", vec![0; 5000])], "its length is not possible"),
        (vec![("msgs/1.blk", vec![7; 21])], "it is cut"),
        (
            vec![("msgs/1.blk", block(1, &[5])), ("msgs/2.blk", block(2, &[5]))],
            "its sequence, subject or time",
        ),
        (vec![("msgs/2.blk", block(2, &[5])), ("msgs/1.blk", block(1, &[6]))], "order of blocks"),
        (vec![("msgs/1.blk", b"cmp\x01\x80\x80".to_vec())], "failed to fill"),
    ];
    for (blocks, expected) in cases {
        let text = error_of(&backup_of(&blocks));
        assert!(text.contains(expected), "{text}, not {expected}");
    }
    for subject in [&b"a..b"[..], b"a.*", b">", b"", b"a b"] {
        let mut block = Vec::new();
        let record = Record { sequence: 1, time: NOW, subject, ..Record::default() };
        append_message(&Checksum::of_block("S", 1), &record, &mut block);
        let text = error_of(&backup_of(&[("msgs/1.blk", block)]));
        assert!(text.contains("its sequence, subject or time is not possible"), "{text}");
    }
    let text = error_of(&backup_of(&[("msgs/index.db", vec![1; 40])]));
    assert_eq!(text, "msgs/index.db: corrupt stream state");
}

#[test]
fn tombstones_remove_messages_of_earlier_blocks() {
    let (checksum, mut second) = (Checksum::of_block("S", 2), block(2, &[4]));
    append_tombstone(&checksum, 2, NOW, &mut second);
    let bytes = backup_of(&[("msgs/1.blk", block(1, &[1, 2, 3])), ("msgs/2.blk", second)]);
    let cell = restored(&bytes, &config("S")).unwrap();
    assert_eq!((cell.stream().state().messages, cell.stream().state().last_sequence), (3, 4));
    assert!(cell.stream().storage().subject_of(2).is_none());
}

/// Ten gigabytes of zeros, compressed. The server reads no further than the first record.
#[test]
fn what_grows_without_end_is_refused_at_once() {
    struct Zeros {
        head: Vec<u8>,
        block: Vec<u8>,
        at: usize,
        read: u64,
    }
    impl std::io::Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let source =
                if self.at < self.head.len() { &self.head[self.at..] } else { &self.block[..] };
            let length = source.len().min(buffer.len());
            buffer[..length].copy_from_slice(&source[..length]);
            self.at += length;
            self.read += length as u64;
            Ok(length)
        }
    }
    for name in ["msgs/1.blk", "meta.inf", "obs/C/o.dat", "msgs/index.db"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name).unwrap();
        header.set_size(10 << 30);
        header.set_cksum();
        let mut compressed = Compressed::new(Vec::new());
        compressed.write_all(header.as_bytes()).unwrap();
        let head = compressed.finish().unwrap();
        let mut block = Vec::new();
        broker_core::s2::Encoder::default().append(
            broker_core::transport::CompressionLevel::Fast,
            &[0; 64 << 10],
            &mut block,
        );
        let mut zeros = Zeros { head, block, at: 0, read: 0 };
        let (server, tier) = (ServerLimits::default(), TierLimits::default());
        let config = config("S");
        let target = Target { account: "$G", config: &config, server: &server, tier: &tier };
        let mut storage = MemoryStorage::new();
        let result = restore(&mut zeros, &target, &mut storage, &mut |_, _| Ok(()));
        assert!(result.is_err(), "{name}");
        assert!(zeros.read < 1 << 20, "{name}: {} bytes", zeros.read);
    }
}

#[test]
fn a_limit_ends_the_restoration() {
    let bytes = backup(&stream());
    let (server, tier) = (ServerLimits::default(), TierLimits::default());
    let config = config("S");
    let target = Target { account: "$G", config: &config, server: &server, tier: &tier };
    let mut storage = MemoryStorage::new();
    let result = restore(&mut &bytes[..], &target, &mut storage, &mut |bytes, _| {
        if bytes < 1000 { Ok(()) } else { Err(ApiError::STORAGE_RESOURCES_EXCEEDED.into()) }
    });
    assert!(
        matches!(result, Err(BackupError::Api(error)) if error == ApiError::STORAGE_RESOURCES_EXCEEDED)
    );
    assert_eq!(storage.state().messages, 0);
}
