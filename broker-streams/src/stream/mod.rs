//! A stream: stores the messages that are published to it, within its limits.

mod age;
mod answer;
mod batch;
mod check;
mod context;
mod counter;
mod decimal;
mod dedupe;
mod direct;
mod draft;
mod expiries;
mod fields;
mod get;
pub mod limits;
mod open;
mod publish;
mod purge;
mod republish;
mod retention;
mod schedule;
mod source;
mod sync;
#[cfg(test)]
mod tests;
mod traced;
mod update;
mod waiting;

pub use answer::{Answer, PubAck};
pub use batch::OpenBatches;
pub use context::{Consumers, Context, NoConsumers, Room};
pub use expiries::expiry_of;
pub use get::MessageRequest;
pub use open::Options;
pub use purge::PurgeRequest;
pub use source::{FeedInfo, FeedSubjects};

use broker_core::subject::SubjectTransform;

use self::batch::Batches;
use self::dedupe::Dedupe;
use self::expiries::Expiries;
use self::schedule::Timetable;
use self::source::Feeds;
use self::waiting::Waiting;
use crate::config::{StreamConfig, Time};
use crate::error::ApiError;
use crate::random::Random;
use crate::store::{Storage, StorageError, StoreState};

// NATS 2.14: store.go.
const MAX_MESSAGES: &str = "maximum messages exceeded";
const MAX_BYTES: &str = "maximum bytes exceeded";
const MAX_PER_SUBJECT: &str = "maximum messages per subject exceeded";

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
/// The owner of a stream calls [`Self::tick`] at [`Self::deadline`], and [`Self::begin_sync`], [`Self::finish_sync`] and
/// [`Self::flush`] after changes, unless the store has nothing to wait for.
pub struct Stream {
    config: StreamConfig,
    created: Time,
    options: Options,
    storage: Box<dyn Storage>,
    /// The last durable sequence.
    visible: u64,
    /// The last sequence when the sync that is under way began.
    syncing: Option<u64>,
    /// The bytes with which each acknowledgement begins.
    ack_prefix: Vec<u8>,
    /// The transform of the subjects of messages before they are stored.
    input: Option<SubjectTransform>,
    /// The transform of the subjects of messages that are published again.
    output: Option<SubjectTransform>,
    dedupe: Dedupe,
    /// The id of the last message; empty if it has none.
    last_id: Vec<u8>,
    expiries: Expiries,
    /// When the age limit removes the next message, or before.
    age_due: Option<Time>,
    /// Messages before this sequence are kept at any age.
    age_cursor: u64,
    last_expiry: Time,
    /// Messages to publish again.
    waiting: Waiting,
    /// Messages that were read.
    reads: Waiting,
    batches: Batches,
    timetable: Timetable,
    /// The streams that messages are taken from.
    feeds: Feeds,
    random: Random,
    /// Memory of reads from the store.
    buffer: Vec<u8>,
    /// Memory of header blocks.
    scratch: Vec<u8>,
}

impl Stream {
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

    /// Returns when [`Self::tick`] is to be called.
    pub fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.next_expiry(),
            self.dedupe.deadline(),
            self.batches.deadline(),
            self.timetable.first(),
            self.feeds.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Removes expired messages, publishes scheduled ones, and abandons batches that have waited too long.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        self.dedupe.expire(context.now);
        self.expire_batches(context);
        self.publish_due(context);
        self.run_feeds(context.now);
        if let Err(error) = self.expire(context) {
            tracing::error!(stream = self.config.name, %error, "expired messages cannot be removed");
        }
    }
}

/// Returns the error of the API for an error of the store.
fn store_error(error: StorageError) -> ApiError {
    ApiError::stream_store_failed(error)
}
