//! Control mailboxes: updates left for a session by other threads, and the acknowledgement that all sessions have
//! applied them.
//!
//! A session belongs to the task of its connection; no other task touches it. A sender leaves an update here and
//! wakes the task. The session checks its mailbox once for each chunk of its input: one load of a flag that no
//! message writes to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::ClientFault;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// The mailbox of one session.
#[derive(Default)]
pub(crate) struct ControlMailbox {
    is_there: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    what: SessionUpdate,
    /// The session is closed and no longer checks its mailbox.
    is_deaf: bool,
}

/// Updates that a session has to apply.
#[derive(Default)]
pub(crate) struct SessionUpdate {
    /// Options have changed.
    pub(crate) options: bool,
    /// The authenticator has changed and must review the client.
    pub(crate) authenticator: bool,
    /// A decision that the session waits for may have been made.
    pub(crate) decision: bool,
    /// Lame duck mode was announced.
    pub(crate) end: bool,
    /// INFO has changed and must be sent to the client.
    pub(crate) info: bool,
    /// Dropped when INFO is sent.
    pub(crate) turn: Option<super::InfoTurn>,
    /// The client must be told that the server ends, though it does not.
    pub(crate) say_end: bool,
    /// The connection must be closed once no request is open.
    pub(crate) leave: bool,
    /// The connection must be closed with this error.
    pub(crate) fault: Option<ClientFault>,
    /// An account was removed: the connection must be closed, or leave it if it has several.
    pub(crate) account_removed: bool,
    /// The permissions of routes have changed: interest of the other server may be denied now.
    pub(crate) permissions: bool,
    /// The accounts that moved to other routes. Few: a reload names them.
    pub(crate) moved: Vec<crate::sync::Arc<str>>,
    /// Lines to send.
    #[cfg(feature = "testing")]
    pub(crate) lines: Vec<bytes::Bytes>,
    /// Dropped when the updates are applied.
    pub(crate) acks: Vec<Arc<AckGuard>>,
}

impl ControlMailbox {
    /// Returns true if there is an update. The sender wakes the task of the session after leaving it.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Leaves an update. Returns false if the session is closed.
    pub(crate) fn leave(
        &self,
        ack: Option<&Arc<AckGuard>>,
        tell: impl FnOnce(&mut SessionUpdate),
    ) -> bool {
        let mut slot = self.slot.lock();
        if slot.is_deaf {
            return false;
        }
        tell(&mut slot.what);
        slot.what.acks.extend(ack.cloned());
        self.is_there.store(true, Ordering::Release);
        true
    }

    pub(crate) fn take(&self) -> SessionUpdate {
        let mut slot = self.slot.lock();
        self.is_there.store(false, Ordering::Relaxed);
        std::mem::take(&mut slot.what)
    }

    /// Closes the mailbox.
    pub(crate) fn close(&self) {
        let mut slot = self.slot.lock();
        slot.is_deaf = true;
        self.is_there.store(false, Ordering::Relaxed);
        let left = std::mem::take(&mut slot.what);
        drop(slot);
        drop(left);
    }
}

/// Held by each session until it has applied an update. [`Applied`] resolves when all are dropped.
pub(crate) struct AckGuard(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    is_over: bool,
    waker: Option<Waker>,
}

impl AckGuard {
    pub(crate) fn new() -> (Arc<Self>, Applied) {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        (Arc::new(Self(Arc::clone(&waiting))), Applied(waiting))
    }
}

impl Drop for AckGuard {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_over = true;
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Resolves when every connection has applied a change: from then on no client receives messages that the change
/// denies it.
///
/// # Cancel safety
///
/// Dropping it does not stop the change.
pub struct Applied(Arc<Mutex<Waiting>>);

impl Future for Applied {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.lock();
        if waiting.is_over {
            return Poll::Ready(());
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").field("is_over", &self.0.lock().is_over).finish()
    }
}
