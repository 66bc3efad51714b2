//! The transport as two sides use it: the connection's own task, and the publishers that write to it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use broker_core::CloseReason;
use broker_core::endpoint::WriteHandle;
#[cfg(any(feature = "compression", all(feature = "tls-core", feature = "websocket")))]
use bytes::BytesMut;
use std::future::poll_fn;
use tokio::task::coop::consume_budget;

#[cfg(any(feature = "compression", all(feature = "tls-core", feature = "websocket")))]
use super::Compression;
use super::Transport;
use super::attempts::poll_io;
use super::buffers::{Buffers, with_buffers};

/// The size of one read of discarded bytes.
const LINGER_READ_BYTES: usize = 8 << 10;

/// A connection that any thread may write to without waiting.
pub(crate) struct Socket<T: ?Sized = dyn Transport> {
    task: AtomicWaker,
    pub(crate) transport: T,
}

impl<T> Socket<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, task: AtomicWaker::new() }
    }
}

impl<T: ?Sized> Socket<T> {
    #[cfg(feature = "tls-core")]
    pub(crate) fn transport(&self) -> &T {
        &self.transport
    }
}

/// Lets a layer above another transport share it.
#[cfg(any(feature = "compression", all(feature = "tls-core", feature = "websocket")))]
impl<T: Transport + ?Sized> Transport for Arc<Socket<T>> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.transport.try_read(room)
    }

    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        self.transport.try_read_behind(data, most)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.transport.try_write(pieces)
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.poll_unsent(cx)
    }

    fn say_why(&self, reason: CloseReason) -> bool {
        self.transport.say_why(reason)
    }

    fn compression(&self) -> Option<&dyn Compression> {
        self.transport.compression()
    }

    #[cfg(feature = "testing")]
    fn note_id(&self, id: u64) {
        self.transport.note_id(id);
    }

    fn cork(&self) {
        self.transport.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.transport.shut_down_write()
    }
}

impl Socket {
    /// Registers the task to wake when there is work left to do.
    pub(crate) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_read_ready(cx)
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_write_ready(cx)
    }

    /// Sends the close reason, if the transport has a form for it. Returns true if it was sent.
    pub(crate) async fn say_why(&self, reason: CloseReason, time: Duration) -> bool {
        let is_said = self.transport.say_why(reason);
        if is_said {
            let sending = poll_fn(|cx| self.transport.poll_unsent(cx));
            let _ = tokio::time::timeout(time, sending).await;
        }
        is_said
    }

    /// Shuts down the write side, and discards input within bounds.
    pub(crate) async fn linger(&self, time: Duration, mut bytes: usize) {
        if self.transport.shut_down_write().is_err() {
            return;
        }
        let throwing_away = async {
            // A buffer of the connection's own would be held all its life; and the read must not be larger than an
            // unauthenticated client's, or a layer below would keep more for it.
            let try_read = |buffers: &mut Buffers| {
                self.transport.try_read(&mut buffers.read[..LINGER_READ_BYTES])
            };
            let read = || with_buffers(try_read);
            while bytes > 0 {
                match poll_fn(|cx| poll_io(cx, |cx| self.poll_read_ready(cx), read)).await {
                    Ok(0) | Err(_) => return,
                    Ok(len) => bytes = bytes.saturating_sub(len),
                }
                consume_budget().await;
            }
        };
        // A client that still sends after that is disconnected.
        let _ = tokio::time::timeout(time, throwing_away).await;
    }
}

/// The handle by which the core writes, for as long as the session lives.
pub(crate) struct Writer(pub(crate) Arc<Socket>);

impl WriteHandle for Writer {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.transport.try_write(pieces)
    }

    fn wake(&self) {
        self.0.task.wake();
    }
}
