//! Atomic batches.
// NATS 2.14: stream.go processJetStreamAtomicBatchMsg.

use std::borrow::Cow;

use super::advisory::Reason;
use super::open::Share;
use super::staged::Staged;
use crate::config::Time;
use crate::error::ApiError;
use crate::stream::draft::{Draft, Refusal};
use crate::stream::fields::{self, Fields, number};
use crate::stream::limits::{MAX_BATCH_BYTES, MAX_BATCH_ID};
use crate::stream::{Answer, Context, Incoming, PubAck, Stream};

/// The API level of this server.
const API_LEVEL: i64 = 4;

/// An atomic batch that is not complete.
#[derive(Debug)]
pub(super) struct Atomic {
    messages: Vec<Message>,
    pub bytes: usize,
    pub deadline: Time,
    share: Share,
}

/// A message of a batch, as it was published.
#[derive(Debug)]
struct Message {
    subject: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

/// A message of a batch that was checked, as it is to be stored.
struct Checked<'a> {
    draft: Draft<'a>,
}

/// The effect of a message on the end of its batch.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Commit {
    No,
    With,
    /// The message is not stored.
    Before,
}

impl Stream {
    /// Adds a message to an atomic batch, or stores the batch.
    pub(in crate::stream) fn publish_atomic(
        &mut self,
        message: &Incoming<'_>,
        headers: &[u8],
        context: &mut Context<'_>,
    ) -> Answer {
        let draft = Draft::new(message, headers);
        match self.add_to_batch(&draft, context) {
            Ok(None) => Answer::Empty,
            Ok(Some(ack)) => Answer::Ack(ack),
            Err(error) => Answer::Error(error),
        }
    }

    fn add_to_batch(
        &mut self,
        draft: &Draft<'_>,
        context: &mut Context<'_>,
    ) -> Result<Option<PubAck>, ApiError> {
        self.check_batch(draft, context)?;
        if !self.config.allow_atomic {
            return Err(ApiError::ATOMIC_PUBLISH_DISABLED);
        }
        let id = batch_id(&draft.fields)?;
        let text = draft.fields.batch_sequence.unwrap_or_default();
        let sequence = number(text).ok_or(ApiError::ATOMIC_PUBLISH_MISSING_SEQ)?;
        self.open_batch(id, sequence, draft, context.now)?;
        let commit = match draft.fields.batch_commit {
            None => Commit::No,
            Some(b"1") => Commit::With,
            Some(b"eob") => Commit::Before,
            Some(_) => {
                self.batches.take_atomic(id);
                return Err(ApiError::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT);
            }
        };
        let level = draft.fields.required_api_level;
        if level.is_some_and(exceeds_level) {
            self.abandon(id, Reason::Unsupported, context);
            return Err(ApiError::REQUIRED_API_LEVEL);
        }
        self.stage(id, (sequence, commit), draft, context)?;
        if commit == Commit::No {
            return Ok(None);
        }
        let Some(batch) = self.batches.take_atomic(id) else {
            return Err(ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        };
        self.commit_batch(id, &batch, commit, context).map(Some)
    }

    /// Performs the checks that apply to messages of all batches.
    pub(super) fn check_batch(
        &self,
        draft: &Draft<'_>,
        context: &Context<'_>,
    ) -> Result<(), ApiError> {
        if self.config.sealed {
            return Err(ApiError::STREAM_SEALED);
        }
        let bytes = self.counted_bytes(draft);
        if bytes > context.room.server {
            return Err(ApiError::INSUFFICIENT_RESOURCES);
        }
        if bytes > context.room.account {
            return Err(ApiError::ACCOUNT_RESOURCES_EXCEEDED);
        }
        let max = usize::try_from(self.config.max_message_size).unwrap_or_default();
        if max > 0 && draft.len() > max {
            return Err(ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        Ok(())
    }

    /// Begins a batch with its first message; nothing happens if it is there.
    fn open_batch(
        &mut self,
        id: &str,
        sequence: u64,
        draft: &Draft<'_>,
        now: Time,
    ) -> Result<(), ApiError> {
        if self.batches.atomic.contains_key(id) {
            return Ok(());
        }
        if sequence != 1 {
            // The end of a batch does not count.
            let is_end = draft.fields.batch_commit == Some(b"eob");
            let size = sequence.saturating_sub(u64::from(is_end));
            return Err(match self.options.batches.messages {
                max if size > max => ApiError::atomic_publish_too_large_batch(max),
                _ => ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
            });
        }
        let limits = &self.options.batches;
        if self.batches.atomic.len() >= limits.atomic {
            return Err(ApiError::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
        }
        let Some(share) = Share::take(&self.options.open_batches, true, limits.atomic_total) else {
            return Err(ApiError::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
        };
        let deadline = now.plus(limits.timeout);
        let batch = Atomic { messages: Vec::new(), bytes: 0, deadline, share };
        self.batches.atomic.insert(id.to_owned(), batch);
        Ok(())
    }

    /// Adds a message to a batch.
    fn stage(
        &mut self,
        id: &str,
        (sequence, commit): (u64, Commit),
        draft: &Draft<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        let is_stored = commit != Commit::Before;
        let known = self.batches.atomic.get(id).map_or(0, |batch| batch.messages.len() as u64);
        if sequence != known + 1 || sequence == 1 && !is_stored {
            self.abandon(id, Reason::Incomplete, context);
            return Err(ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        }
        let max = self.options.batches.messages;
        if is_stored && sequence > max || sequence > max.saturating_add(1) {
            self.abandon(id, Reason::Large, context);
            return Err(ApiError::atomic_publish_too_large_batch(max));
        }
        if !is_stored {
            return Ok(());
        }
        let bytes = draft.subject.len() + draft.len() + size_of::<Message>();
        let Some(batch) = self.batches.atomic.get_mut(id) else {
            return Err(ApiError::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        };
        if self.batches.bytes + bytes > MAX_BATCH_BYTES || !batch.share.add_bytes(bytes) {
            self.abandon(id, Reason::Large, context);
            return Err(ApiError::INSUFFICIENT_RESOURCES);
        }
        let headers = match draft.fields.required_api_level {
            Some(_) => fields::without(&draft.headers, |name| name == b"Nats-Required-Api-Level"),
            None => draft.headers.to_vec(),
        };
        let (subject, payload) = (draft.subject.to_vec(), draft.payload.to_vec());
        batch.messages.push(Message { subject, headers, payload });
        batch.bytes += bytes;
        batch.deadline = context.now.plus(self.options.batches.timeout);
        self.batches.bytes += bytes;
        Ok(())
    }

    /// Stores all messages of a batch, or none.
    fn commit_batch(
        &mut self,
        id: &str,
        batch: &Atomic,
        commit: Commit,
        context: &mut Context<'_>,
    ) -> Result<PubAck, ApiError> {
        let mut staged = Staged::default();
        let mut checked = Vec::with_capacity(batch.messages.len());
        for message in &batch.messages {
            let Message { subject, headers, payload } = message;
            let message = Incoming { subject, headers, payload, ..Incoming::default() };
            let mut draft = Draft::new(&message, headers);
            if !draft.fields.expected_last_message_id.unwrap_or_default().is_empty() {
                let header = "Nats-Expected-Last-Msg-Id";
                return Err(ApiError::atomic_publish_unsupported_header_batch(header));
            }
            self.transform(&mut draft);
            match self.check_staged(&mut draft, &mut staged, context.now) {
                Ok(()) => checked.push(Checked { draft }),
                Err(Refusal::Error(error)) => return Err(error),
                Err(Refusal::Duplicate(_)) => {
                    return Err(ApiError::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE);
                }
            }
        }
        if staged.total.bytes > context.room.server {
            return Err(ApiError::INSUFFICIENT_RESOURCES);
        }
        if staged.total.bytes > context.room.account {
            return Err(ApiError::ACCOUNT_RESOURCES_EXCEEDED);
        }
        if let (Commit::Before, Some(Checked { draft })) = (commit, checked.last_mut()) {
            let mut headers = draft.headers.to_vec();
            fields::append(&mut headers, "Nats-Batch-Commit", b"1");
            draft.headers = Cow::Owned(headers);
        }
        let count = checked.len() as u64;
        let sequence = self.store_batch(checked, context)?;
        let batch = Some((id.to_owned(), count));
        Ok(PubAck { sequence, batch, ..PubAck::default() })
    }

    fn store_batch(
        &mut self,
        checked: Vec<Checked<'_>>,
        context: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        let before = self.state().last_sequence;
        for Checked { mut draft } in checked {
            if let Err(error) = self.commit(&mut draft, context) {
                self.take_back(before, context);
                return Err(error);
            }
        }
        Ok(self.state().last_sequence)
    }

    /// Removes the messages behind a sequence, because the rest of their batch could not be stored.
    fn take_back(&mut self, before: u64, context: &mut Context<'_>) {
        for sequence in before + 1..=self.state().last_sequence {
            // A store that cannot remove a message has failed, and its messages are not durable.
            let _ = self.remove_message(sequence, false, &mut crate::stream::NoConsumers);
        }
        context.consumers.cleared(b"");
    }

    /// Removes the messages of an atomic batch that a crash has cut: the last message that was stored belongs to a batch
    /// and does not end it. No client has received them, and the publisher has no acknowledgement.
    pub(in crate::stream) fn remove_cut_batch(&mut self) -> Result<(), crate::store::StorageError> {
        let mut sequence = self.state().last_sequence;
        let Some((id, number, false)) = self.batch_of(sequence) else { return Ok(()) };
        let mut expected = number;
        while let Some((other, number, false)) = self.batch_of(sequence)
            && other == id
            && number == expected
        {
            self.storage.remove(sequence, false)?;
            (sequence, expected) = (sequence - 1, expected - 1);
        }
        Ok(())
    }

    /// Returns the batch of a message, its number in it, and if it ends it.
    fn batch_of(&mut self, sequence: u64) -> Option<(Vec<u8>, u64, bool)> {
        let record = self.storage.load(sequence, &mut self.buffer).ok().flatten()?;
        let fields = Fields::read(record.headers);
        let number = number(fields.batch_sequence?)?;
        Some((fields.batch_id?.to_vec(), number, fields.batch_commit.is_some()))
    }
}

fn batch_id<'a>(fields: &Fields<'a>) -> Result<&'a str, ApiError> {
    let id = fields.batch_id.unwrap_or_default();
    if id.len() > MAX_BATCH_ID {
        return Err(ApiError::ATOMIC_PUBLISH_INVALID_BATCH_ID);
    }
    std::str::from_utf8(id).map_err(|_| ApiError::ATOMIC_PUBLISH_INVALID_BATCH_ID)
}

/// Returns true if a message requires more than this server has.
// NATS 2.14: jetstream_versioning.go errorOnRequiredApiLevel.
pub(super) fn exceeds_level(level: &[u8]) -> bool {
    let text = std::str::from_utf8(level).unwrap_or_default();
    !text.is_empty() && text.parse::<i64>().map_or(true, |level| level > API_LEVEL)
}
