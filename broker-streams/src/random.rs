//! Random numbers by a seed, for names, ids, samples and jitter: replayable, not secret.

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
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
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
