//! Values addressed by small numbers, in blocks: adding one never moves the others, and an empty block is
//! freed.

use std::collections::BTreeSet;

/// The number of values of a block.
const BLOCK: usize = 256;

pub(crate) struct Arena<T> {
    blocks: Vec<Block<T>>,
    /// The blocks that have room. The first is filled first, so that the last ones become empty.
    with_room: BTreeSet<u32>,
}

struct Block<T> {
    values: Vec<Option<T>>,
    /// The free places of `values`.
    free: Vec<u8>,
}

/// Returns the number of the block that contains the value with this number.
pub(crate) fn block_of(number: u32) -> usize {
    number as usize / BLOCK
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), with_room: BTreeSet::new() }
    }
}

impl<T> Arena<T> {
    fn place(number: u32) -> (usize, usize) {
        (block_of(number), number as usize % BLOCK)
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (block, at) = Self::place(number);
        self.blocks.get(block)?.values.get(at)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, at) = Self::place(number);
        self.blocks.get_mut(block)?.values.get_mut(at)?.as_mut()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.insert_with(|_| value)
    }

    /// Inserts a value that is made with its number.
    #[inline]
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(u32) -> T) -> u32 {
        let number = self.with_room.first().copied().unwrap_or_else(|| {
            let number = self.blocks.len() as u32;
            self.blocks.push(Block { values: Vec::new(), free: Vec::new() });
            self.with_room.insert(number);
            number
        });
        let block = &mut self.blocks[number as usize];
        let at = block.free.pop().map_or(block.values.len(), usize::from);
        let place = number * BLOCK as u32 + at as u32;
        let value = Some(value(place));
        match block.values.get_mut(at) {
            Some(free) => *free = value,
            None => block.values.push(value),
        }
        if block.free.is_empty() && block.values.len() == BLOCK {
            self.with_room.remove(&number);
        }
        place
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (block_number, at) = Self::place(number);
        let block = self.blocks.get_mut(block_number)?;
        let value = block.values.get_mut(at)?.take()?;
        block.free.push(at as u8);
        self.with_room.insert(block_number as u32);
        if block.free.len() == block.values.len() {
            *block = Block { values: Vec::new(), free: Vec::new() };
            while self.blocks.last().is_some_and(|last| last.values.is_empty()) {
                self.blocks.pop();
                self.with_room.remove(&(self.blocks.len() as u32));
            }
        }
        Some(value)
    }

    /// Returns the values of one block; `None` behind the last one.
    pub(crate) fn block(&self, block: usize) -> Option<impl Iterator<Item = &T>> {
        self.blocks.get(block).map(|block| block.values.iter().flatten())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.values.len() - block.free.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_memory_is_freed() {
        let mut arena = Arena::default();
        let numbers: Vec<u32> = (0..10_000).map(|value| arena.insert(value)).collect();
        for (value, number) in numbers.iter().enumerate().filter(|(value, _)| value % 7 > 0) {
            assert_eq!(arena.remove(*number), Some(value));
            assert_eq!(arena.remove(*number), None);
        }
        for (value, number) in numbers.iter().enumerate() {
            assert_eq!(arena.get(*number), (value % 7 == 0).then_some(&value));
        }
        let mut seen = 0;
        for block in 0.. {
            let Some(values) = arena.block(block) else { break };
            let values: Vec<_> = values.collect();
            assert!(values.len() <= BLOCK);
            seen += values.len();
        }
        assert_eq!(seen, arena.len());
        let more: Vec<u32> = (0..1_000).map(|value| arena.insert(value)).collect();
        assert!(more.iter().max() < numbers.iter().max(), "gaps are filled first");
        assert_eq!(arena.len(), 10_000_usize.div_ceil(7) + 1_000);
        for number in numbers.iter().chain(&more) {
            arena.remove(*number);
        }
        assert_eq!((arena.len(), arena.blocks.len(), arena.with_room.len()), (0, 0, 0));
    }
}
