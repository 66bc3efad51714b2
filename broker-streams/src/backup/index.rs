//! The index of the blocks of a stream: which of their messages are removed.
//!
//! ```text
//! 11, version                                                          u8, u8
//! messages, bytes, first sequence, first time, last sequence, its time varints
//! number of subjects, each: length, subject, messages, blocks          varints
//! number of blocks, each:                                              varints
//!     number, bytes, first sequence, its time, last sequence, its time,
//!     number of removed messages, from version 2 those that expire, from version 3 those that are scheduled
//!     the removed messages, if there are some
//! number of the last block                                             varint
//! checksum of its last record, checksum of all before                  u64, u64
//! ```
//!
//! Removed messages are sets of 2,048 sequences each: 22, version, number of sets and of messages; for each set its first sequence, its
//! bits, and its height in a tree.
// NATS 2.14: filestore.go writeFullState, recoverFullState; avl/seqset.go.

use std::io::Read;

use super::checksum::{CHECKSUM, Checksum, Running};
use super::limits::REMOVED_BYTES;

const MAGIC: u8 = 11;
const VERSIONS: std::ops::RangeInclusive<u8> = 1..=4;
const SET_MAGIC: u8 = 22;
/// The words of bits of a set, in the second and in the first version.
const SET_WORDS: [usize; 2] = [32, 64];

/// The index cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIndex {
    /// It violates its format, or is cut.
    #[error("corrupt stream state")]
    Corrupt,
    /// It is not what its checksum says.
    #[error("the checksum does not match")]
    Checksum,
    /// It lists more removed messages than memory is used for.
    #[error("too many removed messages")]
    TooLarge,
}

/// The contents of an index.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Index {
    pub(super) messages: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    pub(super) last_time: i64,
    pub(super) blocks: Vec<Block>,
    pub(super) last_block: u32,
    /// The checksum of the last record of the last block.
    pub(super) last_checksum: [u8; CHECKSUM],
}

/// The messages of a block.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    pub(super) removed: Vec<Set>,
}

/// A set of sequences: those from a first one whose bits are set.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Set {
    pub(super) first: u64,
    pub(super) bits: Box<[u64]>,
}

impl Set {
    /// Returns true if a sequence is in the set.
    pub(super) fn contains(&self, sequence: u64) -> bool {
        let Some(at) = sequence.checked_sub(self.first) else { return false };
        let word = usize::try_from(at / 64).ok().and_then(|at| self.bits.get(at));
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

impl Index {
    /// Reads an index of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidIndex`].
    pub(super) fn read(
        input: impl Read,
        size: u64,
        checksum: &Checksum,
    ) -> Result<Self, InvalidIndex> {
        let size = size.checked_sub(CHECKSUM as u64).ok_or(InvalidIndex::Corrupt)?;
        let input = std::io::BufReader::with_capacity(64 << 10, input);
        let mut input = Input { input, left: size, running: checksum.begin(), removed_bytes: 0 };
        let index = input.index()?;
        if input.left > 0 {
            return Err(InvalidIndex::Corrupt);
        }
        let mut stored = [0; CHECKSUM];
        input.input.read_exact(&mut stored).map_err(|_| InvalidIndex::Corrupt)?;
        if input.running.end() == stored { Ok(index) } else { Err(InvalidIndex::Checksum) }
    }
}

struct Input<R> {
    input: R,
    /// The bytes before the checksum.
    left: u64,
    running: Running,
    /// The memory of sets.
    removed_bytes: usize,
}

impl<R: Read> Input<R> {
    fn index(&mut self) -> Result<Index, InvalidIndex> {
        let [magic, version] = self.bytes()?;
        if magic != MAGIC || !VERSIONS.contains(&version) {
            return Err(InvalidIndex::Corrupt);
        }
        let mut index = Index { messages: self.number()?, ..Index::default() };
        let _bytes = self.number()?;
        index.first_sequence = self.number()?;
        let _first_time = self.signed()?;
        index.last_sequence = self.number()?;
        index.last_time = self.signed()?;
        for _ in 0..self.number()? {
            self.subject(version)?;
        }
        for _ in 0..self.number()? {
            let block = self.block(version)?;
            index.blocks.push(block);
        }
        index.last_block = u32::try_from(self.number()?).map_err(|_| InvalidIndex::Corrupt)?;
        index.last_checksum = self.bytes()?;
        Ok(index)
    }

    /// Passes over a subject.
    fn subject(&mut self, version: u8) -> Result<(), InvalidIndex> {
        let mut length = self.number()?;
        if length == 0 {
            return Ok(());
        }
        let mut part = [0; 256];
        while length > 0 {
            let most = usize::try_from(length).unwrap_or(usize::MAX).min(part.len());
            self.fill(&mut part[..most])?;
            length -= most as u64;
        }
        let messages = self.number()?;
        let _first_block = self.number()?;
        if messages > 1 || version >= 4 {
            let _last_block = self.number()?;
        }
        Ok(())
    }

    fn block(&mut self, version: u8) -> Result<Block, InvalidIndex> {
        let _number = self.number()?;
        let _bytes = self.number()?;
        let first_sequence = self.number()?;
        let _first_time = self.signed()?;
        let last_sequence = self.number()?;
        let _last_time = self.signed()?;
        let removed = self.number()?;
        for _ in 2..=version.min(3) {
            let _counted = self.number()?;
        }
        let removed = if removed > 0 { self.sets()? } else { Vec::new() };
        Ok(Block { first_sequence, last_sequence, removed })
    }

    fn sets(&mut self) -> Result<Vec<Set>, InvalidIndex> {
        let [magic, version] = self.bytes()?;
        let words = match (magic, version) {
            (SET_MAGIC, 1) => SET_WORDS[1],
            (SET_MAGIC, 2) => SET_WORDS[0],
            _ => return Err(InvalidIndex::Corrupt),
        };
        let count = u32::from_le_bytes(self.bytes()?);
        let _messages: [u8; 4] = self.bytes()?;
        // A vector grows with what is read.
        let mut sets = Vec::new();
        for _ in 0..count {
            self.removed_bytes += (words + 4) * 8;
            if self.removed_bytes > REMOVED_BYTES {
                return Err(InvalidIndex::TooLarge);
            }
            let first = u64::from_le_bytes(self.bytes()?);
            let mut bits = vec![0; words].into_boxed_slice();
            for word in &mut bits {
                *word = u64::from_le_bytes(self.bytes()?);
            }
            let _height: [u8; 2] = self.bytes()?;
            sets.push(Set { first, bits });
        }
        Ok(sets)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), InvalidIndex> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(InvalidIndex::Corrupt)?;
        self.input.read_exact(bytes).map_err(|_| InvalidIndex::Corrupt)?;
        self.running.add(bytes);
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], InvalidIndex> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, InvalidIndex> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(InvalidIndex::Corrupt)
    }

    fn signed(&mut self) -> Result<i64, InvalidIndex> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}
