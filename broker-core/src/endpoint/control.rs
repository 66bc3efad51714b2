//! What others have to tell a session, and how they learn that all sessions know.
//!
//! A session belongs to its connection's task, and is never touched by another. Whoever has something
//! to say leaves it here and wakes the task; a session looks once for each chunk of its input, which is
//! one load of a flag that nobody else's messages write to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::ClientFault;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// The slot of one session.
#[derive(Default)]
pub(crate) struct ControlMailbox {
    is_there: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    what: SessionUpdate,
    /// The session is gone, and will not look again.
    is_deaf: bool,
}

/// What a session is to do.
#[derive(Default)]
pub(crate) struct SessionUpdate {
    /// Options have changed.
    pub(crate) options: bool,
    /// It must find out whether it may still be here, and what it may do.
    pub(crate) authenticator: bool,
    /// The server will go.
    pub(crate) end: bool,
    /// It must go.
    pub(crate) leave: bool,
    /// It must be cut, and told this.
    pub(crate) fault: Option<ClientFault>,
    /// It must say this.
    #[cfg(feature = "testing")]
    pub(crate) lines: Vec<bytes::Bytes>,
    /// Dropped when it is done.
    last_activity: Vec<Arc<AckGuard>>,
}

impl ControlMailbox {
    /// Is there anything? Whoever leaves something wakes the session's task after it.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Leaves something. False if nobody will look.
    pub(crate) fn leave(
        &self,
        last_activity: Option<&Arc<AckGuard>>,
        tell: impl FnOnce(&mut SessionUpdate),
    ) -> bool {
        let mut slot = self.slot.lock();
        if slot.is_deaf {
            return false;
        }
        tell(&mut slot.what);
        slot.what.last_activity.extend(last_activity.cloned());
        self.is_there.store(true, Ordering::Release);
        true
    }

    pub(crate) fn take(&self) -> SessionUpdate {
        let mut slot = self.slot.lock();
        self.is_there.store(false, Ordering::Relaxed);
        std::mem::take(&mut slot.what)
    }

    /// The session will not look again.
    pub(crate) fn close(&self) {
        let mut slot = self.slot.lock();
        slot.is_deaf = true;
        self.is_there.store(false, Ordering::Relaxed);
        let left = std::mem::take(&mut slot.what);
        drop(slot);
        drop(left);
    }
}

/// Each session that is told something holds one until it has done it; when all are dropped,
/// [`Applied`] is ready.
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

/// Ready when every connection goes by what was changed: whoever may no longer have something gets
/// none of it from then on.
///
/// # Cancel safety
///
/// Need not be waited for: the change takes its course.
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
