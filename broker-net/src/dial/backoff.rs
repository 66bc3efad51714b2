//! Pauses between attempts to connect.

use std::time::Duration;

use crate::random::{Random, random_seed};

/// Pauses between attempts to connect: each about twice as long as the one before, up to a bound, with jitter so that
/// many peers of one server do not reconnect at the same moment.
///
/// ```
/// use std::time::Duration;
/// use broker_net::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// let first = backoff.pause();
/// assert!(first >= Duration::from_millis(500) && first <= Duration::from_secs(1));
/// let second = backoff.pause();
/// assert!(second >= Duration::from_secs(1) && second <= Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    lasting: Duration,
    pauses: u32,
    random: Random,
}

/// Pauses from 1 to 30 seconds.
// NATS 2.14: DEFAULT_ROUTE_CONNECT and DEFAULT_ROUTE_CONNECT_MAX.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Creates pauses from `min` to `max`; of `max` if that is less.
    pub fn new(min: Duration, max: Duration) -> Self {
        let random = Random::new(random_seed());
        Self { min: min.min(max), max, lasting: max, pauses: 0, random }
    }

    /// Sets the time after which a connection counts as one that lasted: pauses begin at the shortest again after it.
    /// The default is the longest pause, so that a server which accepts connections and closes them is not dialled
    /// more often than one which refuses them.
    #[must_use]
    pub fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// Sets the seed of the jitter, by default a random one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::new(seed);
        self
    }

    /// Returns the next pause: between half of the due time and all of it.
    pub fn pause(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.pauses).unwrap_or(u32::MAX);
        let most = self.min.saturating_mul(factor).min(self.max);
        self.pauses = self.pauses.saturating_add(1);
        self.random.between(most / 2, most)
    }

    /// Records the lifetime of a connection. Returns true if it lasted: pauses begin with the shortest then.
    pub fn note_lasted(&mut self, lasted: Duration) -> bool {
        let has_lasted = lasted >= self.lasting;
        if has_lasted {
            self.pauses = 0;
        }
        has_lasted
    }

    /// Returns the number of pauses since the last connection that lasted.
    pub fn pauses(&self) -> u32 {
        self.pauses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_double_up_to_the_bound_and_each_is_between_half_and_all() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(MIN, MAX).seed(seed);
            let mut due = MIN;
            for _ in 0..100 {
                let pause = backoff.pause();
                assert!((due / 2..=due).contains(&pause), "{pause:?} of {due:?}");
                due = (due * 2).min(MAX);
            }
        }
    }

    #[test]
    fn two_peers_have_different_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(MIN, MAX).seed(seed);
            (0..10).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2));
        assert_eq!(pauses(1), pauses(1));
    }

    #[test]
    fn only_a_connection_that_lasted_resets_the_pauses() {
        let mut backoff = Backoff::new(MIN, MAX).lasting(Duration::from_secs(2));
        for _ in 0..10 {
            backoff.pause();
        }
        assert!(!backoff.note_lasted(Duration::from_millis(1999)));
        assert!(backoff.pause() > MIN);
        assert!(backoff.note_lasted(Duration::from_secs(2)));
        assert!(backoff.pause() <= MIN);
    }

    #[test]
    fn inverted_bounds_give_pauses_within_the_upper_one() {
        let mut backoff = Backoff::new(MAX, MIN);
        assert!((0..1000).all(|_| backoff.pause() <= MIN));
        let mut backoff = Backoff::new(Duration::ZERO, Duration::MAX);
        assert!((0..1000).all(|_| backoff.pause() == Duration::ZERO));
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert!(backoff.pause() >= Duration::MAX / 4);
    }
}
