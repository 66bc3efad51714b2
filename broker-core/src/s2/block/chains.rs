//! The thorough search: several earlier occurrences of the same bytes, and the one that saves most.

use super::SHORTEST;
use super::output::Output;
use super::words::{common_before, common_len, word};

/// Positions by the hash of the four bytes there, and for each the one before it with the same hash; 0 for none.
#[derive(Debug, Default)]
pub(in super::super) struct Chains {
    last: Vec<u16>,
    /// Those behind the current position are of an earlier block.
    before: Vec<u16>,
}

/// The bits of a hash: of a block of this many bytes or more, and of the shortest.
const MOST_BITS: u32 = 15;
const LEAST_BITS: u32 = 8;

/// Bytes without a copy for which a step grows by one.
const STEP_SHIFT: u32 = 5;

/// A copy of this length is taken without a look at later ones.
const LONG_ENOUGH: usize = 256;

/// The effort of the search for copies: the number of earlier occurrences to compare, and whether a copy may begin later if
/// it is longer then.
#[derive(Clone, Copy)]
pub(in super::super) struct Effort {
    pub(in super::super) depth: usize,
    pub(in super::super) is_patient: bool,
}

/// A copy that could be used.
#[derive(Clone, Copy, Debug)]
struct Found {
    from: usize,
    to: usize,
    len: usize,
    /// The bytes that it saves.
    gain: usize,
}

impl Chains {
    /// Appends the encoded bytes to `out`. Returns false if there would be more than `most`.
    pub(in super::super) fn compress(
        &mut self,
        bytes: &[u8],
        effort: Effort,
        most: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let bits = bytes.len().next_power_of_two().trailing_zeros().clamp(LEAST_BITS, MOST_BITS);
        self.last.clear();
        self.last.resize(1 << bits, 0);
        if self.before.len() < bytes.len() {
            self.before.resize(bytes.len(), 0);
        }
        let (last, before) = (&mut self.last[..], &mut self.before[..bytes.len()]);
        let mut search =
            Search { bytes, last, before, shift: 32 - bits, depth: effort.depth, noted: 1 };
        let mut output = Output::new(out, most);
        let (mut done, mut at) = (0, 1);
        while at + SHORTEST <= bytes.len() {
            let Some(mut found) = search.find(at, done, &output) else {
                at += 1 + ((at - done) >> STEP_SHIFT);
                continue;
            };
            while effort.is_patient && found.len < LONG_ENOUGH && at + 1 + SHORTEST <= bytes.len() {
                let later = search.find(at + 1, done, &output);
                // Another literal byte must pay for itself.
                let Some(better) = later.filter(|later| {
                    later.gain > found.gain + later.to.saturating_sub(found.to).min(1)
                }) else {
                    break;
                };
                found = better;
                at += 1;
            }
            if !output.literal(&bytes[done..found.to]) {
                return false;
            }
            output.copy(found.to - found.from, found.len);
            done = found.to + found.len;
            at = done;
        }
        output.literal(&bytes[done..])
    }
}

struct Search<'a> {
    bytes: &'a [u8],
    last: &'a mut [u16],
    before: &'a mut [u16],
    shift: u32,
    depth: usize,
    /// All positions before this one are in the chains.
    noted: usize,
}

impl Search<'_> {
    /// Returns the copy that saves most among those that contain the position `at`. It may begin earlier, but not
    /// before `done`.
    fn find(&mut self, at: usize, done: usize, output: &Output<'_>) -> Option<Found> {
        self.note_until(at);
        let value = word(self.bytes, at);
        let mut best = None;
        if let Some(from) = at.checked_sub(output.offset).filter(|from| *from < at)
            && word(self.bytes, from) == value
        {
            self.try_one(from, at, done, output, &mut best);
        }
        let mut from = usize::from(self.last[self.hash(value)]);
        for _ in 0..self.depth {
            if from == 0 || from >= at {
                break;
            }
            if word(self.bytes, from) == value {
                self.try_one(from, at, done, output, &mut best);
            }
            from = self.before[from].into();
        }
        best
    }

    fn try_one(
        &self,
        from: usize,
        at: usize,
        done: usize,
        output: &Output<'_>,
        best: &mut Option<Found>,
    ) {
        let back = common_before(self.bytes, from, at, at - done);
        let len = back + common_len(self.bytes, from, at);
        let (from, to) = (from - back, at - back);
        let gain = len.saturating_sub(output.copy_cost(to - from, len));
        if gain > best.map_or(0, |best| best.gain) {
            *best = Some(Found { from, to, len, gain });
        }
    }

    /// Adds the positions before `at` to the chains.
    fn note_until(&mut self, at: usize) {
        for position in self.noted..at {
            let hash = self.hash(word(self.bytes, position));
            self.before[position] = std::mem::replace(&mut self.last[hash], position as u16);
        }
        self.noted = self.noted.max(at);
    }

    fn hash(&self, value: u32) -> usize {
        (value.wrapping_mul(0x9e37_79b1) >> self.shift) as usize
    }
}
