//! The connection that each thread serves at the moment, for a program that watches its threads.
//!
//! A connection notes the beginning and the end of each of its turns in memory that only its thread writes: a few
//! stores, no lock and no clock read. Nothing else happens unless a program calls [`StallWatch::look`] from a thread
//! of its own.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

/// The threads that serve the connections of one server.
#[derive(Default)]
pub(crate) struct Workers {
    slots: Mutex<Vec<Arc<Slot>>>,
    /// The number of stalled threads at the last look.
    stalled: AtomicUsize,
    stalls: AtomicU64,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("stalled", &self.stalled()).finish_non_exhaustive()
    }
}

/// The connection that one thread serves. Has cache lines of its own, because it is written at each turn.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    /// Odd during a turn; incremented when a turn begins and when it ends.
    turn: AtomicU64,
    /// The connection's number; 0 before it has one.
    id: AtomicU64,
    remote: PackedRemote,
}

/// An address that one thread writes.
#[derive(Default)]
struct PackedRemote {
    high: AtomicU64,
    low: AtomicU64,
    /// One more than the port; 0 for no address.
    port: AtomicU64,
}

thread_local! {
    /// This thread's slot for each server that it serves. The weak reference keeps the address of a `Workers` from
    /// being reused while it is listed here.
    static SLOTS: RefCell<Vec<(Weak<Workers>, Arc<Slot>)>> = const { RefCell::new(Vec::new()) };
}

impl Workers {
    /// Wraps the future of a connection so that its turns are noted.
    pub(crate) fn watch<F>(self: &Arc<Self>, remote: Option<SocketAddr>, serving: F) -> Watched<F> {
        Watched { workers: Arc::clone(self), id: 0, remote, serving }
    }

    /// Sets the id of the connection that has its turn on this thread.
    pub(crate) fn note_id(self: &Arc<Self>, id: u64) {
        self.slot().id.store(id, Ordering::Relaxed);
    }

    /// Returns the number of threads stalled at the last look.
    pub(crate) fn stalled(&self) -> usize {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Returns the number of stalls since the start.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Returns the number of turns of all connections.
    #[cfg(feature = "testing")]
    pub(crate) fn turns(&self) -> u64 {
        self.lock().iter().map(|slot| slot.turn.load(Ordering::Relaxed) / 2).sum()
    }

    /// Returns this thread's slot.
    fn slot(self: &Arc<Self>) -> Arc<Slot> {
        SLOTS.with_borrow_mut(|slots| {
            let this = Arc::as_ptr(self);
            if let Some((_, slot)) = slots.iter().find(|(of, _)| of.as_ptr() == this) {
                return Arc::clone(slot);
            }
            let slot = Arc::<Slot>::default();
            slots.retain(|(of, _)| of.strong_count() > 0);
            slots.push((Arc::downgrade(self), Arc::clone(&slot)));
            self.lock().push(Arc::clone(&slot));
            slot
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that has ended has dropped its own reference.
        slots.retain(|slot| Arc::strong_count(slot) > 1);
        slots
    }
}

impl PackedRemote {
    fn store(&self, remote: Option<SocketAddr>) {
        let Some(remote) = remote else { return self.port.store(0, Ordering::Relaxed) };
        let bits = match remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        self.high.store((bits >> 64) as u64, Ordering::Relaxed);
        self.low.store(bits as u64, Ordering::Relaxed);
        self.port.store(u64::from(remote.port()) + 1, Ordering::Relaxed);
    }

    fn load(&self) -> Option<SocketAddr> {
        let port = self.port.load(Ordering::Relaxed).checked_sub(1)?;
        let high = u128::from(self.high.load(Ordering::Relaxed));
        let bits = high << 64 | u128::from(self.low.load(Ordering::Relaxed));
        let ip = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
        Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
    }
}

/// A turn; it ends when this is dropped, also by a panic.
struct Turn(Arc<Slot>);

impl Turn {
    fn begin(slot: Arc<Slot>, id: u64, remote: Option<SocketAddr>) -> Self {
        slot.id.store(id, Ordering::Relaxed);
        slot.remote.store(remote);
        // Only this thread writes.
        slot.turn.store(slot.turn.load(Ordering::Relaxed) + 1, Ordering::Release);
        Self(slot)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turn.store(self.0.turn.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

pin_project! {
    /// The future that [`Workers::watch`] returns.
    pub(crate) struct Watched<F> {
        workers: Arc<Workers>,
        id: u64,
        remote: Option<SocketAddr>,
        #[pin]
        serving: F,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let turn = Turn::begin(this.workers.slot(), *this.id, *this.remote);
        let polled = this.serving.poll(cx);
        *this.id = turn.0.id.load(Ordering::Relaxed);
        polled
    }
}

/// Watches for threads that a connection holds: see [`Server::stall_watch`](crate::Server::stall_watch).
pub struct StallWatch {
    workers: Arc<Workers>,
    patience: Duration,
    /// The turns that were under way at the last look.
    seen: Vec<Seen>,
}

struct Seen {
    slot: Weak<Slot>,
    turn: u64,
    since: Instant,
    stall: Option<Stall>,
}

/// A connection whose turn takes longer than any should: its thread serves no other meanwhile.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// The connection's number, `cid`; `None` before it has one.
    pub connection: Option<u64>,
    /// The peer, if it has an address.
    pub remote: Option<SocketAddr>,
    /// The observed duration of the turn.
    pub time: Duration,
    /// The turn has ended: the thread serves other connections again.
    pub is_over: bool,
}

/// Formats the connection as logs do.
impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(remote) => write!(f, "{remote}")?,
            None => f.write_str("local")?,
        }
        self.connection.map_or(Ok(()), |id| write!(f, " - cid:{id}"))
    }
}

impl fmt::Debug for StallWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallWatch").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl StallWatch {
    pub(crate) fn new(workers: Arc<Workers>, patience: Duration) -> Self {
        Self { workers, patience, seen: Vec::new() }
    }

    /// Looks at all threads that serve connections. Returns the stalls that have begun since the last look, and those
    /// that have ended since.
    ///
    /// Call it a few times within the patience, from a thread that no connection can hold: not from a task of the
    /// runtime. It never blocks.
    pub fn look(&mut self, now: Instant) -> Vec<Stall> {
        let mut news = Vec::new();
        let slots = self.workers.lock().clone();
        let mut seen = std::mem::take(&mut self.seen);
        for slot in slots {
            let turn = slot.turn.load(Ordering::Acquire);
            let known = seen.iter().position(|one| one.slot.as_ptr() == Arc::as_ptr(&slot));
            let known = known.map(|at| seen.swap_remove(at));
            let (known, ended) = match known {
                Some(known) if known.turn == turn => (Some(known), None),
                other => (None, other),
            };
            news.extend(ended.and_then(|ended| ended.over(now)));
            if turn % 2 == 1 {
                let begun = || Seen { slot: Arc::downgrade(&slot), turn, since: now, stall: None };
                let mut known = known.unwrap_or_else(begun);
                news.extend(known.judge(&slot, now, self.patience));
                self.seen.push(known);
            }
        }
        // Turns of threads that have ended.
        news.extend(seen.into_iter().filter_map(|one| one.over(now)));
        let stalled = self.seen.iter().filter(|one| one.stall.is_some()).count();
        self.workers.stalled.store(stalled, Ordering::Relaxed);
        let begun = news.iter().filter(|stall| !stall.is_over).count();
        self.workers.stalls.fetch_add(begun as u64, Ordering::Relaxed);
        news
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.workers.stalled.store(0, Ordering::Relaxed);
    }
}

impl Seen {
    /// Returns a stall if the turn has become one since the last look.
    fn judge(&mut self, slot: &Slot, now: Instant, patience: Duration) -> Option<Stall> {
        let time = now.saturating_duration_since(self.since);
        if self.stall.is_some() || time < patience {
            return None;
        }
        let id = slot.id.load(Ordering::Relaxed);
        let remote = slot.remote.load();
        // The turn may have ended, and another begun, just now.
        if slot.turn.load(Ordering::Acquire) != self.turn {
            return None;
        }
        let stall = Stall { connection: (id > 0).then_some(id), remote, time, is_over: false };
        self.stall = Some(stall.clone());
        Some(stall)
    }

    fn over(self, now: Instant) -> Option<Stall> {
        let time = now.saturating_duration_since(self.since);
        self.stall.map(|stall| Stall { time, is_over: true, ..stall })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Waker;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Serves on a thread of its own, and holds the thread until `go_on` is sent.
    fn hold(
        workers: &Arc<Workers>,
        id: u64,
        remote: Option<SocketAddr>,
    ) -> (Sender<()>, Receiver<()>) {
        let (go_on, must_go_on) = channel();
        let (tell, told) = channel();
        let workers = Arc::clone(workers);
        std::thread::spawn(move || {
            let noting = Arc::clone(&workers);
            let holding = poll_fn(|_| {
                noting.note_id(id);
                tell.send(()).unwrap();
                must_go_on.recv().unwrap();
                Poll::Ready(())
            });
            let mut held = Box::pin(workers.watch(remote, holding));
            assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            tell.send(()).unwrap();
            // Keeps the thread alive until the test has looked.
            let _ = must_go_on.recv();
        });
        (go_on, told)
    }

    #[test]
    fn a_turn_of_a_second_is_reported_once_and_again_when_it_ends() {
        for remote in [None, Some("192.0.2.1:4711"), Some("[2001:db8::1]:65535")] {
            let remote = remote.map(|text| text.parse().unwrap());
            let workers = Arc::<Workers>::default();
            let mut watch = StallWatch::new(Arc::clone(&workers), SECOND);
            let (go_on, told) = hold(&workers, 7, remote);
            told.recv().unwrap();
            let now = Instant::now();
            let millis = Duration::from_millis;
            assert_eq!(watch.look(now), []);
            assert_eq!(watch.look(now + millis(999)), []);
            assert_eq!((workers.stalled(), workers.stalls()), (0, 0));
            let stall = Stall { connection: Some(7), remote, time: SECOND, is_over: false };
            assert_eq!(watch.look(now + SECOND), std::slice::from_ref(&stall));
            assert_eq!(watch.look(now + 2 * SECOND), []);
            assert_eq!((workers.stalled(), workers.stalls()), (1, 1));
            go_on.send(()).unwrap();
            told.recv().unwrap();
            let over = Stall { time: 3 * SECOND, is_over: true, ..stall };
            assert_eq!(watch.look(now + 3 * SECOND), [over]);
            assert_eq!((workers.stalled(), workers.stalls()), (0, 1));
            drop(go_on);
        }
    }

    #[test]
    fn turns_that_end_are_no_stall_however_many_there_are() {
        let workers = Arc::<Workers>::default();
        let mut watch = StallWatch::new(Arc::clone(&workers), SECOND);
        let now = Instant::now();
        for at in 0..10 {
            let mut turns = Box::pin(workers.watch(None, poll_fn(|_| Poll::<()>::Pending)));
            assert!(turns.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(watch.look(now + at * SECOND), []);
        }
        assert_eq!(workers.lock().len(), 1);
    }

    #[test]
    fn a_turn_that_panics_has_ended() {
        let workers = Arc::<Workers>::default();
        let mut watch = StallWatch::new(Arc::clone(&workers), SECOND);
        let mut panics =
            Box::pin(workers.watch(None, poll_fn(|_| -> Poll<()> { panic!("of a test") })));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = panics.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }));
        assert!(polled.is_err());
        let now = Instant::now();
        assert_eq!(watch.look(now), []);
        assert_eq!(watch.look(now + 2 * SECOND), []);
    }
}
