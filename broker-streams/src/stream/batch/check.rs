//! The checks of a message of a batch, in the order of the reference.
// NATS 2.14: jetstream_batching.go checkMsgHeadersPreClusteredProposal.

use super::staged::Staged;
use crate::config::{Discard, Time};
use crate::error::ApiError;
use crate::stream::check::invalid_rollup;
use crate::stream::draft::{Draft, Refusal};
use crate::stream::fields::{Rollup, Ttl, sequence};
use crate::stream::limits::{MAX_HEADERS, limit};
use crate::stream::{MAX_BYTES, MAX_MESSAGES, MAX_PER_SUBJECT, Stream};

impl Stream {
    /// Checks a message of a batch after the messages before it, and completes it for the store.
    pub(super) fn check_staged(
        &mut self,
        draft: &mut Draft<'_>,
        staged: &mut Staged,
        now: Time,
    ) -> Result<(), Refusal> {
        self.check_record(draft)?;
        let has_headers = !draft.headers.is_empty();
        if has_headers {
            if draft.headers.len() > MAX_HEADERS {
                return Err(ApiError::STREAM_HEADER_EXCEEDS_MAXIMUM.into());
            }
            self.check_increment(draft)?;
            self.check_stream(draft)?;
            self.check_ttl(draft)?;
            self.check_id(draft, staged, now)?;
        }
        if self.config.allow_message_counter {
            if draft.fields.increment.unwrap_or_default().is_empty() {
                return Err(ApiError::MESSAGE_INCR_MISSING.into());
            }
            self.count_staged(draft, staged)?;
        }
        if has_headers {
            self.check_expected(draft, staged)?;
            self.check_schedule(draft, now)?;
            self.check_scheduler(draft, |subject| {
                staged.subjects.get(subject).map(|added| added.is_schedule)
            })?;
            self.check_staged_rollup(draft, staged)?;
        }
        let is_schedule = draft.is_schedule;
        let bytes = self.counted_bytes(draft);
        staged.subjects.entry(draft.subject.to_vec()).or_default().add(bytes, is_schedule);
        staged.total.add(bytes, is_schedule);
        staged.checked += 1;
        self.check_staged_room(draft, staged)?;
        Ok(())
    }

    fn check_ttl(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        match draft.fields.ttl() {
            Ok(Ttl::None) => Ok(()),
            _ if !self.config.allow_message_ttl => Err(ApiError::MESSAGE_TTL_DISABLED),
            Ok(_) => Ok(()),
            Err(_) => Err(ApiError::MESSAGE_TTL_INVALID),
        }
    }

    fn check_id(
        &mut self,
        draft: &Draft<'_>,
        staged: &mut Staged,
        now: Time,
    ) -> Result<(), Refusal> {
        let id = draft.fields.message_id.unwrap_or_default();
        if id.is_empty() {
            return Ok(());
        }
        if staged.ids.contains(id) {
            return Err(ApiError::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE.into());
        }
        self.check_duplicate(draft, now)?;
        staged.ids.insert(id.to_vec());
        Ok(())
    }

    fn count_staged(&mut self, draft: &mut Draft<'_>, staged: &mut Staged) -> Result<(), ApiError> {
        let mut counter = match staged.counters.get(&*draft.subject) {
            Some(counter) => counter.clone(),
            None => self.counter(&draft.subject)?,
        };
        self.count_on(&mut counter, draft)?;
        self.check_size(draft)?;
        staged.counters.insert(draft.subject.to_vec(), counter);
        Ok(())
    }

    fn check_expected(&self, draft: &Draft<'_>, staged: &mut Staged) -> Result<(), ApiError> {
        let fields = &draft.fields;
        let last = self.state().last_sequence + staged.checked;
        if let Some(expected) = sequence(fields.expected_last_sequence) {
            if expected != last {
                return Err(ApiError::stream_wrong_last_sequence(last));
            }
            if staged.checked > 0 {
                return Err(ApiError::STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
            }
        }
        let other = fields.expected_last_subject.filter(|subject| !subject.is_empty());
        let Some(expected) = sequence(fields.expected_last_subject_sequence) else {
            let is_alone = other.is_some();
            let error = ApiError::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID;
            return if is_alone { Err(error) } else { Ok(()) };
        };
        let subject = other.unwrap_or(&draft.subject);
        if staged.subjects.contains_key(subject) {
            return Err(ApiError::STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
        }
        let known = staged.expected.get(subject).copied();
        let last = known.unwrap_or_else(|| self.last_expected(subject));
        if last != expected {
            return Err(ApiError::stream_wrong_last_sequence(last));
        }
        staged.expected.insert(subject.to_vec(), last);
        Ok(())
    }

    fn check_staged_rollup(&self, draft: &Draft<'_>, staged: &Staged) -> Result<(), ApiError> {
        let rollup = draft.fields.rollup();
        if rollup != Rollup::None && !self.allows_rollup() {
            return Err(ApiError::stream_rollup_failed("rollup not permitted"));
        }
        match rollup {
            Rollup::Subject if staged.subjects.contains_key(&*draft.subject) => {
                Err(ApiError::stream_rollup_failed("batch rollup sub invalid"))
            }
            Rollup::All if staged.checked > 0 => {
                Err(ApiError::stream_rollup_failed("batch rollup all invalid"))
            }
            Rollup::Invalid(value) => Err(invalid_rollup(value)),
            _ => Ok(()),
        }
    }

    /// Refuses a message for which there is no room after those before it, if the stream discards new messages.
    fn check_staged_room(&self, draft: &Draft<'_>, staged: &Staged) -> Result<(), ApiError> {
        if self.config.discard != Discard::New {
            return Ok(());
        }
        let state = self.state();
        let (messages, bytes) =
            (state.messages + staged.total.messages, state.bytes + staged.total.bytes);
        if limit(self.config.max_messages).is_some_and(|max| messages > max) {
            return Err(ApiError::stream_store_failed(MAX_MESSAGES));
        }
        if limit(self.config.max_bytes).is_some_and(|max| bytes > max) {
            return Err(ApiError::stream_store_failed(MAX_BYTES));
        }
        let is_rollup = draft.fields.rollup() != Rollup::None;
        if !self.config.discard_new_per_subject || is_rollup {
            return Ok(());
        }
        let stored = self.storage.subject(&draft.subject).map_or(0, |state| state.messages);
        let added = staged.subjects.get(&*draft.subject).map_or(0, |added| added.messages);
        let max = limit(self.config.max_messages_per_subject);
        if max.is_some_and(|max| stored + added > max) {
            return Err(ApiError::stream_store_failed(MAX_PER_SUBJECT));
        }
        Ok(())
    }
}
