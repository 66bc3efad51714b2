//! The journal of a stream that was restored from a backup.

use super::Cell;
use super::entry::Entry;
use crate::config::{ConsumerConfig, StreamConfig, Time};
use crate::consumer::{Consumer, Progress, Scope};
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::stream::Room;

/// A consumer of a backup.
#[derive(Clone, Debug)]
pub struct RestoredConsumer {
    /// The name.
    pub name: String,
    /// The configuration.
    pub config: ConsumerConfig,
    /// When the consumer was created.
    pub created: Time,
    /// Its progress; `None` for a consumer that starts where its configuration says.
    pub progress: Option<Progress>,
}

/// Returns the entries of the journal from which [`Cell::recover`](super::Cell::recover) makes a stream and its consumers.
pub fn restored_journal(
    config: &StreamConfig,
    created: Time,
    consumers: Vec<RestoredConsumer>,
) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut add = |entry: &Entry<'_>| {
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        entries.push(bytes);
    };
    add(&Entry::stream(config, created));
    for (number, restored) in (1..).zip(consumers) {
        let RestoredConsumer { name, config, created, progress } = restored;
        add(&Entry::consumer(number, &name, &config, (created, 0)));
        let Some(progress) = progress else { continue };
        let mut consumer = Consumer::restore(Scope::default(), config, created);
        consumer.set_progress(&progress);
        let mut snapshot = Vec::new();
        consumer.snapshot(&mut snapshot);
        add(&Entry::Progress(number, &snapshot));
    }
    entries
}

impl Cell {
    /// Enforces the limits of the configuration on the messages of a backup.
    ///
    /// # Errors
    ///
    /// An error of the API if the store cannot remove messages.
    pub fn enforce_limits(&mut self, now: Time, out: &mut dyn Outbox) -> Result<(), ApiError> {
        let before = self.stream.state().last_sequence;
        self.with_stream(now, Room::default(), out, |stream, context| {
            stream.enforce_all_limits(context)
        })?;
        self.settle(before, None);
        Ok(())
    }
}
