//! Limits the number of connections that have not authenticated.
//!
//! Each may cost 16 KiB for some seconds. The limit bounds their total memory, whatever clients connect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker_core::CloseReason;
use broker_core::endpoint::{ByteQueue, Encoder};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::clock;

/// Minimum age at which the oldest unauthenticated client is closed for a waiting one. Clients that all reconnect at
/// once take some round trips each, and must not close each other.
const PATIENCE: Duration = Duration::from_millis(500);

/// The unauthenticated clients of one server.
pub(crate) struct UnauthenticatedConnections {
    max: usize,
    known: Mutex<Known>,
    left: Notify,
}

#[derive(Default)]
struct Known {
    /// In the order of arrival.
    here: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    since: Instant,
    task: Option<AbortHandle>,
    /// The byte queue of the session, if there is one already.
    byte_queue: Option<Arc<dyn Cut>>,
}

/// The byte queue of any kind of session, as far as it is closed here.
trait Cut: Send + Sync {
    fn cut(&self, reason: CloseReason);
}

impl<E: Encoder> Cut for ByteQueue<E> {
    fn cut(&self, reason: CloseReason) {
        self.cut(reason);
    }
}

impl UnauthenticatedConnections {
    pub(crate) fn new(max: usize) -> Self {
        // With a limit of 0 no client could ever connect.
        Self { max: max.max(1), known: Mutex::default(), left: Notify::new() }
    }

    /// Waits until there is room for another: until one has left, or until the oldest is old enough to be closed.
    ///
    /// Cancel safe: a dropped call has closed no connection.
    pub(crate) async fn room(&self) {
        loop {
            let left = self.left.notified();
            let Some(wait) = self.make_room(clock::now()) else { return };
            tokio::select! {
                () = left => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Returns `None` if there is room; else the time until there is.
    fn make_room(&self, now: Instant) -> Option<Duration> {
        let mut known = self.lock();
        if known.here.len() < self.max {
            return None;
        }
        let first = known.here.first_entry()?;
        let age = now.saturating_duration_since(first.get().since);
        if age < PATIENCE {
            return Some(PATIENCE.saturating_sub(age));
        }
        let entry = first.remove();
        drop(known);
        tracing::debug!("{} connections have not authenticated: the oldest is closed", self.max);
        if let Some(byte_queue) = &entry.byte_queue {
            // The close reason for the log and monitoring.
            byte_queue.cut(CloseReason::AuthenticationTimeout);
        }
        if let Some(task) = &entry.task {
            task.abort();
        }
        None
    }

    /// Registers another connection.
    pub(crate) fn enter(self: &Arc<Self>) -> UnauthenticatedGuard {
        let mut known = self.lock();
        let id = known.next;
        known.next += 1;
        known.here.insert(id, Entry { since: clock::now(), task: None, byte_queue: None });
        UnauthenticatedGuard { id, of: Arc::clone(self) }
    }

    /// Sets the task that serves the connection, which is aborted if the connection must go.
    pub(crate) fn is_served_by(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().here.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registration of an unauthenticated connection. Dropped when it has authenticated or has ended.
pub(crate) struct UnauthenticatedGuard {
    id: u64,
    of: Arc<UnauthenticatedConnections>,
}

impl UnauthenticatedGuard {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Sets the byte queue of its session.
    pub(crate) fn has_session<E: Encoder>(&self, byte_queue: &Arc<ByteQueue<E>>) {
        if let Some(entry) = self.of.lock().here.get_mut(&self.id) {
            entry.byte_queue = Some(Arc::clone(byte_queue) as Arc<_>);
        }
    }
}

impl Drop for UnauthenticatedGuard {
    fn drop(&mut self) {
        let mut known = self.of.lock();
        let was_full = known.here.len() >= self.of.max;
        known.here.remove(&self.id);
        drop(known);
        if was_full {
            self.of.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(unauthenticated: &UnauthenticatedConnections) -> usize {
        unauthenticated.lock().here.len()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_closed_for_the_one_past_the_limit_after_a_while() {
        let unauthenticated = Arc::new(UnauthenticatedConnections::new(3));
        let mut tasks = tokio::task::JoinSet::new();
        let mut come = |unauthenticated: &Arc<UnauthenticatedConnections>| {
            let unauthenticated_guard = unauthenticated.enter();
            let id = unauthenticated_guard.id();
            let task = tasks.spawn(async move {
                let _guard = unauthenticated_guard;
                std::future::pending::<()>().await;
            });
            unauthenticated.is_served_by(id, task);
        };
        for before in 0..3 {
            // The first three find room without waiting.
            let since = tokio::time::Instant::now();
            unauthenticated.room().await;
            assert_eq!(since.elapsed(), Duration::ZERO);
            assert_eq!(count(&unauthenticated), before);
            come(&unauthenticated);
        }
        let since = tokio::time::Instant::now();
        unauthenticated.room().await;
        assert!(since.elapsed() >= PATIENCE);
        assert_eq!(count(&unauthenticated), 2);
        come(&unauthenticated);
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(
            *unauthenticated.lock().here.first_key_value().unwrap().0,
            1,
            "the oldest must have been removed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_makes_room_at_once() {
        let unauthenticated = Arc::new(UnauthenticatedConnections::new(1));
        let unauthenticated_guard = unauthenticated.enter();
        let since = tokio::time::Instant::now();
        tokio::join!(unauthenticated.room(), async {
            tokio::task::yield_now().await;
            drop(unauthenticated_guard);
        });
        assert_eq!(since.elapsed(), Duration::ZERO);
        assert_eq!(count(&unauthenticated), 0);
    }
}
