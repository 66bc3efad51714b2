//! Transports of connections: TCP, Unix sockets, memory, and the layers TLS, WebSocket and compression above them.

mod attempts;
mod buffers;
#[cfg(feature = "compression")]
mod compressed;
#[cfg(any(feature = "compression", feature = "websocket"))]
mod slices;
mod socket;
#[cfg(unix)]
mod unix;

#[cfg(any(feature = "compression", feature = "tls-core", feature = "websocket"))]
pub(crate) use attempts::ATTEMPTS;
#[cfg(any(test, feature = "testing"))]
pub(crate) use attempts::false_readiness;
pub(crate) use attempts::{poll_io, yield_long_turn, yield_turn};
pub(crate) use buffers::{Buffers, READ_BYTES, with_buffers};
#[cfg(feature = "compression")]
pub(crate) use compressed::compressible;
#[cfg(any(feature = "compression", feature = "websocket"))]
pub(crate) use slices::{PIECES, Slices, some};
pub(crate) use socket::{Socket, Writer};

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll};

use broker_core::CloseReason;
use broker_core::transport::CompressionLevel;
use bytes::{BufMut, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// An error of [`Transport::try_read`] that is logged: the peer broke the protocol of a layer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

/// A non-blocking byte stream. Any thread may write; only the task of the connection does the rest.
///
/// A transport that has taken bytes from [`Self::try_write`] and not sent all of them (a record, a frame) sends the
/// rest when [`Self::poll_unsent`] is called, and takes no more before that: so the byte queue sees that its client
/// does not read.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Ready when [`Self::try_read`] makes progress, unless the transport below is not as ready as it claims.
    /// Readiness is derived from the state, so that no code can forget to clear it.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when [`Self::try_write`] may make progress.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads available bytes. Returns 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing is available: then [`Self::poll_read_ready`] wakes the task when that
    /// changes. [`io::ErrorKind::Interrupted`] if something was read that carries nothing for the caller: a layer
    /// does not read on by itself, because a client that sends only such input would hold the thread.
    fn try_read(&self, room: &mut [u8]) -> io::Result<usize>;

    /// Reads available bytes, `most` at most, and appends them to `data`.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::try_read`] does.
    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        let before = data.len();
        data.resize(before + most, 0);
        let result = self.try_read(&mut data[before..]);
        data.truncate(before + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// Writes as many bytes as can be written now.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if none can be.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ready when all bytes taken have been sent, or the transport is broken. Called on each turn of the connection,
    /// so it must be cheap when there are none.
    fn poll_unsent(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Sends the close reason behind all other bytes, if the transport has a form for it. Returns true
    /// if it does.
    fn say_why(&self, _reason: CloseReason) -> bool {
        false
    }

    /// Returns the switch of the compression layer, if the transport has one.
    fn compression(&self) -> Option<&dyn Compression> {
        None
    }

    /// Records the connection id.
    #[cfg(feature = "testing")]
    fn note_id(&self, _id: u64) {}

    /// Holds back written bytes until there are many, or until [`Self::shut_down_write`], so that both
    /// arrive together. A transport that cannot do so sends them one after the other.
    fn cork(&self) {}

    /// Shuts down the write side.
    ///
    /// # Errors
    ///
    /// The connection is gone already.
    fn shut_down_write(&self) -> io::Result<()>;
}

/// The switch of a compression layer, which begins without compression.
pub(crate) trait Compression {
    /// Returns true after [`Self::begin`].
    fn has_begun(&self) -> bool;

    /// Compresses what is written from now on, and decompresses what is read from now on. `received` was read before
    /// and not consumed: it is decompressed first. All bytes that must not be compressed have been written.
    fn begin(&self, level: CompressionLevel, received: &[u8]);

    /// Changes the level of what is written from now on.
    fn set_level(&self, level: CompressionLevel);
}

impl Transport for TcpStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        let most = room.len();
        until_short(self, most, || self.try_read(room))
    }

    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        until_short(self, most, || self.try_read_buf(&mut data.limit(most)))
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [piece] => self.try_write(piece),
            _ => self.try_write_vectored(pieces),
        }
    }

    fn cork(&self) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(self).set_tcp_cork(true);
    }

    fn shut_down_write(&self) -> io::Result<()> {
        socket2::SockRef::from(self).shutdown(Shutdown::Write)
    }
}

/// Reads once. A short read means that no more is available at the moment, which spares the next read: epoll reports
/// when that changes.
fn until_short(
    stream: &TcpStream,
    most: usize,
    read: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut got = 0;
    let result = stream.try_io(Interest::READABLE, || {
        got = read()?;
        if 0 < got && got < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match result {
        Err(error) if got == 0 => Err(error),
        _ => Ok(got),
    }
}
