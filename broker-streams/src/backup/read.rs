//! Restores a backup into an empty store.

use std::io::Read;

use super::archive::{File, Reader};
use super::block::{Entry, Records};
use super::checksum::{CHECKSUM, Checksum};
use super::compressed::Decompressed;
use super::consumers::Consumers;
use super::index::{Index, Set};
use super::limits::{MAX_SEQUENCE, META_BYTES};
use super::meta::StreamMeta;
use super::target::Target;
use super::{BackupError, file};
use crate::cell::restored_journal;
use crate::config::Time;
use crate::filters::Filters;
use crate::store::{Record, Storage};
use crate::stream::expiry_of;

/// A stream that was restored.
#[derive(Debug)]
pub struct Restored {
    /// The journal: the configuration, the consumers and their progress.
    pub journal: Vec<Vec<u8>>,
}

/// Called as a backup is read: with the bytes of the files that have begun so far, and the store. It makes changes of the
/// store durable, and returns an error to end the restoration.
pub type Progress<'a> = dyn FnMut(u64, &mut dyn Storage) -> Result<(), BackupError> + 'a;

/// Reads a backup from `input` into an empty store. Returns when the end of the archive is read, and no more.
///
/// # Errors
///
/// [`BackupError`], after which the store contains a part of the messages.
pub fn restore(
    input: &mut dyn Read,
    target: &Target<'_>,
    storage: &mut dyn Storage,
    progress: &mut Progress<'_>,
) -> Result<Restored, BackupError> {
    let archive = Reader::new(Decompressed::new(input), target.account);
    Restoration::new(target, storage, progress).run(archive)
}

/// A backup that is being read.
struct Restoration<'a, 'p> {
    target: &'a Target<'a>,
    storage: &'a mut dyn Storage,
    progress: &'a mut Progress<'p>,
    bytes: u64,
    meta: Option<Vec<u8>>,
    meta_sum: Option<Vec<u8>>,
    last_block: Option<LastBlock>,
    /// The last sequence of the stream, which need not have a message, and its time.
    last: (u64, Time),
    consumers: Consumers,
}

/// The last block that was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct LastBlock {
    number: u32,
    checksum: [u8; CHECKSUM],
}

impl<'a, 'p> Restoration<'a, 'p> {
    fn new(
        target: &'a Target<'a>,
        storage: &'a mut dyn Storage,
        progress: &'a mut Progress<'p>,
    ) -> Self {
        let consumers = Consumers::default();
        let (meta, meta_sum, last_block, last) = (None, None, None, (0, Time(0)));
        Self { target, storage, progress, bytes: 0, meta, meta_sum, last_block, last, consumers }
    }

    fn run(mut self, mut archive: Reader<impl Read>) -> Result<Restored, BackupError> {
        while let Some(file) = archive.next()? {
            self.bytes = self.bytes.saturating_add(file.size);
            (self.progress)(self.bytes, self.storage)?;
            self.file(&file, &mut archive)?;
        }
        self.raise()?;
        let created = self.created()?;
        let consumers = self.consumers.finish(self.target)?;
        let journal = restored_journal(self.target.config, created, consumers);
        Ok(Restored { journal })
    }

    fn file(&mut self, file: &File, archive: &mut impl Read) -> Result<(), BackupError> {
        let parts: Vec<_> = file.name.split('/').collect();
        match parts[..] {
            [file::META] => self.meta = Some(contents(file, META_BYTES, archive)?),
            [file::META_SUM] => self.meta_sum = Some(contents(file, META_BYTES, archive)?),
            [file::ERRORS] => {
                let text = contents(file, META_BYTES, archive)?;
                let text = String::from_utf8_lossy(&text).into_owned();
                return Err(BackupError::Incomplete(text));
            }
            [file::MESSAGES, file::INDEX] => self.index(file, archive)?,
            [file::MESSAGES, name] => {
                if let Some(number) =
                    name.strip_suffix(file::BLOCK_SUFFIX).and_then(|n| n.parse().ok())
                {
                    self.block(number, file, archive)?;
                }
            }
            [file::CONSUMERS, consumer, name] => {
                self.consumers.reserve(&file.name, file.size)?;
                let contents = contents(file, u64::MAX, archive)?;
                self.consumers.add(consumer, name, contents);
            }
            // Files that other versions may have added.
            _ => {}
        }
        Ok(())
    }

    /// Checks the metadata of the stream. Returns when it was created.
    fn created(&self) -> Result<Time, BackupError> {
        let meta =
            self.meta.as_deref().ok_or_else(|| BackupError::Missing(file::META.to_owned()))?;
        let StreamMeta { created, config } = StreamMeta::read(file::META, meta)?;
        // The checksum is that of a name.
        if config.name != self.target.config.name {
            return Err(BackupError::NameMismatch);
        }
        let checksum = Checksum::of_stream(&config.name);
        // NATS 2.14: RestoreStream does without it, so that programs that make a backup need not know how it is computed.
        if self.meta_sum.as_ref().is_some_and(|sum| checksum.text_of(meta).as_bytes() != *sum) {
            return Err(BackupError::Checksum(file::META.to_owned()));
        }
        Ok(created)
    }

    /// Reads a block.
    // NATS 2.14: filestore.go rebuildStateFromBufLocked.
    fn block(
        &mut self,
        number: u32,
        file: &File,
        archive: &mut impl Read,
    ) -> Result<(), BackupError> {
        if self.last_block.is_some_and(|last| last.number >= number) {
            return Err(BackupError::Archive("order of blocks"));
        }
        let checksum = Checksum::of_block(&self.target.config.name, number);
        let mut records = Records::new(archive, file.size, checksum, &file.name)?;
        // The highest sequence of the block, which need not have a message, and its time.
        let (mut last, mut removed) = ((0, Time(0)), (0, Time(0)));
        let begin = self.last.0;
        loop {
            (self.progress)(self.bytes, self.storage)?;
            match records.next()? {
                None => break,
                Some(Entry::Removed(sequence, time)) => {
                    removed = removed.max((sequence, time));
                    self.storage.remove(sequence, false)?;
                }
                Some(Entry::Erased(sequence, time)) => last = last.max((sequence, time)),
                Some(Entry::Message(record)) if record.sequence <= last.0 => {
                    // A message that was written again; the first one counts.
                }
                Some(Entry::Message(record)) => {
                    last = (record.sequence, record.time);
                    let is_next = record.sequence > begin && is_valid(&record);
                    if !is_next {
                        return Err(
                            records.invalid("its sequence, subject or time is not possible")
                        );
                    }
                    self.append(&record)?;
                }
            }
        }
        self.last_block = Some(LastBlock { number, checksum: records.last_checksum() });
        if last.0 == 0 {
            last = removed;
        }
        self.note_last(last)
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), BackupError> {
        let expires = expiry_of(self.target.config, record.headers, record.time);
        Ok(self.storage.append(&Record { expires, ..*record })?)
    }

    /// Notes the last sequence of a block.
    fn note_last(&mut self, last: (u64, Time)) -> Result<(), BackupError> {
        if last.0 > MAX_SEQUENCE {
            return Err(BackupError::Archive("sequence"));
        }
        if last.0 > self.last.0 {
            self.last = last;
        }
        Ok(())
    }

    /// Sets the last sequence and its time, if there is no message with it.
    fn raise(&mut self) -> Result<(), BackupError> {
        let (sequence, time) = self.last;
        let state = self.storage.state();
        if sequence > state.last_sequence {
            // A message that was overwritten has no time.
            let time = if time > Time(0) { time } else { state.last_time };
            let record = Record { sequence, time, subject: b"_", ..Record::default() };
            self.storage.append(&record)?;
            self.storage.remove(sequence, false)?;
        }
        Ok(())
    }

    /// Removes what the index says is removed. It counts only if it describes the blocks as they are: nats-server writes it
    /// behind them, while messages may be stored.
    // NATS 2.14: filestore.go recoverFullState.
    fn index(&mut self, file: &File, archive: &mut impl Read) -> Result<(), BackupError> {
        let checksum = Checksum::of_stream(&self.target.config.name);
        let index = Index::read(archive, file.size, &checksum)?;
        let described = LastBlock { number: index.last_block, checksum: index.last_checksum };
        if self.last_block != Some(described) {
            return Ok(());
        }
        if index.last_sequence >= self.last.0 {
            self.last.0 = 0;
            self.note_last((index.last_sequence, Time(index.last_time)))?;
        }
        self.storage.remove_before(index.first_sequence)?;
        let mut next = index.first_sequence;
        for block in &index.blocks {
            // Blocks that are not listed have no messages that are needed.
            self.remove_between(next, block.first_sequence)?;
            for set in &block.removed {
                self.remove_set(set)?;
            }
            next = next.max(block.last_sequence.saturating_add(1));
            (self.progress)(self.bytes, self.storage)?;
        }
        let (found, listed) = (self.storage.state().messages, index.messages);
        if found == listed { Ok(()) } else { Err(BackupError::Count { found, listed }) }
    }

    /// Removes the messages of a set. It takes as long as there are messages, whatever the set claims.
    fn remove_set(&mut self, set: &Set) -> Result<(), BackupError> {
        let (all, mut next) = (Filters::default(), set.first);
        let end = set.first.saturating_add(set.bits.len() as u64 * 64);
        while let Some(sequence) = self.storage.next_match(&all, next).filter(|next| *next < end) {
            if set.contains(sequence) {
                self.storage.remove(sequence, false)?;
            }
            next = sequence + 1;
        }
        Ok(())
    }

    /// Removes the messages from a sequence until before another one.
    fn remove_between(&mut self, from: u64, end: u64) -> Result<(), BackupError> {
        let all = Filters::default();
        while let Some(sequence) = self.storage.next_match(&all, from).filter(|next| *next < end) {
            self.storage.remove(sequence, false)?;
        }
        Ok(())
    }
}

/// Returns the contents of a file, which has `most` bytes at most.
fn contents(file: &File, most: u64, archive: &mut impl Read) -> Result<Vec<u8>, BackupError> {
    if file.size > most {
        return Err(BackupError::TooLarge(file.name.clone()));
    }
    let mut bytes = Vec::new();
    archive.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns true for a message that could have been published.
fn is_valid(record: &Record<'_>) -> bool {
    let tokens = || record.subject.split(|byte| *byte == b'.');
    let is_literal = tokens().all(|token| !matches!(token, b"" | b"*" | b">"));
    let is_text = record.subject.iter().all(|byte| !matches!(byte, 0..=b' ' | 0x7f));
    is_literal && is_text && record.time == valid_time(record.time)
}

/// Returns the time, or one that is possible: the store counts from 1970.
fn valid_time(time: Time) -> Time {
    Time(time.0.max(0))
}
