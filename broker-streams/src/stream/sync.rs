//! Durability of a stream.

use super::Stream;
use super::limits::MAX_WAITING_BYTES;
use crate::outbox::Outbox;
use crate::store::{Damage, Position, Scrub, StorageError, SyncJob};

impl Stream {
    /// Returns the last durable sequence: consumers deliver nothing behind it.
    pub fn visible(&self) -> u64 {
        let is_all = self.storage.durable() >= self.storage.position();
        if is_all { self.state().last_sequence } else { self.visible }
    }

    /// Takes the changes that are to become durable; see [`Storage::begin_sync`](crate::store::Storage::begin_sync).
    pub fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        let job = self.storage.begin_sync()?;
        self.syncing = Some(self.state().last_sequence);
        Some(job)
    }

    /// Returns a check of the next part of what is stored; see [`Storage::begin_scrub`](crate::store::Storage::begin_scrub).
    pub fn begin_scrub(&mut self) -> Option<Scrub> {
        self.storage.begin_scrub()
    }

    /// Returns the damage that a check has found.
    pub fn finish_scrub(&mut self, scrub: &Scrub) -> Vec<Damage> {
        self.storage.finish_scrub(scrub)
    }

    /// Takes the job of [`Self::begin_sync`] back.
    ///
    /// # Errors
    ///
    /// As for [`Storage::finish_sync`](crate::store::Storage::finish_sync).
    pub fn finish_sync(&mut self, job: Box<dyn SyncJob>) -> Result<(), StorageError> {
        let last = self.syncing.take();
        self.storage.finish_sync(job)?;
        self.visible = self.visible.max(last.unwrap_or_default());
        Ok(())
    }

    /// Sends the messages that waited for durability: republished messages, and answers to direct gets.
    pub fn flush(&mut self, out: &mut dyn Outbox) {
        let durable = self.storage.durable();
        self.waiting.flush(durable, out);
        self.reads.flush(durable, out);
    }

    /// Returns true if so many messages wait for the store that none should be added.
    pub fn is_congested(&self) -> bool {
        self.waiting.bytes() > MAX_WAITING_BYTES
    }

    /// Returns true if [`Self::flush`] has something to send.
    pub fn has_answers(&self) -> bool {
        self.waiting.is_due(self.storage.durable())
    }

    /// Returns the position at which a message can be sent to readers, and the one up to which the store is durable.
    pub(super) fn positions_of(&self, sequence: u64) -> (Position, Position) {
        let is_durable = sequence <= self.visible;
        let position = if is_durable { 0 } else { self.storage.position() };
        (position, self.storage.durable())
    }
}
