//! Stalls between a server and its sockets, for tests.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use broker_core::CloseReason;
use bytes::BytesMut;

use crate::transport::{Compression, Socket, Transport};

/// The gates of the connections of one server.
#[derive(Debug, Default)]
pub(crate) struct StallGates {
    by_id: Mutex<HashMap<u64, Weak<Gate>>>,
    /// The number of connections still to be refused.
    refusing: AtomicUsize,
}

/// A gate in both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) reads: Lane,
    pub(crate) writes: Lane,
}

/// One direction of a gate.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    is_shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

/// A transport that stalls while its gate is shut.
struct Gated {
    behind: Arc<Socket>,
    gate: Arc<Gate>,
    gates: Arc<StallGates>,
}

impl StallGates {
    pub(crate) fn refuse(&self, count: usize) {
        self.refusing.store(count, Ordering::Release);
    }

    /// Returns true if the next connection is to be refused.
    pub(crate) fn refuse_one(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.refusing.try_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }

    /// Wraps a connection in a gate.
    pub(crate) fn put_before(self: &Arc<Self>, behind: Arc<Socket>) -> Arc<Socket> {
        let (gate, gates) = (Arc::default(), Arc::clone(self));
        Arc::new(Socket::new(Gated { behind, gate, gates }))
    }

    /// Returns the gate of the connection with this id.
    pub(crate) fn of(&self, id: u64) -> Option<Arc<Gate>> {
        self.by_id().get(&id).and_then(Weak::upgrade)
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<u64, Weak<Gate>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    pub(crate) fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
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
        // The lane may have been opened in between.
        if self.is_shut.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Transport for Gated {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gate.reads.poll_open(cx) {
            Poll::Ready(()) => self.behind.transport.poll_read_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gate.writes.poll_open(cx) {
            Poll::Ready(()) => self.behind.transport.poll_write_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.gate.reads.check()?;
        self.behind.transport.try_read(room)
    }

    fn try_read_behind(&self, data: &mut BytesMut, most: usize) -> io::Result<usize> {
        self.gate.reads.check()?;
        self.behind.transport.try_read_behind(data, most)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.gate.writes.check()?;
        self.behind.transport.try_write(pieces)
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.gate.writes.poll_open(cx) {
            Poll::Ready(()) => self.behind.transport.poll_unsent(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn say_why(&self, reason: CloseReason) -> bool {
        self.gate.writes.check().is_ok() && self.behind.transport.say_why(reason)
    }

    fn compression(&self) -> Option<&dyn Compression> {
        self.behind.transport.compression()
    }

    fn note_id(&self, id: u64) {
        let mut by_id = self.gates.by_id();
        by_id.retain(|_, gate| gate.strong_count() > 0);
        by_id.insert(id, Arc::downgrade(&self.gate));
    }

    fn cork(&self) {
        self.behind.transport.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        self.behind.transport.shut_down_write()
    }
}
