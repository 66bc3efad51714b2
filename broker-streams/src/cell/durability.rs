//! Durability: when changes are synced, and the compaction of the journal.

use super::entry::Entry;
use super::{Cell, Change};
use crate::config::Time;
use crate::error::ApiError;
use crate::limits::{BEHIND_BYTES, BEHIND_TIME, JOURNAL_GROWTH, JOURNAL_MIN_BYTES};
use crate::outbox::Outbox;
use crate::store::{Damage, Scrub, StorageError, SyncJob};
use crate::stream::Answer;

/// The urgency of a sync.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// There are no changes.
    Nothing,
    /// There are no changes, and messages are refused because the disk is full: it may have room again.
    Retry,
    /// No answer depends on it: progress of consumers, which a crash may repeat.
    Later,
    /// Answers wait for it.
    Now,
}

impl Cell {
    /// Returns how soon [`Self::begin_sync`] is to be called.
    pub fn sync(&self) -> Urgency {
        let storage = self.stream.storage();
        if storage.durable() < storage.position() {
            Urgency::Now
        } else if self.consumers.has_changes() && self.is_stored() {
            Urgency::Later
        } else if storage.lacks_room() {
            Urgency::Retry
        } else {
            Urgency::Nothing
        }
    }

    /// Returns true if publishers should wait before they send more, because the disk is slower than they are; false if it has not
    /// finished a sync for long, so that they learn that it hangs.
    #[inline]
    pub fn is_behind(&mut self, now: Time) -> bool {
        self.stream.storage().unwritten_bytes() > BEHIND_BYTES
            && now.since(*self.behind_since.get_or_insert(now)) < BEHIND_TIME
    }

    /// Takes the changes that are to become durable, to be written without the lock of the owner. `None` if there are
    /// none, or if a job is out. [`Self::finish_sync`] must follow.
    pub fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        self.journal_progress();
        self.compact();
        self.stream.begin_sync()
    }

    /// Returns a check of the next part of what is stored; see [`Storage::begin_scrub`](crate::store::Storage::begin_scrub).
    pub fn begin_scrub(&mut self) -> Option<Scrub> {
        self.stream.begin_scrub()
    }

    /// Returns the damage that a check has found.
    pub fn finish_scrub(&mut self, scrub: &Scrub) -> Vec<Damage> {
        self.stream.finish_scrub(scrub)
    }

    /// Takes the job back, sends the answers that waited for it, and delivers what has become visible: with the next [`Self::run`] if
    /// a consumer [begins](Self::begins), so that a client has the answer before the deliveries that it has asked for.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if the changes could not be made durable: publishers that wait get an error, and the store has failed.
    pub fn finish_sync(
        &mut self,
        job: Box<dyn SyncJob>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<(), StorageError> {
        let before = self.stream.storage().durable();
        self.behind_since = None;
        if let Err(error) = self.stream.finish_sync(job) {
            let mut failure = Vec::new();
            let answer = Answer::Error(ApiError::stream_store_failed(&error));
            self.stream.encode(&answer, &mut failure);
            self.answers.fail(&failure, out);
            return Err(error);
        }
        let durable = self.stream.storage().durable();
        let waits = &mut self.latencies.publish_to_durable;
        self.answers.release(durable, now, waits, out);
        self.stream.flush(out);
        let are_all_visible = self.stream.visible() >= self.stream.state().last_sequence;
        self.consumers.visit_awaiting(|member| {
            (member.is_due, self.has_work) = (true, true);
            member.awaits_sync = !are_all_visible;
            self.begins |= (before + 1..=durable).contains(&member.begins_at);
        });
        if !self.begins || now < self.paused_until {
            self.run(now, out);
        }
        Ok(())
    }

    /// Writes the progress of consumers to the journal.
    pub(super) fn journal_progress(&mut self) {
        if !self.is_stored() {
            return;
        }
        let Self { stream, consumers, buffer, .. } = self;
        consumers.visit_changed(|member| {
            buffer.clear();
            Entry::begin_progress(member.number, buffer);
            if member.consumer.take_changes(buffer) {
                // A store that fails here fails at the next sync, which is reported.
                let _ = stream.storage_mut().journal(buffer);
            }
        });
    }

    /// Replaces a journal that has grown by the present state.
    fn compact(&mut self) {
        let bytes = self.stream.storage().journal_bytes();
        if bytes < JOURNAL_MIN_BYTES || bytes < JOURNAL_GROWTH * self.compacted_bytes {
            return;
        }
        let entries = self.state_entries();
        if self.stream.storage_mut().replace_journal(&entries).is_ok() {
            self.compacted_bytes = entries.iter().map(|entry| entry.len() as u64).sum();
        }
    }

    /// Returns the entries from which the present state can be recovered.
    fn state_entries(&self) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        let mut add = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            let mut entry = Vec::new();
            write(&mut entry);
            entries.push(entry);
        };
        let (config, created) = (self.stream.config(), self.stream.created());
        add(&mut |out| Entry::stream(config, created).write(out));
        for member in self.consumers.iter().filter(|member| member.consumer.config().is_stored()) {
            let consumer = &member.consumer;
            add(&mut |out| {
                let (config, history) =
                    (consumer.config(), (consumer.created(), consumer.passed()));
                Entry::consumer(member.number, consumer.name(), config, history).write(out);
            });
            add(&mut |out| {
                Entry::begin_progress(member.number, out);
                consumer.snapshot(out);
            });
        }
        entries
    }

    /// Ends the cell because its stream is deleted: closes the consumers.
    pub fn close(&mut self, now: Time, out: &mut dyn Outbox) {
        self.stream.close_feeds(out);
        for name in self.consumer_names() {
            if let Some(mut member) = self.consumers.remove(name.as_bytes()) {
                member.consumer.close(now, out);
            }
            self.changes.push(Change::Removed(name));
        }
    }
}
