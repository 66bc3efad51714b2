//! A running cell: its lock, its subscriptions, and the threads that serve it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

use broker_core::endpoint::Scratch;
use broker_core::{RawMessage, ServerPublisher};

use super::interest::{Concerned, PushInterest};
use super::lock::{lock, read, write};
use super::outbox::BrokerOutbox;
use super::requests;
use super::server::Server;
use super::subscriptions::Subscriptions;
use super::task::{Receiver, Task};
use super::usage::{Share, Usages};
use crate::cell::{Cell, Change, Follower, Urgency};
use crate::config::{StorageType, StreamConfig, Time};
use crate::latency::Latencies;
use crate::outbox::Outbox;
use crate::store::{Damage, Scrub, SyncJob};
use crate::stream::{Incoming, Room};

/// The time after which progress of consumers is synced that no answer waits for, in nanoseconds.
const PROGRESS_DELAY: i64 = 100_000_000;

/// The pause of a stream whose sync has failed, in nanoseconds: a full disk may have room afterwards.
const SYNC_PAUSE: i64 = 1_000_000_000;

/// The pause of deliveries when a receiver does not keep up, in nanoseconds.
const CROWDED_PAUSE: i64 = 5_000_000;

/// The interval at which a stream checks the interest in the deliver subjects of its push consumers, in nanoseconds, until
/// changes of it are told.
const INTEREST_INTERVAL: i64 = 100_000_000;

/// A cell with its lock.
pub(super) struct Unit {
    locked: Mutex<Locked>,
    subscriptions: Arc<Mutex<Option<Subscriptions>>>,
    config: Arc<RwLock<Arc<StreamConfig>>>,
    server: Arc<Server>,
    is_sync_queued: AtomicBool,
    is_run_queued: AtomicBool,
    /// No sync before this time, because one has failed.
    sync_after: AtomicI64,
    /// The reason to refuse messages: the last sync has failed.
    failure: Mutex<Option<String>>,
    /// The earliest time at which the worker calls [`Self::tick`].
    ticks_at: AtomicI64,
    /// The number of its timer.
    timer: u64,
    interest: Arc<PushInterest>,
    /// The consumers were changed since [`Self::interest`] knows what they deliver to.
    has_new_consumers: Arc<AtomicBool>,
    /// Dropped after the store.
    _alive: Alive,
}

/// Tells by its drop that a unit has released its store.
pub(super) type Alive = std::sync::mpsc::Sender<std::convert::Infallible>;

/// The time of a call, and the bytes that may still be stored.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) time: Time,
    pub(super) room: Room,
}

struct Locked {
    cell: Cell,
    publisher: ServerPublisher,
    share: Share,
}

impl Unit {
    /// Starts a cell: its subscriptions exist when this returns.
    pub(super) fn start(
        server: &Arc<Server>,
        (account, usages, interest): (&str, &Arc<Usages>, &Arc<PushInterest>),
        cell: Cell,
        alive: Alive,
    ) -> Arc<Self> {
        let publisher = server.broker.server_publisher(account);
        let config = cell.stream().config().clone();
        let usages = (Arc::clone(&server.usages), Arc::clone(usages));
        let share = Share::new(usages.0, usages.1, config.storage);
        let unit = Arc::new(Self {
            locked: Mutex::new(Locked { cell, publisher, share }),
            subscriptions: Arc::default(),
            server: Arc::clone(server),
            config: Arc::new(RwLock::new(Arc::new(config))),
            is_sync_queued: AtomicBool::new(false),
            is_run_queued: AtomicBool::new(false),
            sync_after: AtomicI64::new(0),
            failure: Mutex::default(),
            ticks_at: AtomicI64::new(i64::MAX),
            timer: server.worker.timer(),
            interest: Arc::clone(interest),
            has_new_consumers: Arc::default(),
            _alive: alive,
        });
        *lock(&unit.subscriptions) = Some({
            let receiver: Weak<Self> = Arc::downgrade(&unit);
            let receiver: Weak<dyn Receiver> = receiver;
            Subscriptions::open(&server.broker, (account, &unit.config().name), &receiver)
        });
        if unit.config().storage == StorageType::File {
            let weak: Weak<Self> = Arc::downgrade(&unit);
            server.scrubber.add(account, &unit.config().name, weak);
        }
        let follower = unit.follower();
        unit.with(&mut Scratch::new(), |cell, _, _| cell.set_follower(follower));
        unit
    }

    /// Returns the function that follows changes of the cell by subscriptions.
    fn follower(&self) -> Follower {
        let (subscriptions, known) = (Arc::clone(&self.subscriptions), Arc::clone(&self.config));
        let has_new_consumers = Arc::clone(&self.has_new_consumers);
        Box::new(move |config, changes| {
            let is_of_consumer =
                |change: &Change| matches!(change, Change::Consumer(..) | Change::Removed(_));
            if changes.iter().any(is_of_consumer) {
                has_new_consumers.store(true, Ordering::Release);
            }
            if let Some(subscriptions) = &mut *lock(&subscriptions) {
                subscriptions.follow(config, changes);
            }
            *write(&known) = Arc::new(config.clone());
        })
    }

    /// Ends the subscriptions. Messages that wait for them are lost.
    pub(super) fn stop(&self) {
        drop(lock(&self.subscriptions).take());
    }

    /// Calls the cell on a thread of the service, and flushes the messages that it has published.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        call: impl FnOnce(&mut Cell, Now, &mut dyn Outbox) -> R,
    ) -> R {
        self.server.broker.begin(scratch);
        let (result, due) = self.call_locked(scratch, call);
        if due.begins {
            // A client that asks for deliveries reads the answer first.
            self.server.broker.flush(scratch);
        }
        self.schedule(&due);
        self.server.broker.flush(scratch);
        result
    }

    /// Calls the cell. The messages that it publishes leave when the caller flushes.
    fn call<R>(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        call: impl FnOnce(&mut Cell, Now, &mut dyn Outbox) -> R,
    ) -> R {
        let (result, due) = self.call_locked(scratch, call);
        self.schedule(&due);
        result
    }

    /// Calls the cell. Returns what is to be scheduled, once the lock is released.
    fn call_locked<R>(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        call: impl FnOnce(&mut Cell, Now, &mut dyn Outbox) -> R,
    ) -> (R, Due) {
        let now = self.server.now();
        let mut locked = lock(&self.locked);
        let Locked { cell, publisher, share } = &mut *locked;
        let when = Now { time: now, room: share.room() };
        let result = call(cell, when, &mut BrokerOutbox { publisher, scratch });
        if scratch.is_crowded() {
            cell.pause(now.plus(CROWDED_PAUSE));
        }
        share.count(cell.stream().config(), cell.stream().state().bytes);
        cell.follow_changes();
        if self.server.has_started.load(Ordering::Acquire) {
            cell.request_feeds(now, &mut BrokerOutbox { publisher, scratch });
        }
        let mut due = Due::of(cell, now);
        if self.has_new_consumers.swap(false, Ordering::AcqRel) {
            due.looks = self.follow_interest(cell);
        }
        // The threads that are woken need the lock first of all.
        drop(locked);
        (result, due)
    }

    /// Has changes of interest told in what the consumers deliver to. Returns true if it is to be looked at once: what has changed before
    /// is not told.
    fn follow_interest(self: &Arc<Self>, cell: &Cell) -> bool {
        let to = cell.consumers().filter_map(|consumer| consumer.delivers_to());
        let subjects: Vec<_> = to.map(|(subject, _)| Box::from(subject)).collect();
        let is_needed = !subjects.is_empty();
        let unit: Weak<Self> = Arc::downgrade(self);
        self.interest.set(self.timer, unit, subjects);
        is_needed
    }

    /// Schedules the work of the cell on the threads.
    fn schedule(self: &Arc<Self>, due: &Due) {
        let now = due.now;
        match due.sync {
            Urgency::Nothing => {}
            Urgency::Retry => self.tick_by(now.plus(SYNC_PAUSE)),
            Urgency::Later => self.tick_by(now.plus(PROGRESS_DELAY)),
            Urgency::Now if now.0 < self.sync_after.load(Ordering::Acquire) => {
                self.tick_by(Time(self.sync_after.load(Ordering::Acquire)));
            }
            Urgency::Now => self.sync_soon(),
        }
        if due.has_work && !self.is_run_queued.swap(true, Ordering::AcqRel) {
            self.server.worker.run_soon(Arc::clone(self) as _);
        }
        if let Some(at) = due.wake_at {
            self.tick_by(at);
        }
        if due.looks {
            self.tick_by(now);
        }
        if due.has_push_consumers && !self.interest.is_told() {
            self.tick_by(now.plus(INTEREST_INTERVAL));
        }
    }

    /// Schedules a sync.
    pub(super) fn sync_soon(self: &Arc<Self>) {
        if !self.is_sync_queued.swap(true, Ordering::AcqRel) {
            self.server.syncer.sync_soon(Arc::clone(self) as _);
        }
    }

    fn tick_by(self: &Arc<Self>, at: Time) {
        if at.0 < self.ticks_at.fetch_min(at.0, Ordering::AcqRel) {
            let unit: Weak<Self> = Arc::downgrade(self);
            self.server.worker.tick_at(at, self.timer, unit);
        }
    }

    /// Returns true if all of its stream is durable.
    pub(super) fn is_durable(&self) -> bool {
        let locked = lock(&self.locked);
        let storage = locked.cell.stream().storage();
        storage.durable() == storage.position()
    }

    /// Returns why messages are refused, if the last sync has failed.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Returns the times that messages have waited, which begin anew.
    pub(super) fn take_latencies(&self) -> Latencies {
        lock(&self.locked).cell.take_latencies()
    }

    /// Reads the cell, without changing it.
    pub(super) fn see<R>(&self, read: impl FnOnce(&Cell) -> R) -> R {
        read(&lock(&self.locked).cell)
    }

    /// Returns the configuration of the stream.
    pub(super) fn config(&self) -> Arc<StreamConfig> {
        Arc::clone(&read(&self.config))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.interest.remove(self.timer);
        self.server.worker.forget(self.timer);
    }
}

/// The work of the threads that a cell has.
struct Due {
    /// The time of the call.
    now: Time,
    sync: Urgency,
    has_work: bool,
    wake_at: Option<Time>,
    has_push_consumers: bool,
    /// Interest in deliver subjects is to be looked at.
    looks: bool,
    /// What was sent leaves before the work.
    begins: bool,
}

impl Due {
    fn of(cell: &mut Cell, now: Time) -> Self {
        Self {
            now,
            begins: cell.begins(),
            sync: cell.sync(),
            has_work: cell.has_work(now),
            wake_at: cell.wake_at(),
            has_push_consumers: cell.has_push_consumers(),
            looks: false,
        }
    }
}

impl Receiver for Unit {
    fn publish(self: Arc<Self>, message: &RawMessage<'_>, scratch: &mut Scratch) -> bool {
        let incoming = incoming(message);
        if let Some(trace) = message.trace() {
            let of = (&incoming, trace.is_only());
            let publish = |cell: &mut Cell, Now { time, room }, out: &mut dyn Outbox| {
                cell.publish_traced(of, time, room, out)
            };
            let report = self.call(scratch, publish);
            self.server.broker.report_traced(trace, report);
            return false;
        }
        self.call(scratch, |cell, now, out| {
            cell.publish(&incoming, now.time, now.room, out);
            cell.is_behind(now.time)
        })
    }

    fn receive(self: Arc<Self>, message: &RawMessage<'_>, scratch: &mut Scratch) {
        self.call(scratch, |cell, now, out| requests::handle(cell, message, now.time, out));
    }

    fn feed(self: Arc<Self>, reply: &str, message: &RawMessage<'_>, scratch: &mut Scratch) {
        self.call(scratch, |cell, Now { time, room }, out| {
            if message.subject() == reply.as_bytes() {
                return cell.feed_response(reply, message.payload(), time, room, out);
            }
            cell.feed_message(reply, &incoming(message), time, room, out);
        });
    }
}

impl Concerned for Unit {
    fn look_soon(self: Arc<Self>) {
        self.tick_by(Time(0));
    }
}

impl Task for Unit {
    fn run(self: Arc<Self>, scratch: &mut Scratch) {
        self.is_run_queued.store(false, Ordering::Release);
        self.with(scratch, |cell, now, out| cell.run(now.time, out));
    }

    fn tick(self: Arc<Self>, scratch: &mut Scratch) {
        self.ticks_at.store(i64::MAX, Ordering::Release);
        self.interest.catch_up();
        let urgency = self.with(scratch, |cell, Now { time: now, .. }, out| {
            if cell.wake_at().is_some_and(|at| at <= now) {
                cell.tick(now, out);
            }
            cell.interest_changed(now, out);
            cell.sync()
        });
        if urgency != Urgency::Nothing
            && self.server.now().0 >= self.sync_after.load(Ordering::Acquire)
        {
            self.sync_soon();
        }
    }

    fn begin_sync(&self) -> Option<Box<dyn SyncJob>> {
        self.is_sync_queued.store(false, Ordering::Release);
        lock(&self.locked).cell.begin_sync()
    }

    fn begin_scrub(&self) -> Option<Scrub> {
        lock(&self.locked).cell.begin_scrub()
    }

    fn finish_scrub(&self, scrub: &Scrub) -> Vec<Damage> {
        lock(&self.locked).cell.finish_scrub(scrub)
    }

    fn finish_sync(self: Arc<Self>, job: Box<dyn SyncJob>, scratch: &mut Scratch) {
        let is_behind = self.with(scratch, |cell, Now { time: now, .. }, out| {
            let Err(error) = cell.finish_sync(job, now, out) else {
                *lock(&self.failure) = None;
                return cell.is_behind(now);
            };
            *lock(&self.failure) = Some(error.to_string());
            self.server.counters.note_failure();
            self.sync_after.store(now.plus(SYNC_PAUSE).0, Ordering::Release);
            let stream = cell.name();
            tracing::error!("Stream {stream:?} cannot be stored, and refuses messages: {error}");
            false
        });
        if !is_behind && let Some(subscriptions) = &*lock(&self.subscriptions) {
            subscriptions.catch_up();
        }
    }
}

fn incoming<'a>(message: &RawMessage<'a>) -> Incoming<'a> {
    Incoming {
        subject: message.subject(),
        reply: message.reply().unwrap_or_default(),
        headers: message.headers(),
        payload: message.payload(),
    }
}
