//! Encodes the output of a session as frames.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;

use super::super::close::CloseFrame;
use super::super::deflate::Deflate;
use super::super::frame::{Head, Opcode};
use super::super::request::Client;
use super::lock;
use crate::transport::{ATTEMPTS, PIECES, Slices, Transport, some, yield_turn};

/// Frame size at which browsers perform better.
// NATS 2.14: wsFrameSizeForBrowsers.
const BROWSER_FRAME_BYTES: usize = 4096;

/// Shorter messages are not worth compressing.
// NATS 2.14: wsCompressThreshold.
const COMPRESS_FROM_BYTES: usize = 65;

/// Maximum size of one compressed message, and of output waiting here when the client does not
/// read; and of the frames made for a browser at once.
const BATCH_BYTES: usize = 64 << 10;

/// Pongs that wait for the end of a frame. Beyond this only the last one is sent, as RFC 6455
/// allows.
const CONTROL_BYTES: usize = 1 << 10;

/// The form of this client's frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    is_compressed: bool,
    window_bits: u8,
    frame_bytes: usize,
    compressed_frame_bytes: usize,
}

impl Style {
    pub(super) fn of(client: &Client) -> Self {
        let frame_bytes = if client.is_browser { BROWSER_FRAME_BYTES } else { usize::MAX };
        Self {
            is_compressed: client.is_compressed,
            window_bits: client.window_bits,
            frame_bytes,
            compressed_frame_bytes: if client.is_safari { usize::MAX } else { frame_bytes },
        }
    }
}

pub(super) struct Outgoing {
    style: Style,
    /// Held while the socket is written to, which never blocks: frames must not mix. The byte queue
    /// serializes publishers already, so that only a pong of the connection itself can contend
    /// here.
    state: Mutex<State>,
    /// True if bytes are left to [be sent](Self::poll_unsent).
    has_unsent: AtomicBool,
    /// The connection's task, which sends them.
    task: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// Bytes taken, to be sent next.
    unsent: Vec<u8>,
    /// Bytes still to come of a frame whose head was sent.
    owed: usize,
    /// Control frames for the next gap between two frames.
    control: Vec<u8>,
    /// A close frame was sent.
    is_closed: bool,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers for making frames, one set per thread.
#[derive(Default)]
struct Scratch {
    deflate: Option<Deflate>,
    frames: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            state: Mutex::default(),
            has_unsent: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let state = lock(&self.state);
        state.unsent.capacity() + state.control.capacity()
    }

    /// See [`Transport::try_write`].
    pub(super) fn write(
        &self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut state = lock(&self.state);
        if state.is_closed {
            // After a close frame the client reads nothing, and the session knows of the end.
            return Ok(pieces.iter().map(|piece| piece.len()).sum());
        }
        let mut done = 0;
        let result = state.write(lower, pieces, &self.style, &mut done);
        self.tell_of_unsent(&state);
        match result {
            Ok(()) => Ok(done),
            Err(error) if done > 0 && error.kind() == io::ErrorKind::WouldBlock => Ok(done),
            Err(error) => Err(error),
        }
    }

    pub(super) fn pong(&self, lower: &impl Transport, payload: &[u8]) {
        let mut state = lock(&self.state);
        if state.is_closed {
            return;
        }
        if state.control.len() > CONTROL_BYTES {
            state.control.clear();
        }
        state.control.extend_from_slice(Head::last(Opcode::Pong, payload.len()).as_bytes());
        state.control.extend_from_slice(payload);
        self.send_control(&mut state, lower);
    }

    /// Sends a close frame, unless one was sent. Returns true if the client may read it.
    pub(super) fn close(&self, lower: &impl Transport, frame: &CloseFrame) -> bool {
        let mut state = lock(&self.state);
        if !state.is_closed {
            frame.encode(&mut state.control);
            state.is_closed = true;
            self.send_control(&mut state, lower);
        }
        state.owed == 0
    }

    /// Queues a control frame; the connection sends what cannot be sent now.
    fn send_control(&self, state: &mut State, lower: &impl Transport) {
        // The next read or write reports an error.
        let _ = state.flush(lower);
        self.tell_of_unsent(state);
    }

    fn tell_of_unsent(&self, state: &State) {
        let has_unsent = !state.unsent.is_empty();
        if self.has_unsent.swap(has_unsent, Ordering::AcqRel) != has_unsent && has_unsent {
            self.task.wake();
        }
    }

    /// See [`Transport::poll_unsent`].
    pub(super) fn poll_unsent(&self, lower: &impl Transport, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        for _ in 0..ATTEMPTS {
            if !self.has_unsent.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            let mut state = lock(&self.state);
            let result = state.flush(lower);
            self.has_unsent.store(!state.unsent.is_empty(), Ordering::Release);
            drop(state);
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(lower.poll_write_ready(cx)).is_err() {
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

impl State {
    /// Adds the number of bytes taken to `done`, also on an error.
    fn write(
        &mut self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
        style: &Style,
        done: &mut usize,
    ) -> io::Result<()> {
        self.flush(lower)?;
        if self.owed > 0 {
            self.write_owed(lower, pieces, done)?;
            self.flush(lower)?;
        }
        loop {
            let rest: usize = pieces.iter().map(|piece| piece.len()).sum::<usize>() - *done;
            if rest == 0 {
                return Ok(());
            }
            if style.is_compressed && rest >= COMPRESS_FROM_BYTES {
                self.write_compressed(lower, pieces, style, done)?;
            } else if style.frame_bytes < rest {
                self.write_small_frames(lower, pieces, style.frame_bytes, done)?;
            } else {
                self.write_frame(lower, pieces, done)?;
            }
        }
    }

    /// Sends remaining bytes, and the control frames if no frame is open.
    fn flush(&mut self, lower: &impl Transport) -> io::Result<()> {
        loop {
            if self.unsent.is_empty() && self.owed == 0 {
                self.unsent = std::mem::take(&mut self.control);
            }
            if self.unsent.is_empty() {
                // Frees the memory of a batch.
                self.unsent = Vec::new();
                return Ok(());
            }
            let sent = some(lower.try_write(&[IoSlice::new(&self.unsent)]))?;
            self.unsent.drain(..sent);
        }
    }

    /// Continues a frame that was begun.
    fn write_owed(
        &mut self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        while self.owed > 0 {
            let mut slices = Slices::new();
            let wanted = slices.push_all(pieces, *done, self.owed);
            if wanted == 0 {
                return Ok(());
            }
            let sent = some(lower.try_write(slices.as_slice()))?;
            self.owed -= sent;
            *done += sent;
        }
        Ok(())
    }

    /// Writes everything as one frame, without copying.
    fn write_frame(
        &mut self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
        done: &mut usize,
    ) -> io::Result<()> {
        let mut payload = Slices::new();
        // Leaves a place for the head.
        let len = payload.push_all(&pieces[..pieces.len().min(PIECES - 1)], *done, usize::MAX);
        let head = Head::last(Opcode::Binary, len);
        let mut slices = Slices::new();
        slices.push(head.as_bytes());
        slices.push_all(payload.as_slice(), 0, usize::MAX);
        let sent = some(lower.try_write(slices.as_slice()))?;
        self.sent_of_frame(&head, len, sent, done)
    }

    /// Writes frames of a limited size, as many as fit into a batch.
    fn write_small_frames(
        &mut self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
        frame_bytes: usize,
        done: &mut usize,
    ) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let frames = &mut scratch.frames;
            frames.clear();
            let mut made = Vec::new();
            let mut at = *done;
            while frames.len() < BATCH_BYTES {
                let mut payload = Slices::new();
                let len = payload.push_all(pieces, at, frame_bytes);
                if len == 0 {
                    break;
                }
                let head = Head::last(Opcode::Binary, len);
                frames.extend_from_slice(head.as_bytes());
                payload.as_slice().iter().for_each(|piece| frames.extend_from_slice(piece));
                made.push((head, len));
                at += len;
            }
            let mut sent = some(lower.try_write(&[IoSlice::new(frames)]))?;
            for (head, len) in made {
                let of_this = sent.min(head.as_bytes().len() + len);
                if of_this == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                sent -= of_this;
                self.sent_of_frame(&head, len, of_this, done)?;
            }
            Ok(())
        })
    }

    /// Records the progress of a frame.
    fn sent_of_frame(
        &mut self,
        head: &Head,
        len: usize,
        sent: usize,
        done: &mut usize,
    ) -> io::Result<()> {
        let head = head.as_bytes();
        let payload = sent.saturating_sub(head.len());
        self.unsent.extend_from_slice(&head[sent.min(head.len())..]);
        self.owed = len - payload;
        *done += payload;
        if self.owed > 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Writes a batch as one compressed message, which is taken completely.
    fn write_compressed(
        &mut self,
        lower: &impl Transport,
        pieces: &[IoSlice<'_>],
        style: &Style,
        done: &mut usize,
    ) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { deflate, frames } = scratch;
            let deflate = deflate.get_or_insert_default();
            let mut batch = Slices::new();
            let len = batch.push_all(pieces, *done, BATCH_BYTES);
            let batch = batch.as_slice().iter().map(|piece| &**piece);
            let message = deflate.message(batch, style.window_bits);
            frames.clear();
            let mut rest = &*message;
            let mut is_first = true;
            while !rest.is_empty() {
                let (half_close, behind) =
                    rest.split_at(rest.len().min(style.compressed_frame_bytes));
                rest = behind;
                let opcode = if is_first { Opcode::Binary } else { Opcode::Continuation };
                let head = Head::new(opcode, rest.is_empty(), is_first, half_close.len());
                frames.extend_from_slice(head.as_bytes());
                frames.extend_from_slice(half_close);
                is_first = false;
            }
            let sent = match some(lower.try_write(&[IoSlice::new(frames)])) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            *done += len;
            if sent == frames.len() {
                return Ok(());
            }
            self.unsent.extend_from_slice(&frames[sent..]);
            Err(io::ErrorKind::WouldBlock.into())
        })
    }
}
