//! Pieces of a queue.

use bytes::Bytes;

/// A piece of a queue: a block of its own, or a payload that is shared with other queues.
pub(super) enum Piece {
    Block(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    /// Returns its memory, in bytes. Memory that several queues share counts in each of them: it is freed with the
    /// last reference.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Block(block) => block.capacity(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// Returns the block if it is one.
    pub(super) fn into_block(self) -> Option<Vec<u8>> {
        match self {
            Self::Block(block) => Some(block),
            Self::Shared(_) => None,
        }
    }

    /// Returns the bytes to be written.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Block(block) => block,
            Self::Shared(bytes) => bytes,
        }
    }
}
