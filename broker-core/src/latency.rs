//! Histograms of the time that messages spend in the broker.
//!
//! Two times are measured, neither at a cost for each message: the time from a read to the end of the flush that
//! follows, for one chunk of input in 61; and the time that a queue waits while the client's transport
//! is full.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// The upper bounds of the buckets: a message usually takes some microseconds, and seconds if its
/// receiver does not read. `write_deadline`, by default ten seconds, is the longest wait.
pub const BOUNDS: [Duration; 19] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The number of durations up to the bound at the same position of [`BOUNDS`] and above the previous one;
    /// the last counts longer ones.
    pub counts: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The latency histograms of a broker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Latencies {
    /// The time from the read of messages until they were written to all receivers, as far as
    /// their transports accepted them at once. The driver chooses the fraction of chunks of input that it
    /// measures.
    pub publish_to_flush: Histogram,
    /// The time from the moment when the transport was full until all data that was then in the queue had been
    /// written. Each time is measured, except that of a client that is cut.
    pub queue_wait: Histogram,
}

/// A histogram that all threads can add to.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Times {
    pub(crate) fn add(&self, took: Duration) {
        let place = BOUNDS.partition_point(|bound| *bound < took);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn histogram(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|place| self.counts[place].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let times = Times::default();
        let micros = Duration::from_micros;
        for took in [micros(0), micros(10), micros(11), micros(25), Duration::from_secs(11)] {
            times.add(took);
        }
        let Histogram { counts, sum } = times.histogram();
        assert_eq!(counts[..3], [2, 2, 0]);
        assert_eq!(counts[BOUNDS.len()], 1);
        assert_eq!(sum, micros(46) + Duration::from_secs(11));
        assert_eq!(times.histogram().count(), 5);
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
