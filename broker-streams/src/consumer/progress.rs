//! The progress of a consumer, as a backup contains it.

use super::pending::Pending;
use super::{Consumer, Point};
use crate::config::Time;

/// The progress of a consumer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// The number of the last delivery, and the sequence of its message.
    pub delivered: (u64, u64),
    /// All messages up to it are acknowledged: the number of the delivery, and the sequence.
    pub floor: (u64, u64),
    /// The unacknowledged messages, in order: the sequence, the number of the delivery, and its time.
    pub pending: Vec<(u64, u64, Time)>,
    /// The number of further deliveries of each message, in order of their sequences.
    pub counts: Vec<(u64, u64)>,
}

impl Consumer {
    /// Returns the progress.
    pub fn progress(&self) -> Progress {
        let point = |point: Point| (point.delivery, point.sequence);
        let pending = self.pending.iter();
        Progress {
            delivered: (self.next_delivery - 1, self.stored.delivered.sequence),
            floor: point(self.stored.floor),
            pending: pending.map(|one| (one.sequence, one.delivery, one.time)).collect(),
            counts: self.again.counts().collect(),
        }
    }

    /// Takes over a progress, at recovery, in place of entries of the journal. [`Self::recovered`] follows.
    pub fn set_progress(&mut self, progress: &Progress) {
        let point = |(delivery, sequence)| Point { delivery, sequence };
        self.has_state = true;
        (self.stored.delivered, self.stored.floor) =
            (point(progress.delivered), point(progress.floor));
        self.next_delivery = progress.delivered.0 + 1;
        self.pending.clear();
        for &(sequence, delivery, time) in &progress.pending {
            if sequence > progress.floor.1 {
                self.pending.insert(Pending { sequence, delivery, time });
            }
        }
        self.again.clear();
        progress.counts.iter().for_each(|&(sequence, count)| self.again.set_count(sequence, count));
        let latest = progress.pending.iter().map(|(.., time)| *time).max();
        self.last_delivered = latest.unwrap_or_default();
    }
}
