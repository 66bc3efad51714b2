//! Wakes whoever does the work of a queue: a thread that waits, or a program that does it by itself.

use std::sync::{Arc, Condvar, MutexGuard};
use std::time::Duration;

use super::lock::wait;

/// Called when there is work, by programs that do it by themselves.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Signal {
    changed: Condvar,
    wake: Option<Wake>,
}

impl Signal {
    /// Creates a signal: for a thread without `wake`.
    pub(super) fn new(wake: Option<Wake>) -> Self {
        Self { changed: Condvar::new(), wake }
    }

    /// States that there is work.
    pub(super) fn notify(&self) {
        match &self.wake {
            None => self.changed.notify_one(),
            Some(wake) => wake(),
        }
    }

    /// Waits until there is work, or for that time.
    pub(super) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        most: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        wait(&self.changed, guard, most)
    }
}
