//! The network between two servers: its state, and their connections.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use tokio::sync::watch;

/// The network between two servers.
#[derive(Debug)]
pub(super) struct Link {
    is_down: watch::Sender<bool>,
    wires: Mutex<Vec<Weak<WireState>>>,
}

impl Default for Link {
    fn default() -> Self {
        Self { is_down: watch::Sender::new(false), wires: Mutex::default() }
    }
}

impl Link {
    pub(super) fn is_down(&self) -> bool {
        *self.is_down.borrow()
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
        if !is_down {
            self.wires().iter().filter_map(Weak::upgrade).for_each(|wire| wire.wake());
        }
    }

    /// Returns when the network is up.
    pub(super) async fn wait_up(&self) {
        let mut is_down = self.is_down.subscribe();
        // The sender is held by `self`.
        let _ = is_down.wait_for(|is_down| !is_down).await;
    }

    /// Adds a connection.
    pub(super) fn add(&self) -> Arc<WireState> {
        let state = Arc::<WireState>::default();
        let mut wires = self.wires();
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(&state));
        state
    }

    /// Resets all connections: both servers notice it at once, also during a partition.
    pub(super) fn reset(&self) {
        let wires = std::mem::take(&mut *self.wires());
        wires.iter().filter_map(Weak::upgrade).for_each(|wire| wire.reset());
    }

    fn wires(&self) -> MutexGuard<'_, Vec<Weak<WireState>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state that both ends of a connection share.
#[derive(Debug, Default)]
pub(super) struct WireState {
    is_reset: AtomicBool,
    ends: [Wakers; 2],
}

/// The tasks that wait for the network.
#[derive(Debug, Default)]
struct Wakers {
    read: AtomicWaker,
    write: AtomicWaker,
}

impl WireState {
    /// Has the task of an end woken when the network or the connection changes.
    pub(super) fn register_read(&self, end: usize, task: &Waker) {
        self.ends[end].read.register(task);
    }

    pub(super) fn register_write(&self, end: usize, task: &Waker) {
        self.ends[end].write.register(task);
    }

    /// Has both ends look again.
    fn wake(&self) {
        for end in &self.ends {
            end.read.wake();
            end.write.wake();
        }
    }

    fn reset(&self) {
        self.is_reset.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Acquire)
    }

    /// Fails after a reset.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_reset() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}
