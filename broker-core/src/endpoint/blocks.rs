//! The memory of queues, between two uses.

use crate::limits::{FLUSH_ALL_AT_BYTES, Limits};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// The size of a full block, in which a receiver's queue grows.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// The smallest block: room for some small messages.
const SMALLEST_BYTES: usize = 1 << 10;

/// The number of full blocks that one thread keeps.
const WHOLE_BLOCKS: usize = 4;

/// The bytes of smaller blocks that one thread keeps. One chunk to many receivers fills about so much before all of
/// them are flushed.
const SMALL_BYTES: usize = FLUSH_ALL_AT_BYTES;

/// The memory of all queues of a broker: how much they hold, and blocks that none of them needs now.
///
/// A queue that grows for a receiver that does not read takes fresh memory, and the kernel has to find and clear
/// every page of it: that slowed a flood beside such a receiver to half. The blocks of a queue that was closed for
/// this are reused by the next queue that grows.
#[derive(Debug, Default)]
pub(crate) struct QueueMemory {
    /// The memory of all queues: a block counts whole, even if little of it is used.
    held_bytes: AtomicUsize,
    /// The memory of the spare blocks.
    spare_bytes: AtomicUsize,
    /// The limit of both together. `max_pending_total`.
    max_bytes: AtomicUsize,
    /// The limit of the spare blocks: as much as one queue.
    max_spare_bytes: AtomicUsize,
    spare: Mutex<Spare>,
}

#[derive(Debug, Default)]
struct Spare {
    blocks: Vec<Vec<u8>>,
    /// The number of blocks that no queue has needed since the last [`QueueMemory::free_unused`].
    unused: usize,
}

impl QueueMemory {
    /// Sets the limits from the options.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.max_bytes.store(limits.max_pending_total_bytes, Ordering::Relaxed);
        self.max_spare_bytes.store(limits.max_pending_bytes, Ordering::Relaxed);
    }

    /// Corrects the held memory by the change of one queue.
    pub(super) fn report(&self, before: usize, now: usize) {
        if now > before {
            self.held_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.held_bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Returns by how much queues and spare blocks exceed the limit. 0 unless the queues alone do, once
    /// spare blocks have been [freed](Self::free_spare).
    #[inline]
    pub(crate) fn excess_bytes(&self) -> usize {
        let held = self.held_bytes.load(Ordering::Relaxed);
        let spare = self.spare_bytes.load(Ordering::Relaxed);
        (held + spare).saturating_sub(self.max_bytes.load(Ordering::Relaxed))
    }

    /// Returns true if the excess is too large to wait for the next check of all queues.
    #[inline]
    pub(super) fn has_far_too_much(&self) -> bool {
        self.excess_bytes() > self.max_bytes.load(Ordering::Relaxed) / 16
    }

    /// Returns the memory of all queues, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Returns the memory of the spare blocks that no thread keeps for itself.
    #[cfg(test)]
    pub(super) fn spare_bytes(&self) -> usize {
        self.spare_bytes.load(Ordering::Relaxed)
    }

    /// Frees spare blocks of `bytes` together, or all.
    pub(crate) fn free_spare(&self, bytes: usize) {
        let mut spare = self.spare.lock();
        let mut freed = 0;
        let is_enough = |block: &Vec<u8>| {
            freed += block.capacity();
            freed >= bytes
        };
        let count = spare.blocks.iter().position(is_enough).map_or(spare.blocks.len(), |at| at + 1);
        let blocks = self.take_oldest(&mut spare, count);
        drop(spare);
        drop(blocks);
    }

    /// Frees the blocks that no queue has needed since the last call.
    pub(crate) fn free_unused(&self) {
        let mut spare = self.spare.lock();
        let unused = spare.unused;
        let blocks = self.take_oldest(&mut spare, unused);
        spare.unused = spare.blocks.len();
        if spare.blocks.is_empty() {
            spare.blocks = Vec::new();
        }
        drop(spare);
        drop(blocks);
    }

    fn take_oldest(&self, spare: &mut Spare, count: usize) -> Vec<Vec<u8>> {
        let blocks: Vec<_> = spare.blocks.drain(..count).collect();
        let bytes = blocks.iter().map(Vec::capacity).sum();
        self.spare_bytes.fetch_sub(bytes, Ordering::Relaxed);
        spare.unused = spare.unused.min(spare.blocks.len());
        blocks
    }

    /// Returns a block that was used before, if there is one.
    fn take(&self) -> Option<Vec<u8>> {
        if self.spare_bytes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut spare = self.spare.lock();
        let block = spare.blocks.pop()?;
        spare.unused = spare.unused.min(spare.blocks.len());
        self.spare_bytes.fetch_sub(block.capacity(), Ordering::Relaxed);
        Some(block)
    }

    /// Keeps blocks for other queues, up to the limit. Blocks smaller or larger than full size are freed.
    pub(super) fn keep(&self, blocks: impl Iterator<Item = Vec<u8>>) {
        let blocks = blocks.filter(|block| is_whole(block.capacity()));
        for mut block in blocks {
            let size = block.capacity();
            let total = self.spare_bytes.load(Ordering::Relaxed) + size;
            if total > self.max_spare_bytes.load(Ordering::Relaxed)
                || total + self.held_bytes() > self.max_bytes.load(Ordering::Relaxed)
            {
                continue;
            }
            block.clear();
            let mut spare = self.spare.lock();
            self.spare_bytes.fetch_add(size, Ordering::Relaxed);
            spare.blocks.push(block);
        }
    }
}

/// Returns true if a block of this size has full size.
fn is_whole(bytes: usize) -> bool {
    (BLOCK_BYTES..=2 * BLOCK_BYTES).contains(&bytes)
}

/// The spare blocks of one thread.
#[derive(Default)]
pub(super) struct SpareBlocks {
    whole: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// The bytes of all small blocks.
    small_bytes: usize,
}

impl SpareBlocks {
    /// Returns an empty block with room for at least `bytes`; of full size if `wants_whole`, or if half of it is too
    /// small.
    pub(super) fn take(
        &mut self,
        bytes: usize,
        wants_whole: bool,
        memory: &QueueMemory,
    ) -> Vec<u8> {
        if bytes > BLOCK_BYTES {
            return Vec::with_capacity(bytes);
        }
        if let Some(block) = self.whole.pop() {
            return block;
        }
        // A small block of that size would be whole too: others would keep it, and the next one would be fresh memory.
        if wants_whole || bytes > BLOCK_BYTES / 2 {
            return memory.take().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES));
        }
        let mut block = self.small.pop().unwrap_or_default();
        self.small_bytes -= block.capacity();
        if block.capacity() < bytes.max(SMALLEST_BYTES) {
            // The block grows to the size needed here, and keeps it.
            block.reserve_exact(bytes.next_power_of_two().max(SMALLEST_BYTES));
        }
        block
    }

    /// Keeps a returned block, leaves it to other threads, or frees it.
    pub(super) fn give_back(&mut self, mut block: Vec<u8>, memory: &QueueMemory) {
        let size = block.capacity();
        block.clear();
        if is_whole(size) && self.whole.len() < WHOLE_BLOCKS {
            self.whole.push(block);
        } else if is_whole(size) {
            memory.keep(std::iter::once(block));
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

    fn memory(max_spare_bytes: usize, max_bytes: usize) -> QueueMemory {
        let memory = QueueMemory::default();
        memory.set_limits(&Limits {
            max_pending_bytes: max_spare_bytes,
            max_pending_total_bytes: max_bytes,
            ..Limits::default()
        });
        memory
    }

    fn blocks(count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|_| Vec::with_capacity(BLOCK_BYTES))
    }

    #[test]
    fn a_block_that_is_given_back_is_used_again() {
        let (mut spare, memory) = (SpareBlocks::default(), memory(0, 0));
        for (bytes, is_first) in [(10, true), (10, false), (5000, false)] {
            let mut block = spare.take(bytes, is_first, &memory);
            block.push(1);
            let (place, size) = (block.as_ptr(), block.capacity());
            spare.give_back(block, &memory);
            let again = spare.take(bytes, is_first, &memory);
            assert_eq!((again.as_ptr(), again.capacity()), (place, size), "{bytes}");
            assert!(again.is_empty());
        }
    }

    #[test]
    fn kept_memory_is_bounded() {
        let (mut spare, memory) = (SpareBlocks::default(), memory(0, usize::MAX));
        for size in (0..3000).map(|number| number * 64) {
            spare.give_back(Vec::with_capacity(size), &memory);
            spare.give_back(Vec::with_capacity(1024), &memory);
        }
        let kept: usize = spare.whole.iter().chain(&spare.small).map(Vec::capacity).sum();
        assert!(kept <= WHOLE_BLOCKS * 2 * BLOCK_BYTES + SMALL_BYTES, "{kept}");
        assert!(spare.take(1 << 20, true, &memory).capacity() >= 1 << 20);
    }

    #[test]
    fn blocks_of_one_thread_are_used_by_another() {
        let memory = memory(10 * BLOCK_BYTES, 20 * BLOCK_BYTES);
        let (mut one, mut other) = (SpareBlocks::default(), SpareBlocks::default());
        let used: Vec<_> = (0..10).map(|_| one.take(1, true, &memory)).collect();
        let places: Vec<_> = used.iter().map(|block| block.as_ptr()).collect();
        used.into_iter().for_each(|block| one.give_back(block, &memory));
        let again: Vec<_> = (0..6).map(|_| other.take(1, true, &memory)).collect();
        assert!(again.iter().all(|block| places.contains(&block.as_ptr())));
        assert_eq!(memory.excess_bytes(), 0);
    }

    #[test]
    fn spare_blocks_are_bounded_by_one_queue_and_by_the_total() {
        let memory = memory(4 * BLOCK_BYTES, 8 * BLOCK_BYTES);
        memory.keep(blocks(100));
        assert_eq!(memory.spare_bytes.load(Ordering::Relaxed), 4 * BLOCK_BYTES);
        // Queues take precedence over spare blocks.
        memory.report(0, 7 * BLOCK_BYTES);
        assert_eq!(memory.excess_bytes(), 3 * BLOCK_BYTES);
        memory.free_spare(memory.excess_bytes());
        assert_eq!(memory.excess_bytes(), 0);
        assert_eq!(memory.spare_bytes.load(Ordering::Relaxed), BLOCK_BYTES);
        memory.keep(blocks(1));
        assert_eq!(memory.spare_bytes.load(Ordering::Relaxed), BLOCK_BYTES);
        assert!(!memory.has_far_too_much());
        memory.report(7 * BLOCK_BYTES, 9 * BLOCK_BYTES);
        assert!(memory.has_far_too_much());
    }

    #[test]
    fn only_unused_blocks_are_freed() {
        let memory = memory(100 * BLOCK_BYTES, 100 * BLOCK_BYTES);
        let left = || memory.spare_bytes.load(Ordering::Relaxed) / BLOCK_BYTES;
        memory.keep(blocks(10));
        memory.free_unused();
        assert_eq!(left(), 10, "the blocks are new");
        // Six blocks at a time are used, and given back.
        let used: Vec<_> = (0..6).filter_map(|_| memory.take()).collect();
        memory.keep(used.into_iter());
        memory.free_unused();
        assert_eq!(left(), 6);
        memory.free_unused();
        assert_eq!(left(), 0);
    }
}
