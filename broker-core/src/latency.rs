//! How long messages are on their way through the broker, in buckets.
//!
//! Two things are measured, neither of which costs a message anything: of one in so many chunks of
//! input, how long it took until all that it brought was written to where it was going; and, whenever a
//! client's link was full, how long what waited for it had to wait.

use std::time::Duration;

use crate::backlogs::Backlogs;
use crate::outlet::QueueMemory;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};

/// The upper bounds of the buckets: a message takes some microseconds where nothing is in its way, and
/// seconds where its receiver does not read. `write_deadline`, by default ten seconds, ends it.
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

/// How long something took, each time that it was measured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// How often it took no longer than the bound at this place of [`BOUNDS`], and longer than the bound
    /// before; the last is for what took longer than all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All times together.
    pub sum: Duration,
}

impl Histogram {
    /// How often it was measured.
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

/// What all outlets of a broker count together.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// What waits in all of them.
    pub(crate) pending_bytes: AtomicUsize,
    pub(crate) memory: Arc<QueueMemory>,
    pub(crate) backlogs: Backlogs,
    pub(crate) waits: Times,
}

/// A histogram that anybody adds to.
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
