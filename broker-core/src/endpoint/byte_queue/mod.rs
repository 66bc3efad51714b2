//! The byte queue of a connection: a bounded queue of bytes, in the protocol of its encoder.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use super::blocks::{BLOCK_BYTES, QueueMemory};
use super::piece::Piece;
use super::{Accepted, Ahead, Destination, OutCounts, Queues, Run, Scratch};
use crate::endpoint::{Endpoint, Subscription};
use crate::error::CloseReason;
use crate::limits::FLUSH_AT_BYTES;
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, Weak};
use crate::trace::Trace;

mod block_writer;
mod body;
mod client_encoder;
mod crowd;
mod encoder;
mod interceptor;
#[cfg(all(test, shuttle))]
mod models;
mod pieces;
mod route_encoder;
mod waiting;

use block_writer::BlockWriter;
pub use client_encoder::ClientEncoder;
use crowd::Crowd;
pub use encoder::Encoder;
use encoder::{Delivery, Target};
pub(crate) use interceptor::{Intercepted, Interceptor};
use pieces::Pieces;
pub use route_encoder::RouteEncoder;
use waiting::Blocked;
pub(crate) use waiting::{SlowWrite, WriteWait};

/// The write side of a transport, used by its connection's byte queue. Called from any publishing thread.
pub trait WriteHandle: Send + Sync {
    /// Writes as much as possible without waiting.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing can be written: the byte queue then [wakes](Self::wake) the
    /// connection once, which drains the rest as soon as there is room. Any other error means that the connection
    /// is lost.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Wakes the connection: bytes are left to be written, or the byte queue was closed.
    fn wake(&self);
}

/// The result of [`ByteQueue::drain`].
#[derive(Debug)]
pub enum Drained {
    /// All bytes are written.
    Empty,
    /// The link takes no more bytes now; call again when it has room.
    Blocked,
    /// Another thread is writing and will write the rest.
    Busy,
    /// The connection is lost.
    Failed(io::Error),
}

/// The byte queue of a connection. It is bounded, and holds encoded deliveries until the connection has room. Only
/// its encoder depends on the protocol.
pub struct ByteQueue<E: Encoder = ClientEncoder> {
    encoder: E,
    state: Mutex<State>,
    /// The id of the queue's session.
    id: u64,
    /// Dropped as soon as the session is: publishers may keep this byte queue for longer, and must not keep its socket
    /// open.
    write_handle: ArcSwapOption<Box<dyn WriteHandle>>,
    /// True if the state holds a reason for ending. Read without its lock.
    is_ending: AtomicBool,
    max_pending_bytes: usize,
    /// The number of pending bytes from which the queue is checked for being crowded.
    long_bytes: usize,
    wait: WriteWait,
    /// Held during a write, if threads wait for writes of others. A writer takes it with the state locked and `is_writing` not
    /// set, and sets that until it gives it back, so that it is never contended; one that waits for it locks nothing else.
    writing: Mutex<()>,
    /// Totals of all byte queues of the broker.
    queues: Arc<Queues>,
}

#[derive(Default)]
struct State {
    /// Full blocks and shared payloads, in the order in which they are written.
    sealed: VecDeque<Piece>,
    /// The block behind them, which still grows.
    open: Vec<u8>,
    /// The number of bytes of the first piece already written.
    front_at: usize,
    pending_bytes: usize,
    /// The pending bytes that the broker's total includes.
    reported_bytes: usize,
    /// The memory of the sealed pieces, including those being written.
    sealed_bytes: usize,
    /// The part of the queue's memory that the broker's total includes.
    reported_held_bytes: usize,
    memory: Arc<QueueMemory>,
    /// All bytes ever added, and all ever written.
    in_bytes: u64,
    out_bytes: u64,
    /// The bytes that must be written by a deadline.
    blocked: Option<Blocked>,
    /// The connection has missed a deadline, and tries again.
    is_slow: bool,
    /// It is slow no longer, which the session is to log.
    recovered: Option<(Instant, SlowWrite)>,
    /// A publisher will flush the queue.
    is_touched: bool,
    /// A write is in progress, with the pieces taken out and the lock released.
    is_writing: bool,
    /// Blocks writes as `is_writing` does, without a writer: deliveries are kept until the queue is released.
    is_held: bool,
    entry: Entry,
    /// Set once the queue has been long.
    crowd: Option<Box<Crowd>>,
    /// The pending pieces and bytes at the time of closing.
    left_behind: (usize, usize),
    counts: OutCounts,
    trace: Option<Arc<Trace>>,
}

/// The treatment of deliveries.
#[derive(Default)]
enum Entry {
    /// Deliveries are taken.
    #[default]
    Open,
    /// Deliveries are taken as far as the interceptor allows.
    Intercepted(Arc<dyn Interceptor>),
    /// No more deliveries are taken; pending bytes are still written.
    Finishing(CloseReason),
    /// No deliveries are taken and no bytes are written.
    Closed(CloseReason),
}

impl<E: Encoder> ByteQueue<E> {
    pub(crate) fn new(
        encoder: E,
        id: u64,
        write_handle: Box<dyn WriteHandle>,
        max_pending_bytes: usize,
        wait: impl Into<WriteWait>,
        queues: Arc<Queues>,
    ) -> Self {
        Self {
            encoder,
            state: Mutex::new(State { memory: Arc::clone(&queues.memory), ..State::default() }),
            id,
            write_handle: ArcSwapOption::from_pointee(write_handle),
            is_ending: AtomicBool::new(false),
            max_pending_bytes,
            long_bytes: crowd::levels(max_pending_bytes).0,
            wait: wait.into(),
            writing: Mutex::default(),
            queues,
        }
    }

    /// Returns the encoder, whose settings follow the client's CONNECT.
    pub(crate) fn encoder(&self) -> &E {
        &self.encoder
    }

    /// Appends protocol operations other than messages.
    pub(crate) fn send(&self, scratch: &mut Scratch, write: impl FnOnce(&mut Vec<u8>)) {
        self.send_long(512, scratch, write);
    }

    /// As [`Self::send`], for operations of about so many bytes.
    pub(crate) fn send_long(
        &self,
        bytes: usize,
        scratch: &mut Scratch,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut state = self.state.lock();
        if !state.is_open() {
            return;
        }
        let mut out = BlockWriter::new(&mut state, scratch);
        write(out.block(bytes.min(BLOCK_BYTES / 8)));
        out.finish();
        // The client sends operations without reading the responses.
        if state.pending_bytes > self.max_pending_bytes {
            self.close_locked(state, CloseReason::SlowConsumerPendingBytes);
        }
    }

    /// Writes pending bytes, as far as the link takes them. `is_ready`: the link has room again, so that
    /// a write is worth trying after one that was blocked.
    pub fn drain(&self, now: Instant, is_ready: bool, scratch: &mut Scratch) -> Drained {
        self.drain_and_tell(now, is_ready, None, scratch).0
    }

    /// Drains as [`Self::drain`] and notes when the client was last active, under the same lock.
    pub(crate) fn drain_own(
        &self,
        last_activity: Option<Instant>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        let _ = self.drain_and_tell(now, false, last_activity, scratch);
    }

    /// Drains as [`Self::drain`]. Returns as well whether the connection must be woken: this call found the link
    /// full, or the session waits for a delivery that arrived while the queue was held.
    fn drain_and_tell(
        &self,
        now: Instant,
        is_ready: bool,
        last_activity: Option<Instant>,
        scratch: &mut Scratch,
    ) -> (Drained, bool) {
        let mut called = Vec::new();
        let drained = self.drain_and_call(now, is_ready, last_activity, &mut called, scratch);
        crowd::wake(&called);
        drained
    }

    /// As [`Self::drain`]; adds the publishers to be woken to `called`.
    fn drain_and_call(
        &self,
        now: Instant,
        is_ready: bool,
        last_activity: Option<Instant>,
        called: &mut Vec<Weak<Endpoint>>,
        scratch: &mut Scratch,
    ) -> (Drained, bool) {
        let mut state = self.state.lock();
        if last_activity.is_some() {
            state.counts.last_activity = last_activity;
        }
        if std::mem::take(&mut state.is_touched) {
            state.counts.last = Some(now);
        }
        loop {
            if state.is_writing {
                self.report(&mut state);
                let must_wake = state.has_progress();
                return (Drained::Busy, must_wake);
            }
            if state.pending_bytes == 0 {
                self.report(&mut state);
                return (Drained::Empty, false);
            }
            if state.blocked.is_some() && !is_ready {
                self.report(&mut state);
                return (Drained::Blocked, false);
            }
            state.is_writing = true;
            let mut pieces = Pieces::take(&mut state);
            let writing = E::IS_WAITED_FOR.then(|| self.writing.lock());
            drop(state);
            let written = match &*self.write_handle.load() {
                Some(write_handle) => pieces.write(&***write_handle, scratch, &self.queues.memory),
                None => (0, Err(io::ErrorKind::NotConnected.into())),
            };
            state = self.state.lock();
            state.is_writing = false;
            drop(writing);
            pieces.put_back(&mut state, scratch, &self.queues.memory);
            let before = state.blocked;
            let result = state.wrote(written, now);
            if state.crowd.is_some() {
                called.append(&mut state.call_some(self.max_pending_bytes));
            }
            if let Some(before) = before {
                let has_left = match state.blocked {
                    Some(blocked) => blocked.since != before.since,
                    None => result.is_ok(),
                };
                if has_left {
                    self.queues.waits.add(now.saturating_duration_since(before.since));
                }
            }
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.report(&mut state);
                    return (Drained::Blocked, true);
                }
                Err(error) => {
                    self.close_locked(state, CloseReason::WriteError);
                    return (Drained::Failed(error), false);
                }
            }
        }
    }

    /// Returns `None` if the queue does not take a run: it is refused, or the connection is closed.
    #[inline(always)]
    fn make_sure_of_room<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        run: &Run<'_>,
        may_refuse: bool,
    ) -> Option<MutexGuard<'s, State>> {
        let before = state.pending_bytes;
        // One chunk to thousands of receivers that do not read would be delivered before the next check.
        let has_far_too_much = before >= FLUSH_AT_BYTES && self.queues.memory.has_far_too_much();
        let coming: usize = run.messages.iter().map(|message| message.body.len()).sum();
        if !has_far_too_much && before + coming <= self.max_pending_bytes {
            return Some(state);
        }
        if has_far_too_much || !may_refuse {
            state.counts.dropped += run.messages.len() as u64;
            self.close_locked(state, CloseReason::SlowConsumerPendingBytes);
        }
        None
    }

    /// Encodes a delivery and counts it. `is_last`: the subscription ends with it.
    #[inline(always)]
    fn append(
        &self,
        mut state: MutexGuard<'_, State>,
        delivery: &Delivery<'_>,
        is_last: bool,
        scratch: &mut Scratch,
    ) -> Accepted {
        let before = state.pending_bytes;
        let mut out = BlockWriter::new(&mut state, scratch);
        let Some(body_bytes) = self.encoder.encode(delivery, &mut out) else {
            return Accepted::NOTHING;
        };
        out.finish();
        let count = delivery.messages.len();
        state.counts.messages += count as u64;
        state.counts.bytes += body_bytes as u64;
        let must_flush = !state.is_touched && count > 0;
        state.is_touched |= must_flush;
        let asks_patience =
            state.pending_bytes >= self.long_bytes && self.asks_patience(&mut state);
        let accepted = Accepted {
            count,
            is_last,
            must_flush,
            added_bytes: state.pending_bytes - before,
            pending_bytes: state.pending_bytes,
            asks_patience,
        };
        if let Some(trace) = state.trace.clone() {
            drop(state);
            self.encoder.trace(delivery, &trace);
            if let (true, Target::Subscription { sid }) = (is_last, &delivery.to) {
                trace.ended(sid);
            }
        }
        accepted
    }

    /// Closes the queue and with it the connection, for this reason.
    pub fn cut(&self, reason: CloseReason) {
        self.close_locked(self.state.lock(), reason);
    }

    /// Returns true if no bytes are left to be written.
    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.pending_bytes == 0 && !state.is_writing
    }

    /// Returns the reason why the queue takes no more deliveries, if it does not.
    #[inline]
    pub fn ending(&self) -> Option<CloseReason> {
        // The flag spares the connection a lock each time its task runs.
        if !self.is_ending.load(Ordering::Acquire) {
            return None;
        }
        match self.state.lock().entry {
            Entry::Open | Entry::Intercepted(_) => None,
            Entry::Finishing(reason) | Entry::Closed(reason) => Some(reason),
        }
    }

    /// Closes the queue. Unlocks before it wakes the connection, which may run at once.
    fn close_locked(&self, mut state: MutexGuard<'_, State>, reason: CloseReason) {
        if state.is_closed() {
            return;
        }
        state.entry = Entry::Closed(reason);
        state.left_behind = (state.pieces(), state.pending_bytes);
        let sealed = std::mem::take(&mut state.sealed);
        let open = std::mem::take(&mut state.open);
        state.sealed_bytes = 0;
        state.front_at = 0;
        state.pending_bytes = 0;
        state.blocked = None;
        state.recovered = None;
        self.report(&mut state);
        self.is_ending.store(true, Ordering::Release);
        let called = state.call_all();
        drop(state);
        // The next queue that grows as large needs no fresh memory.
        let blocks = sealed.into_iter().filter_map(Piece::into_block);
        self.queues.memory.keep(blocks.chain([open]));
        self.wake();
        crowd::wake(&called);
    }

    /// Closes the queue for good, at the end of its session.
    pub(crate) fn abandon(&self, reason: CloseReason) {
        self.close(reason);
        self.write_handle.store(None);
        self.state.lock().trace = None;
    }

    /// Returns the bound of pending bytes.
    pub(crate) fn max_pending_bytes(&self) -> usize {
        self.max_pending_bytes
    }

    /// Returns the pieces and bytes that were never written because the byte queue was closed.
    #[inline]
    pub(crate) fn left_behind(&self) -> (usize, usize) {
        self.state.lock().left_behind
    }

    /// Updates the broker's totals after a flush. Usually the queue is empty, as before.
    #[inline]
    fn report(&self, state: &mut State) {
        let held_bytes = state.held_bytes();
        if state.pending_bytes != state.reported_bytes {
            self.report_pending(state);
        }
        if held_bytes != state.reported_held_bytes {
            self.queues.memory.report(state.reported_held_bytes, held_bytes);
            state.reported_held_bytes = held_bytes;
        }
    }

    fn report_pending(&self, state: &mut State) {
        let State { reported_bytes: before, pending_bytes: now, .. } = *state;
        self.queues.backlogs.note(self.id, before, now);
        if now > before {
            self.queues.pending_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.queues.pending_bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
        state.reported_bytes = now;
    }
}

impl<E: Encoder> Drop for ByteQueue<E> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.pending_bytes = 0;
        state.sealed_bytes = 0;
        state.open = Vec::new();
        self.report(&mut state);
    }
}

impl<E: Encoder> Destination for ByteQueue<E> {
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        scratch: &mut Scratch,
    ) -> Accepted {
        let mut state = self.state.lock();
        // The publisher has looked before the lock. The client may have ended it since, and have read the `PONG` after
        // which it expects no more.
        if subscription.is_over() {
            return Accepted::NOTHING;
        }
        if !matches!(state.entry, Entry::Open) {
            match self.intercept(&mut state, subscription, run, scratch.now()) {
                Intercepted::All => {}
                Intercepted::Nothing => return Accepted::NOTHING,
                Intercepted::WithoutRequests => {
                    drop(state);
                    return self.deliver_without_requests(subscription, run, may_refuse, scratch);
                }
            }
        }
        let Some(state) = self.make_sure_of_room(state, run, may_refuse) else {
            return Accepted::NOTHING;
        };
        let admitted = subscription.admit(run.messages.len());
        let delivery = Delivery {
            run,
            messages: &run.messages[..admitted.count],
            subject: run.shown_subject(),
            to: Target::Subscription { sid: subscription.sid() },
        };
        self.append(state, &delivery, admitted.is_last, scratch)
    }

    fn deliver_to_peer(
        &self,
        account: &str,
        run: &Run<'_>,
        queues: &[&[u8]],
        scratch: &mut Scratch,
    ) -> Accepted {
        let state = self.state.lock();
        if !state.is_open() {
            return Accepted::NOTHING;
        }
        let Some(state) = self.make_sure_of_room(state, run, false) else {
            return Accepted::NOTHING;
        };
        let to = Target::Peer { account, queues };
        let delivery = Delivery { run, messages: run.messages, subject: run.subject, to };
        self.append(state, &delivery, false, scratch)
    }

    fn has_plenty_of_room(&self, _: &Subscription, _messages: usize, body_bytes: usize) -> bool {
        let state = self.state.lock();
        matches!(state.entry, Entry::Open)
            && state.pending_bytes + body_bytes < self.max_pending_bytes / 2
    }

    fn look_ahead(&self, publisher: &Arc<Endpoint>, ticket: Option<u64>) -> Option<Ahead> {
        self.look_ahead_for(publisher, ticket)
    }

    fn end_patience(&self) {
        self.end_patience_here();
    }

    fn flush(&self, scratch: &mut Scratch) {
        let now = scratch.now();
        // Waking once is enough: from then on the connection itself waits for room.
        let (_, must_wake) = self.drain_and_tell(now, false, None, scratch);
        if must_wake {
            self.wake();
        }
    }

    fn flush_whole(&self, scratch: &mut Scratch) {
        let end = self.state.lock().in_bytes;
        loop {
            self.flush(scratch);
            let state = self.state.lock();
            if !state.is_writing || state.is_held || state.out_bytes >= end {
                return;
            }
            drop(state);
            drop(self.writing.lock());
        }
    }

    fn end_after(&self, subscription: &Subscription, max: u64) -> bool {
        let _state = self.state.lock();
        subscription.end_after(max)
    }

    fn finish(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        state.finish(reason);
        state.release();
        drop(state);
        self.is_ending.store(true, Ordering::Release);
        self.wake();
    }

    fn close(&self, reason: CloseReason) {
        self.close_locked(self.state.lock(), reason);
    }

    fn wake(&self) {
        if let Some(write_handle) = &*self.write_handle.load() {
            write_handle.wake();
        }
    }

    fn set_trace(&self, trace: Option<Arc<Trace>>) {
        self.state.lock().trace = trace;
    }

    fn counts(&self) -> OutCounts {
        let state = self.state.lock();
        let (pending_bytes, held_bytes) = (state.pending_bytes, state.held_bytes());
        OutCounts { pending_bytes, held_bytes, ..state.counts }
    }
}

impl State {
    fn is_open(&self) -> bool {
        matches!(self.entry, Entry::Open | Entry::Intercepted(_))
    }

    fn is_closed(&self) -> bool {
        matches!(self.entry, Entry::Closed(_))
    }

    fn finish(&mut self, reason: CloseReason) {
        if self.is_open() {
            self.entry = Entry::Finishing(reason);
        }
    }

    /// Returns the memory of the queue, in bytes.
    fn held_bytes(&self) -> usize {
        self.sealed_bytes + self.open.capacity()
    }

    /// Records the result of a write. An error passes through.
    fn wrote(&mut self, written: (usize, io::Result<()>), now: Instant) -> io::Result<()> {
        let (bytes, result) = written;
        self.out_bytes += bytes as u64;
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        if result.is_err() || self.blocked.is_some() {
            self.note_wait(bytes, &result, now);
        }
        result
    }
}
