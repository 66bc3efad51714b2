//! Recovery of a cell from its store.

use super::entry::{ConsumerRecord, Entry, StreamRecord};
use super::{Cell, CellScope, view};
use crate::config::Time;
use crate::consumer::Consumer;
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::store::Storage;
use crate::stream::{Options, Stream};

/// The reason why a store contains no stream that can be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The journal has no readable configuration.
    #[error("the configuration of the stream cannot be read")]
    NoConfig,
    /// The configuration cannot be used.
    #[error("the configuration of the stream cannot be used: {0}")]
    Unusable(#[from] ApiError),
}

impl Cell {
    /// Recovers a cell from its store and the entries of the journal. Entries that cannot be read are passed over.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`].
    pub fn recover(
        storage: Box<dyn Storage>,
        entries: &[Vec<u8>],
        scope: CellScope,
        options: Options,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<Self, RecoveryError> {
        let last_config = entries.iter().rev().find_map(|entry| match Entry::read(entry)? {
            Entry::Stream(json) => serde_json::from_slice::<StreamRecord>(&json).ok(),
            _ => None,
        });
        let StreamRecord { config, created } = last_config.ok_or(RecoveryError::NoConfig)?;
        let stream = Stream::open(config, created, storage, options, now)?;
        let mut cell = Self::over(stream, scope);
        for entry in entries {
            cell.replay(entry);
        }
        let Self { stream, consumers, .. } = &mut cell;
        consumers.visit_all(|member| {
            member.consumer.recovered(view(stream), now);
            member.consumer.interest_changed(now, out);
        });
        for name in cell.consumer_names() {
            cell.note_consumer(&name);
        }
        cell.has_work = true;
        cell.tick(now, out);
        Ok(cell)
    }

    fn replay(&mut self, entry: &[u8]) {
        match Entry::read(entry) {
            Some(Entry::Consumer(json)) => {
                let Ok(record) = serde_json::from_slice::<ConsumerRecord>(&json) else { return };
                self.replay_consumer(record);
            }
            Some(Entry::Removed(number)) => {
                let name =
                    self.consumers.by_number(number).map(|one| one.consumer.name().to_owned());
                if let Some(name) = name {
                    self.consumers.remove(name.as_bytes());
                }
            }
            Some(Entry::Progress(number, progress)) => {
                if let Some(member) = self.consumers.by_number(number) {
                    member.consumer.apply(progress);
                }
            }
            Some(Entry::Stream(_)) | None => {}
        }
    }

    fn replay_consumer(&mut self, record: ConsumerRecord) {
        let ConsumerRecord { number, name, config, created, passed } = record;
        let mut snapshot = Vec::new();
        if let Some(known) = self.consumers.by_number(number) {
            known.consumer.snapshot(&mut snapshot);
        }
        let scope = self.consumer_scope(&name, number);
        let mut consumer = Consumer::restore(scope, config, created);
        consumer.restore_passed(passed);
        if !snapshot.is_empty() {
            consumer.apply(&snapshot);
        }
        self.consumers.add(consumer, number);
    }
}
