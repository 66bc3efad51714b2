//! The destination of an in-process client: a bounded queue for each subscription.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::{Accepted, Destination, OutCounts, Run, Scratch};
use crate::endpoint::Subscription;
use crate::error::CloseReason;
use crate::headers::HeaderMap;
use crate::limits::LOCAL_QUEUE_MESSAGES;
use crate::message::Message;
use crate::proto::Publish;
use crate::subject::Subject;
use crate::sync::{Arc, Mutex};
use crate::table::{Place, Table};
use crate::trace::Trace;

/// The queues of one client.
///
/// A full queue drops what comes, counted: the reader sees a gap, nobody else feels it. (A queue
/// group passes a full member over while another has room.)
#[derive(Default)]
pub(crate) struct LocalQueues {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By sid, which is a number that the client counted up: nobody can choose one.
    boxes: Boxes,
    /// Whose readers wait for what the call at hand has delivered.
    to_wake: Vec<Waker>,
    is_touched: bool,
    /// All queues are over, whatever each of them says.
    is_closed: bool,
    counts: OutCounts,
}

#[derive(Default)]
struct Boxes {
    table: Table<(u64, LocalQueue)>,
    hasher: FixedState,
}

impl Boxes {
    fn get(&self, sid: u64) -> Option<&LocalQueue> {
        let found = self.table.find(self.hasher.hash_one(sid), |(other, _)| *other == sid);
        found.map(|(_, local_queue)| local_queue)
    }

    fn get_mut(&mut self, sid: u64) -> Option<&mut LocalQueue> {
        let found = self.table.find_mut(self.hasher.hash_one(sid), |(other, _)| *other == sid);
        found.map(|(_, local_queue)| local_queue)
    }

    fn insert(&mut self, sid: u64, local_queue: LocalQueue) {
        let hash_of = |(other, _): &(u64, LocalQueue)| self.hasher.hash_one(other);
        self.table.insert(self.hasher.hash_one(sid), (sid, local_queue), hash_of);
    }

    fn remove(&mut self, sid: u64) -> Option<LocalQueue> {
        let hash_of = |(other, _): &(u64, LocalQueue)| self.hasher.hash_one(other);
        let is_it = |(other, _): &(u64, LocalQueue)| *other == sid;
        let removed = self.table.remove(self.hasher.hash_one(sid), is_it, hash_of);
        removed.map(|(_, local_queue)| local_queue)
    }

    /// The sids of one part, and where the next one begins.
    fn part(&self, place: Place) -> (Vec<u64>, Option<Place>) {
        let hash_of = |(other, _): &(u64, LocalQueue)| self.hasher.hash_one(other);
        let (part, next) = self.table.part(place, hash_of);
        (part.map(|(sid, _)| *sid).collect(), next)
    }
}

struct LocalQueue {
    messages: VecDeque<Message>,
    /// How many messages it takes.
    capacity: usize,
    reader: Option<Waker>,
    /// Who waits for room, one for each task that does.
    writers: Vec<Waker>,
    /// No more will come: what is there can still be read.
    is_over: bool,
    dropped: u64,
}

impl Default for LocalQueue {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            capacity: LOCAL_QUEUE_MESSAGES,
            reader: None,
            writers: Vec::new(),
            is_over: false,
            dropped: 0,
        }
    }
}

impl LocalQueue {
    /// Room is half of it, so that several who see it at once all find some.
    fn has_room(&self) -> bool {
        self.messages.len() <= self.capacity / 2
    }

    /// Who is to be told of room, if there is some or none is needed any more.
    fn take_writers(&mut self) -> Vec<Waker> {
        if self.has_room() || self.is_over { std::mem::take(&mut self.writers) } else { Vec::new() }
    }
}

impl LocalQueues {
    pub(crate) fn open(&self, sid: u64) {
        let mut state = self.state.lock();
        let is_over = state.is_closed;
        state.boxes.insert(sid, LocalQueue { is_over, ..LocalQueue::default() });
    }

    /// Forgets the queue and what is in it.
    pub(crate) fn discard(&self, sid: u64) {
        let gone = self.state.lock().boxes.remove(sid);
        wake_all(gone.into_iter().flat_map(|local_queue| local_queue.writers));
    }

    /// How many messages a queue takes from now on. What is in it stays.
    pub(crate) fn set_capacity(&self, sid: u64, capacity: usize) {
        let writers = {
            let mut state = self.state.lock();
            let Some(local_queue) = state.boxes.get_mut(sid) else { return };
            local_queue.capacity = capacity.clamp(1, LOCAL_QUEUE_MESSAGES);
            local_queue.take_writers()
        };
        wake_all(writers);
    }

    /// Nothing more will come; what is there can still be read.
    pub(crate) fn end(&self, sid: u64) {
        let (reader, writers) = {
            let mut state = self.state.lock();
            let Some(local_queue) = state.boxes.get_mut(sid) else { return };
            local_queue.is_over = true;
            (local_queue.reader.take(), local_queue.take_writers())
        };
        wake_all(reader.into_iter().chain(writers));
    }

    pub(crate) fn poll_next(&self, sid: u64, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let Some(local_queue) = state.boxes.get_mut(sid) else { return Poll::Ready(None) };
        if let Some(message) = local_queue.messages.pop_front() {
            if !local_queue.writers.is_empty() {
                let writers = local_queue.take_writers();
                drop(state);
                wake_all(writers);
            }
            return Poll::Ready(Some(message));
        }
        if local_queue.is_over || is_closed {
            return Poll::Ready(None);
        }
        match &mut local_queue.reader {
            Some(reader) if reader.will_wake(cx.waker()) => {}
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(crate) fn dropped(&self, sid: u64) -> u64 {
        self.state.lock().boxes.get(sid).map_or(0, |local_queue| local_queue.dropped)
    }

    /// Puts a message of the broker's own into a queue.
    pub(crate) fn put(&self, sid: u64, message: Message) {
        let reader = {
            let mut state = self.state.lock();
            let Some(local_queue) = state.boxes.get_mut(sid) else { return };
            local_queue.messages.push_back(message);
            local_queue.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Never under the lock: who is woken may run at once.
fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The number that an in-process client gave.
pub(crate) fn sid_number(subscription: &Subscription) -> u64 {
    let sid = subscription.sid().try_into().unwrap_or_default();
    u64::from_le_bytes(sid)
}

impl Destination for LocalQueues {
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        _work: &mut Scratch,
    ) -> Accepted {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(local_queue) = state.boxes.get_mut(sid_number(subscription)) else {
            return Accepted::NOTHING;
        };
        let room = local_queue.capacity.saturating_sub(local_queue.messages.len());
        if local_queue.is_over || state.is_closed || (may_refuse && room < run.messages.len()) {
            return Accepted::NOTHING;
        }
        let admitted = subscription.admit(run.messages.len());
        let taken = admitted.count.min(room);
        let lost = (admitted.count - taken) as u64;
        local_queue.dropped += lost;
        state.counts.dropped += lost;
        if taken > 0 {
            let subject = run.parsed.cloned().unwrap_or_else(|| Subject::from_wire(run.subject));
            for message in &run.messages[..taken] {
                state.counts.messages += 1;
                state.counts.bytes += message.body.len() as u64;
                local_queue.messages.push_back(owned(&subject, message, run.shared));
            }
        }
        if admitted.is_last {
            local_queue.is_over = true;
        }
        state.to_wake.extend(local_queue.reader.take());
        let must_flush = !state.is_touched && !state.to_wake.is_empty();
        state.is_touched |= must_flush;
        // What a queue dropped still reached its subscription: it is not unheard.
        Accepted {
            count: admitted.count,
            is_last: admitted.is_last,
            must_flush,
            ..Accepted::NOTHING
        }
    }

    fn has_plenty_of_room(
        &self,
        subscription: &Subscription,
        messages: usize,
        _body_bytes: usize,
    ) -> bool {
        let state = self.state.lock();
        state.boxes.get(sid_number(subscription)).is_some_and(|local_queue| {
            !local_queue.is_over
                && !state.is_closed
                && local_queue.messages.len() + messages < local_queue.capacity / 2
        })
    }

    fn poll_room(&self, subscription: &Subscription, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let Some(local_queue) = state.boxes.get_mut(sid_number(subscription)) else {
            return Poll::Ready(());
        };
        if local_queue.is_over || is_closed || local_queue.has_room() {
            return Poll::Ready(());
        }
        if !local_queue.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            local_queue.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn flush(&self, _work: &mut Scratch) {
        let to_wake = {
            let mut state = self.state.lock();
            state.is_touched = false;
            std::mem::take(&mut state.to_wake)
        };
        for reader in to_wake {
            reader.wake();
        }
    }

    fn end_after(&self, subscription: &Subscription, max: u64) -> bool {
        let _state = self.state.lock();
        subscription.end_after(max)
    }

    fn finish(&self, reason: CloseReason) {
        // What is in the queues can always be read.
        self.close(reason);
    }

    fn close(&self, _reason: CloseReason) {
        self.state.lock().is_closed = true;
        // Part by part, so that a publisher to one of a million does not wait.
        let mut place = Some(Place::default());
        while let Some(at) = place {
            let waiting: Vec<Waker> = {
                let mut state = self.state.lock();
                let (part, next) = state.boxes.part(at);
                place = next;
                let mut waiting = Vec::new();
                for sid in part {
                    let Some(local_queue) = state.boxes.get_mut(sid) else { continue };
                    local_queue.is_over = true;
                    waiting.extend(local_queue.reader.take());
                    waiting.append(&mut local_queue.take_writers());
                }
                waiting
            };
            wake_all(waiting);
        }
    }

    /// An in-process client has nobody who serves it.
    fn wake(&self) {}

    /// NATS 2.14: what stays inside of the process is not traced.
    fn set_trace(&self, _trace: Option<Arc<Trace>>) {}

    fn counts(&self) -> OutCounts {
        self.state.lock().counts
    }
}

fn owned(subject: &Subject, message: &Publish<'_>, shared: Option<&Bytes>) -> Message {
    let payload = message.payload();
    Message {
        subject: subject.clone(),
        reply: (!message.reply.is_empty()).then(|| Subject::from_wire(message.reply)),
        headers: message.has_headers().then(|| HeaderMap::parse(message.headers())).flatten(),
        payload: match shared {
            Some(shared) => shared.slice_ref(payload),
            None => Bytes::copy_from_slice(payload),
        },
    }
}
