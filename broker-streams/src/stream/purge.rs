//! Removal of messages by requests.

use broker_core::SubjectFilter;
use serde::Deserialize;

use super::{Context, NoConsumers, Stream, store_error};
use crate::error::ApiError;
use crate::filters::Filters;
use crate::store::StorageError;

/// The messages to remove.
// NATS 2.14: jetstream_api.go JSApiStreamPurgeRequest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct PurgeRequest {
    /// Only messages before this sequence.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// Only messages with these subjects.
    #[serde(rename = "filter")]
    pub subject: String,
    /// Keeps that many.
    pub keep: u64,
}

impl Stream {
    /// Removes a message, whatever the reason: a request, or because consumers have acknowledged it. Overwrites its bytes
    /// if `erase`. Returns false if there is none with this sequence.
    ///
    /// # Errors
    ///
    /// An error of the API if the store cannot.
    pub fn remove(
        &mut self,
        sequence: u64,
        erase: bool,
        context: &mut Context<'_>,
    ) -> Result<bool, ApiError> {
        self.remove_message(sequence, erase, context.consumers).map_err(store_error)
    }

    /// Removes messages. Returns their number.
    ///
    /// # Errors
    ///
    /// An error of the API if the stream is sealed, or the store cannot.
    // NATS 2.14: stream.go purgeLocked.
    pub fn purge(
        &mut self,
        request: &PurgeRequest,
        context: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        if self.config.sealed {
            return Err(ApiError::stream_purge_failed("sealed stream"));
        }
        let purged = self.purge_selected(request);
        // Also without such messages: consumers of these subjects start behind them, and behind all that are purged.
        context.consumers.cleared(request.subject.as_bytes());
        purged.map_err(ApiError::stream_purge_failed)
    }

    // NATS 2.14: memstore.go PurgeEx.
    fn purge_selected(&mut self, request: &PurgeRequest) -> Result<u64, StorageError> {
        let is_all = matches!(request.subject.as_str(), "" | ">");
        match request.sequence {
            1 => Ok(0),
            0 if is_all && request.keep == 0 => self.discard_before(self.state().last_sequence + 1),
            0 => self.purge_matching(request, u64::MAX),
            sequence if is_all => self.compact(sequence),
            sequence => self.purge_matching(request, sequence),
        }
    }

    /// Removes all messages before a sequence, which may be beyond the last one and is the next one then.
    // NATS 2.14: memstore.go compact.
    fn compact(&mut self, sequence: u64) -> Result<u64, StorageError> {
        let removed = self.discard_before(sequence)?;
        self.storage.skip_to(sequence - 1, None)?;
        Ok(removed)
    }

    /// Removes the messages before a sequence that a filter selects, except the last ones that are kept.
    fn purge_matching(&mut self, request: &PurgeRequest, end: u64) -> Result<u64, StorageError> {
        let filters = match request.subject.as_str() {
            "" => Filters::default(),
            // The API refuses an invalid filter; a subject of the store that is none selects nothing.
            subject => match SubjectFilter::parse(subject) {
                Ok(filter) => Filters::new(vec![filter]),
                Err(_) => return Ok(0),
            },
        };
        let selected = self.storage.count(&filters, 0, false);
        let most = selected.saturating_sub(request.keep);
        // Consumers are told of all at once: what they make of it depends on which messages go together.
        let mut nobody = NoConsumers;
        let (mut removed, mut next) = (0, 0);
        while removed < most
            && let Some(sequence) = self.storage.next_match(&filters, next)
            && sequence < end
        {
            removed += u64::from(self.remove_message(sequence, false, &mut nobody)?);
            next = sequence + 1;
        }
        Ok(removed)
    }
}
