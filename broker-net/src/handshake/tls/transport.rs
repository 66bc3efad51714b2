//! TLS between a session and the transport below.
//!
//! The publishing thread encrypts records in a buffer of its own and writes them at once; decrypted ones go straight
//! to the reader. So an idle connection owns its keys and no buffer; a busy one at most the beginning of a record,
//! the end of another, and the bytes that the socket did not take.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::WriteTraffic;

use super::buffers::{
    CIPHER_BYTES, KEPT_BYTES, READ_BYTES, RECORD_BYTES, SEALED_BYTES, TlsBuffers, with_tls_buffers,
};
use super::leftover::Leftover;
use super::pieces::Cursor;
use super::side::Side;
use super::state::State;
use crate::transport::{ATTEMPTS, Transport, yield_turn};

/// TLS over another transport, of either side; plain until [`Self::begin`].
pub(crate) struct TlsTransport<T: Transport, D: Side = ServerConnectionData> {
    pub(super) below: T,
    /// Woken when there are bytes left to send.
    task: AtomicWaker,
    /// True once TLS has begun.
    pub(super) is_tls: AtomicBool,
    /// True if input taken from below is buffered.
    pub(super) has_input: AtomicBool,
    /// True if output taken from above is unsent.
    pub(super) has_unsent: AtomicBool,
    state: Mutex<State<D>>,
}

impl<T: Transport, D: Side> TlsTransport<T, D> {
    pub(crate) fn new(below: T) -> Self {
        Self {
            below,
            task: AtomicWaker::new(),
            is_tls: AtomicBool::new(false),
            has_input: AtomicBool::new(false),
            has_unsent: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<D>> {
        // A panic of rustls may have poisoned the lock: its connection reports an error from then on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes input already decrypted, or received before TLS.
    fn take_input(&self, room: &mut [u8]) -> Option<usize> {
        if !self.has_input.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let state = &mut *state;
        if state.tls.is_none() && state.plain.is_empty() {
            state.plain = Leftover { bytes: mem::take(&mut state.incoming), at: 0 };
        }
        let rest = state.plain.rest();
        let len = rest.len().min(room.len());
        room[..len].copy_from_slice(&rest[..len]);
        if len > 0 {
            state.plain.advance(len);
        }
        // The end of the stream stays readable.
        let has_input = !state.plain.is_empty() || state.has_ended;
        self.has_input.store(has_input, Ordering::Release);
        (len > 0 || state.has_ended).then_some(len)
    }

    fn read(&self, room: &mut [u8], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let mut filled = 0;
        // Reads no more often than a full room needs: records may carry no data.
        for _ in 0..ATTEMPTS {
            let most = (room.len() - filled).clamp(READ_BYTES / 16, READ_BYTES);
            let read = &mut buffers.cipher[KEPT_BYTES..KEPT_BYTES + most];
            let len = match self.below.try_read(read) {
                Ok(len) => len,
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            };
            if len == 0 {
                self.lock().has_ended = true;
                self.has_input.store(true, Ordering::Release);
                return Ok(filled);
            }
            filled += self.open(len, &mut room[filled..], buffers)?;
            let has_ended = self.has_input.load(Ordering::Acquire);
            if filled == room.len() || has_ended {
                return Ok(filled);
            }
            // After a short read the transport below has no more, and wakes the task when it has.
            if len < most {
                break;
            }
        }
        if filled > 0 { Ok(filled) } else { Err(io::ErrorKind::Interrupted.into()) }
    }

    /// Decrypts the bytes just read together with the kept ones; returns how many bytes of the room it filled.
    fn open(&self, len: usize, room: &mut [u8], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let mut state = self.lock();
        let kept = state.incoming.len();
        let begin = KEPT_BYTES - kept;
        buffers.cipher[begin..KEPT_BYTES].copy_from_slice(&state.incoming);
        let input = &mut buffers.cipher[begin..KEPT_BYTES + len];
        let processed = state.process(input, room, |_| ());
        let rest = &input[processed.used..];
        state.incoming.clear();
        if rest.is_empty() || state.has_ended {
            state.incoming = Vec::new();
        } else if rest.len() > KEPT_BYTES {
            // No record is that long, and no client message after the handshake.
            return Err(io::ErrorKind::InvalidData.into());
        } else {
            state.incoming.extend_from_slice(rest);
        }
        self.has_input.store(!state.plain.is_empty() || state.has_ended, Ordering::Release);
        let must_send = !state.unsent.is_empty();
        drop(state);
        if must_send {
            self.leave_unsent();
        }
        match processed.result {
            Ok(()) => Ok(processed.filled),
            Err(error) => {
                let _ = self.send_unsent();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let TlsBuffers { cipher, gathered } = buffers;
        let mut pieces = Cursor::new(pieces);
        let mut taken = 0;
        loop {
            let mut state = self.lock();
            if state.has_failed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // The writing thread wakes the task when it is done, and unsent bytes go first.
            if state.is_writing || state.is_handshaking() || !state.unsent.is_empty() {
                state.must_wake |= state.is_writing;
                return if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::WouldBlock.into()) };
            }
            let mut sealed = 0;
            while sealed + SEALED_BYTES <= cipher.len() {
                let plain = pieces.take(RECORD_BYTES, gathered);
                if plain.is_empty() {
                    break;
                }
                sealed += state.seal(plain, &mut cipher[sealed..])?;
                taken += plain.len();
            }
            if sealed == 0 {
                return Ok(taken);
            }
            state.is_writing = true;
            drop(state);
            let result = self.below.try_write(&[IoSlice::new(&cipher[..sealed])]);
            self.wrote(&cipher[..sealed], result)?;
        }
    }

    /// Handles the result of writing `sealed`. Keeps the bytes that were not written.
    fn wrote(&self, sealed: &[u8], result: io::Result<usize>) -> io::Result<()> {
        let written = match result {
            Ok(written) => written,
            Err(error) if is_passing(&error) => 0,
            Err(error) => {
                self.lock().is_writing = false;
                return Err(error);
            }
        };
        let mut state = self.lock();
        state.is_writing = false;
        let left = &sealed[written..];
        state.unsent.put_before(Leftover { bytes: left.to_vec(), at: 0 });
        let is_left = !state.unsent.is_empty();
        let must_wake = mem::take(&mut state.must_wake);
        drop(state);
        if is_left {
            self.leave_unsent();
        } else if must_wake {
            self.task.wake();
        }
        Ok(())
    }

    /// Leaves unsent bytes to the task.
    fn leave_unsent(&self) {
        self.has_unsent.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Sends unsent bytes; returns true if all were sent.
    fn send_unsent(&self) -> io::Result<bool> {
        let mut state = self.lock();
        if state.is_writing {
            state.must_wake = true;
            return Ok(false);
        }
        if state.unsent.is_empty() {
            self.has_unsent.store(false, Ordering::Release);
            return Ok(true);
        }
        let mut unsent = mem::take(&mut state.unsent);
        state.is_writing = true;
        drop(state);
        let result = self.below.try_write(&[IoSlice::new(unsent.rest())]);
        let mut state = self.lock();
        state.is_writing = false;
        state.must_wake = false;
        match result {
            Ok(written) => unsent.advance(written),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        state.unsent.put_before(unsent);
        let is_all = state.unsent.is_empty();
        self.has_unsent.store(!is_all, Ordering::Release);
        Ok(is_all)
    }
}

/// Returns true if a later attempt can succeed.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<T: Transport, D: Side> Transport for TlsTransport<T, D> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_input.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.below.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx));
        self.below.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(len) = self.take_input(room) {
            return Ok(len);
        }
        if !self.is_tls.load(Ordering::Acquire) {
            return self.below.try_read(room);
        }
        with_tls_buffers(|buffers| self.read(room, buffers))
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_tls.load(Ordering::Acquire) {
            return self.below.try_write(pieces);
        }
        with_tls_buffers(|buffers| self.write(pieces, buffers))
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        for _ in 0..ATTEMPTS {
            if !self.has_unsent.load(Ordering::Acquire) {
                return self.below.poll_unsent(cx);
            }
            // The next write reports the error.
            if ready!(self.below.poll_write_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.send_unsent() {
                Ok(true) => {}
                Ok(false) if self.lock().is_writing => return Poll::Pending,
                Ok(false) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        yield_turn(cx)
    }

    fn cork(&self) {
        self.below.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        if self.is_tls.load(Ordering::Acquire) {
            self.say_goodbye();
        }
        self.below.shut_down_write()
    }
}

/// Announces the end of the stream: a connection that ends without a close alert may have been cut by an attacker.
impl<T: Transport, D: Side> Drop for TlsTransport<T, D> {
    fn drop(&mut self) {
        if *self.is_tls.get_mut() {
            self.say_goodbye();
        }
    }
}

impl<T: Transport, D: Side> TlsTransport<T, D> {
    /// Sends the close alert, as far as it can be sent now.
    fn say_goodbye(&self) {
        let mut state = self.lock();
        if state.has_failed || state.is_writing || mem::replace(&mut state.has_said_goodbye, true) {
            return;
        }
        let mut incoming = mem::take(&mut state.incoming);
        let mut alert = [0; 64];
        let say = |mut traffic: WriteTraffic<'_, _>| traffic.queue_close_notify(&mut alert);
        let processed = state.process(&mut incoming, &mut [], say);
        incoming.drain(..processed.used);
        state.incoming = incoming;
        if let Some(Ok(len)) = processed.done {
            state.unsent.bytes.extend_from_slice(&alert[..len]);
        }
        drop(state);
        let _ = self.send_unsent();
    }
}

const _: () = assert!(CIPHER_BYTES >= KEPT_BYTES + READ_BYTES && CIPHER_BYTES >= SEALED_BYTES);
