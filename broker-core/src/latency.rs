//! Histograms of the time that messages take through the broker.
//!
//! Two times are measured, neither at a cost to each message: from a read to the end of the flush that
//! follows, for one chunk of input in 61; and the time that a queue waits while the client's transport
//! is full.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// The upper bounds of the buckets: a message takes some microseconds normally, and seconds if its
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
    /// The number of durations up to the bound at this place of [`BOUNDS`] and above the one before it;
    /// the last is for longer ones.
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

/// See [the module](self).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Latencies {
    /// From the moment when messages were read until they were written to all who get them, as far as
    /// their links took them at once. One chunk of input in so many is measured: how many is the
    /// driver's affair.
    pub publish_to_flush: Histogram,
    /// How long what waited in a queue had to wait, from the moment when the link was full until that,
    /// and all that came with it, had left. Each time is measured; a client that is cut counts not.
    pub queue_wait: Histogram,
}

/// A histogram that any thread adds to.
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
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
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
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
