//! Makes a backup of a stream at work.

use std::io::Write;

use super::archive::Writer;
use super::block::{append_message, append_tombstone};
use super::checksum::Checksum;
use super::compressed::Compressed;
use super::limits::{BLOCK_BYTES, PORTION_BYTES, PORTION_MESSAGES};
use super::meta::{ConsumerMeta, StreamMeta, encode};
use super::{BackupError, file, progress};
use crate::cell::Cell;
use crate::config::{StreamConfig, Time};
use crate::filters::Filters;
use crate::store::{Storage, StorageError, StoreState};

/// Calls a function with the cell, which nothing else changes meanwhile. Returns false if the stream has ended.
pub type See<'a> = dyn FnMut(&mut dyn FnMut(&Cell)) -> bool + 'a;

/// A stream at the beginning of a backup, which contains its messages up to now.
#[derive(Clone, Debug)]
pub struct Start {
    /// The configuration.
    pub config: StreamConfig,
    /// When the stream was created.
    pub created: Time,
    /// The totals.
    pub state: StoreState,
}

impl Start {
    /// Returns the present state of a stream.
    pub fn of(cell: &Cell) -> Self {
        let stream = cell.stream();
        Self { config: stream.config().clone(), created: stream.created(), state: stream.state() }
    }

    /// Reads all messages.
    ///
    /// # Errors
    ///
    /// [`BackupError::BadMessages`] if some are damaged.
    pub fn check(&self, see: &mut See<'_>) -> Result<(), BackupError> {
        let mut messages = Messages::new(self);
        while messages.next_portion(see, &mut |_| {})? {}
        if messages.damaged == 0 { Ok(()) } else { Err(BackupError::BadMessages(messages.damaged)) }
    }
}

/// The contents of a backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// The damaged messages, which it does not contain.
    pub damaged: u64,
}

/// Writes a backup. `see` is called for a portion of some hundred messages, for the names of the consumers, and for each
/// consumer; `out` may block between calls.
///
/// Messages that are removed meanwhile may be missing. What is acknowledged meanwhile may be in the progress of consumers.
///
/// # Errors
///
/// [`BackupError`], among them those of `out`.
pub fn write(
    out: impl Write,
    start: &Start,
    with_consumers: bool,
    now: Time,
    see: &mut See<'_>,
) -> Result<Written, BackupError> {
    let mut archive = Writer::new(Compressed::new(out), now);
    let name = &start.config.name;
    let meta = StreamMeta { created: start.created, config: start.config.clone() };
    let meta = encode(file::META, &meta)?;
    archive.file(file::META, &meta)?;
    archive.file(file::META_SUM, Checksum::of_stream(name).text_of(&meta).as_bytes())?;
    let damaged = write_messages(&mut archive, start, see)?;
    if with_consumers {
        write_consumers(&mut archive, start, see)?;
    }
    archive.finish()?.finish()?;
    Ok(Written { damaged })
}

/// Writes the messages. Returns the number of damaged ones.
fn write_messages(
    archive: &mut Writer<impl Write>,
    start: &Start,
    see: &mut See<'_>,
) -> Result<u64, BackupError> {
    let name = &start.config.name;
    let (mut number, mut block) = (1, Vec::new());
    let mut checksum = Checksum::of_block(name, number);
    let mut messages = Messages::new(start);
    let mut is_open = true;
    while is_open {
        is_open = messages.next_portion(see, &mut |record| {
            append_message(&checksum, record, &mut block);
        })?;
        if block.len() >= BLOCK_BYTES || (!is_open && !block.is_empty()) {
            archive.file(&block_name(number), &block)?;
            block.clear();
            number += 1;
            checksum = Checksum::of_block(name, number);
        }
    }
    let (last, time) = (start.state.last_sequence, start.state.last_time);
    if messages.last < last {
        // A block without messages states the last sequence.
        append_tombstone(&checksum, last, time, &mut block);
        archive.file(&block_name(number), &block)?;
    }
    Ok(messages.damaged)
}

fn block_name(number: u32) -> String {
    format!("{}/{number}{}", file::MESSAGES, file::BLOCK_SUFFIX)
}

/// The messages of a stream, which are read in portions.
struct Messages {
    next: u64,
    /// The last sequence of the backup.
    end: u64,
    /// The sequence of the last message.
    last: u64,
    damaged: u64,
    buffer: Vec<u8>,
}

/// A function that is called with each message.
type Visit<'a> = dyn FnMut(&crate::store::Record<'_>) + 'a;

impl Messages {
    fn new(start: &Start) -> Self {
        let (next, end) = (start.state.first_sequence, start.state.last_sequence);
        Self { next, end, last: 0, damaged: 0, buffer: Vec::new() }
    }

    /// Reads the next portion. Returns false if it was the last.
    fn next_portion(
        &mut self,
        see: &mut See<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<bool, BackupError> {
        let mut result = Ok(false);
        let is_open = see(&mut |cell| result = self.read(cell.stream().storage(), visit));
        if is_open { Ok(result?) } else { Err(BackupError::StreamClosed) }
    }

    fn read(&mut self, storage: &dyn Storage, visit: &mut Visit<'_>) -> Result<bool, StorageError> {
        let (all, mut bytes) = (Filters::default(), 0);
        for _ in 0..PORTION_MESSAGES {
            let next = storage.next_match(&all, self.next).filter(|next| *next <= self.end);
            let Some(sequence) = next.filter(|_| bytes < PORTION_BYTES) else {
                return Ok(next.is_some());
            };
            self.next = sequence + 1;
            match storage.load(sequence, &mut self.buffer) {
                Ok(Some(record)) => {
                    bytes += record.subject.len() + record.headers.len() + record.payload.len();
                    self.last = sequence;
                    visit(&record);
                }
                Ok(None) => {}
                Err(StorageError::Damaged { .. }) => self.damaged += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Writes the consumers. nats-server leaves out those whose progress is in memory, too.
fn write_consumers(
    archive: &mut Writer<impl Write>,
    start: &Start,
    see: &mut See<'_>,
) -> Result<(), BackupError> {
    let mut names = Vec::new();
    let is_open = see(&mut |cell| {
        let stored = cell.consumers().filter(|consumer| {
            let config = consumer.config();
            !config.memory_storage && !config.direct
        });
        names = stored.map(|consumer| consumer.name().to_owned()).collect();
    });
    if !is_open {
        return Err(BackupError::StreamClosed);
    }
    for name in names {
        let mut found = None;
        let is_open = see(&mut |cell| {
            found = cell.consumer(&name).map(|consumer| {
                let (config, created) = (consumer.config().clone(), consumer.created());
                let name = name.clone();
                (ConsumerMeta { created, name, config }, consumer.progress())
            });
        });
        match found {
            Some((meta, progress)) => {
                let progress = progress::encode(&progress, start.state.last_sequence);
                write_consumer(archive, &start.config.name, &meta, &progress)?;
            }
            // It was removed meanwhile.
            None if is_open => {}
            None => return Err(BackupError::StreamClosed),
        }
    }
    Ok(())
}

fn write_consumer(
    archive: &mut Writer<impl Write>,
    stream: &str,
    meta: &ConsumerMeta,
    progress: &[u8],
) -> Result<(), BackupError> {
    let name = &meta.name;
    let folder = format!("{}/{name}", file::CONSUMERS);
    let checksum = Checksum::of_consumer(stream, name);
    let meta = encode(file::META, meta)?;
    archive.file(&format!("{folder}/{}", file::META), &meta)?;
    archive.file(&format!("{folder}/{}", file::META_SUM), checksum.text_of(&meta).as_bytes())?;
    archive.file(&format!("{folder}/{}", file::PROGRESS), progress)?;
    Ok(())
}
