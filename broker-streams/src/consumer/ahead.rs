//! The next message of the stream, as far as it is known without a search.

/// The selected messages at or after the next sequence to look at.
///
/// A consumer is told of each selected message that is stored. Once a search has found none, the next one is therefore the first that
/// it is told of. A consumer that follows its stream searches no more: with a thousand consumers and a filter with wildcards for each, a
/// search would compare all subjects of the stream with the filter.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) enum Ahead {
    /// A search has to find out.
    #[default]
    Unknown,
    /// There are none.
    Nothing,
    /// The first and the last one; those between are not known, and each may have been removed.
    Some(u64, u64),
}

impl Ahead {
    /// Takes note of a selected message that was stored.
    pub(super) fn appended(&mut self, sequence: u64) {
        match self {
            Self::Unknown => {}
            Self::Nothing => *self = Self::Some(sequence, sequence),
            Self::Some(_, last) => *last = sequence,
        }
    }

    /// Takes note that the next sequence to look at is the one after a message.
    pub(super) fn passed(&mut self, sequence: u64) {
        match self {
            Self::Some(first, _) if *first > sequence => {}
            Self::Some(_, last) if *last > sequence => *self = Self::Unknown,
            Self::Some(..) => *self = Self::Nothing,
            Self::Unknown | Self::Nothing => {}
        }
    }

    /// Takes note that the next sequence to look at is another one, or that other messages are selected.
    pub(super) fn forget(&mut self) {
        *self = Self::Unknown;
    }

    /// Returns the first message; searches if it is not known. `exists` tells whether it was not removed since.
    pub(super) fn first(
        &mut self,
        exists: impl FnOnce(u64) -> bool,
        search: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        match self {
            Self::Nothing => return None,
            Self::Some(first, _) if exists(*first) => return Some(*first),
            Self::Some(..) | Self::Unknown => {}
        }
        let found = search();
        *self = if found.is_none() { Self::Nothing } else { Self::Unknown };
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn the_first_message_is_the_one_that_a_search_finds() {
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let (mut ahead, mut stored) = (Ahead::default(), BTreeSet::new());
            let (mut next, mut last) = (1, 0);
            for _ in 0..200 {
                let expected = stored.range(next..).next().copied();
                match random.below(5) {
                    0 | 1 => {
                        last += 1 + random.below(3);
                        stored.insert(last);
                        ahead.appended(last);
                    }
                    2 => {
                        stored.remove(&(1 + random.below(last + 1)));
                    }
                    3 => {
                        let exists = |sequence| stored.contains(&sequence);
                        assert_eq!(ahead.first(exists, || expected), expected, "seed {seed}");
                        if let Some(sequence) = expected {
                            next = sequence + 1;
                            ahead.passed(sequence);
                        }
                    }
                    _ if random.below(10) == 0 => {
                        next = 1 + random.below(last + 1);
                        ahead.forget();
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_consumer_that_follows_does_not_search() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.first(|_| true, || None), None);
        for sequence in [5, 9, 1000] {
            ahead.appended(sequence);
            let found = ahead.first(|_| true, || panic!("searched"));
            assert_eq!(found, Some(sequence));
            ahead.passed(sequence);
            assert_eq!(ahead.first(|_| true, || panic!("searched")), None);
        }
    }
}
