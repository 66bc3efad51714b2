//! S2 streams over any other transport, in both directions. They begin when the session asks for it; before that, all
//! bytes pass unchanged.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use broker_core::CloseReason;
use broker_core::transport::CompressionLevel;
use bytes::BytesMut;

use super::{Compression, Socket, Transport};
use incoming::Incoming;
use outgoing::Outgoing;

/// Puts the layer before a connection, whose session may then ask for compression.
pub(crate) fn compressible(below: Arc<Socket>) -> Arc<Socket> {
    Arc::new(Socket::new(CompressedTransport::new(below)))
}

/// A layer that compresses what is written, and decompresses what is read.
struct CompressedTransport<T> {
    below: T,
    outgoing: Outgoing,
    /// Only the connection's own task reads, so that this lock is never contended.
    incoming: Mutex<Incoming>,
}

impl<T: Transport> CompressedTransport<T> {
    fn new(below: T) -> Self {
        Self { below, outgoing: Outgoing::default(), incoming: Mutex::default() }
    }

    /// Returns the bytes held for the connection.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        lock(&self.incoming).held_bytes() + self.outgoing.held_bytes()
    }
}

impl<T: Transport> Compression for CompressedTransport<T> {
    fn has_begun(&self) -> bool {
        self.outgoing.level().is_some()
    }

    fn begin(&self, level: CompressionLevel, received: &[u8]) {
        lock(&self.incoming).begin(received);
        self.outgoing.set_level(level);
    }

    fn set_level(&self, level: CompressionLevel) {
        self.outgoing.set_level(level);
    }
}

impl<T: Transport> Transport for CompressedTransport<T> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_begun() && lock(&self.incoming).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.below.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx));
        self.below.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun() {
            return self.below.try_read(room);
        }
        lock(&self.incoming).read(&self.below, room)
    }

    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        if !self.has_begun() {
            return self.below.try_read_behind(data, most);
        }
        let before = data.len();
        data.resize(before + most, 0);
        let result = self.try_read(&mut data[before..]);
        data.truncate(before + result.as_ref().copied().unwrap_or(0));
        result
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.outgoing.level() {
            Some(level) => self.outgoing.write(&self.below, level, pieces),
            None => self.below.try_write(pieces),
        }
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.outgoing.poll_unsent(&self.below, cx));
        self.below.poll_unsent(cx)
    }

    fn say_why(&self, reason: CloseReason) -> bool {
        self.below.say_why(reason)
    }

    fn compression(&self) -> Option<&dyn Compression> {
        Some(self)
    }

    #[cfg(feature = "testing")]
    fn note_id(&self, id: u64) {
        self.below.note_id(id);
    }

    fn cork(&self) {
        self.below.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.below.shut_down_write()
    }
}

/// The guarded state is consistent between any two statements that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
