//! What the sending and the receiving thread tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Shared between the threads of one run.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Time zero of stamps.
    epoch: Instant,
    received: AtomicU64,
    phase: AtomicUsize,
    finish: AtomicBool,
    broken: AtomicBool,
}

impl Hub {
    /// A run that begins now.
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            received: AtomicU64::new(0),
            phase: AtomicUsize::new(0),
            finish: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Messages that all receivers have got.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Says how many messages have come; only the receiving thread does.
    pub(crate) fn set_received(&self, count: u64) {
        self.received.store(count, Ordering::Release);
    }

    /// Where latencies are filed now.
    pub(crate) fn phase(&self) -> usize {
        self.phase.load(Ordering::Acquire)
    }

    /// Begins another phase.
    pub(crate) fn set_phase(&self, phase: usize) {
        self.phase.store(phase, Ordering::Release);
    }

    /// Whether nothing more will be sent.
    pub(crate) fn finished(&self) -> bool {
        self.finish.load(Ordering::Acquire)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.finish.store(true, Ordering::Release);
    }

    /// Whether a thread has met an error, so that the other need not go on.
    pub(crate) fn broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Something to hold while others wait for this thread: should it panic, they are told.
    pub(crate) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Says that this thread has met an error.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// Ends a run when it goes, one way or the other.
#[derive(Debug)]
pub(crate) struct Guard<'a>(&'a Hub);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.0.finished() {
            self.0.set_broken();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_goes_without_having_finished_breaks_the_run() {
        let hub = Hub::new();
        drop(hub.guard());
        assert!(hub.broken());

        let hub = Hub::new();
        let guard = hub.guard();
        hub.finish();
        drop(guard);
        assert!(!hub.broken());
    }
}
