//! Counters of a session's look-ups in the interest and of its cached matches. The session writes them, monitoring
//! reads them.

use crate::stats::InterestStats;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Counters of look-ups and cached matches of one session.
#[derive(Debug, Default)]
pub(crate) struct LookUps {
    asked: AtomicU64,
    remembered: AtomicU64,
    entries: AtomicUsize,
    fan_out: AtomicUsize,
    max_fan_out: AtomicUsize,
}

impl LookUps {
    /// Only the session writes, so that a load and a store suffice.
    #[inline]
    pub(super) fn ask(&self) {
        self.asked.store(self.asked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn find(&self) {
        self.remembered.store(self.remembered.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Sets the number of cached matches and the receivers in all of them.
    pub(super) fn hold(&self, entries: usize, fan_out: usize) {
        self.entries.store(entries, Ordering::Relaxed);
        self.fan_out.store(fan_out, Ordering::Relaxed);
    }

    /// Records the number of receivers of one look-up.
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
