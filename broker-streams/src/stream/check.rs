//! The checks of a message that is published by itself, in the order of the reference.
// NATS 2.14: stream.go processJetStreamMsgWithBatch.

use super::Stream;
use super::draft::{Draft, Refusal};
use super::fields::{Rollup, Ttl, sequence};
use super::limits::{MAX_HEADERS, MAX_RECORD};
use crate::config::{StorageType, Time};
use crate::error::ApiError;
use crate::store::Record;

impl Stream {
    /// Checks a message, and completes it for the store.
    pub(super) fn check(&mut self, draft: &mut Draft<'_>, now: Time) -> Result<(), Refusal> {
        self.check_record(draft)?;
        if self.config.sealed {
            return Err(ApiError::STREAM_SEALED.into());
        }
        if !draft.headers.is_empty() {
            self.check_increment(draft)?;
            self.check_expectations(draft)?;
            self.check_schedule(draft, now)?;
            self.check_scheduler(draft, |_| None)?;
            self.check_duplicate(draft, now)?;
            self.check_last_id(draft)?;
            self.check_rollup(draft)?;
        }
        if self.config.allow_message_counter {
            if draft.fields.increment.unwrap_or_default().is_empty() {
                return Err(ApiError::MESSAGE_INCR_MISSING.into());
            }
            self.count(draft)?;
        }
        self.check_size(draft)?;
        Ok(())
    }

    /// Refuses a message that is too long for a store in files.
    pub(super) fn check_record(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let is_file = self.config.storage == StorageType::File;
        if is_file && self.counted_bytes(draft) > MAX_RECORD {
            return Err(ApiError::stream_store_failed("message too large"));
        }
        Ok(())
    }

    /// Returns the bytes of a message as limits count them.
    pub(super) fn counted_bytes(&self, draft: &Draft<'_>) -> u64 {
        let (subject, headers, payload) = (&*draft.subject, &*draft.headers, &*draft.payload);
        let record = Record { subject, headers, payload, ..Record::default() };
        record.counted_bytes(self.config.storage)
    }

    fn check_expectations(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let fields = &draft.fields;
        self.check_stream(draft)?;
        let has_ttl = fields.ttl().is_ok_and(|ttl| ttl != Ttl::None);
        if has_ttl && !draft.is_sourced && !self.config.allow_message_ttl {
            return Err(ApiError::MESSAGE_TTL_DISABLED);
        }
        let other = fields.expected_last_subject.filter(|subject| !subject.is_empty());
        if let Some(expected) = sequence(fields.expected_last_subject_sequence) {
            let last = self.last_expected(other.unwrap_or(&draft.subject));
            if last != expected {
                return Err(ApiError::stream_wrong_last_sequence(last));
            }
        } else if other.is_some() {
            return Err(ApiError::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID);
        }
        let last = self.state().last_sequence;
        if sequence(fields.expected_last_sequence).is_some_and(|expected| expected != last) {
            return Err(ApiError::stream_wrong_last_sequence(last));
        }
        Ok(())
    }

    /// Returns the sequence of the last message of a subject, which may have wildcards; 0 without one.
    // NATS 2.14: filestore.go LoadLastMsg.
    pub(super) fn last_expected(&self, subject: &[u8]) -> u64 {
        if let Some(state) = self.storage.subject(subject) {
            return state.last;
        }
        let has_wildcard = subject.iter().any(|byte| matches!(byte, b'*' | b'>'));
        let filter = std::str::from_utf8(subject).ok().filter(|_| has_wildcard);
        filter.and_then(|filter| self.last_of(filter)).unwrap_or_default()
    }

    /// Refuses a message that is meant for another stream.
    pub(super) fn check_stream(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        match draft.fields.expected_stream.unwrap_or_default() {
            b"" => Ok(()),
            name if name == self.config.name.as_bytes() => Ok(()),
            _ => Err(ApiError::STREAM_NOT_MATCH),
        }
    }

    /// Refuses a message whose id is known.
    pub(super) fn check_duplicate(&mut self, draft: &Draft<'_>, now: Time) -> Result<(), Refusal> {
        let id = draft.fields.message_id.unwrap_or_default();
        if id.is_empty() || self.config.mirror.is_some() {
            return Ok(());
        }
        if let Some(sequence) = self.dedupe.find(id, now) {
            return Err(Refusal::Duplicate(sequence));
        }
        if self.dedupe.is_full() && self.config.duplicate_window > 0 {
            return Err(ApiError::INSUFFICIENT_RESOURCES.into());
        }
        Ok(())
    }

    /// Refuses a message that expects another id of the last message.
    pub(super) fn check_last_id(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let expected = draft.fields.expected_last_message_id.unwrap_or_default();
        if !expected.is_empty() && expected != self.last_id {
            let last = String::from_utf8_lossy(&self.last_id);
            return Err(ApiError::stream_wrong_last_msg_id(last));
        }
        Ok(())
    }

    fn check_rollup(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let rollup = draft.fields.rollup();
        if rollup != Rollup::None && !self.allows_rollup() && !draft.is_sourced {
            return Err(ApiError::stream_rollup_failed("rollup not permitted"));
        }
        match rollup {
            Rollup::Invalid(value) => Err(invalid_rollup(value)),
            _ => Ok(()),
        }
    }

    /// Returns true if messages may replace those before them.
    pub(super) fn allows_rollup(&self) -> bool {
        self.config.allow_rollup && !self.config.deny_purge
    }

    /// Refuses a message that is longer than the stream allows.
    pub(super) fn check_size(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let max = usize::try_from(self.config.max_message_size).unwrap_or_default();
        if max > 0 && draft.len() > max {
            return Err(ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        if draft.headers.len() > MAX_HEADERS {
            return Err(ApiError::STREAM_HEADER_EXCEEDS_MAXIMUM);
        }
        Ok(())
    }
}

/// Returns the error of a field with another value than the two that there are.
pub(super) fn invalid_rollup(value: &[u8]) -> ApiError {
    let value = String::from_utf8_lossy(value).to_lowercase();
    ApiError::stream_rollup_failed(format!("rollup value invalid: {value:?}"))
}
