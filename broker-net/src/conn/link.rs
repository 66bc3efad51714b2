//! The socket as two sides use it: the connection's own task, and whoever publishes to it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use broker_core::outlet::Link;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::buffers::with_buffers;

/// A TCP connection that any thread may write to without waiting.
pub(super) struct Socket {
    stream: TcpStream,
    task: AtomicWaker,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, task: AtomicWaker::new() }
    }

    /// Whom to wake when something is left to be done.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Reads with `read`, which gets the stream and returns how much it read and how much it had room
    /// for. A short read says that there is no more now, which spares the next one: epoll tells when
    /// that changes.
    pub(super) fn try_read(
        &self,
        read: impl FnOnce(&TcpStream) -> io::Result<(usize, usize)>,
    ) -> io::Result<usize> {
        let mut got = 0;
        let result = self.stream.try_io(Interest::READABLE, || {
            let (len, room) = read(&self.stream)?;
            got = len;
            if 0 < len && len < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match result {
            Err(error) if got == 0 => Err(error),
            _ => Ok(got),
        }
    }

    /// Keeps what is written until a segment is full, or [the end](Self::say_end) is said. Where it
    /// cannot, things come in two pieces.
    pub(super) fn cork(&self) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.stream).set_tcp_cork(true);
    }

    /// Says that nothing more will be sent.
    pub(super) fn say_end(&self) {
        let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }

    /// Says that nothing more will be sent, and throws away what still comes, within bounds.
    pub(super) async fn linger(&self, time: Duration, mut bytes: usize) {
        if socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let throwing_away = async {
            while bytes > 0 && self.stream.readable().await.is_ok() {
                // Memory of the connection's own would be there all its life.
                match with_buffers(|buffers| self.stream.try_read(&mut buffers.read)) {
                    Ok(0) => return,
                    Ok(len) => bytes = bytes.saturating_sub(len),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        // Whoever still sends then is cut.
        let _ = tokio::time::timeout(time, throwing_away).await;
    }
}

/// What the core holds to write by, for as long as the session lives.
pub(super) struct Writer(pub(super) Arc<Socket>);

impl Link for Writer {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [piece] => self.0.stream.try_write(piece),
            _ => self.0.stream.try_write_vectored(pieces),
        }
    }

    fn wake(&self) {
        self.0.task.wake();
    }
}
