//! The pieces of a queue that are being written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::{State, WriteHandle};
use crate::endpoint::Scratch;
use crate::endpoint::blocks::{BLOCK_BYTES, QueueMemory};
use crate::endpoint::piece::Piece;

/// The most pieces that are passed to one write.
const PIECES: usize = 64;

/// Pieces that are being written while the queue is unlocked: from one block, which needs no list, to all.
pub(super) struct Pieces {
    first: Option<Piece>,
    rest: VecDeque<Piece>,
    front_at: usize,
    /// The memory of the pieces that are written and no longer held.
    freed_bytes: usize,
}

impl Pieces {
    pub(super) fn take(state: &mut State) -> Self {
        let mut rest = std::mem::take(&mut state.sealed);
        let open = std::mem::take(&mut state.open);
        let front_at = std::mem::take(&mut state.front_at);
        state.sealed_bytes += open.capacity();
        if rest.is_empty() {
            return Self { first: Some(Piece::Block(open)), rest, front_at, freed_bytes: 0 };
        }
        if !open.is_empty() {
            rest.push_back(Piece::Block(open));
        }
        Self { first: None, rest, front_at, freed_bytes: 0 }
    }

    /// Writes until all is written or the link takes no more. Also returns the bytes written.
    pub(super) fn write(
        &mut self,
        write_handle: &dyn WriteHandle,
        scratch: &mut Scratch,
        memory: &QueueMemory,
    ) -> (usize, io::Result<()>) {
        let mut total = 0;
        while !self.is_empty() {
            let (wanted, result) = self.write_once(write_handle);
            match result {
                Ok(0) => return (total, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    total += written;
                    self.advance(written, scratch, memory);
                    // A short write means that the link is full; another write would only confirm it.
                    if written < wanted {
                        return (total, Err(io::ErrorKind::WouldBlock.into()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (total, Err(error)),
            }
        }
        (total, Ok(()))
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    /// Writes once. Also returns the number of bytes passed to the write.
    fn write_once(&self, write_handle: &dyn WriteHandle) -> (usize, io::Result<usize>) {
        // Usually there is one block, which needs no list of pieces.
        if let Some(only) = &self.first
            && self.rest.is_empty()
        {
            let bytes = &only.bytes()[self.front_at..];
            return (bytes.len(), write_handle.try_write(&[IoSlice::new(bytes)]));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        let mut wanted = 0;
        for piece in self.first.iter().chain(&self.rest).take(PIECES) {
            let bytes = if count == 0 { &piece.bytes()[self.front_at..] } else { piece.bytes() };
            slices[count] = IoSlice::new(bytes);
            wanted += bytes.len();
            count += 1;
        }
        (wanted, write_handle.try_write(&slices[..count]))
    }

    fn advance(&mut self, mut written: usize, scratch: &mut Scratch, memory: &QueueMemory) {
        while written > 0 {
            let Some(piece) = self.first.as_ref().or_else(|| self.rest.front()) else { return };
            let left = piece.bytes().len() - self.front_at;
            if written < left {
                self.front_at += written;
                return;
            }
            written -= left;
            self.front_at = 0;
            let Some(piece) = self.first.take().or_else(|| self.rest.pop_front()) else { return };
            self.freed_bytes += piece.held_bytes();
            if let Piece::Block(block) = piece {
                scratch.give_back(block, memory);
            }
        }
    }

    /// Puts unwritten pieces back before those added meanwhile.
    pub(super) fn put_back(
        mut self,
        state: &mut State,
        scratch: &mut Scratch,
        memory: &QueueMemory,
    ) {
        if state.is_closed() {
            return;
        }
        state.sealed_bytes -= self.freed_bytes;
        // Mostly all has left.
        if self.is_empty() {
            return scratch.keep_pieces(self.rest);
        }
        if let Some(piece) = self.first.take() {
            self.rest.push_front(piece);
        }
        if self.rest.front().is_none_or(|piece| piece.bytes().is_empty()) {
            state.sealed_bytes -=
                self.rest.drain(..).map(|piece| piece.held_bytes()).sum::<usize>();
            scratch.keep_pieces(self.rest);
            return;
        }
        state.sealed_bytes -= self.shrink(scratch, memory);
        if state.open.is_empty() && state.sealed.is_empty() {
            self.reopen_last(state, scratch, memory);
        }
        self.rest.append(&mut state.sealed);
        state.sealed = self.rest;
        state.front_at = self.front_at;
    }

    /// Reopens the last block, so that a receiver that reads slowly does not hold many blocks with few bytes in each.
    fn reopen_last(&mut self, state: &mut State, scratch: &mut Scratch, memory: &QueueMemory) {
        if let Some(Piece::Block(last)) = self.rest.back()
            && last.capacity() - last.len() >= BLOCK_BYTES / 16
            && let Some(Piece::Block(last)) = self.rest.pop_back()
        {
            state.sealed_bytes -= last.capacity();
            scratch.give_back(std::mem::replace(&mut state.open, last), memory);
        }
    }

    /// Shrinks the block, so that a stalled receiver holds its pending bytes and not the rest of a large block.
    /// Returns the number of bytes freed.
    fn shrink(&mut self, scratch: &mut Scratch, memory: &QueueMemory) -> usize {
        let front_at = self.front_at;
        if let Some(Piece::Block(block)) = self.rest.front_mut()
            && block.len() - front_at < block.capacity() / 4
        {
            let left = block[front_at..].to_vec();
            let less = block.capacity().saturating_sub(left.capacity());
            scratch.give_back(std::mem::replace(block, left), memory);
            self.front_at = 0;
            return less;
        }
        0
    }
}
