//! Removal of messages at the limits of a stream.

use super::limits::limit;
use super::{Consumers, Stream};
use crate::config::Discard;
use crate::store::StorageError;

impl Stream {
    /// Removes messages above the limits, after `added` was stored.
    // NATS 2.14: memstore.go enforcePerSubjectLimit, enforceMsgLimit, enforceBytesLimit.
    pub(super) fn enforce_limits(
        &mut self,
        added: Option<(u64, &[u8])>,
        consumers: &mut dyn Consumers,
    ) -> Result<(), StorageError> {
        let (added, subject) = added.unwrap_or_default();
        if let Some(max) = limit(self.config.max_messages_per_subject).filter(|_| added > 0) {
            self.enforce_subject_limit(subject, max, consumers)?;
        }
        if self.config.discard != Discard::Old {
            return Ok(());
        }
        let messages = limit(self.config.max_messages).unwrap_or(u64::MAX);
        let bytes = limit(self.config.max_bytes).unwrap_or(u64::MAX);
        loop {
            let state = self.state();
            let is_above = state.messages > messages || state.bytes > bytes;
            if !is_above || !self.remove_oldest(state.first_sequence, added, consumers)? {
                return Ok(());
            }
        }
    }

    /// Removes the oldest messages of a subject above a limit.
    pub(super) fn enforce_subject_limit(
        &mut self,
        subject: &[u8],
        max: u64,
        consumers: &mut dyn Consumers,
    ) -> Result<(), StorageError> {
        while let Some(state) = self.storage.subject(subject)
            && state.messages > max
            && self.remove_message(state.first, false, consumers)?
        {}
        Ok(())
    }

    fn remove_oldest(
        &mut self,
        sequence: u64,
        added: u64,
        consumers: &mut dyn Consumers,
    ) -> Result<bool, StorageError> {
        if sequence != added {
            return self.remove_message(sequence, false, consumers);
        }
        // Consumers do not know the message yet.
        let is_removed = self.remove_message(sequence, false, &mut super::NoConsumers)?;
        consumers.cleared(b"");
        Ok(is_removed)
    }

    /// Removes one message, whatever the reason. Returns false if there is none with that sequence.
    pub(super) fn remove_message(
        &mut self,
        sequence: u64,
        erase: bool,
        consumers: &mut dyn Consumers,
    ) -> Result<bool, StorageError> {
        if !self.expiries.is_empty() {
            // A message that cannot be read is removed as well.
            if let Ok(Some(record)) = self.storage.load(sequence, &mut self.buffer) {
                self.expiries.remove(sequence, record.expires);
            }
        }
        if !self.timetable.is_empty() {
            self.timetable.remove(sequence);
        }
        if !consumers.is_empty() {
            let Some(subject) = self.storage.subject_of(sequence) else { return Ok(false) };
            consumers.removed(sequence, subject);
        }
        Ok(self.storage.remove(sequence, erase)?.is_some())
    }
}
