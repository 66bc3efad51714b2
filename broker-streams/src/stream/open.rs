//! Opening of streams, new ones and recovered ones.

use std::sync::Arc;

use broker_core::subject::{SubjectTransform, TransformError};

use super::answer::ack_prefix;
use super::batch::Batches;
use super::dedupe::Dedupe;
use super::expiries::Expiries;
use super::fields::Fields;
use super::limits::BatchLimits;
use super::schedule::Timetable;
use super::source::Feeds;
use super::waiting::Waiting;
use super::{OpenBatches, Stream, store_error};
use crate::config::{StreamConfig, Time};
use crate::error::ApiError;
use crate::filters::Filters;
use crate::random::Random;
use crate::store::{Storage, StorageError};

/// Values of the server that a stream needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The domain, which acknowledgements name; empty for none.
    pub domain: String,
    /// The name of the account, for advisories.
    pub account: String,
    /// The longest message of the server, in bytes, which a message that the stream itself changes may not exceed.
    pub max_payload: usize,
    /// The limits of batches.
    pub batches: BatchLimits,
    /// The open batches of all streams of the server.
    pub open_batches: Arc<OpenBatches>,
    /// The seed of the random numbers of subject transforms.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: String::new(),
            account: String::new(),
            max_payload: 1024 * 1024,
            batches: BatchLimits::default(),
            open_batches: Arc::default(),
            seed: 0,
        }
    }
}

impl Stream {
    /// Opens a stream over a store: a new one, or one that was recovered with all its messages.
    ///
    /// # Errors
    ///
    /// An error of the API if the configuration cannot be used: an invalid subject transform.
    pub fn open(
        config: StreamConfig,
        created: Time,
        mut storage: Box<dyn Storage>,
        options: Options,
        now: Time,
    ) -> Result<Self, ApiError> {
        storage.set_compression(config.compression);
        if config.first_sequence > 1 {
            storage.skip_to(config.first_sequence - 1, None).map_err(store_error)?;
        }
        let mut stream = Self {
            created,
            visible: storage.state().last_sequence,
            syncing: None,
            ack_prefix: ack_prefix(&config.name, &options.domain),
            input: input(&config)?,
            output: output(&config)?,
            dedupe: Dedupe::new(config.duplicate_window),
            last_id: Vec::new(),
            expiries: Expiries::default(),
            age_due: None,
            age_cursor: 0,
            last_expiry: Time::default(),
            waiting: Waiting::default(),
            reads: Waiting::default(),
            batches: Batches::default(),
            timetable: Timetable::default(),
            feeds: Feeds::default(),
            random: Random::new(options.seed),
            buffer: Vec::new(),
            scratch: Vec::new(),
            options,
            config,
            storage,
        };
        stream.recover(now).map_err(store_error)?;
        Ok(stream)
    }

    /// Rebuilds the state that is derived from the messages.
    fn recover(&mut self, now: Time) -> Result<(), StorageError> {
        if self.config.max_age > 0 && self.state().messages > 0 {
            // The first removal finds the messages that it applies to.
            self.age_due = Some(now);
        }
        self.remove_cut_batch()?;
        self.recover_expiries()?;
        self.recover_schedules(now)?;
        self.open_feeds(now)?;
        self.recover_ids(now)
    }

    /// Finds the messages with a time to live of their own.
    pub(super) fn recover_expiries(&mut self) -> Result<(), StorageError> {
        if !self.config.allow_message_ttl {
            return Ok(());
        }
        let Self { storage, expiries, .. } = self;
        storage.for_each_expiry(&mut |sequence, expires| expiries.insert(sequence, expires))
    }

    /// Reads the ids of recent messages.
    // NATS 2.14: stream.go rebuildDedupe.
    fn recover_ids(&mut self, now: Time) -> Result<(), StorageError> {
        if self.config.duplicate_window <= 0 {
            return Ok(());
        }
        let oldest = Time(now.0.saturating_sub(self.config.duplicate_window));
        let (mut next, mut last) = (self.storage.sequence_at(oldest), 0);
        while let Some(sequence) = self.storage.next_with_headers(next) {
            (next, last) = (sequence + 1, sequence);
            match self.storage.load(sequence, &mut self.buffer) {
                Ok(Some(record)) => {
                    let id = Fields::read(record.headers).message_id.unwrap_or_default();
                    if !id.is_empty() && !self.dedupe.is_full() {
                        self.dedupe.insert(id, sequence, record.time);
                    }
                    self.last_id = id.to_vec();
                }
                Ok(None) | Err(StorageError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if self.storage.previous_match(&Filters::default(), u64::MAX) != Some(last) {
            // The last message has no headers.
            self.last_id.clear();
        }
        self.dedupe.expire(now);
        Ok(())
    }
}

/// Makes the transform of the subjects of messages before they are stored.
pub(super) fn input(config: &StreamConfig) -> Result<Option<SubjectTransform>, ApiError> {
    let Some(transform) = &config.subject_transform else { return Ok(None) };
    let (source, destination) = (&transform.source, &transform.destination);
    match SubjectTransform::new(source, destination) {
        Ok(transform) => Ok(Some(transform)),
        Err(error) => Err(ApiError::stream_invalid_config(format!(
            "stream subject transform from '{source}' to '{destination}': {error}"
        ))),
    }
}

/// Makes the transform of the subjects of messages that are published again.
pub(super) fn output(config: &StreamConfig) -> Result<Option<SubjectTransform>, ApiError> {
    let Some(republish) = &config.republish else { return Ok(None) };
    let (source, destination) = (&republish.source, &republish.destination);
    // NATS 2.14: NewSubjectTransform makes none without a destination.
    if destination.is_empty() {
        return Ok(None);
    }
    match SubjectTransform::new(source, destination) {
        Ok(transform) => Ok(Some(transform)),
        // None of its results is a subject.
        Err(TransformError::WhiteSpace) => Ok(None),
        Err(_) => {
            Err(ApiError::stream_invalid_config("stream configuration for republish not valid"))
        }
    }
}
