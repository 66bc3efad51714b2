//! Counters of the system account.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what the system account has dropped.
#[derive(Debug, Default)]
pub(crate) struct SystemCounters {
    events_dropped: AtomicU64,
    requests_dropped: AtomicU64,
}

impl SystemCounters {
    /// Returns the number of events that were not published because too many were queued.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that were not answered because too many were queued.
    pub(crate) fn requests_dropped(&self) -> u64 {
        self.requests_dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn note_event_dropped(&self) {
        self.events_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_request_dropped(&self) {
        self.requests_dropped.fetch_add(1, Ordering::Relaxed);
    }
}
