//! A growing set of small numbers.

/// A set of numbers, one bit each. Its memory grows with the highest number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number.
    pub(crate) fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Removes a number. Returns true if it was there.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        let Some(word) = self.0.get_mut(number / 64) else { return false };
        let mask = 1 << (number % 64);
        let was = *word & mask != 0;
        *word &= !mask;
        was
    }

    /// Returns true if the number is there.
    pub(crate) fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Returns the lowest number at or above `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let first = from / 64;
        let mut word = self.0.get(first)? & (u64::MAX << (from % 64));
        for at in first.. {
            if word != 0 {
                return Some(at * 64 + word.trailing_zeros() as usize);
            }
            word = *self.0.get(at + 1)?;
        }
        None
    }

    /// Returns the lowest number at or above `from` that is not there.
    pub(crate) fn next_missing(&self, from: usize) -> usize {
        let mut number = from;
        while let Some(word) = self.0.get(number / 64) {
            let missing = !word & (u64::MAX << (number % 64));
            if missing != 0 {
                return number / 64 * 64 + missing.trailing_zeros() as usize;
            }
            number = (number / 64 + 1) * 64;
        }
        number
    }

    /// Returns the highest number at or below `until`.
    pub(crate) fn previous(&self, until: usize) -> Option<usize> {
        let last = self.0.len().checked_sub(1)?;
        let (mut at, mut mask) = (until / 64, u64::MAX >> (63 - until % 64));
        if at > last {
            (at, mask) = (last, u64::MAX);
        }
        loop {
            let word = self.0[at] & mask;
            if word != 0 {
                return Some(at * 64 + 63 - word.leading_zeros() as usize);
            }
            (at, mask) = (at.checked_sub(1)?, u64::MAX);
        }
    }

    /// Returns how many numbers at or above `from` are there.
    pub(crate) fn count_from(&self, from: usize) -> usize {
        let Some(words) = self.0.get(from / 64..).filter(|words| !words.is_empty()) else {
            return 0;
        };
        let first = words[0] & (u64::MAX << (from % 64));
        let rest: u32 = words[1..].iter().map(|word| word.count_ones()).sum();
        (first.count_ones() + rest) as usize
    }

    /// Returns the numbers, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.next(0), |number| self.next(number + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_finds_its_neighbours() {
        let mut bits = Bits::default();
        assert_eq!((bits.next(0), bits.previous(9), bits.count_from(0)), (None, None, 0));
        for number in [0, 1, 63, 64, 200] {
            bits.insert(number);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 200]);
        assert_eq!((bits.next(2), bits.next(64), bits.next(201)), (Some(63), Some(64), None));
        assert_eq!((bits.previous(199), bits.previous(62)), (Some(64), Some(1)));
        assert_eq!((bits.previous(5000), bits.previous(0)), (Some(200), Some(0)));
        assert_eq!((bits.count_from(0), bits.count_from(64), bits.count_from(999)), (5, 2, 0));
        assert_eq!(
            (bits.next_missing(0), bits.next_missing(63), bits.next_missing(999)),
            (2, 65, 999)
        );
        assert!(bits.remove(64) && !bits.remove(64) && !bits.contains(64));
    }
}
