//! Batches of messages: atomic ones, which are stored as a whole or not at all, and fast ones, whose messages are
//! acknowledged in groups.
// ADR-50.

mod advisory;
mod atomic;
mod check;
mod fast;
mod open;
mod operation;
mod staged;

use std::collections::BTreeMap;

use self::advisory::Reason;
use self::atomic::Atomic;
use self::fast::Fast;
pub use self::open::OpenBatches;
pub(super) use self::operation::{Operation, operation_subject};
use super::{Context, Stream};
use crate::config::Time;

/// The batches of a stream that are not complete, by id.
#[derive(Debug, Default)]
pub(super) struct Batches {
    atomic: BTreeMap<String, Atomic>,
    fast: BTreeMap<String, Fast>,
    /// The bytes of the messages of atomic batches.
    bytes: usize,
}

impl Batches {
    /// Returns when the next batch has waited too long for a message.
    pub(super) fn deadline(&self) -> Option<Time> {
        let atomic = self.atomic.values().map(|batch| batch.deadline);
        atomic.chain(self.fast.values().map(|batch| batch.deadline)).min()
    }

    /// Takes an atomic batch out, and the memory of its messages.
    fn take_atomic(&mut self, id: &str) -> Option<Atomic> {
        let batch = self.atomic.remove(id)?;
        self.bytes -= batch.bytes;
        Some(batch)
    }
}

impl Stream {
    /// Gives up the batches that have waited too long for a message.
    pub(super) fn expire_batches(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        if self.batches.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.batches.fast.retain(|_, batch| batch.deadline > now);
        let atomic = self.batches.atomic.iter();
        let late = atomic.filter(|(_, batch)| batch.deadline <= now).map(|(id, _)| id.clone());
        for id in late.collect::<Vec<_>>() {
            self.abandon(&id, Reason::Timeout, context);
        }
    }

    /// Gives up an atomic batch, and reports why.
    fn abandon(&mut self, id: &str, reason: Reason, context: &mut Context<'_>) {
        if self.batches.take_atomic(id).is_some() {
            self.report_abandoned(id, reason, context);
        }
    }
}
