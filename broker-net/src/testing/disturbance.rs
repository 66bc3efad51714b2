//! A fault that a test has begun, and ends.

use std::sync::Arc;

use super::fault::Counts;
use super::watcher::Watcher;

/// A fault that is at work. Dropped, it goes on; [`Self::end`] ends it.
#[derive(Debug)]
pub struct Disturbance {
    pub(super) counts: Arc<Counts>,
    pub(super) watcher: Arc<Watcher>,
}

impl Disturbance {
    /// To how many messages it has happened.
    pub fn count(&self) -> u64 {
        self.counts.befell()
    }

    /// It happens to no more. What is under way by it comes.
    pub fn end(self) {
        self.watcher.end_fault(&self.counts);
    }
}
