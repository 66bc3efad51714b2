//! The end of a connection within the network.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::link::{Link, WireState};
use crate::pipe::{self, LocalTransport};
use crate::transport::Transport;

/// A pipe that stops while the network between its servers is down.
///
/// As of a socket in a partition, nothing arrives, not even the end, and what is written stays in a buffer until that
/// is full. A partition that ends before a server has closed the connection loses nothing.
#[derive(Debug)]
pub(super) struct Wire {
    pipe: LocalTransport,
    link: Arc<Link>,
    state: Arc<WireState>,
    /// The end of the state that is this one.
    end: usize,
}

impl Wire {
    /// Creates both ends of a connection.
    pub(super) fn pair(link: &Arc<Link>) -> (Self, Self) {
        let state = link.add();
        let (near, far) = pipe::pipe_of_servers();
        let of = |pipe, end| Self { pipe, link: Arc::clone(link), state: Arc::clone(&state), end };
        (of(near, 0), of(far, 1))
    }
}

impl Transport for Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.register_read(self.end, cx.waker());
        if self.state.is_reset() {
            return Poll::Ready(Ok(()));
        }
        if self.link.is_down() {
            return Poll::Pending;
        }
        self.pipe.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.register_write(self.end, cx.waker());
        if self.state.is_reset() {
            return Poll::Ready(Ok(()));
        }
        if self.link.is_down() && self.pipe.is_output_closed() {
            return Poll::Pending;
        }
        self.pipe.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.state.check()?;
        if self.link.is_down() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.pipe.try_read(room)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.state.check()?;
        match self.pipe.try_write(pieces) {
            // Nothing tells this server that the other one has closed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.link.is_down() => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            result => result,
        }
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.pipe.shut_down_write()
    }
}
