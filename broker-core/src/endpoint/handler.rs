//! The destination of a handler: a function inside the process that is called with raw messages.
//!
//! A delivery only queues a message. The thread that delivered it runs the handler at the end of its call into
//! the core ([`run_handlers`]), when no lock is held and no delivery is in progress, so that the handler may
//! publish, also to itself.
//!
//! One thread at a time runs a handler; messages delivered by other threads meanwhile are appended, and the runner
//! handles them as well, so that the order of each publisher is kept. A runner that has handled a turn of messages
//! gives way to the next thread that delivers one. Messages delivered by a handler to handlers are run by the same
//! loop and not by recursion, so that the depth of the stack does not depend on the messages.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Accepted, Ahead, Destination, Endpoint, OutCounts, Run, Scratch, Subscription};
use crate::error::CloseReason;
use crate::limits::{
    HANDLER_HOPS, HANDLER_KEPT, HANDLER_QUEUE_BYTES, HANDLER_QUEUE_MESSAGES, HANDLER_TURN,
    SHARED_PAYLOAD_MIN_BYTES,
};
use crate::message::RawMessage;
use crate::message_trace::StreamTrace;
use crate::proto::{Publish, encode};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::trace::Trace;

/// The function of a handler.
pub(crate) trait Handle: Send {
    /// Handles one message. Messages that it publishes go through `scratch`.
    fn handle(&mut self, message: &RawMessage<'_>, scratch: &mut Scratch);
}

/// The bounded queue of one handler. A full queue drops further messages and counts them.
pub(crate) struct HandlerQueue {
    state: Mutex<State>,
    /// Asks the runner to end its turn: another thread takes over, or the queue is closed.
    stop: AtomicBool,
    /// Messages to the handler count as delivered: not those that the server sends to itself.
    is_counted: bool,
    /// The stream that it is the handler of.
    stream: Option<Box<str>>,
}

#[derive(Default)]
struct State {
    /// `None` before the handler is set, while a thread runs it, and once the queue is closed.
    runner: Option<Runner>,
    queue: Buffer,
    /// Pending messages, with the batch that the runner handles.
    pending: Load,
    /// A thread has the handler on its list and will run it.
    is_claimed: bool,
    /// The number of messages that the current runner has handled.
    served: usize,
    is_open: bool,
    is_closed: bool,
    panics: u64,
    /// Publishers that wait for room, one waker for each task.
    writers: Vec<Waker>,
    /// What the handler does with the messages is behind.
    is_behind: bool,
    /// Publishers that wait until it has caught up. Their tickets are in ascending order.
    waiting: Vec<Weak<Endpoint>>,
    /// The number of those that have waited before, and are woken.
    called: u64,
    counts: OutCounts,
}

/// A number of messages, and the memory that they take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    fn is_at_most_half(self) -> bool {
        self.messages <= HANDLER_QUEUE_MESSAGES / 2 && self.bytes <= HANDLER_QUEUE_BYTES / 2
    }

    #[inline]
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// The handler and the messages that it handles next. Owned by the thread that runs it.
struct Runner {
    handle: Box<dyn Handle>,
    batch: Buffer,
}

/// Messages in the order of their delivery. Their texts lie one behind the other in one piece of memory.
#[derive(Default)]
struct Buffer {
    records: Vec<Record>,
    text: Vec<u8>,
    /// The next message to be handled, and the place of its text.
    at: usize,
    text_at: usize,
}

struct Record {
    subject_len: usize,
    reply_len: usize,
    header_len: usize,
    body: Body,
    /// The number of handlers that have published because of the same message before.
    hops: u8,
    /// The client that sent the message, if [`Sending`] names one.
    sender: Option<NonZeroU64>,
    /// The trace of a message to a stream.
    trace: Option<Box<StreamTrace>>,
}

enum Body {
    Copied { len: usize },
    Shared(Bytes),
}

impl Record {
    /// Returns the length of the texts and the memory that they take.
    #[inline]
    fn sizes(&self) -> (usize, usize) {
        let (copied, shared) = match &self.body {
            Body::Copied { len } => (*len, 0),
            Body::Shared(bytes) => (0, bytes.len()),
        };
        let text = self.subject_len + self.reply_len + copied;
        (text, text + shared + size_of::<Self>())
    }
}

impl Buffer {
    /// Appends a message of a run, whose subject may differ from the one that it was published to. Returns the memory
    /// that it takes.
    fn push(
        &mut self,
        run: &Run<'_>,
        message: &Publish<'_>,
        hops: u8,
        trace: Option<Box<StreamTrace>>,
    ) -> usize {
        let (subject, shared) = (run.shown_subject(), run.shared);
        let shared = shared.filter(|_| message.body.len() >= SHARED_PAYLOAD_MIN_BYTES);
        self.text.extend_from_slice(subject);
        self.text.extend_from_slice(message.reply);
        let body = match shared {
            Some(shared) => Body::Shared(shared.slice_ref(message.body)),
            None => {
                self.text.extend_from_slice(message.body);
                Body::Copied { len: message.body.len() }
            }
        };
        let record = Record {
            subject_len: subject.len(),
            reply_len: message.reply.len(),
            header_len: message.headers().len(),
            body,
            hops,
            sender: SENDER.get(),
            trace,
        };
        let (_, bytes) = record.sizes();
        self.records.push(record);
        bytes
    }

    fn is_done(&self) -> bool {
        self.at == self.records.len()
    }

    /// Returns the next message, its hops and the memory that it takes.
    fn next(&mut self) -> Option<(RawMessage<'_>, u8, usize)> {
        let record = self.records.get(self.at)?;
        let (text_len, bytes) = record.sizes();
        let text = self.text.get(self.text_at..self.text_at + text_len)?;
        self.at += 1;
        self.text_at += text_len;
        let (subject, text) = text.split_at_checked(record.subject_len)?;
        let (reply, text) = text.split_at_checked(record.reply_len)?;
        let (body, shared) = match &record.body {
            Body::Copied { .. } => (text, None),
            Body::Shared(bytes) => (&bytes[..], Some(bytes)),
        };
        let (headers, payload) = body.split_at_checked(record.header_len)?;
        let (body, sender, trace) = (Some(body), record.sender, record.trace.as_deref());
        let message = RawMessage { subject, reply, headers, payload, body, shared, sender, trace };
        Some((message, record.hops, bytes))
    }

    /// Removes all messages, and frees most of the memory if many were held.
    fn clear(&mut self) {
        self.records.clear();
        self.text.clear();
        self.records.shrink_to(HANDLER_KEPT);
        self.text.shrink_to(HANDLER_KEPT);
        (self.at, self.text_at) = (0, 0);
    }
}

impl Runner {
    /// Handles the messages of one turn, fewer if `stop` is set. Returns the load handled and the number of panics of
    /// the handler.
    fn turn(&mut self, stop: &AtomicBool, scratch: &mut Scratch) -> (Load, u64) {
        let (mut handled, mut panics) = (Load::default(), 0);
        while handled.messages < HANDLER_TURN && !stop.load(Ordering::Acquire) {
            let Some((message, hops, bytes)) = self.batch.next() else { break };
            handled.add(bytes);
            let before = HOPS.replace(hops + 1);
            // After a panic the publisher goes on, and the handler with the next message: the handler owns all
            // state that the panic may have left inconsistent.
            let call = AssertUnwindSafe(|| self.handle.handle(&message, scratch));
            panics += u64::from(catch_unwind(call).is_err());
            HOPS.set(before);
        }
        (handled, panics)
    }
}

impl HandlerQueue {
    pub(crate) fn new(is_counted: bool, stream: Option<&str>) -> Self {
        let stream = stream.map(Into::into);
        Self { state: Mutex::default(), stop: AtomicBool::new(false), is_counted, stream }
    }

    /// Sets the handler, once, before anything is delivered.
    pub(crate) fn start(&self, handle: Box<dyn Handle>) {
        let runner = Runner { handle, batch: Buffer::default() };
        let mut state = self.state.lock();
        state.runner = Some(runner);
        state.is_open = true;
    }

    /// Returns the number of messages at which the handler panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.state.lock().panics
    }

    /// Has publishers wait, as [`Destination::look_ahead`] states, until [`Self::catch_up`].
    pub(crate) fn fall_behind(&self) {
        self.state.lock().is_behind = true;
    }

    /// Has publishers go on.
    pub(crate) fn catch_up(&self) {
        let called = self.state.lock().call_waiting();
        for publisher in called.iter().filter_map(Weak::upgrade) {
            publisher.destination.wake();
        }
    }

    /// Queues the reply to a request of the handler's own that has no responders.
    pub(crate) fn put_no_responders(
        &self,
        reply: &[u8],
        subject: &[u8],
        endpoint: &Arc<Endpoint>,
        scratch: &mut Scratch,
    ) {
        let mut headers = Vec::new();
        encode::no_responders_headers(&mut headers, subject);
        let message = Publish {
            subject: reply,
            reply: &[],
            header_len: Some(headers.len()),
            body: &headers,
            sizes: &[],
            tail: None,
        };
        let run = Run {
            shown: None,
            subject: reply,
            messages: std::slice::from_ref(&message),
            shared: None,
            parsed: None,
            prefetched: None,
        };
        let mut state = self.state.lock();
        if state.is_open {
            state.append(&run, 1, &mut None);
            self.claim(&mut state, endpoint, scratch);
        }
    }

    /// Puts the handler on the list of this thread, unless another thread runs it or is about to. A runner that
    /// has had its turn is asked to give way.
    #[inline]
    fn claim(&self, state: &mut State, endpoint: &Arc<Endpoint>, scratch: &mut Scratch) {
        let is_running = state.runner.is_none();
        if state.is_claimed || (is_running && state.served < HANDLER_TURN) {
            return;
        }
        state.is_claimed = true;
        if is_running {
            self.stop.store(true, Ordering::Release);
        }
        scratch.handlers.push(Arc::clone(endpoint));
    }

    /// Makes this thread the runner. Returns `None` if another thread is the runner and has not given way.
    fn begin(&self) -> Option<Runner> {
        let mut state = self.state.lock();
        state.is_claimed = false;
        self.stop.store(state.is_closed, Ordering::Release);
        let mut runner = state.runner.take()?;
        state.served = 0;
        state.refill(&mut runner);
        Some(runner)
    }

    /// Ends a turn. Returns the runner if this thread continues to run it.
    fn end_turn(&self, mut runner: Runner, handled: Load, panics: u64) -> Option<Runner> {
        let mut state = self.state.lock();
        state.pending.subtract(handled);
        state.served += handled.messages;
        state.panics += panics;
        let writers = state.take_writers();
        state.refill(&mut runner);
        let mut runner = Some(runner);
        let mut closed = None;
        if state.is_closed {
            closed = runner.take();
        } else if state.is_claimed || runner.as_ref().is_some_and(|runner| runner.batch.is_done()) {
            state.runner = runner.take();
        }
        drop(state);
        // Dropped without the lock: the function of a closed handler may own a client.
        drop(closed);
        writers.into_iter().for_each(Waker::wake);
        runner
    }
}

impl State {
    /// Returns the number of messages, from the first on, for which there is room.
    fn room_for(&self, run: &Run<'_>, count: usize) -> usize {
        let mut load = self.pending;
        let fits = |message: &&Publish<'_>| {
            let is_first = load.messages == 0;
            load.add(run.shown_subject().len() + message.reply.len() + message.body.len());
            is_first
                || (load.messages <= HANDLER_QUEUE_MESSAGES && load.bytes <= HANDLER_QUEUE_BYTES)
        };
        run.messages[..count].iter().take_while(fits).count()
    }

    /// Appends messages. Takes the trace of the first one, if there is room for it.
    fn append(&mut self, run: &Run<'_>, count: usize, trace: &mut Option<Box<StreamTrace>>) {
        let hops = HOPS.get();
        let room = if hops < HANDLER_HOPS { self.room_for(run, count) } else { 0 };
        self.counts.dropped += (count - room) as u64;
        for message in &run.messages[..room] {
            self.counts.messages += 1;
            self.counts.bytes += message.body.len() as u64;
            let bytes = self.queue.push(run, message, hops, trace.take());
            self.pending.add(bytes);
        }
    }

    fn refill(&mut self, runner: &mut Runner) {
        if runner.batch.is_done() {
            runner.batch.clear();
            std::mem::swap(&mut runner.batch, &mut self.queue);
        }
    }

    /// Takes the publishers that wait until the handler has caught up, which it has.
    fn call_waiting(&mut self) -> Vec<Weak<Endpoint>> {
        self.is_behind = false;
        self.called += self.waiting.len() as u64;
        std::mem::take(&mut self.waiting)
    }

    fn take_writers(&mut self) -> Vec<Waker> {
        let has_room = !self.is_open || self.pending.is_at_most_half();
        if has_room { std::mem::take(&mut self.writers) } else { Vec::new() }
    }
}

impl Destination for HandlerQueue {
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        scratch: &mut Scratch,
    ) -> Accepted {
        let mut state = self.state.lock();
        if !state.is_open {
            return Accepted::NOTHING;
        }
        let is_refused = HOPS.get() >= HANDLER_HOPS || state.room_for(run, run.messages.len()) == 0;
        if may_refuse && is_refused {
            return Accepted::NOTHING;
        }
        let admitted = subscription.admit(run.messages.len());
        state.append(run, admitted.count, &mut scratch.stream_trace);
        if state.pending.messages > 0 {
            self.claim(&mut state, &subscription.endpoint, scratch);
        }
        // Messages that the queue drops count as delivered to the subscription.
        Accepted { count: admitted.count, is_last: admitted.is_last, ..Accepted::NOTHING }
    }

    fn has_plenty_of_room(
        &self,
        _subscription: &Subscription,
        messages: usize,
        body_bytes: usize,
    ) -> bool {
        let state = self.state.lock();
        let Load { messages: pending, bytes } = state.pending;
        let load = Load { messages: pending + messages, bytes: bytes + body_bytes };
        state.is_open && HOPS.get() < HANDLER_HOPS && load.is_at_most_half()
    }

    fn poll_room(&self, _subscription: &Subscription, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.is_open || state.pending.is_at_most_half() {
            return Poll::Ready(());
        }
        if !state.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            state.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// A handler that is behind is waited for as long as a publisher waits at most: whether it proceeds is decided by who says that it is
    /// behind.
    fn look_ahead(&self, publisher: &Arc<Endpoint>, ticket: Option<u64>) -> Option<Ahead> {
        let mut state = self.state.lock();
        if !state.is_behind || !state.is_open {
            return None;
        }
        let called = state.called;
        if ticket.is_some_and(|ticket| ticket <= called) {
            // It has had to wait once, whatever others have sent since.
            return None;
        }
        let ticket = ticket.unwrap_or_else(|| {
            state.waiting.push(Arc::downgrade(publisher));
            called + state.waiting.len() as u64
        });
        Some(Ahead { ticket, out_bytes: 0, step_bytes: 0 })
    }

    /// Does nothing: a handler is run by [`Self::run_handler`] only, because queues are also flushed during a delivery.
    fn flush(&self, _scratch: &mut Scratch) {}

    fn run_handler(&self, scratch: &mut Scratch) {
        let mut next = self.begin();
        while let Some(mut runner) = next {
            let (handled, panics) = runner.turn(&self.stop, scratch);
            if panics > 0 {
                tracing::error!("A handler has panicked at {panics} messages, which are lost");
            }
            scratch.flush_queues();
            next = self.end_turn(runner, handled, panics);
        }
    }

    fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    fn end_after(&self, subscription: &Subscription, max: u64) -> bool {
        let _state = self.state.lock();
        subscription.end_after(max)
    }

    fn finish(&self, _reason: CloseReason) {
        let writers = {
            let mut state = self.state.lock();
            state.is_open = false;
            state.take_writers()
        };
        writers.into_iter().for_each(Waker::wake);
        self.catch_up();
    }

    fn close(&self, reason: CloseReason) {
        let (runner, queue) = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.pending = Load::default();
            self.stop.store(true, Ordering::Release);
            (state.runner.take(), std::mem::take(&mut state.queue))
        };
        // Dropped without the lock: the function may own a client.
        drop((runner, queue));
        self.finish(reason);
    }

    /// Does nothing: a handler has no task.
    fn wake(&self) {}

    /// NATS 2.14: messages that stay inside the process are not traced.
    fn set_trace(&self, _trace: Option<Arc<Trace>>) {}

    fn counts(&self) -> OutCounts {
        let state = self.state.lock();
        let mut counts = OutCounts { pending_bytes: state.pending.bytes, ..state.counts };
        if !self.is_counted {
            (counts.messages, counts.bytes) = (0, 0);
        }
        counts
    }
}

/// While it exists, handlers are told which client sends the messages that this thread delivers to them.
pub(crate) struct Sending {
    before: Option<NonZeroU64>,
}

impl Sending {
    /// Begins the delivery of messages of a client.
    pub(crate) fn begin(client: u64) -> Self {
        Self { before: SENDER.replace(NonZeroU64::new(client)) }
    }

    /// Begins the delivery of messages whose sender handlers are not told.
    pub(crate) fn nobody() -> Self {
        Self { before: SENDER.take() }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        SENDER.set(self.before);
    }
}

/// The handlers that this thread has yet to run.
#[derive(Default)]
struct ToRun {
    endpoints: VecDeque<Arc<Endpoint>>,
    /// The loop that runs them is on the stack.
    is_running: bool,
}

impl ToRun {
    /// Adds the handlers that the current call has delivered to.
    fn add(&mut self, scratch: &mut Scratch) {
        // Usually there are none or one.
        match scratch.handlers.len() {
            0 => {}
            1 => self.endpoints.extend(scratch.handlers.pop()),
            _ => self.endpoints.extend(scratch.handlers.drain(..)),
        }
    }
}

thread_local! {
    /// The number of handlers that have published because of the message that this thread handles; 0 outside
    /// of handlers. Kept per thread and not in the scratch space: a handler may publish by a client of its own.
    static HOPS: Cell<u8> = const { Cell::new(0) };
    /// The client whose message this thread delivers, if handlers are told.
    static SENDER: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
    static TO_RUN: RefCell<ToRun> = RefCell::default();
}

/// Runs the handlers that the current call has delivered to, and the handlers that these deliver to, one after the
/// other. When called within a handler, only adds to the list of the loop that runs it.
pub(crate) fn run_handlers(scratch: &mut Scratch) {
    let Some(_running) = Running::begin(scratch) else { return };
    while let Some(endpoint) = next_to_run(scratch) {
        endpoint.destination.run_handler(scratch);
        scratch.flush_queues();
    }
}

/// Returns the next handler that this thread is to run.
fn next_to_run(scratch: &mut Scratch) -> Option<Arc<Endpoint>> {
    let next = TO_RUN.try_with(|to_run| {
        let mut to_run = to_run.borrow_mut();
        to_run.add(scratch);
        to_run.endpoints.pop_front()
    });
    // The list no longer exists while the thread ends.
    next.unwrap_or_else(|_| scratch.handlers.pop())
}

/// The loop of [`run_handlers`], which each thread has once.
struct Running;

impl Running {
    fn begin(scratch: &mut Scratch) -> Option<Self> {
        let begin = |to_run: &RefCell<ToRun>| {
            let mut to_run = to_run.borrow_mut();
            to_run.add(scratch);
            let is_first = !std::mem::replace(&mut to_run.is_running, true);
            is_first.then(|| Self)
        };
        TO_RUN.try_with(begin).unwrap_or_else(|_| Some(Self))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = TO_RUN.try_with(|to_run| {
            let mut to_run = to_run.borrow_mut();
            to_run.is_running = false;
            to_run.endpoints.shrink_to(HANDLER_KEPT);
        });
    }
}
