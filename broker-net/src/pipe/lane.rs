//! One direction of a pipe: a bounded queue of bytes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The capacity that an empty lane keeps.
const KEPT_CAPACITY_BYTES: usize = 4 << 10;

/// One direction of a pipe.
///
/// A waiting side registers its waker under the lock under which it saw that it must wait, so that no
/// wake-up is lost.
#[derive(Debug)]
pub(super) struct Lane(Mutex<State>);

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    bound: usize,
    /// The writer is closed.
    is_finished: bool,
    /// The reader is closed.
    is_abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    pub(super) fn new(bound: usize) -> Self {
        Self(Mutex::new(State {
            bytes: VecDeque::new(),
            bound,
            is_finished: false,
            is_abandoned: false,
            reader: None,
            writer: None,
        }))
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.bytes.is_empty() || state.is_finished {
            return Poll::Ready(());
        }
        leave(&mut state.reader, cx);
        Poll::Pending
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.bytes.len() < state.bound || !state.is_open() {
            return Poll::Ready(());
        }
        leave(&mut state.writer, cx);
        Poll::Pending
    }

    pub(super) fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.bytes.is_empty() && !room.is_empty() && !state.is_finished {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.len().min(state.bytes.len());
        let (front, back) = state.bytes.as_slices();
        let of_front = len.min(front.len());
        room[..of_front].copy_from_slice(&front[..of_front]);
        room[of_front..len].copy_from_slice(&back[..len - of_front]);
        state.bytes.drain(..len);
        if state.bytes.is_empty() && state.bytes.capacity() > KEPT_CAPACITY_BYTES {
            state.bytes = VecDeque::new();
        }
        // A waiting writer is woken only for a substantial amount of room.
        let writer = if state.bytes.len() <= state.bound / 2 { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        Ok(len)
    }

    pub(super) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        if !state.is_open() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = state.bound.saturating_sub(state.bytes.len());
        let mut left = room;
        for piece in pieces {
            let len = piece.len().min(left);
            state.bytes.extend(&piece[..len]);
            left -= len;
        }
        let written = room - left;
        if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(written)
    }

    /// Raises the bound.
    pub(super) fn widen(&self, bound: usize) {
        let mut state = self.lock();
        if state.bound < bound {
            state.bound = bound;
            let writer = state.writer.take();
            drop(state);
            wake(writer);
        }
    }

    /// Closes the writer: the reader gets the bytes in the queue, and then the end.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.is_finished = true;
        let wakers = (state.reader.take(), state.writer.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// Closes the reader.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        state.bytes = VecDeque::new();
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// Returns true if an end is closed.
    #[cfg(feature = "testing")]
    pub(super) fn is_closed(&self) -> bool {
        !self.lock().is_open()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.lock().bytes.capacity()
    }

    /// The guarded state is consistent between any two statements that can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_open(&self) -> bool {
        !self.is_finished && !self.is_abandoned
    }
}

fn leave(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// Called without the lock: the woken task may run at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
