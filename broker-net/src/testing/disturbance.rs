//! An active fault's handle.

use std::sync::Arc;

use super::fault::Counts;
use super::watcher::Watcher;

/// An active fault. It continues when this is dropped; [`Self::end`] ends it.
#[derive(Debug)]
pub struct Disturbance {
    pub(super) counts: Arc<Counts>,
    pub(super) watcher: Arc<Watcher>,
}

impl Disturbance {
    /// Returns the number of affected messages.
    pub fn count(&self) -> u64 {
        self.counts.befell()
    }

    /// Ends the fault. Held messages are delivered.
    pub fn end(self) {
        self.watcher.end_fault(&self.counts);
    }
}
