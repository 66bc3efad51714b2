//! Parts of the pieces that a byte queue writes.

use std::io::{self, IoSlice};

/// Maximum number of pieces passed on at once: a head, and the pieces that a byte queue writes at once.
pub(crate) const PIECES: usize = 65;

/// Turns a write of zero bytes into an error, which must not be retried at once.
pub(crate) fn some(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

/// Parts of some pieces, for one vectored write.
pub(crate) struct Slices<'a> {
    list: [IoSlice<'a>; PIECES],
    len: usize,
}

impl<'a> Slices<'a> {
    pub(crate) fn new() -> Self {
        Self { list: [IoSlice::new(&[]); PIECES], len: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[IoSlice<'a>] {
        &self.list[..self.len]
    }

    pub(crate) fn push(&mut self, bytes: &'a [u8]) {
        self.list[self.len] = IoSlice::new(bytes);
        self.len += 1;
    }

    /// Adds the bytes of `pieces` from `start` on, at most `most` of them and as far as there is
    /// room. Returns their number.
    pub(crate) fn push_all(
        &mut self,
        pieces: &'a [IoSlice<'_>],
        mut start: usize,
        most: usize,
    ) -> usize {
        let mut total = 0;
        for piece in pieces {
            if start >= piece.len() {
                start -= piece.len();
                continue;
            }
            if self.len == PIECES || total == most {
                break;
            }
            let bytes = &piece[start..];
            let bytes = &bytes[..bytes.len().min(most - total)];
            start = 0;
            total += bytes.len();
            self.push(bytes);
        }
        total
    }
}
