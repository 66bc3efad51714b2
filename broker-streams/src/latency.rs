//! The times that messages of streams wait: for the disk, and for the acknowledgement of a consumer.
//!
//! A measurement is an addition to two numbers that the lock of the stream protects anyway.

use std::time::Duration;

use broker_core::latency::{BOUNDS, Histogram};

/// The histograms of one stream, or of all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Latencies {
    /// The time from the publishing of a message until its acknowledgement left, of messages whose acknowledgement waited for
    /// the disk.
    pub publish_to_durable: Histogram,
    /// The time from the last delivery of a message until it was acknowledged. An acknowledgement of several messages counts
    /// once.
    pub deliver_to_ack: Histogram,
}

impl Latencies {
    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        add_all(&mut self.publish_to_durable, &others.publish_to_durable);
        add_all(&mut self.deliver_to_ack, &others.deliver_to_ack);
    }
}

fn add_all(to: &mut Histogram, others: &Histogram) {
    for (count, other) in to.counts.iter_mut().zip(others.counts) {
        *count += other;
    }
    to.sum += others.sum;
}

/// Adds a time in nanoseconds. A clock that was set back makes it 0.
pub(crate) fn note(histogram: &mut Histogram, nanos: i64) {
    let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    let place = BOUNDS.partition_point(|bound| *bound < took);
    if let Some(count) = histogram.counts.get_mut(place) {
        *count += 1;
    }
    histogram.sum += took;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_and_added() {
        let mut one = Latencies::default();
        note(&mut one.publish_to_durable, 10_000);
        note(&mut one.publish_to_durable, 10_001);
        note(&mut one.deliver_to_ack, -5);
        note(&mut one.deliver_to_ack, 60_000_000_000);
        let mut all = one;
        all.add(&one);
        assert_eq!(all.publish_to_durable.counts[..3], [2, 2, 0]);
        assert_eq!(all.publish_to_durable.sum, Duration::from_nanos(40_002));
        assert_eq!(all.deliver_to_ack.counts[0], 2);
        assert_eq!(all.deliver_to_ack.counts[BOUNDS.len()], 2);
        assert_eq!(all.deliver_to_ack.sum, Duration::from_secs(120));
    }
}
