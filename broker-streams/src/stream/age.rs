//! Removal of messages that have become too old, and the markers that report it.
// NATS 2.14: memstore.go expireMsgs, handleRemovalOrSdm; ADR-43.

use broker_core::header_block;

use super::draft::Draft;
use super::fields::Fields;
use super::limits::{EXPIRED_PER_TICK, EXPIRY_INTERVAL, REMOVED_ONE_BY_ONE};
use super::publish::NEVER;
use super::{Context, Incoming, Stream};
use crate::config::Time;
use crate::filters::Filters;
use crate::store::StorageError;

impl Stream {
    /// Expects the age limit to remove a message that was stored at a time.
    pub(super) fn expect_age(&mut self, stored: Time) {
        if self.config.max_age > 0 && self.age_due.is_none() {
            self.age_due = Some(stored.plus(self.config.max_age));
        }
    }

    /// Returns when the next messages are to be removed.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let due = self.age_due.into_iter().chain(self.expiries.first()).min()?;
        Some(due.max(self.last_expiry.plus(EXPIRY_INTERVAL)))
    }

    /// Removes expired messages, a limited number at once.
    pub(super) fn expire(&mut self, context: &mut Context<'_>) -> Result<(), StorageError> {
        let now = context.now;
        if self.next_expiry().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.last_expiry = now;
        if self.age_due.is_some_and(|due| due <= now) {
            self.expire_by_age(context)?;
        }
        for sequence in self.expiries.take_expired(now, EXPIRED_PER_TICK) {
            self.expire_message(sequence, context)?;
        }
        Ok(())
    }

    /// Removes the messages that are older than the age limit.
    fn expire_by_age(&mut self, context: &mut Context<'_>) -> Result<(), StorageError> {
        self.age_due = None;
        let oldest = Time(context.now.0.saturating_sub(self.config.max_age).saturating_add(1));
        let end = self.storage.sequence_at(oldest);
        if self.expires_all_alike() && end - self.state().first_sequence > REMOVED_ONE_BY_ONE {
            self.remove_before(end, context)?;
        }
        let mut next = self.age_cursor;
        for _ in 0..EXPIRED_PER_TICK {
            let Some(sequence) = self.storage.next_match(&Filters::default(), next) else {
                return Ok(());
            };
            next = sequence + 1;
            let (time, is_kept) = self.age_of(sequence);
            if is_kept {
                if sequence == self.age_cursor || self.age_cursor == 0 {
                    self.age_cursor = next;
                }
                continue;
            }
            if time >= oldest {
                self.age_due = Some(time.plus(self.config.max_age));
                return Ok(());
            }
            self.expire_message(sequence, context)?;
        }
        self.age_due = Some(context.now);
        Ok(())
    }

    /// Returns true if no message has a time to live of its own, and none leaves a marker.
    fn expires_all_alike(&self) -> bool {
        !self.config.allow_message_ttl && self.config.subject_delete_marker_ttl <= 0
    }

    /// Returns the time of a message, and if it is kept at any age.
    fn age_of(&mut self, sequence: u64) -> (Time, bool) {
        match self.storage.load(sequence, &mut self.buffer) {
            Ok(Some(record)) => (record.time, record.expires == NEVER),
            // A message that cannot be read expires.
            _ => (Time::default(), false),
        }
    }

    /// Removes all messages before a sequence at once.
    pub(super) fn remove_before(
        &mut self,
        sequence: u64,
        context: &mut Context<'_>,
    ) -> Result<u64, StorageError> {
        let removed = self.discard_before(sequence)?;
        if removed > 0 {
            context.consumers.cleared(b"");
        }
        Ok(removed)
    }

    /// As [`Self::remove_before`]; the caller notifies the consumers.
    pub(super) fn discard_before(&mut self, sequence: u64) -> Result<u64, StorageError> {
        let removed = self.storage.remove_before(sequence)?;
        self.expiries.remove_before(sequence);
        self.timetable.remove_before(sequence);
        Ok(removed)
    }

    /// Removes a message that has expired, or replaces the last one of a subject by a marker.
    fn expire_message(
        &mut self,
        sequence: u64,
        context: &mut Context<'_>,
    ) -> Result<(), StorageError> {
        if self.config.subject_delete_marker_ttl >= 1_000_000_000
            && let Some(subject) = self.subject_to_mark(sequence)
        {
            self.mark(&subject, context);
        }
        // A marker has replaced the message, unless it could not be stored.
        self.remove_message(sequence, false, context.consumers)?;
        Ok(())
    }

    /// Returns the subject of a message, if the message is the only one with it, and no marker itself.
    fn subject_to_mark(&mut self, sequence: u64) -> Option<Vec<u8>> {
        let record = self.storage.load(sequence, &mut self.buffer).ok().flatten()?;
        let is_last = self.storage.subject(record.subject)?.messages == 1;
        let marks = is_marker(record.headers);
        (is_last && !marks).then(|| record.subject.to_vec())
    }

    /// Stores a marker, which replaces the messages of its subject.
    fn mark(&mut self, subject: &[u8], context: &mut Context<'_>) {
        let ttl = go_seconds(self.config.subject_delete_marker_ttl / 1_000_000_000);
        let headers = format!(
            "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {ttl}\r\nNats-Rollup: sub\r\n\r\n"
        );
        let message = Incoming { subject, ..Incoming::default() };
        let mut draft = Draft::new(&message, headers.as_bytes());
        draft.is_sourced = true;
        self.publish_one(&mut draft, context);
    }
}

/// Returns true for a marker of a subject whose last message is gone.
// NATS 2.14: sdm.go isSubjectDeleteMarker.
fn is_marker(headers: &[u8]) -> bool {
    let fields = Fields::read(headers);
    fields.marker_reason.is_some_and(|reason| !reason.is_empty())
        || header_block::value(headers, b"KV-Operation") == Some(b"PURGE")
}

/// Writes whole seconds as Go writes a duration.
fn go_seconds(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}
