//! Communication between the sending and the receiving thread.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// State shared by the threads of one run.
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
    /// Creates the state of a run that begins now.
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

    /// Returns the number of messages that all receivers have got.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Sets the number of messages received; called by the receiving thread only.
    pub(crate) fn set_received(&self, count: u64) {
        self.received.store(count, Ordering::Release);
    }

    /// Returns the phase under which latencies are recorded.
    pub(crate) fn phase(&self) -> usize {
        self.phase.load(Ordering::Acquire)
    }

    /// Sets the phase.
    pub(crate) fn set_phase(&self, phase: usize) {
        self.phase.store(phase, Ordering::Release);
    }

    /// Returns true if nothing more will be sent.
    pub(crate) fn finished(&self) -> bool {
        self.finish.load(Ordering::Acquire)
    }

    /// Marks the end of sending.
    pub(crate) fn finish(&self) {
        self.finish.store(true, Ordering::Release);
    }

    /// Returns true if a thread has failed, so that the other can stop.
    pub(crate) fn broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Returns a guard that marks the run as failed if this thread panics.
    pub(crate) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Marks the run as failed.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// Ends the run when dropped.
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
    fn a_thread_that_ends_early_fails_the_run() {
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
