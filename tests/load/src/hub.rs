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

    /// Says that this thread has met an error.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }
}
