//! Checks that every message arrived, once and in order.

use crate::stamp::Stamp;

/// The messages that a receiver expects of each publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// All messages.
    All,
    /// A part of the messages: of a queue group, or of a subject.
    Share,
}

/// The received messages are not those sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Disorder {
    /// A later message arrived in place of the expected one.
    #[error("publisher {origin}: message {wanted} is missing, {got} came instead")]
    Missing {
        /// The publisher.
        origin: usize,
        /// The expected number.
        wanted: u64,
        /// The received number.
        got: u64,
    },
    /// A message arrived twice, or after a later one.
    #[error("publisher {origin}: message {got} came again or late, {wanted} was next")]
    Repeated {
        /// The publisher.
        origin: usize,
        /// The expected number.
        wanted: u64,
        /// The received number.
        got: u64,
    },
    /// A stamp of an unknown publisher.
    #[error("a message of publisher {0}, which does not exist")]
    UnknownPublisher(usize),
    /// The receivers together did not get each message once.
    #[error("{sent} messages were due, {received} arrived, or not each of them once")]
    Tally {
        /// The number of messages sent.
        sent: u64,
        /// The number of messages received.
        received: u64,
    },
    /// A message arrived for a subscription that does not match its subject.
    #[error("a message for subscription {wanted} came as one for {got}")]
    Subscription {
        /// The matching subscription.
        wanted: u64,
        /// The subscription named by the server.
        got: u64,
    },
}

/// Checks the messages at one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    order: Order,
    /// The next expected number, by publisher.
    next: Vec<u64>,
    tally: Tally,
}

impl Checker {
    /// Creates the checker of a receiver with `publishers` publishers.
    pub(crate) fn new(order: Order, publishers: usize) -> Self {
        Self { order, next: vec![0; publishers], tally: Tally::default() }
    }

    /// Checks a message.
    ///
    /// # Errors
    /// The message is not an expected one.
    #[inline]
    pub(crate) fn accept(&mut self, stamp: Stamp) -> Result<(), Disorder> {
        let (origin, got) = (stamp.origin(), stamp.sequence());
        let Some(next) = self.next.get_mut(origin) else {
            return Err(Disorder::UnknownPublisher(origin));
        };
        let wanted = *next;
        if got < wanted {
            return Err(Disorder::Repeated { origin, wanted, got });
        }
        match self.order {
            Order::All if got > wanted => return Err(Disorder::Missing { origin, wanted, got }),
            // Counting without gaps suffices, and this is the hottest line of the program.
            Order::All => self.tally.count += 1,
            Order::Share => self.tally.add(stamp),
        }
        *next = got + 1;
        Ok(())
    }

    /// Returns the number of messages received.
    pub(crate) fn count(&self) -> u64 {
        self.tally.count
    }
}

/// Checks, at the end of a run, that the receivers together got all messages.
///
/// `sent` holds the number of messages of each publisher.
///
/// # Errors
/// A message was lost or duplicated.
pub(crate) fn settle<'a>(
    sent: &[u64],
    checkers: impl Iterator<Item = &'a Checker>,
) -> Result<(), Disorder> {
    let mut shares = Tally::default();
    let mut shared = false;
    for checker in checkers {
        if checker.order == Order::All {
            for (origin, (&got, &wanted)) in checker.next.iter().zip(sent).enumerate() {
                if got < wanted {
                    return Err(Disorder::Missing { origin, wanted: got, got: wanted });
                }
                if got > wanted {
                    return Err(Disorder::Repeated { origin, wanted, got: got - 1 });
                }
            }
        } else {
            shared = true;
            shares.merge(checker.tally);
        }
    }
    let mut due = Tally::default();
    if shared {
        for (origin, &count) in sent.iter().enumerate() {
            for sequence in 0..count {
                due.add(Stamp::new(origin, sequence, 0));
            }
        }
    }
    if shared && due != shares {
        return Err(Disorder::Tally { sent: due.count, received: shares.count });
    }
    Ok(())
}

/// A count and a sum of hashes: equal only for the same set of messages, in any order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    count: u64,
    hashes: u64,
}

impl Tally {
    #[inline]
    fn add(&mut self, stamp: Stamp) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(mix(stamp.word));
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }
}

/// Spreads a word over all bits (the finalizer of splitmix64).
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(order: Order, stream: &[(usize, u64)]) -> Result<Checker, Disorder> {
        let mut checker = Checker::new(order, 2);
        for &(origin, sequence) in stream {
            checker.accept(Stamp::new(origin, sequence, 0))?;
        }
        Ok(checker)
    }

    #[test]
    fn publishers_may_mix_as_long_as_each_is_in_order() {
        let checker = feed(Order::All, &[(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)]).unwrap();
        assert_eq!(checker.count(), 5);
        assert_eq!(settle(&[3, 2], [&checker].into_iter()), Ok(()));
    }

    #[test]
    fn a_lost_message_is_noticed_at_the_next() {
        let lost = feed(Order::All, &[(0, 0), (0, 2)]).unwrap_err();
        assert_eq!(lost, Disorder::Missing { origin: 0, wanted: 1, got: 2 });
    }

    #[test]
    fn a_message_lost_at_the_end_is_noticed_when_settling() {
        let checker = feed(Order::All, &[(0, 0), (0, 1)]).unwrap();
        let lost = settle(&[3, 0], [&checker].into_iter()).unwrap_err();
        assert_eq!(lost, Disorder::Missing { origin: 0, wanted: 2, got: 3 });
    }

    #[test]
    fn a_surplus_message_is_noticed_when_settling() {
        let checker = feed(Order::All, &[(0, 0), (0, 1)]).unwrap();
        assert!(settle(&[1, 0], [&checker].into_iter()).is_err());
    }

    #[test]
    fn a_doubled_message_is_noticed() {
        let twice = feed(Order::All, &[(0, 0), (0, 1), (0, 1)]).unwrap_err();
        assert_eq!(twice, Disorder::Repeated { origin: 0, wanted: 2, got: 1 });
        assert!(feed(Order::Share, &[(0, 4), (0, 4)]).is_err());
    }

    #[test]
    fn a_message_that_overtakes_is_noticed() {
        assert!(feed(Order::All, &[(0, 1), (0, 0)]).is_err());
        let late = feed(Order::Share, &[(0, 1), (0, 0)]).unwrap_err();
        assert_eq!(late, Disorder::Repeated { origin: 0, wanted: 2, got: 0 });
    }

    #[test]
    fn a_publisher_that_does_not_exist_is_noticed() {
        assert_eq!(feed(Order::All, &[(2, 0)]).unwrap_err(), Disorder::UnknownPublisher(2));
    }

    #[test]
    fn shares_must_add_up() {
        let a = feed(Order::Share, &[(0, 0), (0, 3)]).unwrap();
        let b = feed(Order::Share, &[(0, 1), (0, 2)]).unwrap();
        assert_eq!(settle(&[4, 0], [&a, &b].into_iter()), Ok(()));
        let lost = settle(&[5, 0], [&a, &b].into_iter()).unwrap_err();
        assert_eq!(lost, Disorder::Tally { sent: 5, received: 4 });
    }

    #[test]
    fn one_lost_and_another_doubled_do_not_cancel_out() {
        let a = feed(Order::Share, &[(0, 0), (0, 1)]).unwrap();
        let b = feed(Order::Share, &[(0, 1), (0, 2)]).unwrap();
        assert!(settle(&[4, 0], [&a, &b].into_iter()).is_err());
    }
}
