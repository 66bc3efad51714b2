//! The number of messages that a subscription has had, and the maximum.

use crate::sync::{AtomicU64, Ordering};

/// Counts the messages of a subscription. Written only with the queue of the subscription locked, so that a load and a store are
/// enough.
#[derive(Default)]
pub(crate) struct Admission {
    /// Messages delivered so far.
    delivered: AtomicU64,
    /// The number of messages after which the subscription ends; 0 for never.
    max: AtomicU64,
}

/// The result of [`Admission::admit`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) count: usize,
    pub(crate) is_last: bool,
}

impl Admission {
    /// Counts up to `count` messages as delivered, as many as the maximum allows.
    #[inline(always)]
    pub(crate) fn admit(&self, count: usize) -> Admitted {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let max = self.max.load(Ordering::Relaxed);
        if max == 0 {
            self.delivered.store(delivered + count as u64, Ordering::Relaxed);
            return Admitted { count, is_last: false };
        }
        let room = usize::try_from(max.saturating_sub(delivered)).unwrap_or(usize::MAX);
        let count = count.min(room);
        self.delivered.store(delivered + count as u64, Ordering::Relaxed);
        Admitted { count, is_last: delivered + count as u64 >= max }
    }

    /// Sets the maximum. Returns false if as many have been delivered already.
    pub(crate) fn end_after(&self, max: u64) -> bool {
        let is_ahead = max > self.delivered.load(Ordering::Relaxed);
        self.max.store(if is_ahead { max } else { 0 }, Ordering::Relaxed);
        is_ahead
    }

    /// Returns the number of messages delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Returns the maximum; 0 for none.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}
