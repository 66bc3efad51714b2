//! The messages of a window that are there.

use std::ops::Range;

use super::bits::Bits;

/// A set of the low bits of sequences.
pub(crate) enum Present {
    /// All of a range are there, and no others: no bit of each is needed.
    Range(Range<usize>),
    /// One bit for each.
    Bits(Bits),
}

impl Present {
    /// Adds a number above all others.
    pub(crate) fn insert(&mut self, low: usize) {
        match self {
            Self::Range(range) if Range::is_empty(range) => *range = low..low + 1,
            Self::Range(range) if range.end == low => range.end += 1,
            _ => self.change(|bits| bits.insert(low)),
        }
    }

    /// Removes a number that is there.
    pub(crate) fn remove(&mut self, low: usize) {
        match self {
            Self::Range(range) if range.start == low => range.start += 1,
            Self::Range(range) if range.end == low + 1 => range.end -= 1,
            _ => self.change(|bits| _ = bits.remove(low)),
        }
    }

    /// Changes the set with a bit for each.
    fn change(&mut self, change: impl FnOnce(&mut Bits)) {
        match self {
            Self::Bits(bits) => change(bits),
            Self::Range(range) => {
                let mut bits = Bits::default();
                range.clone().for_each(|low| bits.insert(low));
                change(&mut bits);
                *self = Self::Bits(bits);
            }
        }
    }

    /// Returns true if the number is there.
    pub(crate) fn contains(&self, low: usize) -> bool {
        match self {
            Self::Range(range) => range.contains(&low),
            Self::Bits(bits) => bits.contains(low),
        }
    }

    /// Returns the lowest number at or above `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        match self {
            Self::Range(range) if Range::is_empty(range) || from >= range.end => None,
            Self::Range(range) => Some(from.max(range.start)),
            Self::Bits(bits) => bits.next(from),
        }
    }

    /// Returns the lowest number at or above `from` that is not there.
    pub(crate) fn next_missing(&self, from: usize) -> usize {
        match self {
            Self::Range(range) if range.contains(&from) => range.end,
            Self::Range(_) => from,
            Self::Bits(bits) => bits.next_missing(from),
        }
    }

    /// Returns the highest number at or below `until`.
    pub(crate) fn previous(&self, until: usize) -> Option<usize> {
        match self {
            Self::Range(range) if Range::is_empty(range) || until < range.start => None,
            Self::Range(range) => Some(until.min(range.end - 1)),
            Self::Bits(bits) => bits.previous(until),
        }
    }

    /// Returns how many numbers at or above `from` are there.
    pub(crate) fn count_from(&self, from: usize) -> usize {
        match self {
            Self::Range(range) => range.end.saturating_sub(from.max(range.start)),
            Self::Bits(bits) => bits.count_from(from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_answers_as_bits_do() {
        let mut present = Present::Range(0..0);
        let mut bits = Bits::default();
        let removals = [3, 4, 9, 8, 6, 5];
        for step in 0..7 + removals.len() {
            match step.checked_sub(7) {
                None => {
                    present.insert(step + 3);
                    bits.insert(step + 3);
                }
                Some(at) => {
                    present.remove(removals[at]);
                    assert!(bits.remove(removals[at]));
                }
            }
            assert_eq!(matches!(present, Present::Range(_)), step < 11, "step {step}");
            for low in 0..70 {
                assert_eq!(present.contains(low), bits.contains(low));
                assert_eq!(present.next(low), bits.next(low), "step {step}, from {low}");
                assert_eq!(present.next_missing(low), bits.next_missing(low));
                assert_eq!(present.previous(low), bits.previous(low), "step {step}, to {low}");
                assert_eq!(present.count_from(low), bits.count_from(low));
            }
        }
    }
}
