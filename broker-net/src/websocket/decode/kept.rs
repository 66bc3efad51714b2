//! The beginning of an incomplete element.

/// A buffer of up to `N` bytes.
#[derive(Debug)]
pub(super) struct Kept<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Kept<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Kept<N> {
    /// Takes the bytes missing to the length `whole` from the beginning of `input`. Returns how
    /// many it took.
    pub(super) fn fill(&mut self, input: &[u8], whole: usize) -> usize {
        let room = whole.min(N).saturating_sub(self.len);
        let len = room.min(input.len());
        self.bytes[self.len..self.len + len].copy_from_slice(&input[..len]);
        self.len += len;
        len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the contents and empties the buffer.
    pub(super) fn take(&mut self) -> &mut [u8] {
        let len = std::mem::take(&mut self.len);
        &mut self.bytes[..len]
    }
}
