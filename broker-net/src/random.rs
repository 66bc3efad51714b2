//! Randomness from a seed, for pauses and choices; not secret.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A small generator (SplitMix64): every seed is good.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// Returns a seed for a server or dialer that was given none: the standard library draws it from the system.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number of at least 0 and less than 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        // A double holds exactly 53 bits.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a random duration between the two.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.fraction())
    }

    /// Shuffles items.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            // Multiply and shift: the bias is below one in 2^64 for each item.
            let wide = u128::from(self.next_u64()) * (last as u128 + 1);
            let other = (wide >> 64) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_loses_nothing_and_puts_each_item_first_about_as_often() {
        let mut random = Random::new(7);
        let mut first = [0; 4];
        for _ in 0..40_000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|count| (9_500..10_500).contains(count)), "{first:?}");
    }
}
