//! WebSocket frames over any other transport.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use broker_core::CloseReason;

use super::close::CloseFrame;
use super::request::Client;
use crate::transport::Transport;
use incoming::Incoming;
use outgoing::{Outgoing, Style};

/// Frames over another transport.
pub(crate) struct WebSocketTransport<T> {
    lower: T,
    /// Only the connection's own task reads, so that this lock is never contended.
    incoming: Mutex<Incoming>,
    outgoing: Outgoing,
}

impl<T: Transport> WebSocketTransport<T> {
    /// Creates the transport. `lower` has delivered the client's request and sent the accepting
    /// response.
    pub(crate) fn new(lower: T, client: &Client, max_payload_bytes: usize) -> Self {
        Self {
            lower,
            incoming: Mutex::new(Incoming::new(client, max_payload_bytes)),
            outgoing: Outgoing::new(Style::of(client)),
        }
    }

    /// Returns the bytes held for the connection, without a decompressor.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + lock(&self.incoming).held_bytes() + self.outgoing.held_bytes()
    }
}

impl<T: Transport> Transport for WebSocketTransport<T> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if lock(&self.incoming).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.lower.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx));
        self.lower.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        lock(&self.incoming).read(&self.lower, &self.outgoing, room)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outgoing.write(&self.lower, pieces)
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.outgoing.poll_unsent(&self.lower, cx));
        self.lower.poll_unsent(cx)
    }

    fn cork(&self) {
        self.lower.cork();
    }

    fn say_why(&self, reason: CloseReason) -> bool {
        self.outgoing.close(&self.lower, &CloseFrame::for_reason(reason))
    }

    fn shut_down_write(&self) -> io::Result<()> {
        lock(&self.incoming).shut();
        self.lower.shut_down_write()
    }
}

/// The guarded state is consistent between any two statements that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
