//! The changes that the checked messages of a batch will make.

use std::collections::{HashMap, HashSet};

use crate::stream::counter::Counter;

/// The changes that the checked messages of a batch will make.
// NATS 2.14: jetstream_batching.go batchStagedDiff.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub ids: HashSet<Vec<u8>>,
    pub counters: HashMap<Vec<u8>, Counter>,
    pub subjects: HashMap<Vec<u8>, Added>,
    /// The last sequences that were expected of subjects.
    pub expected: HashMap<Vec<u8>, u64>,
    /// The sum over all subjects.
    pub total: Added,
    /// The messages that were checked.
    pub checked: u64,
}

/// Messages that will be added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub messages: u64,
    pub bytes: u64,
    /// The last one is a schedule.
    pub is_schedule: bool,
}

impl Added {
    pub(super) fn add(&mut self, bytes: u64, is_schedule: bool) {
        self.messages += 1;
        self.bytes += bytes;
        self.is_schedule = is_schedule;
    }
}
