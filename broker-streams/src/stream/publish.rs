//! The path of a published message into the store.
// NATS 2.14: stream.go processJetStreamMsgWithBatch, memstore.go storeRawMsg.

use std::borrow::Cow;

use super::batch::{Operation, operation_subject};
use super::draft::{Draft, Refusal};
use super::fields::{self, Rollup, Ttl};
use super::limits::limit;
use super::purge::PurgeRequest;
use super::{Answer, Context, Incoming, PubAck, Stream, counter, store_error};
use crate::config::{Discard, Retention, Time};
use crate::error::ApiError;
use crate::store::Record;

/// The expiry of a message that no age limit removes.
pub(super) const NEVER: Time = Time(i64::MAX);

impl Stream {
    /// Stores a message, or answers why not.
    ///
    /// Messages that the message replaces, or that limits remove, are reported to the consumers. The message itself is
    /// behind the last sequence that [`Self::state`] reported before; the end of an atomic batch stores several.
    pub fn publish(&mut self, message: &Incoming<'_>, context: &mut Context<'_>) -> Answer {
        let headers = fields::to_store(message.headers);
        let reply = operation_subject(message.reply, message.headers);
        if Operation::is_any(&reply) {
            let operation = Operation::parse(&reply);
            return self.publish_fast(operation.as_ref(), message, &headers, context);
        }
        let mut draft = Draft::new(message, &headers);
        if draft.fields.batch_id.is_some_and(|id| !id.is_empty()) {
            return self.publish_atomic(message, &headers, context);
        }
        self.publish_one(&mut draft, context)
    }

    /// Stores a message that is part of no batch.
    pub(super) fn publish_one(
        &mut self,
        draft: &mut Draft<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        self.transform(draft);
        let stored = self.check(draft, context.now).and_then(|()| Ok(self.commit(draft, context)?));
        self.answer_of(stored, draft)
    }

    /// Returns the answer about a message that was stored with a sequence, or not.
    pub(super) fn answer_of(&self, stored: Result<u64, Refusal>, draft: &Draft<'_>) -> Answer {
        match stored {
            Ok(sequence) => {
                let value = self.config.allow_message_counter;
                let value = value.then(|| counter::value(&draft.payload)).flatten();
                Answer::Ack(PubAck { sequence, value, ..PubAck::default() })
            }
            Err(Refusal::Duplicate(sequence)) => {
                Answer::Ack(PubAck { sequence, is_duplicate: true, ..PubAck::default() })
            }
            Err(Refusal::Error(error)) => Answer::Error(error),
        }
    }

    /// Changes the subject as the stream is configured to.
    pub(super) fn transform(&mut self, draft: &mut Draft<'_>) {
        if let Some(subject) = self.transformed(&draft.subject) {
            draft.subject = Cow::Owned(subject);
        }
    }

    /// Returns the subject that the stream stores a message with, if that is another one.
    pub(super) fn transformed(&mut self, subject: &[u8]) -> Option<Vec<u8>> {
        let transform = self.input.as_ref().filter(|transform| transform.matches(subject))?;
        let mut changed = Vec::with_capacity(subject.len() + 16);
        transform.apply(subject, || self.random.next(), &mut changed);
        Some(changed)
    }

    /// Stores a message that was checked. Returns its sequence.
    pub(super) fn commit(
        &mut self,
        draft: &mut Draft<'_>,
        context: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        let bytes = self.counted_bytes(draft);
        if bytes > context.room.server {
            return Err(ApiError::INSUFFICIENT_RESOURCES);
        }
        let is_interest = self.config.retention == Retention::Interest;
        if is_interest && !context.consumers.is_wanted(&draft.subject) {
            return self.skip(draft, context);
        }
        if bytes > context.room.account {
            return Err(ApiError::ACCOUNT_RESOURCES_EXCEEDED);
        }
        let time = draft.origin.map_or(context.now, |(_, time)| time);
        let expires = self.expiry(draft, time)?;
        let republished = self.republish_subject(&draft.subject);
        self.check_room(draft)?;
        let sequence = self.append(draft, (time, expires), context)?;
        self.remember(draft, sequence, time);
        self.roll_up(draft, 1, context)?;
        if let Some(republished) = republished {
            self.republish(&republished, draft, sequence, context);
        }
        Ok(sequence)
    }

    fn next_sequence(&self, draft: &Draft<'_>) -> u64 {
        draft.origin.map_or_else(|| self.state().last_sequence + 1, |(sequence, _)| sequence)
    }

    /// Uses a sequence for a message that no consumer wants.
    fn skip(&mut self, draft: &Draft<'_>, context: &mut Context<'_>) -> Result<u64, ApiError> {
        let sequence = self.next_sequence(draft);
        self.storage.skip_to(sequence, Some(context.now)).map_err(store_error)?;
        self.remember(draft, sequence, context.now);
        self.roll_up(draft, 0, context)?;
        Ok(sequence)
    }

    /// Remembers the id of a stored message.
    fn remember(&mut self, draft: &Draft<'_>, sequence: u64, now: Time) {
        let id = draft.fields.message_id.unwrap_or_default();
        self.last_id.clear();
        self.last_id.extend_from_slice(id);
        if !id.is_empty() {
            self.dedupe.insert(id, sequence, now);
        }
    }

    /// Returns when a message expires by its own time to live.
    fn expiry(&self, draft: &mut Draft<'_>, now: Time) -> Result<Time, ApiError> {
        let seconds = match draft.fields.ttl().map_err(|_| ApiError::MESSAGE_TTL_INVALID)? {
            Ttl::None => return Ok(Time::default()),
            Ttl::Never => return Ok(NEVER),
            Ttl::Seconds(seconds) => seconds,
        };
        let least = self.config.subject_delete_marker_ttl / 1_000_000_000;
        // Otherwise a marker could outlive the message for which the subject has one.
        let is_short = seconds < least && self.config.max_messages_per_subject != 1;
        let seconds = if is_short { least } else { seconds };
        if is_short {
            let mut headers = fields::without(&draft.headers, |name| name == b"Nats-TTL");
            fields::append(&mut headers, "Nats-TTL", seconds.to_string().as_bytes());
            draft.headers = Cow::Owned(headers);
        }
        // Of another stream's message it is stored in any case: this stream may come to allow it.
        Ok(now.plus(seconds.saturating_mul(1_000_000_000)))
    }

    /// Refuses a message for which there is no room, if the stream discards new messages.
    fn check_room(&mut self, draft: &Draft<'_>) -> Result<(), ApiError> {
        if self.config.discard != Discard::New {
            return Ok(());
        }
        let subject = self.storage.subject(&draft.subject);
        let max = limit(self.config.max_messages_per_subject);
        let replaced = subject.filter(|subject| max.is_some_and(|max| subject.messages >= max));
        let is_rollup = !draft.fields.rollup.unwrap_or_default().is_empty();
        if replaced.is_some() && self.config.discard_new_per_subject && !is_rollup {
            return Err(ApiError::stream_store_failed(super::MAX_PER_SUBJECT));
        }
        let state = self.state();
        let max = limit(self.config.max_messages);
        if replaced.is_none() && max.is_some_and(|max| state.messages >= max) {
            return Err(ApiError::stream_store_failed(super::MAX_MESSAGES));
        }
        let bytes = self.counted_bytes(draft);
        let is_over = limit(self.config.max_bytes).is_some_and(|max| state.bytes + bytes > max);
        // The message that is replaced must give enough room.
        let freed = replaced.map(|subject| self.bytes_of(subject.first));
        if is_over && freed.is_none_or(|freed| freed < bytes) {
            return Err(ApiError::stream_store_failed(super::MAX_BYTES));
        }
        Ok(())
    }

    fn bytes_of(&mut self, sequence: u64) -> u64 {
        let record = self.storage.load(sequence, &mut self.buffer);
        record.ok().flatten().map_or(0, |record| record.counted_bytes(self.config.storage))
    }

    /// Appends a message, and enforces the limits of the stream.
    fn append(
        &mut self,
        draft: &Draft<'_>,
        (time, expires): (Time, Time),
        context: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        let sequence = self.next_sequence(draft);
        let record = Record {
            sequence,
            time,
            expires,
            subject: &draft.subject,
            headers: &draft.headers,
            payload: &draft.payload,
        };
        self.append_record(&record, context)?;
        Ok(sequence)
    }

    /// Appends a record, and enforces the limits of the stream.
    pub(super) fn append_record(
        &mut self,
        record: &Record<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        self.storage.append(record).map_err(store_error)?;
        if self.config.allow_message_ttl {
            self.expiries.insert(record.sequence, record.expires);
        }
        self.enforce_limits(Some((record.sequence, record.subject)), context.consumers)
            .map_err(store_error)?;
        self.expect_age(record.time);
        self.schedule(record, context.now);
        Ok(())
    }

    /// Removes the messages that a message replaces, but `keep`.
    fn roll_up(
        &mut self,
        draft: &Draft<'_>,
        keep: u64,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        if !self.allows_rollup() {
            return Ok(());
        }
        let subject = match draft.fields.rollup() {
            Rollup::Subject => Some(&*draft.subject),
            Rollup::All => Some(&b""[..]),
            Rollup::None | Rollup::Invalid(_) => None,
        };
        if let Some(subject) = subject {
            self.replace(subject, keep, context)?;
        }
        let scheduler = draft.fields.scheduler.filter(|scheduler| !scheduler.is_empty());
        match scheduler.filter(|_| draft.fields.schedule_next == Some(b"purge")) {
            Some(scheduler) => self.replace(scheduler, 0, context),
            None => Ok(()),
        }
    }

    /// Removes the messages of a subject, or of all, but `keep`.
    fn replace(
        &mut self,
        subject: &[u8],
        keep: u64,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        let subject = String::from_utf8_lossy(subject).into_owned();
        self.purge(&PurgeRequest { subject, sequence: 0, keep }, context)?;
        Ok(())
    }
}
