//! A cell: a stream with its consumers, and the answers that wait until the changes before them are durable.
//!
//! A cell has no lock, thread or subscription: its owner calls it, one call at a time.
//!
//! - Every change goes through the store of the stream: messages as such, all else as entries of its journal.
//!   Recovery replays the journal.
//! - An answer leaves when the changes before it are durable. A store in memory has nothing to wait for.
//! - The owner calls [`Cell::begin_sync`] and [`Cell::finish_sync`] when [`Cell::sync`] asks for it, [`Cell::tick`] at
//!   [`Cell::wake_at`], and [`Cell::run`] while [`Cell::has_work`].

mod answers;
mod consumers;
mod deliveries;
mod durability;
mod entry;
mod feeds;
mod interest;
mod messages;
mod recovery;
mod removals;
mod restored;
mod subjects;
#[cfg(test)]
mod tests;

pub use durability::Urgency;
pub use feeds::FeedPlace;
pub use recovery::RecoveryError;
pub use restored::{RestoredConsumer, restored_journal};

use answers::Answers;
use consumers::ConsumerSet;
use entry::Entry;
use removals::Removals;

use crate::config::{StorageType, StreamConfig, Time};
use crate::consumer::{AckForm, View};
use crate::latency::Latencies;
use crate::outbox::Outbox;
use crate::store::StorageError;
use crate::stream::Stream;

/// The account and the server of a cell; they do not change while the cell exists.
#[derive(Clone, Debug, Default)]
pub struct CellScope {
    /// The name of the account.
    pub account: String,
    /// The domain of the server; empty for none.
    pub domain: String,
    /// The form of the subjects in delivered messages.
    pub ack_form: AckForm,
    /// The longest message, in bytes.
    pub burst_bytes: u64,
    /// Decides names, samples and jitter.
    pub seed: u64,
}

/// A change that the owner of a cell follows, by its subscriptions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// The configuration of the stream.
    Stream,
    /// A consumer was added, or has another configuration. It receives messages to these subjects.
    Consumer(String, Vec<String>),
    /// A consumer was removed.
    Removed(String),
    /// The subjects of the streams that messages are taken from: all that are to be subscribed to.
    Feeds(Vec<FeedPlace>),
}

/// A function that follows changes of a cell.
pub type Follower = Box<dyn FnMut(&StreamConfig, &[Change]) + Send>;

/// A stream with its consumers.
pub struct Cell {
    scope: CellScope,
    stream: Stream,
    consumers: ConsumerSet,
    answers: Answers,
    removals: Removals,
    /// The changes that were not followed yet.
    changes: Vec<Change>,
    /// The version of the feeds that was followed.
    feed_version: u64,
    follower: Option<Follower>,
    /// [`Self::run`] has something to do.
    has_work: bool,
    /// See [`Self::begins`].
    begins: bool,
    wake_at: Option<Time>,
    /// Nothing is delivered before this time, because a receiver does not keep up.
    paused_until: Time,
    /// The time since when so much waits for the disk that publishers wait; see [`Self::is_behind`].
    behind_since: Option<Time>,
    /// The bytes of the journal when it was last compacted.
    compacted_bytes: u64,
    /// Memory for one entry of the journal, or one answer.
    buffer: Vec<u8>,
    latencies: Latencies,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("stream", &self.stream.config().name).finish_non_exhaustive()
    }
}

impl Cell {
    /// Creates the cell of a new stream, whose store is empty.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if the configuration cannot be stored.
    pub fn create(stream: Stream, scope: CellScope) -> Result<Self, StorageError> {
        let mut cell = Self::over(stream, scope);
        cell.journal_stream()?;
        Ok(cell)
    }

    fn over(stream: Stream, scope: CellScope) -> Self {
        Self {
            scope,
            wake_at: stream.deadline(),
            stream,
            consumers: ConsumerSet::default(),
            answers: Answers::default(),
            removals: Removals::default(),
            changes: vec![Change::Stream],
            feed_version: 0,
            follower: None,
            has_work: false,
            begins: false,
            paused_until: Time(0),
            behind_since: None,
            compacted_bytes: 0,
            buffer: Vec::new(),
            latencies: Latencies::default(),
        }
    }

    /// Returns how long messages have waited.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Returns how long messages have waited, and begins anew.
    pub fn take_latencies(&mut self) -> Latencies {
        std::mem::take(&mut self.latencies)
    }

    /// Returns the stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns the name of the stream.
    pub fn name(&self) -> &str {
        &self.stream.config().name
    }

    /// Tells clients that wait for messages of pull consumers that the server ends.
    pub fn announce_end(&mut self, out: &mut dyn Outbox) {
        self.consumers.visit_all(|member| member.consumer.announce_end(out));
    }

    /// Returns true if [`Self::run`] has something to do, and deliveries are not paused.
    pub fn has_work(&self, now: Time) -> bool {
        self.has_work && now >= self.paused_until
    }

    /// Returns true if a consumer was created whose first deliveries are the work of the next [`Self::run`]: what was sent until now
    /// leaves first, the answer to its creation among it. True once.
    pub fn begins(&mut self) -> bool {
        std::mem::take(&mut self.begins)
    }

    /// Delivers nothing before a time, because a receiver does not keep up.
    pub fn pause(&mut self, until: Time) {
        self.paused_until = until;
        if self.has_work {
            self.wake_by(Some(until));
        }
    }

    /// Returns when [`Self::tick`] is to be called.
    pub fn wake_at(&self) -> Option<Time> {
        self.wake_at
    }

    /// Sets the function that follows changes by subscriptions. It is called before an answer about the change leaves.
    pub fn set_follower(&mut self, follower: Follower) {
        self.follower = Some(follower);
        self.follow_changes();
    }

    /// Calls the follower if there were changes since its last call.
    pub fn follow_changes(&mut self) {
        self.note_feeds();
        if !self.changes.is_empty()
            && let Some(follower) = &mut self.follower
        {
            follower(self.stream.config(), &self.changes);
            self.changes.clear();
        }
    }

    /// Returns true if the store survives the process, so that the journal is worth writing.
    fn is_stored(&self) -> bool {
        self.stream.config().storage == StorageType::File
    }

    fn journal(&mut self, entry: &Entry<'_>) -> Result<(), StorageError> {
        if !self.is_stored() {
            return Ok(());
        }
        self.buffer.clear();
        entry.write(&mut self.buffer);
        self.stream.storage_mut().journal(&self.buffer)
    }

    fn journal_stream(&mut self) -> Result<(), StorageError> {
        let (config, created) = (self.stream.config().clone(), self.stream.created());
        self.journal(&Entry::stream(&config, created))
    }

    /// Asks for a call of [`Self::tick`] at `time`, or earlier.
    fn wake_by(&mut self, time: Option<Time>) {
        self.wake_at = match (self.wake_at, time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Returns the part of the stream that consumers read.
fn view(stream: &Stream) -> View<'_> {
    View { storage: stream.storage(), visible: stream.visible() }
}
