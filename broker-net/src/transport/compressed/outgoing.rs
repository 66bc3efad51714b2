//! Encodes the output of a session. What one write passes is sent at once, as one chunk or more.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use broker_core::transport::CompressionLevel;

use super::super::{ATTEMPTS, PIECES, Slices, Transport, some, yield_turn};
use super::lock;
use crate::s2::{BATCH_BYTES, BLOCK_BYTES, Encoder, IDENTIFIER, uncompressed_head};

/// Encoded bytes of which no more are made before they are written. With the next chunk, the most that waits here when
/// the peer does not read.
const ENCODED_BYTES: usize = 64 << 10;

/// The output of one connection.
#[derive(Default)]
pub(super) struct Outgoing {
    /// 0 before compression begins, then the level and one.
    level: AtomicU8,
    /// Held while chunks are written below, which never blocks: chunks must not mix. The byte queue serializes
    /// publishers already, so that only the connection itself, which sends what was left, can contend here.
    state: Mutex<State>,
    /// True if bytes are left to [be sent](Self::poll_unsent).
    has_unsent: AtomicBool,
    /// The connection's task, which sends them.
    task: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// The stream has begun.
    is_identified: bool,
    /// Bytes taken, to be sent next.
    unsent: Vec<u8>,
    /// Bytes still to come of an uncompressed chunk whose head was sent.
    owed: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers for making chunks, one set per thread.
#[derive(Default)]
struct Scratch {
    encoder: Encoder,
    gathered: Vec<u8>,
    encoded: Vec<u8>,
}

impl Outgoing {
    /// Returns the level once compression has begun.
    pub(super) fn level(&self) -> Option<CompressionLevel> {
        LEVELS.get(usize::from(self.level.load(Ordering::Acquire)).checked_sub(1)?).copied()
    }

    pub(super) fn set_level(&self, level: CompressionLevel) {
        let at = LEVELS.iter().position(|other| *other == level).unwrap_or(0);
        self.level.store(at as u8 + 1, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        lock(&self.state).unsent.capacity()
    }

    /// See [`Transport::try_write`].
    pub(super) fn write(
        &self,
        below: &impl Transport,
        level: CompressionLevel,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let mut done = 0;
        let result = state.write(below, level, pieces, &mut done);
        self.tell_of_unsent(&state);
        match result {
            Ok(()) => Ok(done),
            Err(error) if done > 0 && error.kind() == io::ErrorKind::WouldBlock => Ok(done),
            Err(error) => Err(error),
        }
    }

    fn tell_of_unsent(&self, state: &State) {
        let has_unsent = !state.unsent.is_empty();
        if self.has_unsent.swap(has_unsent, Ordering::AcqRel) != has_unsent && has_unsent {
            self.task.wake();
        }
    }

    /// See [`Transport::poll_unsent`].
    pub(super) fn poll_unsent(&self, below: &impl Transport, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        for _ in 0..ATTEMPTS {
            if !self.has_unsent.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            let mut state = lock(&self.state);
            let result = state.flush(below);
            self.has_unsent.store(!state.unsent.is_empty(), Ordering::Release);
            drop(state);
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(below.poll_write_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                }
                // The next read or write reports the error as well.
                Err(_) => return Poll::Ready(()),
            }
        }
        yield_turn(cx)
    }
}

const LEVELS: [CompressionLevel; 4] = [
    CompressionLevel::Uncompressed,
    CompressionLevel::Fast,
    CompressionLevel::Better,
    CompressionLevel::Best,
];

impl State {
    /// Adds the number of bytes taken to `done`, also on an error.
    fn write(
        &mut self,
        below: &impl Transport,
        level: CompressionLevel,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        self.flush(below)?;
        // Leaves a place for the head of a chunk.
        for some in pieces.chunks(PIECES - 1) {
            let mut done_of_some = 0;
            let result = self.write_some(below, level, some, &mut done_of_some);
            *done += done_of_some;
            result?;
        }
        Ok(())
    }

    fn write_some(
        &mut self,
        below: &impl Transport,
        level: CompressionLevel,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        self.write_owed(below, pieces, done)?;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        while *done < total {
            if level == CompressionLevel::Uncompressed {
                self.write_uncompressed(below, pieces, done)?;
            } else {
                self.write_compressed(below, level, pieces, done)?;
            }
        }
        Ok(())
    }

    /// Sends bytes that were left.
    fn flush(&mut self, below: &impl Transport) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let sent = some(below.try_write(&[IoSlice::new(&self.unsent)]))?;
            self.unsent.drain(..sent);
        }
        self.unsent = Vec::new();
        Ok(())
    }

    /// Continues an uncompressed chunk that was begun.
    fn write_owed(
        &mut self,
        below: &impl Transport,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        while self.owed > 0 {
            let mut slices = Slices::new();
            if slices.push_all(pieces, *done, self.owed) == 0 {
                return Ok(());
            }
            let sent = some(below.try_write(slices.as_slice()))?;
            self.owed -= sent;
            *done += sent;
        }
        Ok(())
    }

    /// Writes a chunk without copying its data. Of one that is sent in part, the byte queue passes the rest again.
    fn write_uncompressed(
        &mut self,
        below: &impl Transport,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        let mut data = Slices::new();
        let len = data.push_all(pieces, *done, BLOCK_BYTES);
        let mut head = [0; IDENTIFIER.len() + 8];
        head[..IDENTIFIER.len()].copy_from_slice(&IDENTIFIER);
        head[IDENTIFIER.len()..].copy_from_slice(&uncompressed_head(data.as_slice()));
        let head = if self.is_identified { &head[IDENTIFIER.len()..] } else { &head[..] };
        let mut slices = Slices::new();
        slices.push(head);
        slices.push_all(data.as_slice(), 0, usize::MAX);
        let sent = some(below.try_write(slices.as_slice()))?;
        self.is_identified = true;
        let sent_data = sent.saturating_sub(head.len());
        self.unsent.extend_from_slice(&head[sent.min(head.len())..]);
        self.owed = len - sent_data;
        *done += sent_data;
        if self.owed > 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Writes chunks, which are taken completely.
    fn write_compressed(
        &mut self,
        below: &impl Transport,
        level: CompressionLevel,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { encoder, gathered, encoded } = scratch;
            encoded.clear();
            if !std::mem::replace(&mut self.is_identified, true) {
                encoded.extend_from_slice(&IDENTIFIER);
            }
            while encoded.len() < ENCODED_BYTES {
                let mut batch = Slices::new();
                let len = batch.push_all(pieces, *done, BATCH_BYTES);
                match batch.as_slice() {
                    [] => break,
                    [only] => encoder.append(level, only, encoded),
                    several => {
                        gathered.clear();
                        several.iter().for_each(|piece| gathered.extend_from_slice(piece));
                        encoder.append(level, gathered, encoded);
                    }
                }
                *done += len;
            }
            let sent = match some(below.try_write(&[IoSlice::new(encoded)])) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if sent == encoded.len() {
                return Ok(());
            }
            self.unsent.extend_from_slice(&encoded[sent..]);
            Err(io::ErrorKind::WouldBlock.into())
        })
    }
}
