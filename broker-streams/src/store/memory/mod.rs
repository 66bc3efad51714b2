//! Messages in memory.

mod chunk;

use std::collections::VecDeque;
use std::io;

use chunk::Chunk;

use super::answers::answers_of_index;
use super::index::Index;
use super::record::is_storable;
use super::{Position, Record, Storage, StorageError, SyncJob};
use crate::config::{StorageType, Time};

/// Stores messages in memory: in chunks, whose memory is given back as their messages are removed.
#[derive(Default)]
pub struct MemoryStorage {
    index: Index,
    /// In order. Only the last one takes messages.
    chunks: VecDeque<Chunk>,
    bytes: u64,
    last_time: Time,
    journal_bytes: u64,
    position: Position,
}

impl MemoryStorage {
    /// Creates a store without messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the bytes of memory for messages.
    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::allocated_bytes).sum()
    }

    fn chunk_of(&self, sequence: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.last() < sequence)
    }

    /// Gives back the memory that a removal makes free.
    fn shrink(&mut self, at: usize) {
        let is_last = at + 1 == self.chunks.len();
        let chunk = &mut self.chunks[at];
        if chunk.messages() == 0 {
            self.chunks.remove(at);
        } else if chunk.is_mostly_free() && !is_last {
            chunk.rewrite(&self.index);
        }
    }
}

impl Storage for MemoryStorage {
    fn append(&mut self, record: &Record<'_>) -> Result<(), StorageError> {
        if !is_storable(record) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        if self.chunks.back().is_none_or(|chunk| !chunk.has_room(record)) {
            if let Some(full) = self.chunks.back_mut() {
                full.close();
            }
            self.chunks.push_back(Chunk::new(record));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(record);
        }
        self.index.insert(record.sequence, record.subject);
        self.bytes += record.counted_bytes(StorageType::Memory);
        self.last_time = record.time;
        self.position += 1;
        Ok(())
    }

    fn skip_to(&mut self, last_sequence: u64, time: Option<Time>) -> Result<(), StorageError> {
        if last_sequence > self.index.last() {
            self.index.skip_to(last_sequence);
            self.last_time = time.unwrap_or(self.last_time);
            self.position += 1;
        }
        Ok(())
    }

    fn remove(&mut self, sequence: u64, erase: bool) -> Result<Option<u64>, StorageError> {
        if !self.index.remove(sequence) {
            return Ok(None);
        }
        let at = self.chunk_of(sequence);
        let size = self.chunks[at].remove(sequence, erase);
        self.bytes -= size;
        self.position += 1;
        self.shrink(at);
        Ok(Some(size))
    }

    fn remove_before(&mut self, sequence: u64) -> Result<u64, StorageError> {
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.last() < sequence) {
            self.bytes -= chunk.counted_bytes();
        }
        if let Some(chunk) = self.chunks.front_mut() {
            self.bytes -= chunk.remove_before(sequence, &self.index);
        }
        let removed = self.index.remove_before(sequence);
        if !self.chunks.is_empty() {
            self.shrink(0);
        }
        self.position += 1;
        Ok(removed)
    }

    fn journal(&mut self, entry: &[u8]) -> Result<(), StorageError> {
        // Nothing reads it again.
        self.journal_bytes += entry.len() as u64;
        self.position += 1;
        Ok(())
    }

    fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    fn replace_journal(&mut self, entries: &[Vec<u8>]) -> Result<(), StorageError> {
        self.journal_bytes = entries.iter().map(|entry| entry.len() as u64).sum();
        self.position += 1;
        Ok(())
    }

    fn load<'a>(
        &'a self,
        sequence: u64,
        _: &'a mut Vec<u8>,
    ) -> Result<Option<Record<'a>>, StorageError> {
        if !self.index.contains(sequence) {
            return Ok(None);
        }
        Ok(self.chunks.get(self.chunk_of(sequence)).and_then(|chunk| chunk.load(sequence)))
    }

    answers_of_index!();

    fn first_time(&self) -> Time {
        let first = self.index.first();
        let chunk = self.chunks.get(self.chunk_of(first));
        chunk.and_then(|chunk| chunk.load(first)).map_or(Time(0), |record| record.time)
    }

    fn for_each_expiry(&self, visit: &mut dyn FnMut(u64, Time)) -> Result<(), StorageError> {
        for chunk in &self.chunks {
            chunk.for_each_expiry(&self.index, visit);
        }
        Ok(())
    }

    fn sequence_at(&self, time: Time) -> u64 {
        let late = self.chunks.iter().filter(|chunk| chunk.latest() >= time);
        let found = late.filter_map(|chunk| chunk.sequence_at(time, &self.index)).next();
        found.unwrap_or(self.index.last() + 1)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn durable(&self) -> Position {
        self.position
    }

    fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        None
    }

    fn finish_sync(&mut self, _: Box<dyn SyncJob>) -> Result<(), StorageError> {
        Ok(())
    }
}
