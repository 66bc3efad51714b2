//! Reads of single messages.

use broker_core::SubjectFilter;
use serde::Deserialize;

use super::Stream;
use crate::config::Time;
use crate::error::ApiError;
use crate::filters::Filters;
use crate::store::{Record, StorageError};

/// The selection of messages of a get request.
// NATS 2.14: jetstream_api.go JSApiMsgGetRequest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct MessageRequest {
    /// The sequence; with `next_for` or `batch`, the first sequence.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// The last message of this subject.
    #[serde(rename = "last_by_subj")]
    pub last_for: String,
    /// The first message of this subject.
    #[serde(rename = "next_by_subj")]
    pub next_for: String,
    /// The number of messages.
    pub batch: i64,
    /// The most bytes of messages.
    pub max_bytes: i64,
    /// The time of the first message.
    pub start_time: Option<Time>,
    /// The last messages of all subjects that these filters select.
    #[serde(rename = "multi_last")]
    pub multi_last_for: Vec<String>,
    /// Nothing behind this sequence.
    #[serde(rename = "up_to_seq")]
    pub up_to_sequence: u64,
    /// Nothing after this time.
    pub up_to_time: Option<Time>,
    /// Leaves headers out.
    #[serde(rename = "no_hdr")]
    pub no_headers: bool,
}

impl Stream {
    /// Returns a message: `$JS.API.STREAM.MSG.GET`.
    ///
    /// It may not be durable yet: an answer with it is to wait until the store is, if its sequence is above
    /// [`Self::visible`].
    ///
    /// # Errors
    ///
    /// An error of the API if there is no such message, or if the request contradicts itself.
    // NATS 2.14: jetstream_api.go jsMsgGetRequest.
    pub fn get<'a>(
        &'a self,
        request: &MessageRequest,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Record<'a>, ApiError> {
        request.check()?;
        let sequence = match request.start_time {
            Some(time) => self.storage.sequence_at(time),
            None => request.sequence,
        };
        let sequence = if !request.last_for.is_empty() {
            self.last_of(&request.last_for)
        } else if !request.next_for.is_empty() {
            filters(&request.next_for)
                .and_then(|filters| self.storage.next_match(&filters, sequence))
        } else {
            Some(sequence)
        };
        let sequence = sequence.ok_or(ApiError::NO_MESSAGE_FOUND)?;
        match self.storage.load(sequence, buffer) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(ApiError::NO_MESSAGE_FOUND),
            Err(StorageError::Damaged { .. }) => Err(ApiError::NO_MESSAGE_FOUND),
            Err(error) => Err(super::store_error(error)),
        }
    }

    /// Returns the sequence of the last message that a filter selects.
    pub(super) fn last_of(&self, filter: &str) -> Option<u64> {
        match self.storage.subject(filter.as_bytes()) {
            Some(state) => Some(state.last),
            None => self.storage.previous_match(&filters(filter)?, u64::MAX),
        }
    }
}

impl MessageRequest {
    /// Refuses a request for a single message that contradicts itself.
    ///
    /// # Errors
    ///
    /// [`ApiError::BAD_REQUEST`].
    // NATS 2.14: jetstream_api.go jsMsgGetRequest.
    pub fn check(&self) -> Result<(), ApiError> {
        let (has_sequence, has_time) = (self.sequence > 0, self.start_time.is_some());
        let (has_last, has_next) = (!self.last_for.is_empty(), !self.next_for.is_empty());
        let is_nothing = !has_sequence && !has_time && !has_last && !has_next;
        let is_contradiction = has_sequence && (has_last || has_time)
            || has_last && (has_next || has_time)
            || self.batch > 0
            || self.max_bytes > 0;
        if is_nothing || is_contradiction { Err(ApiError::BAD_REQUEST) } else { Ok(()) }
    }
}

/// Returns a selection by one filter, unless the text is none.
pub(super) fn filters(filter: &str) -> Option<Filters> {
    Some(Filters::new(vec![SubjectFilter::parse(filter).ok()?]))
}
