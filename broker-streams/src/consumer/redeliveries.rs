//! The messages that are to be delivered again, and the number of repeated deliveries.

use std::collections::BTreeMap;

use hashbrown::HashMap;

/// The messages that are to be delivered again, in order, and the number of repeated deliveries of each message.
#[derive(Debug, Default)]
pub(super) struct Redeliveries {
    queue: BTreeMap<u64, u64>,
    places: HashMap<u64, u64, foldhash::fast::RandomState>,
    next_place: u64,
    counts: BTreeMap<u64, u64>,
}

impl Redeliveries {
    /// Returns the number of messages that are to be delivered again.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_queued(&self, sequence: u64) -> bool {
        self.places.contains_key(&sequence)
    }

    /// Adds a message at the end, unless it is there.
    pub(super) fn queue(&mut self, sequence: u64) {
        if !self.is_queued(sequence) {
            self.places.insert(sequence, self.next_place);
            self.queue.insert(self.next_place, sequence);
            self.next_place += 1;
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(_, sequence)| *sequence)
    }

    pub(super) fn unqueue(&mut self, sequence: u64) {
        if let Some(place) = self.places.remove(&sequence) {
            self.queue.remove(&place);
        }
    }

    pub(super) fn clear_queue(&mut self) {
        self.queue.clear();
        self.places.clear();
    }

    /// Returns how often a message was delivered again.
    pub(super) fn count(&self, sequence: u64) -> u64 {
        self.counts.get(&sequence).copied().unwrap_or_default()
    }

    /// Returns true if a message was delivered again, or may not be any more.
    pub(super) fn is_counted(&self, sequence: u64) -> bool {
        !self.counts.is_empty() && self.counts.contains_key(&sequence)
    }

    pub(super) fn set_count(&mut self, sequence: u64, count: u64) {
        self.counts.insert(sequence, count);
    }

    /// Returns true if the message had a count.
    pub(super) fn forget(&mut self, sequence: u64) -> bool {
        if !self.places.is_empty() {
            self.unqueue(sequence);
        }
        !self.counts.is_empty() && self.counts.remove(&sequence).is_some()
    }

    pub(super) fn counts(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.counts.iter().map(|(sequence, count)| (*sequence, *count))
    }

    pub(super) fn clear(&mut self) {
        self.clear_queue();
        self.counts.clear();
    }
}
