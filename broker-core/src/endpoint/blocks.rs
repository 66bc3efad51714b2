//! The memory of queues, between two uses.

use crate::limits::FLUSH_ALL_AT_BYTES;

/// How much of a receiver's queue lies in one piece.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// The smallest block: some small messages.
const SMALLEST_BYTES: usize = 1 << 10;

/// How many blocks of full size one thread keeps.
const WHOLE_BLOCKS: usize = 4;

/// How much it keeps in smaller ones. One chunk to many receivers fills about so much before all of them
/// are flushed.
const SMALL_BYTES: usize = FLUSH_ALL_AT_BYTES;

/// Blocks that no queue needs now.
#[derive(Default)]
pub(super) struct SpareBlocks {
    whole: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// How large the small ones are together.
    small_bytes: usize,
}

impl SpareBlocks {
    /// An empty block with room for at least `bytes`; of full size if `is_first`.
    pub(super) fn take(&mut self, bytes: usize, is_first: bool) -> Vec<u8> {
        if bytes > BLOCK_BYTES {
            return Vec::with_capacity(bytes);
        }
        if let Some(block) = self.whole.pop() {
            return block;
        }
        if is_first {
            return Vec::with_capacity(BLOCK_BYTES);
        }
        let mut block = self.small.pop().unwrap_or_default();
        self.small_bytes -= block.capacity();
        if block.capacity() < bytes.max(SMALLEST_BYTES) {
            // It grows to what is needed here, and stays so.
            block.reserve_exact(bytes.next_power_of_two().max(SMALLEST_BYTES));
        }
        block
    }

    /// Takes back a block, or frees it.
    pub(super) fn give_back(&mut self, mut block: Vec<u8>) {
        let size = block.capacity();
        block.clear();
        if (BLOCK_BYTES..=2 * BLOCK_BYTES).contains(&size) && self.whole.len() < WHOLE_BLOCKS {
            self.whole.push(block);
        } else if (SMALLEST_BYTES..BLOCK_BYTES).contains(&size)
            && self.small_bytes + size <= SMALL_BYTES
        {
            self.small_bytes += size;
            self.small.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_given_back_is_used_again() {
        let mut spare = SpareBlocks::default();
        for (bytes, is_first) in [(10, true), (10, false), (5000, false)] {
            let mut block = spare.take(bytes, is_first);
            block.push(1);
            let (memory, size) = (block.as_ptr(), block.capacity());
            spare.give_back(block);
            let again = spare.take(bytes, is_first);
            assert_eq!((again.as_ptr(), again.capacity()), (memory, size), "{bytes}");
            assert!(again.is_empty());
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spare = SpareBlocks::default();
        for size in (0..3000).map(|number| number * 64) {
            spare.give_back(Vec::with_capacity(size));
            spare.give_back(Vec::with_capacity(1024));
        }
        let kept: usize = spare.whole.iter().chain(&spare.small).map(Vec::capacity).sum();
        assert!(kept <= WHOLE_BLOCKS * 2 * BLOCK_BYTES + SMALL_BYTES, "{kept}");
        assert!(spare.take(1 << 20, true).capacity() >= 1 << 20);
    }
}
