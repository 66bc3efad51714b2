//! Literals and copies, encoded.

use super::{
    COPY_1, COPY_2, LITERAL, LONG_LITERAL, REPEAT_1, REPEAT_1_FROM, REPEAT_2, REPEAT_2_FROM,
    SHORTEST,
};

/// The maximum bytes of the length of a block that is encoded here.
pub(in super::super) const LEN_BYTES: usize = 3;

/// Appends the length of a block, seven bits a byte.
pub(in super::super) fn put_len(mut len: usize, out: &mut Vec<u8>) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// An encoded block as far as it is known.
pub(super) struct Output<'a> {
    out: &'a mut Vec<u8>,
    /// The length of `out` that must not be exceeded.
    end: usize,
    /// The offset of the last copy; 0 before the first.
    pub(super) offset: usize,
}

impl<'a> Output<'a> {
    /// Appends `most` bytes to `out` at most.
    pub(super) fn new(out: &'a mut Vec<u8>, most: usize) -> Self {
        let end = out.len() + most;
        out.reserve(most);
        Self { out, end, offset: 0 }
    }

    /// Appends literal bytes. Returns false if the limit does not allow them.
    pub(super) fn literal(&mut self, bytes: &[u8]) -> bool {
        let Some(less_one) = bytes.len().checked_sub(1) else { return true };
        if self.out.len() + bytes.len() > self.end {
            return false;
        }
        let [low, high, ..] = less_one.to_le_bytes();
        match less_one {
            0..LONG_LITERAL => self.out.push(low << 2 | LITERAL),
            LONG_LITERAL..=0xff => {
                self.out.extend_from_slice(&[(LONG_LITERAL as u8) << 2 | LITERAL, low]);
            }
            _ => {
                let tag = (LONG_LITERAL as u8 + 1) << 2 | LITERAL;
                self.out.extend_from_slice(&[tag, low, high]);
            }
        }
        self.out.extend_from_slice(bytes);
        true
    }

    /// Appends a copy of [`SHORTEST`] bytes or more from an offset of 16 bits.
    pub(super) fn copy(&mut self, offset: usize, len: usize) {
        if offset == self.offset {
            return self.repeat(len);
        }
        self.offset = offset;
        match len {
            ..12 if offset < 1 << 11 => self.copy_1(offset, len),
            ..=64 => self.copy_2(offset, len),
            // The rest must be long enough for a copy.
            _ if offset < 1 << 11 => {
                self.copy_1(offset, 8);
                self.repeat(len - 8);
            }
            _ => {
                self.copy_2(offset, 60);
                self.repeat(len - 60);
            }
        }
    }

    /// Returns the length of [`Self::copy`].
    pub(super) fn copy_cost(&self, offset: usize, len: usize) -> usize {
        let repeat = |len| match len {
            ..12 => 2,
            12..REPEAT_2_FROM => 3,
            _ => 4,
        };
        match len {
            _ if offset == self.offset => repeat(len),
            ..12 if offset < 1 << 11 => 2,
            ..=64 => 3,
            _ if offset < 1 << 11 => 2 + repeat(len - 8),
            _ => 3 + repeat(len - 60),
        }
    }

    fn copy_1(&mut self, offset: usize, len: usize) {
        let [low, high, ..] = offset.to_le_bytes();
        let len = (len - SHORTEST) as u8;
        self.out.extend_from_slice(&[high << 5 | len << 2 | COPY_1, low]);
    }

    fn copy_2(&mut self, offset: usize, len: usize) {
        let [low, high, ..] = offset.to_le_bytes();
        let len = (len - 1) as u8;
        self.out.extend_from_slice(&[len << 2 | COPY_2, low, high]);
    }

    /// Appends a copy from the offset of the last one.
    fn repeat(&mut self, len: usize) {
        match len {
            ..=8 => self.out.extend_from_slice(&[((len - SHORTEST) as u8) << 2 | COPY_1, 0]),
            9..12 if self.offset < 1 << 11 => self.copy_1(self.offset, len),
            9..REPEAT_2_FROM => {
                let len = (len - REPEAT_1_FROM) as u8;
                self.out.extend_from_slice(&[REPEAT_1 << 2 | COPY_1, 0, len]);
            }
            _ => {
                let [low, high, ..] = (len - REPEAT_2_FROM).to_le_bytes();
                self.out.extend_from_slice(&[REPEAT_2 << 2 | COPY_1, 0, low, high]);
            }
        }
    }
}
