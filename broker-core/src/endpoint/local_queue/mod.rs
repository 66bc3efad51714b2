//! The destination of an in-process client: a bounded queue for each subscription.

mod requests;

pub(crate) use requests::Token;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Accepted, Destination, OutCounts, Run, Scratch, Taken};
use crate::arena::Arena;
use crate::endpoint::Subscription;
use crate::error::CloseReason;
use crate::headers::HeaderMap;
use crate::limits::{LOCAL_QUEUE_MESSAGES, LOCAL_TAKEN_MESSAGES};
use crate::message::Message;
use crate::proto::Publish;
use crate::subject::Subject;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::trace::Trace;
use requests::Requests;

/// The queues of one client.
///
/// A full queue drops further messages and counts them: the reader misses messages, other receivers are not affected.
/// (A queue group skips a full member while another has room.)
#[derive(Default)]
pub(crate) struct LocalQueues {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keyed by the place in the upper half of a [sid](sid_number).
    queues: Arena<LocalQueue>,
    /// The number of queues opened: the lower half of the next sid.
    opened: u32,
    requests: Requests,
    /// Readers that wait for messages delivered by the current call.
    to_wake: SmallVec<[Waker; 2]>,
    is_touched: bool,
    /// All queues have ended, regardless of their own flags.
    is_closed: bool,
    counts: OutCounts,
}

struct LocalQueue {
    sid: u64,
    /// Its messages are answers to requests, and are stored in the table of requests.
    is_inbox: bool,
    messages: VecDeque<Message>,
    /// The number of messages that it takes.
    capacity: usize,
    reader: Option<Waker>,
    /// Tasks that wait for room, one waker each.
    writers: Vec<Waker>,
    /// No more messages will be added; those in the queue can still be read.
    is_over: bool,
    dropped: u64,
}

impl State {
    #[inline]
    fn get(&self, sid: u64) -> Option<&LocalQueue> {
        self.queues.get(place(sid)).filter(|queue| queue.sid == sid)
    }

    #[inline]
    fn get_mut(&mut self, sid: u64) -> Option<&mut LocalQueue> {
        self.queues.get_mut(place(sid)).filter(|queue| queue.sid == sid)
    }
}

/// Returns the place of a queue, which is part of its sid.
#[inline]
fn place(sid: u64) -> u32 {
    (sid >> 32) as u32
}

impl LocalQueue {
    /// Returns true if at most half of the queue is used, so that several publishers that see it at once all find room.
    fn has_room(&self) -> bool {
        self.messages.len() <= self.capacity / 2
    }

    /// Returns true if it takes one more message as it is.
    #[inline]
    fn may_take_one(&self) -> bool {
        !self.is_over && self.messages.len() < self.capacity
    }

    /// Returns the publishers to be woken, if there is room or the queue has ended.
    fn take_writers(&mut self) -> Vec<Waker> {
        if self.has_room() || self.is_over { std::mem::take(&mut self.writers) } else { Vec::new() }
    }

    /// Moves the messages that its reader takes together with the one before them to `taken`, which is empty.
    fn move_to(&mut self, taken: &mut VecDeque<Message>) {
        let most = LOCAL_TAKEN_MESSAGES.min(self.capacity / LOCAL_TAKEN_MESSAGES).max(1) - 1;
        if self.messages.len() <= most && self.messages.capacity() <= 2 * LOCAL_TAKEN_MESSAGES {
            std::mem::swap(&mut self.messages, taken);
        } else {
            taken.extend(self.messages.drain(..most.min(self.messages.len())));
        }
    }

    /// Notes the reader, unless the queue has ended.
    #[inline(never)]
    fn wait(&mut self, is_closed: bool, cx: &Context<'_>) -> Poll<Option<Message>> {
        if self.is_over || is_closed {
            return Poll::Ready(None);
        }
        match &mut self.reader {
            Some(reader) if reader.will_wake(cx.waker()) => {}
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl LocalQueues {
    /// Opens a queue, and returns the sid of its subscription.
    pub(crate) fn open(&self) -> u64 {
        self.open_as(false)
    }

    /// Opens the queue of the subscription that gets the answers to all requests.
    pub(crate) fn open_inbox(&self) -> u64 {
        self.open_as(true)
    }

    fn open_as(&self, is_inbox: bool) -> u64 {
        let mut state = self.state.lock();
        state.opened = state.opened.wrapping_add(1);
        let (number, is_over) = (state.opened, state.is_closed);
        let place = state.queues.insert(LocalQueue {
            sid: 0,
            is_inbox,
            messages: VecDeque::new(),
            capacity: LOCAL_QUEUE_MESSAGES,
            reader: None,
            writers: Vec::new(),
            is_over,
            dropped: 0,
        });
        let sid = (u64::from(place) << 32) | u64::from(number);
        if let Some(queue) = state.queues.get_mut(place) {
            queue.sid = sid;
        }
        sid
    }

    /// Removes a queue and its messages.
    pub(crate) fn discard(&self, sid: u64) {
        let gone = {
            let mut state = self.state.lock();
            if state.get(sid).is_none() {
                return;
            }
            state.queues.remove(place(sid))
        };
        wake_all(gone.into_iter().flat_map(|local_queue| local_queue.writers));
    }

    /// Sets the number of messages that a queue takes from now on. Messages in the queue remain.
    pub(crate) fn set_capacity(&self, sid: u64, capacity: usize) {
        let writers = {
            let mut state = self.state.lock();
            let Some(local_queue) = state.get_mut(sid) else { return };
            local_queue.capacity = capacity.clamp(1, LOCAL_QUEUE_MESSAGES);
            local_queue.take_writers()
        };
        wake_all(writers);
    }

    /// Ends a queue; messages in it can still be read.
    pub(crate) fn end(&self, sid: u64) {
        let (reader, writers) = {
            let mut state = self.state.lock();
            let Some(local_queue) = state.get_mut(sid) else { return };
            local_queue.is_over = true;
            (local_queue.reader.take(), local_queue.take_writers())
        };
        wake_all(reader.into_iter().chain(writers));
    }

    /// Returns the next message of a queue, and moves those behind it to `taken`, which is empty. Moved messages no
    /// longer count as waiting in the queue.
    #[inline(always)]
    pub(crate) fn poll_next(
        &self,
        sid: u64,
        taken: &mut VecDeque<Message>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let Some(local_queue) = state.get_mut(sid) else { return Poll::Ready(None) };
        if local_queue.messages.is_empty() {
            return local_queue.wait(is_closed, cx);
        }
        Poll::Ready(Self::take_from(state, sid, taken))
    }

    /// As [`Self::poll_next`], without a task that waits.
    #[inline(always)]
    pub(crate) fn take_next(&self, sid: u64, taken: &mut VecDeque<Message>) -> Option<Message> {
        Self::take_from(self.state.lock(), sid, taken)
    }

    /// Takes the only message of a queue, or several.
    #[inline(always)]
    fn take_from(
        mut state: MutexGuard<'_, State>,
        sid: u64,
        taken: &mut VecDeque<Message>,
    ) -> Option<Message> {
        let local_queue = state.get_mut(sid)?;
        if local_queue.messages.len() == 1 && local_queue.writers.is_empty() {
            return local_queue.messages.pop_front();
        }
        Self::take_several(state, sid, taken)
    }

    /// Returns the first message, and moves those behind it to `taken`. Wakes publishers that wait for room.
    #[inline(never)]
    fn take_several(
        mut state: MutexGuard<'_, State>,
        sid: u64,
        taken: &mut VecDeque<Message>,
    ) -> Option<Message> {
        let local_queue = state.get_mut(sid)?;
        let message = local_queue.messages.pop_front()?;
        local_queue.move_to(taken);
        let writers = local_queue.take_writers();
        drop(state);
        wake_all(writers);
        Some(message)
    }

    pub(crate) fn dropped(&self, sid: u64) -> u64 {
        self.state.lock().get(sid).map_or(0, |local_queue| local_queue.dropped)
    }

    /// Puts a message of the broker itself into a queue.
    pub(crate) fn put(&self, sid: u64, message: Message) {
        let reader = {
            let mut state = self.state.lock();
            let state = &mut *state;
            match state.queues.get_mut(place(sid)).filter(|queue| queue.sid == sid) {
                Some(inbox) if inbox.is_inbox => {
                    let token = Token::read(message.subject.as_ref());
                    let request = token.and_then(|token| state.requests.waiting(token));
                    request.and_then(|request| request.answer(message))
                }
                Some(local_queue) => {
                    local_queue.messages.push_back(message);
                    local_queue.reader.take()
                }
                None => None,
            }
        };
        wake_all(reader);
    }

    /// Opens a request; `None` if the client has the maximum number of open requests.
    pub(crate) fn begin_request(&self) -> Option<Token> {
        self.state.lock().requests.begin()
    }

    /// Returns the answer to a request; `None` if none will arrive. The request is closed then.
    pub(crate) fn poll_answer(&self, token: Token, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let polled = state.requests.poll(token, cx);
        if polled.is_pending() && is_closed {
            state.requests.end(token);
            return Poll::Ready(None);
        }
        polled
    }

    /// Closes a request; later answers are dropped.
    pub(crate) fn end_request(&self, token: Token) {
        self.state.lock().requests.end(token);
    }
}

/// Wakes tasks. Never called under the lock: a woken task may run at once.
fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// Returns the sid of a subscription inside the process: the place of its queue in the upper half, and the number
/// of the client's subscription in the lower one.
#[inline]
pub(crate) fn sid_number(subscription: &Subscription) -> u64 {
    u64::from_le_bytes(subscription.sid_of().copied().unwrap_or_default())
}

impl Destination for LocalQueues {
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        _scratch: &mut Scratch,
    ) -> Accepted {
        let sid = sid_number(subscription);
        let mut state = self.state.lock();
        let state = &mut *state;
        let found = state.queues.get_mut(place(sid)).filter(|queue| queue.sid == sid);
        let Some(local_queue) = found else { return Accepted::NOTHING };
        let room = local_queue.capacity.saturating_sub(local_queue.messages.len());
        if local_queue.is_over || state.is_closed || (may_refuse && room < run.messages.len()) {
            return Accepted::NOTHING;
        }
        let admitted = subscription.admit(run.messages.len());
        let reader = if local_queue.is_inbox {
            state.counts.answer(&mut state.requests, &run.messages[..admitted.count], run)
        } else {
            local_queue.is_over |= admitted.is_last;
            match run.messages {
                [message] if admitted.count == 1 && room > 0 => {
                    state.counts.add(message);
                    local_queue.push_one(message, run);
                }
                _ => {
                    let taken = admitted.count.min(room);
                    let lost = (admitted.count - taken) as u64;
                    local_queue.dropped += lost;
                    state.counts.dropped += lost;
                    run.messages[..taken].iter().for_each(|message| state.counts.add(message));
                    local_queue.push(&run.messages[..taken], run);
                }
            }
            local_queue.reader.take()
        };
        let mut must_flush = false;
        if let Some(reader) = reader {
            state.to_wake.push(reader);
            must_flush = !std::mem::replace(&mut state.is_touched, true);
        }
        // Messages that a queue drops have still reached its subscription: they do not count as having no responders.
        Accepted {
            count: admitted.count,
            is_last: admitted.is_last,
            must_flush,
            ..Accepted::NOTHING
        }
    }

    fn takes_messages(&self) -> bool {
        true
    }

    /// Takes a message that the queue has room for, or that is the answer to an open request.
    fn take(&self, subscription: &Subscription, from: &mut Option<Message>) -> Option<Taken> {
        let sid = sid_number(subscription);
        let mut state = self.state.lock();
        let state = &mut *state;
        let is_closed = state.is_closed;
        let bytes = from.as_ref()?.payload.len() as u64;
        let found = state.queues.get_mut(place(sid)).filter(|queue| queue.sid == sid);
        let local_queue = found.filter(|queue| !is_closed && queue.may_take_one())?;
        let request = if local_queue.is_inbox {
            let token = Token::read(from.as_ref()?.subject.as_ref())?;
            Some(state.requests.waiting(token)?)
        } else {
            None
        };
        let admitted = subscription.admit(1);
        if admitted.count == 0 {
            return None;
        }
        local_queue.is_over |= admitted.is_last;
        state.counts.messages += 1;
        state.counts.bytes += bytes;
        let reader = match request {
            Some(request) => request.answer(from.take()?),
            None => {
                // Nothing is done between the two, so that the message is copied once.
                local_queue.messages.push_back(from.take()?);
                local_queue.reader.take()
            }
        };
        Some(Taken { is_last: admitted.is_last, reader })
    }

    fn has_plenty_of_room(
        &self,
        subscription: &Subscription,
        messages: usize,
        _body_bytes: usize,
    ) -> bool {
        let state = self.state.lock();
        state.get(sid_number(subscription)).is_some_and(|local_queue| {
            !local_queue.is_over
                && !state.is_closed
                && local_queue.messages.len() + messages < local_queue.capacity / 2
        })
    }

    fn poll_room(&self, subscription: &Subscription, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let Some(local_queue) = state.get_mut(sid_number(subscription)) else {
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
        // Messages in the queues can always be read.
        self.close(reason);
    }

    fn close(&self, _reason: CloseReason) {
        self.state.lock().is_closed = true;
        let waiting = self.state.lock().requests.take_wakers();
        wake_all(waiting);
        // Ended block by block, so that a publisher to one of a million does not wait.
        for block in 0.. {
            let waiting: Vec<Waker> = {
                let mut state = self.state.lock();
                let Some(queues) = state.queues.block_mut(block) else { return };
                let mut waiting = Vec::new();
                for local_queue in queues {
                    local_queue.is_over = true;
                    waiting.extend(local_queue.reader.take());
                    waiting.append(&mut local_queue.take_writers());
                }
                waiting
            };
            wake_all(waiting);
        }
    }

    /// Does nothing: an in-process client has no task.
    fn wake(&self) {}

    /// NATS 2.14: messages that stay inside the process are not traced.
    fn set_trace(&self, _trace: Option<Arc<Trace>>) {}

    fn counts(&self) -> OutCounts {
        self.state.lock().counts
    }
}

impl LocalQueue {
    /// Adds one message. Most have neither reply nor headers, and come from a client that has the parsed subject and shares
    /// the payload.
    #[inline(always)]
    fn push_one(&mut self, message: &Publish<'_>, run: &Run<'_>) {
        let is_bare = message.reply.is_empty() && !message.has_headers();
        match (run.parsed, run.shared) {
            (Some(subject), Some(shared)) if is_bare && shared.len() == message.body.len() => {
                let (subject, payload) = (subject.clone(), shared.clone());
                self.messages.push_back(Message { subject, reply: None, headers: None, payload });
            }
            _ => self.push(std::slice::from_ref(message), run),
        }
    }

    #[inline(never)]
    fn push(&mut self, messages: &[Publish<'_>], run: &Run<'_>) {
        if messages.is_empty() {
            return;
        }
        let subject = subject_of(run);
        let owned = messages.iter().map(|message| owned(subject.clone(), message, run));
        self.messages.extend(owned);
    }
}

/// Returns the subject that readers see.
fn subject_of(run: &Run<'_>) -> Subject {
    run.parsed.cloned().unwrap_or_else(|| Subject::from_wire(run.shown_subject()))
}

impl OutCounts {
    #[inline]
    fn add(&mut self, message: &Publish<'_>) {
        self.messages += 1;
        self.bytes += message.body.len() as u64;
    }

    /// Answers a request with the first of these messages if it waits for an answer; others are dropped. Returns the
    /// waker of the waiting task.
    #[inline(never)]
    fn answer(
        &mut self,
        requests: &mut Requests,
        messages: &[Publish<'_>],
        run: &Run<'_>,
    ) -> Option<Waker> {
        let message = messages.first()?;
        let request = Token::read(run.subject).and_then(|token| requests.waiting(token))?;
        self.add(message);
        request.answer(owned(subject_of(run), message, run))
    }
}

#[inline(always)]
fn owned(subject: Subject, message: &Publish<'_>, run: &Run<'_>) -> Message {
    let reply = match message.reply {
        [] => None,
        reply => Some(Subject::from_wire(reply)),
    };
    let mut payload = match run.shared {
        Some(shared) if shared.len() == message.body.len() => shared.clone(),
        shared => part_of(shared, message.body),
    };
    let mut headers = None;
    if message.has_headers() {
        headers = split_headers(&mut payload, message.headers().len());
    }
    Message { subject, reply, headers, payload }
}

/// Returns a body that is a part of the shared memory, or not in it.
#[inline]
fn part_of(shared: Option<&Bytes>, body: &[u8]) -> Bytes {
    let Some(shared) = shared else { return Bytes::copy_from_slice(body) };
    let begin = body.as_ptr().addr().wrapping_sub(shared.as_ptr().addr());
    // As `slice_ref`, which is not compiled into its callers, and panics for a body in other memory.
    match begin.checked_add(body.len()) {
        Some(end) if end <= shared.len() => shared.slice(begin..end),
        _ => Bytes::copy_from_slice(body),
    }
}

/// Takes the header block off the body of a message.
#[inline(never)]
fn split_headers(body: &mut Bytes, len: usize) -> Option<HeaderMap> {
    HeaderMap::from_block(body.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_other_memory_than_the_shared_one_is_copied() {
        let shared = Bytes::from_static(b"0123456789");
        assert_eq!(part_of(Some(&shared), &shared[2..5]), "234");
        assert_eq!(part_of(Some(&shared), &shared[10..]), "");
        assert_eq!(part_of(Some(&shared), &[]), "");
        assert_eq!(part_of(Some(&shared), b"elsewhere"), "elsewhere");
        assert_eq!(part_of(None, b"alone"), "alone");
    }
}
