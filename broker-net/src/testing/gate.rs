//! Between a server and its sockets: where a test stalls connections, or lets none in.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use crate::conn::Transport;

/// The gates of one server.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    by_remote: Mutex<HashMap<SocketAddr, Weak<Gate>>>,
    /// How many connections are still to be refused.
    refusing: AtomicUsize,
}

/// What a connection's bytes go through.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) reads: Lane,
    pub(super) writes: Lane,
}

/// One way through it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    is_shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

/// A transport behind a gate.
pub(crate) struct Gated<T> {
    inner: T,
    gate: Arc<Gate>,
}

impl Gates {
    pub(super) fn refuse(&self, count: usize) {
        self.refusing.store(count, Ordering::Release);
    }

    /// Puts a gate before a connection that has just come; none if it is to be refused.
    pub(crate) fn admit<T>(&self, inner: T, remote: SocketAddr) -> Option<Gated<T>> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.refusing.try_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok() {
            return None;
        }
        let gate = Arc::new(Gate::default());
        let mut by_remote = self.by_remote();
        by_remote.retain(|_, gate| gate.strong_count() > 0);
        by_remote.insert(remote, Arc::downgrade(&gate));
        Some(Gated { inner, gate })
    }

    /// The gate of the connection that comes from there.
    pub(super) fn of(&self, remote: SocketAddr) -> Option<Arc<Gate>> {
        self.by_remote().get(&remote).and_then(Weak::upgrade)
    }

    fn by_remote(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<Gate>>> {
        self.by_remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
    }

    pub(super) fn open(&self) {
        self.is_shut.store(false, Ordering::Release);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.is_shut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // It may have been opened in between.
        if self.is_shut.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<T: Transport> Transport for Gated<T> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gate.reads.poll_open(cx) {
            Poll::Ready(()) => self.inner.poll_read_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gate.writes.poll_open(cx) {
            Poll::Ready(()) => self.inner.poll_write_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.gate.reads.check()?;
        self.inner.try_read(room)
    }

    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        self.gate.reads.check()?;
        self.inner.try_read_behind(data, most)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.gate.writes.check()?;
        self.inner.try_write(pieces)
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.gate.writes.poll_open(cx) {
            Poll::Ready(()) => self.inner.poll_unsent(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn cork(&self) {
        self.inner.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.inner.shut_down_write()
    }
}
