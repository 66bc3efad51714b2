//! Random numbers by a seed, for names, ids, samples and jitter: replayable, not secret.

use std::sync::atomic::{AtomicU64, Ordering};

/// The difference of successive states (SplitMix64).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The digits of names.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A small generator (SplitMix64), for which every seed is valid.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns a number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a name of as many letters and digits.
    pub(crate) fn name(&mut self, length: usize) -> String {
        let digit = |_| char::from(DIGITS[self.below(DIGITS.len() as u64) as usize]);
        (0..length).map(digit).collect()
    }

    /// Returns an id of the form that NATS programs use: 22 letters and digits.
    pub(crate) fn id(&mut self) -> String {
        self.name(22)
    }
}

/// Seeds for generators of their own. A seed is a random number, and no state of another generator: neighbouring states would
/// give generators the same numbers, and streams the same ids.
#[derive(Debug)]
pub(crate) struct Seeds(AtomicU64);

impl Seeds {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generators_of_one_server_make_different_ids() {
        let (seeds, mut ids) = (Seeds::new(7), HashSet::new());
        for _ in 0..100 {
            let mut random = Random::new(seeds.next());
            assert!((0..10).all(|_| ids.insert(random.id())));
        }
    }
}
