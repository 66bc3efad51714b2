//! Pauses between attempts to connect to another server.

use std::time::Duration;

use crate::random::{Random, random_seed};

/// The time from one attempt to the next, and its limit if it grows.
// NATS 2.14: DEFAULT_ROUTE_CONNECT, DEFAULT_ROUTE_CONNECT_MAX.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The part of a pause that is random, so that two servers that dial each other do not collide again and again.
const JITTER: u32 = 10;

/// The least time between two attempts. An attempt that has waited for an answer is repeated soon: the other server may be
/// reachable again at any moment, and the attempts then take most of the time. It is random too, so that the connections
/// that were lost together are not attempted at the same moments.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_MIN_PAUSE: Duration = Duration::from_millis(150);

/// Pauses between attempts: each counts from the begin of the attempt.
pub(super) struct Pauses {
    next: Duration,
    has_backoff: bool,
    random: Random,
}

impl Pauses {
    /// Creates pauses, which double up to their limit if `has_backoff`.
    pub(super) fn new(has_backoff: bool) -> Self {
        Self { next: PAUSE, has_backoff, random: Random::new(random_seed()) }
    }

    /// Returns the pause after an attempt that took `took`.
    pub(super) fn pause(&mut self, took: Duration) -> Duration {
        let due = self.random.between(self.next - self.next / JITTER, self.next);
        if self.has_backoff {
            self.next = (self.next * 2).min(MAX_PAUSE);
        }
        due.saturating_sub(took).max(self.random.between(MIN_PAUSE, MAX_MIN_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(has_backoff: bool) -> Vec<u64> {
        let mut pauses = Pauses::new(has_backoff);
        let rounded = |pause: Duration| {
            let millis = u64::try_from(pause.as_millis()).unwrap();
            millis.div_ceil(1000)
        };
        (0..7).map(|_| rounded(pauses.pause(Duration::ZERO))).collect()
    }

    #[test]
    fn pauses_take_a_second_or_double_up_to_half_a_minute() {
        assert_eq!(dues(false), [1; 7]);
        let mut pauses = Pauses::new(true);
        for most in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            let pause = pauses.pause(Duration::ZERO);
            assert!((most - most / JITTER..=most).contains(&pause), "{pause:?} of {most:?}");
        }
    }

    #[test]
    fn the_time_of_the_attempt_counts() {
        let mut pauses = Pauses::new(false);
        let pause = pauses.pause(Duration::from_millis(500));
        assert!((Duration::from_millis(400)..=Duration::from_millis(500)).contains(&pause));
        let least: Vec<_> = (0..20).map(|_| pauses.pause(Duration::from_secs(5))).collect();
        assert!(least.iter().all(|pause| (MIN_PAUSE..=MAX_MIN_PAUSE).contains(pause)), "{least:?}");
        assert!(least.iter().any(|pause| *pause != least[0]));
    }
}
