//! In-process connections: the wire protocol without a socket.

mod lane;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;
use lane::Lane;

/// Bytes in flight in each direction, for an authenticated client.
const BOUND_BYTES: usize = 64 << 10;

/// Bytes in flight from an unauthenticated client.
const UNAUTHENTICATED_BOUND_BYTES: usize = 8 << 10;

/// A connection without a socket, returned by [`Server::connect`](crate::Server::connect).
///
/// Bytes in flight are bounded, so that each side waits for the other as with a socket. Dropping it
/// closes the connection.
///
/// # Cancel safety
///
/// Reading and writing are cancel safe, as with a socket: bytes not reported as written were not
/// written, and bytes not returned can still be read.
#[derive(Debug)]
pub struct LocalStream {
    lanes: Arc<Lanes>,
}

/// The end of a server.
#[derive(Debug)]
pub(crate) struct LocalTransport {
    lanes: Arc<Lanes>,
    /// True for the end in place of the client's.
    is_far: bool,
}

#[derive(Debug)]
struct Lanes {
    to_server: Lane,
    to_client: Lane,
}

/// Creates both ends.
pub(crate) fn pipe() -> (LocalStream, LocalTransport) {
    let lanes = Arc::new(Lanes {
        to_server: Lane::new(UNAUTHENTICATED_BOUND_BYTES),
        to_client: Lane::new(BOUND_BYTES),
    });
    (LocalStream { lanes: Arc::clone(&lanes) }, LocalTransport { lanes, is_far: false })
}

/// Creates both ends of a connection between two servers.
#[cfg(feature = "testing")]
pub(crate) fn pipe_of_servers() -> (LocalTransport, LocalTransport) {
    let lanes = Arc::new(Lanes {
        to_server: Lane::new(UNAUTHENTICATED_BOUND_BYTES),
        to_client: Lane::new(UNAUTHENTICATED_BOUND_BYTES),
    });
    let near = LocalTransport { lanes: Arc::clone(&lanes), is_far: false };
    (near, LocalTransport { lanes, is_far: true })
}

impl LocalTransport {
    fn input(&self) -> &Lane {
        if self.is_far { &self.lanes.to_client } else { &self.lanes.to_server }
    }

    fn output(&self) -> &Lane {
        if self.is_far { &self.lanes.to_server } else { &self.lanes.to_client }
    }

    /// Returns true if nothing can be written any more: an end has closed.
    #[cfg(feature = "testing")]
    pub(crate) fn is_output_closed(&self) -> bool {
        self.output().is_closed()
    }
}

impl Transport for LocalTransport {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input().poll_read_ready(cx).map(Ok)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output().poll_write_ready(cx).map(Ok)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        // The bound is raised once the client has authenticated.
        if room.len() > UNAUTHENTICATED_BOUND_BYTES {
            self.input().widen(BOUND_BYTES);
        }
        self.input().try_read(room)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.output().try_write(pieces)
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.output().finish();
        Ok(())
    }
}

impl Drop for LocalTransport {
    fn drop(&mut self) {
        self.output().finish();
        self.input().abandon();
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let lane = &self.lanes.to_client;
        loop {
            match lane.try_read(buf.initialize_unfilled()) {
                Ok(len) => {
                    budget.made_progress();
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(lane.poll_read_ready(cx));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let lane = &self.lanes.to_server;
        loop {
            match lane.try_write(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(lane.poll_write_ready(cx));
                }
                result => {
                    budget.made_progress();
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lanes.to_server.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        self.lanes.to_server.finish();
        self.lanes.to_client.abandon();
    }
}
