//! The end of a byte queue, to which encoders append.

use bytes::Bytes;

use super::State;
use crate::endpoint::Scratch;
use crate::endpoint::blocks::BLOCK_BYTES;
use crate::endpoint::piece::Piece;

/// The end of a byte queue, lent for one delivery. Counts appended bytes.
pub struct BlockWriter<'a> {
    state: &'a mut State,
    scratch: &'a mut Scratch,
    /// The length of the open block as far as `added` does not count it.
    from: usize,
    /// The bytes appended to blocks before the open one.
    added: usize,
}

impl<'a> BlockWriter<'a> {
    #[inline]
    pub(super) fn new(state: &'a mut State, scratch: &'a mut Scratch) -> Self {
        let from = state.open.len();
        Self { state, scratch, from, added: 0 }
    }

    /// Adds the appended bytes to the pending ones.
    #[inline]
    pub(super) fn finish(self) {
        let added = self.added + self.state.open.len() - self.from;
        self.state.pending_bytes += added;
        self.state.in_bytes += added as u64;
    }

    /// Returns the growing block, with room for `bytes` more.
    #[inline]
    pub(crate) fn block(&mut self, bytes: usize) -> &mut Vec<u8> {
        if self.state.open.capacity() - self.state.open.len() < bytes {
            self.make_room(bytes);
        }
        &mut self.state.open
    }

    /// Lends the growing block. [`Self::keep_block`] follows before anything else is appended.
    #[inline]
    pub(crate) fn take_block(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.state.open)
    }

    /// Takes back the block lent by [`Self::take_block`].
    #[inline]
    pub(crate) fn keep_block(&mut self, block: Vec<u8>) {
        self.state.open = block;
    }

    /// Appends bytes that other queues share.
    pub(crate) fn share(&mut self, shared: Bytes) {
        self.close_block();
        let open = &mut self.state.open;
        // A block with room for many messages must not be held for the head of one.
        let head = if open.len() < open.capacity() / 2 {
            let head = open.to_vec();
            open.clear();
            head
        } else {
            std::mem::take(open)
        };
        self.from = 0;
        self.added += shared.len();
        self.seal(Piece::Block(head));
        self.seal(Piece::Shared(shared));
    }

    /// Lends the memory for the common beginning of the messages of a run.
    pub(crate) fn take_prefix(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch.prefix)
    }

    /// Takes back the memory lent by [`Self::take_prefix`].
    pub(crate) fn keep_prefix(&mut self, prefix: Vec<u8>) {
        self.scratch.prefix = prefix;
    }

    /// Counts the bytes appended to the open block.
    #[inline]
    fn close_block(&mut self) {
        self.added += self.state.open.len() - self.from;
        self.from = self.state.open.len();
    }

    fn make_room(&mut self, bytes: usize) {
        let Self { state, scratch, .. } = self;
        if state.open.is_empty() {
            // A receiver that reads gets a whole block; of receivers that do not, there may be thousands.
            let wants_whole = state.sealed_bytes >= BLOCK_BYTES
                || (state.blocked.is_none() && scratch.touched.is_empty());
            let new = scratch.block(bytes, wants_whole, &state.memory);
            scratch.give_back(std::mem::replace(&mut state.open, new), &state.memory);
        } else if state.open.len() + bytes > BLOCK_BYTES {
            let new = scratch.block(bytes, true, &state.memory);
            self.close_block();
            let full = std::mem::replace(&mut self.state.open, new);
            self.from = 0;
            self.seal(Piece::Block(full));
        } else {
            // Small blocks grow until a spare one of full size takes their place.
            let len = state.open.len();
            let room = (state.open.capacity() * 2).max(len + bytes).next_power_of_two();
            if room >= BLOCK_BYTES {
                let mut whole = scratch.block(len + bytes, true, &state.memory);
                whole.extend_from_slice(&state.open);
                scratch.give_back(std::mem::replace(&mut state.open, whole), &state.memory);
            } else {
                state.open.reserve_exact(room - len);
            }
        }
    }

    fn seal(&mut self, piece: Piece) {
        let Self { state, scratch, .. } = self;
        if state.sealed.capacity() == 0 {
            state.sealed = scratch.take_pieces();
        }
        state.sealed_bytes += piece.held_bytes();
        state.sealed.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::blocks::QueueMemory;
    use crate::limits::Limits;
    use crate::sync::Arc;

    /// As in a fan-out, in which every queue begins with a small block. Blocks that only ever are given back would
    /// fill the memory for spare ones.
    #[test]
    fn queues_that_grow_from_small_blocks_reuse_the_blocks_given_back() {
        const QUEUES: usize = 10;
        let memory = Arc::<QueueMemory>::default();
        memory.set_limits(&Limits::default());
        let mut scratch = Scratch::new();
        for message_bytes in [100, 40_000] {
            for _ in 0..50 {
                let mut states: Vec<State> = Vec::new();
                for _ in 0..QUEUES {
                    let mut state = State { memory: Arc::clone(&memory), ..State::default() };
                    state.open = scratch.block(message_bytes, false, &memory);
                    let mut out = BlockWriter::new(&mut state, &mut scratch);
                    for _ in 0..BLOCK_BYTES / message_bytes * 2 {
                        out.block(message_bytes).extend(std::iter::repeat_n(b'x', message_bytes));
                    }
                    out.finish();
                    states.push(state);
                }
                for state in states {
                    assert_eq!(
                        state.pending_bytes,
                        BLOCK_BYTES / message_bytes * 2 * message_bytes
                    );
                    scratch.give_back(state.open, &memory);
                    for piece in state.sealed {
                        let Piece::Block(block) = piece else { unreachable!("nothing is shared") };
                        scratch.give_back(block, &memory);
                    }
                }
            }
            let spare = memory.spare_bytes();
            assert!(spare <= 2 * QUEUES * 2 * BLOCK_BYTES, "{message_bytes}: {spare}");
        }
    }
}
