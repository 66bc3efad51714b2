//! Counts of the service, for monitoring.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::lock::lock;
use super::report::ServiceCounts;
use crate::latency::Latencies;
use crate::store::Written;

/// The counts of a server.
#[derive(Debug, Default)]
pub(super) struct Counters {
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    failures: AtomicU64,
    dropped_requests: AtomicU64,
    /// The times of streams that are no longer served. Held while a stream ends, and while the times of all are added.
    ended: Mutex<Latencies>,
}

impl Counters {
    /// Counts what a job has written.
    pub(super) fn note_written(&self, written: Written) {
        self.syncs.fetch_add(written.syncs, Ordering::Relaxed);
        self.written_bytes.fetch_add(written.bytes, Ordering::Relaxed);
    }

    /// Counts a sync after which a stream refuses messages.
    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts requests to the API that were dropped.
    pub(super) fn note_dropped(&self, count: u64) {
        self.dropped_requests.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the times of streams that are no longer served. As long as the guard exists, no other stream ends.
    pub(super) fn ended(&self) -> MutexGuard<'_, Latencies> {
        lock(&self.ended)
    }

    /// Returns the counts, without times, waiting requests and damages.
    pub(super) fn counts(&self) -> ServiceCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServiceCounts {
            syncs: load(&self.syncs),
            written_bytes: load(&self.written_bytes),
            store_failures: load(&self.failures),
            dropped_requests: load(&self.dropped_requests),
            ..ServiceCounts::default()
        }
    }
}
