//! The fastest search: one earlier occurrence of each hash, and larger steps the longer nothing is found.

use super::output::Output;
use super::words::{common_before, common_len, long, word};

/// Positions by the hash of the six bytes there; 0 for none.
#[derive(Debug, Default)]
pub(in super::super) struct FastTable {
    positions: Vec<u16>,
}

/// The bits of a hash: of a block of this many bytes or more, and of the shortest.
const MOST_BITS: u32 = 14;
const LEAST_BITS: u32 = 8;

/// The bytes at the end in which no copy begins, so that eight bytes can be read wherever one is looked for.
const MARGIN: usize = 16;

/// Bytes without a copy for which a step grows by one.
const STEP_SHIFT: u32 = 5;

impl FastTable {
    /// Appends the encoded bytes to `out`. Returns false if there would be more than `most`.
    pub(in super::super) fn compress(
        &mut self,
        bytes: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let bits = bytes.len().next_power_of_two().trailing_zeros().clamp(LEAST_BITS, MOST_BITS);
        self.positions.clear();
        self.positions.resize(1 << bits, 0);
        let mut search = Search { bytes, positions: &mut self.positions, shift: 64 - bits };
        let mut output = Output::new(out, most);
        let mut done = 0;
        while let Some((from, to)) = search.next(done, output.offset) {
            let back = common_before(bytes, from, to, to - done);
            let (from, to) = (from - back, to - back);
            if !output.literal(&bytes[done..to]) {
                return false;
            }
            let len = common_len(bytes, from, to);
            output.copy(to - from, len);
            done = to + len;
            search.note_end(done);
        }
        output.literal(&bytes[done..])
    }
}

struct Search<'a> {
    bytes: &'a [u8],
    positions: &'a mut [u16],
    shift: u32,
}

impl Search<'_> {
    /// Returns where a copy begins, at the position `done` or later, and the earlier position of its bytes before it.
    /// `offset` is that of the last copy.
    fn next(&mut self, done: usize, offset: usize) -> Option<(usize, usize)> {
        let end = self.bytes.len().checked_sub(MARGIN)?;
        let mut at = done.max(1);
        while at < end {
            let value = long(self.bytes, at);
            let from = self.exchange(value, at);
            // The byte behind this one often continues the last copy, because only one byte differed.
            let repeated = (at + 1).wrapping_sub(offset);
            if offset > 0 && repeated <= at && word(self.bytes, repeated) == (value >> 8) as u32 {
                return Some((repeated, at + 1));
            }
            if from > 0 && word(self.bytes, from) == value as u32 {
                return Some((from, at));
            }
            let from = self.exchange(value >> 8, at + 1);
            if from > 0 && word(self.bytes, from) == (value >> 8) as u32 {
                return Some((from, at + 1));
            }
            let from = self.exchange(value >> 16, at + 2);
            if from > 0 && word(self.bytes, from) == (value >> 16) as u32 {
                return Some((from, at + 2));
            }
            at += 3 + ((at - done) >> STEP_SHIFT);
        }
        None
    }

    /// Notes a position near the end of a copy, where another one may begin later.
    fn note_end(&mut self, end: usize) {
        let at = end - 2;
        if at + 8 <= self.bytes.len() {
            self.exchange(long(self.bytes, at), at);
        }
    }

    /// Stores a position by the lowest six bytes of `value`. Returns the one stored before.
    fn exchange(&mut self, value: u64, at: usize) -> usize {
        let hash = (value << 24).wrapping_mul(0x9e37_79b1_85eb_ca87) >> self.shift;
        self.positions
            .get_mut(hash as usize)
            .map_or(0, |position| std::mem::replace(position, at as u16).into())
    }
}
