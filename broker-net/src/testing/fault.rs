//! Faults of messages in flight.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker_core::SubjectFilter;
use broker_core::probe::{Fate, Held, Passing};

use crate::random::Random;

/// A fault of messages: see [`TestBroker::disturb`](super::TestBroker::disturb).
///
/// ```
/// # use std::time::Duration;
/// use broker_net::testing::Fault;
///
/// let the_third_is_lost = Fault::lose().after(2).once();
/// let one_in_ten_is_late = Fault::delay(Duration::from_millis(20)).with_probability(0.1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "faults do nothing unless passed to `TestBroker::disturb`"]
pub struct Fault {
    kind: Kind,
    probability: f64,
    after: u64,
    times: Option<u64>,
    from: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Lose,
    Delay(RangeInclusive<Duration>),
    Repeat(u32),
    Swap,
}

impl Fault {
    fn of(kind: Kind) -> Self {
        Self { kind, probability: 1.0, after: 0, times: None, from: None }
    }

    /// Drops the message without an error to its publisher, like a network failure.
    pub fn lose() -> Self {
        Self::of(Kind::Lose)
    }

    /// Delays the message. Later messages do not wait for it.
    pub fn delay(by: Duration) -> Self {
        Self::of(Kind::Delay(by..=by))
    }

    /// Delays the message by a random time from this range, so that messages overtake each other.
    pub fn delay_between(range: RangeInclusive<Duration>) -> Self {
        Self::of(Kind::Delay(range))
    }

    /// Delivers the message twice.
    pub fn duplicate() -> Self {
        Self::of(Kind::Repeat(2))
    }

    /// Delivers the message after the next one; or after a second, if there is none.
    pub fn swap() -> Self {
        Self::of(Kind::Swap)
    }

    /// Applies once.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Applies `times` times.
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Skips the first `count` messages.
    pub fn after(self, count: u64) -> Self {
        Self { after: count, ..self }
    }

    /// Applies with this probability, decided by the broker's
    /// [seed](super::TestBrokerBuilder::seed).
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    /// Applies only to messages published by this connection.
    pub fn from_connection(self, id: u64) -> Self {
        Self { from: Some(id), ..self }
    }
}

/// The counts of a fault.
#[derive(Debug, Default)]
pub(super) struct Counts {
    seen: AtomicU64,
    befell: AtomicU64,
}

impl Counts {
    /// Returns the number of messages that it has happened to.
    pub(super) fn befell(&self) -> u64 {
        self.befell.load(Ordering::Acquire)
    }
}

/// An active fault.
pub(super) struct Rule {
    filter: SubjectFilter,
    fault: Fault,
    pub(super) counts: Arc<Counts>,
    /// The message that waits to be overtaken, with its number.
    swapped: Option<(u64, Held)>,
}

/// The decision on a message.
pub(super) enum Verdict {
    /// Decided at once.
    Now(Fate),
    /// Release it after this time.
    Later(Held, Duration),
    /// Release it after this time if nothing has overtaken it: the rule holds it, under this
    /// number.
    Overtaken(u64, Duration),
}

/// Time for which a message waits to be overtaken.
const PATIENCE: Duration = Duration::from_secs(1);

impl Rule {
    pub(super) fn new(filter: SubjectFilter, fault: Fault) -> Self {
        Self { filter, fault, counts: Arc::default(), swapped: None }
    }

    /// Decides on a message; returns `None` if the fault does not apply.
    pub(super) fn judge(&mut self, message: &Passing<'_>, lots: &mut Dice) -> Option<Verdict> {
        let Fault { kind, probability, after, times, from } = &self.fault;
        let is_meant = message.matches(&self.filter)
            && from.is_none_or(|id| message.is_from_connection() && message.from() == id);
        if !is_meant {
            return None;
        }
        if let Some((_, held)) = self.swapped.take() {
            return Some(Verdict::Now(Fate { copies: 1, then: vec![held] }));
        }
        let seen = self.counts.seen.fetch_add(1, Ordering::AcqRel);
        let befell = self.counts.befell();
        if seen < *after || times.is_some_and(|times| befell >= times) || !lots.draw(*probability) {
            return None;
        }
        self.counts.befell.store(befell + 1, Ordering::Release);
        Some(match kind {
            Kind::Lose => Verdict::Now(Fate::LOSE),
            Kind::Repeat(copies) => Verdict::Now(Fate { copies: *copies, then: Vec::new() }),
            Kind::Delay(range) => Verdict::Later(message.hold(), lots.within(range)),
            Kind::Swap => {
                self.swapped = Some((seen, message.hold()));
                Verdict::Overtaken(seen, PATIENCE)
            }
        })
    }

    /// Returns the held message, if it has this number.
    pub(super) fn give_up(&mut self, number: Option<u64>) -> Option<Held> {
        let is_it = |(kept, _): &mut (u64, Held)| number.is_none_or(|number| number == *kept);
        self.swapped.take_if(is_it).map(|(_, held)| held)
    }
}

/// Random numbers from a seed.
pub(super) struct Dice(Random);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    fn draw(&mut self, probability: f64) -> bool {
        self.0.fraction() < probability
    }

    fn within(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        self.0.between(*range.start(), *range.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_their_probability_and_seed() {
        let draw = |seed| {
            let mut lots = Dice::new(seed);
            (0..10_000).map(|_| lots.draw(0.3)).collect::<Vec<_>>()
        };
        let drawn = draw(1).iter().filter(|lot| **lot).count();
        assert!((2_800..3_200).contains(&drawn), "{drawn}");
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut lots = Dice::new(3);
        assert!((0..1_000).all(|_| lots.draw(1.0)));
        assert!(!(0..1_000).any(|_| lots.draw(0.0)));
    }
}
