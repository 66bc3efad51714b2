//! The memory that a batch begins with.

use crate::limits::{BATCH_BYTES, RUN_MESSAGES};
use crate::sync::{AtomicUsize, Ordering};

/// The memory that a batch begins with at least.
const FIRST_ENTRIES: usize = 64;
pub(super) const FIRST_BYTES: usize = 4 << 10;

/// The size of the last batch of a client: the next one is expected to need as much memory. A change by another thread
/// meanwhile costs at most one more allocation.
#[derive(Default)]
pub(super) struct BatchSize {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl BatchSize {
    pub(super) fn note(&self, messages: usize, bytes: usize) {
        self.messages.store(messages.min(RUN_MESSAGES), Ordering::Relaxed);
        self.bytes.store(bytes.min(2 * BATCH_BYTES), Ordering::Relaxed);
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed).max(FIRST_ENTRIES)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed).max(FIRST_BYTES)
    }
}
