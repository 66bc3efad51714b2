//! A buffer of unconsumed bytes.

use std::mem;

/// Bytes of which a part is consumed.
#[derive(Default)]
pub(super) struct Leftover {
    pub(super) bytes: Vec<u8>,
    pub(super) at: usize,
}

impl Leftover {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Frees the memory once all bytes are consumed.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at >= self.bytes.len() {
            *self = Self::default();
        }
    }

    pub(super) fn put_before(&mut self, first: Self) {
        if first.is_empty() {
            return;
        }
        let later = mem::replace(self, first);
        self.bytes.extend_from_slice(later.rest());
    }
}
