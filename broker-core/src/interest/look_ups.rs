//! How often a session had to ask who wants a subject, and what it remembers of the answers. The session
//! counts, others read.

use crate::stats::InterestStats;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LookUps {
    asked: AtomicU64,
    remembered: AtomicU64,
    entries: AtomicUsize,
    fan_out: AtomicUsize,
    max_fan_out: AtomicUsize,
}

impl LookUps {
    /// The session alone writes, so that a load and a store do.
    #[inline]
    pub(super) fn ask(&self) {
        self.asked.store(self.asked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn find(&self) {
        self.remembered.store(self.remembered.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// So many answers are remembered now, with so many receivers in all of them.
    pub(super) fn hold(&self, entries: usize, fan_out: usize) {
        self.entries.store(entries, Ordering::Relaxed);
        self.fan_out.store(fan_out, Ordering::Relaxed);
    }

    /// An answer had so many receivers.
    pub(super) fn note_fan_out(&self, fan_out: usize) {
        if fan_out > self.max_fan_out.load(Ordering::Relaxed) {
            self.max_fan_out.store(fan_out, Ordering::Relaxed);
        }
    }

    pub(crate) fn stats(&self) -> InterestStats {
        InterestStats {
            look_ups: self.asked.load(Ordering::Relaxed),
            cache_hits: self.remembered.load(Ordering::Relaxed),
            cached: self.entries.load(Ordering::Relaxed),
            total_fan_out: self.fan_out.load(Ordering::Relaxed),
            max_fan_out: self.max_fan_out.load(Ordering::Relaxed),
            ..InterestStats::default()
        }
    }
}
