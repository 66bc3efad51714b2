//! A stream: stores the messages that are published to it, within its limits.

mod answer;
mod context;
mod get;
pub mod limits;
mod purge;

pub use answer::{Answer, PubAck};
pub use context::{Consumers, Context, NoConsumers, Room};
pub use get::MessageRequest;
pub use purge::PurgeRequest;

use crate::config::{StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::store::{Record, Storage, StorageError, StoreState, SyncJob};

/// Values of the server that a stream needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The domain, which acknowledgements name; empty for none.
    pub domain: String,
    /// The longest message of the server, in bytes, which a message that the stream itself changes may not exceed.
    pub max_payload: usize,
    /// The most atomic batches of a stream that are not complete.
    pub max_batches: usize,
    /// The most messages of an atomic batch.
    pub max_batch_size: u64,
    /// How long a batch waits for its next message, in nanoseconds.
    pub batch_timeout: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: String::new(),
            max_payload: 1024 * 1024,
            max_batches: limits::MAX_ATOMIC_BATCHES,
            max_batch_size: limits::MAX_ATOMIC_BATCH_SIZE,
            batch_timeout: limits::BATCH_TIMEOUT,
        }
    }
}

/// A message that is published to a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The reply subject; empty for none. It carries the state of fast batches.
    pub reply: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// A stream.
///
/// Whoever has a stream calls [`Self::tick`] at [`Self::deadline`], and [`Self::begin_sync`], [`Self::finish_sync`] and
/// [`Self::flush`] after changes, unless the store has nothing to wait for.
pub struct Stream {
    config: StreamConfig,
    created: Time,
    options: Options,
    storage: Box<dyn Storage>,
    /// The last durable sequence.
    visible: u64,
    /// The position and the last sequence when the sync that is under way began.
    syncing: Option<u64>,
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
        storage: Box<dyn Storage>,
        options: Options,
        _now: Time,
    ) -> Result<Self, ApiError> {
        let visible = storage.state().last_sequence;
        Ok(Self { config, created, options, storage, visible, syncing: None })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Returns when the stream was created.
    pub fn created(&self) -> Time {
        self.created
    }

    /// Returns the store.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Returns the store, for the journal.
    pub fn storage_mut(&mut self) -> &mut dyn Storage {
        &mut *self.storage
    }

    /// Returns the totals.
    pub fn state(&self) -> StoreState {
        self.storage.state()
    }

    /// Returns the last durable sequence: consumers deliver nothing behind it.
    pub fn visible(&self) -> u64 {
        if self.storage.durable() >= self.storage.position() {
            self.state().last_sequence
        } else {
            self.visible
        }
    }

    /// Returns true if changes up to a position of the store may be acknowledged.
    pub fn is_acknowledgeable(&self, position: u64) -> bool {
        self.storage.durable() >= position
    }

    /// Takes the changes that are to become durable; see [`Storage::begin_sync`].
    pub fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        let job = self.storage.begin_sync()?;
        self.syncing = Some(self.state().last_sequence);
        Some(job)
    }

    /// Takes back what [`Self::begin_sync`] returned.
    ///
    /// # Errors
    ///
    /// As for [`Storage::finish_sync`].
    pub fn finish_sync(&mut self, job: Box<dyn SyncJob>) -> Result<(), StorageError> {
        let last = self.syncing.take();
        self.storage.finish_sync(job)?;
        self.visible = self.visible.max(last.unwrap_or_default());
        Ok(())
    }

    /// Sends what waited for its message to be durable: republished messages.
    pub fn flush(&mut self, _out: &mut dyn Outbox) {}

    /// Returns a message.
    ///
    /// It may not be durable yet: an answer with it is to wait until the store is, if its sequence is above
    /// [`Self::visible`].
    ///
    /// # Errors
    ///
    /// An error of the API if there is no such message, or if the request contradicts itself.
    pub fn get<'a>(
        &'a self,
        request: &MessageRequest,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Record<'a>, ApiError> {
        let _ = (request, buffer);
        Err(ApiError { code: 404, err_code: 10037, description: "no message found".into() })
    }

    /// Returns when [`Self::tick`] is to be called.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// Removes what has expired, publishes what is due, and gives up batches that wait too long.
    pub fn tick(&mut self, _context: &mut Context<'_>) {}
}

impl Stream {
    /// Stores a message, or answers why not.
    ///
    /// Messages that the message replaces, or that limits remove, are reported to the consumers. The message itself is
    /// behind the last sequence that [`Self::state`] reported before.
    pub fn publish(&mut self, message: &Incoming<'_>, context: &mut Context<'_>) -> Answer {
        let _ = (message, context);
        Answer::Nothing
    }

    /// Appends an answer as publishers read it. Returns false if the publisher gets none.
    pub fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> bool {
        let _ = (answer, out, &self.options);
        false
    }

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
        let _ = (sequence, erase, context);
        Ok(false)
    }

    /// Removes messages. Returns their number.
    ///
    /// # Errors
    ///
    /// An error of the API if the stream is sealed, or the store cannot.
    pub fn purge(
        &mut self,
        request: &PurgeRequest,
        context: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        let _ = (request, context);
        Err(ApiError {
            code: 500,
            err_code: 10110,
            description: "stream purge not permitted".into(),
        })
    }

    /// Answers a request for messages by messages of their own: `$JS.API.DIRECT.GET.…`.
    pub fn direct_get(
        &mut self,
        request: &MessageRequest,
        reply: &[u8],
        context: &mut Context<'_>,
    ) {
        let _ = (request, reply, context);
    }

    /// Replaces the configuration by one that may replace it, as the checks of the API decide, and enforces its limits.
    ///
    /// # Errors
    ///
    /// An error of the API if the configuration cannot be used.
    pub fn update(
        &mut self,
        config: StreamConfig,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        let _ = (config, context);
        Err(ApiError {
            code: 500,
            err_code: 10052,
            description: "stream can not be updated".into(),
        })
    }
}
