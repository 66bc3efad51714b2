//! The queue of one subscription inside the process.
//!
//! The subscription and its reader both hold it, and it has a lock of its own: to deliver a message and to take it, nothing is
//! looked up, and subscriptions of one client do not wait for each other.

#[cfg(all(test, shuttle))]
mod models;
mod requests;
#[cfg(test)]
mod tests;

pub(crate) use requests::Token;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::admission::Admission;
use crate::limits::{LOCAL_QUEUE_MESSAGES, LOCAL_TAKEN_MESSAGES};
use crate::message::Message;
use crate::sync::{Mutex, MutexGuard};
use requests::Requests;

/// See the module.
///
/// A full queue drops further messages and counts them: the reader misses messages, other receivers are not affected.
/// (A queue group skips a full member while another has room.)
pub(crate) struct SubscriberQueue {
    sid: u64,
    state: Mutex<QueueState>,
}

pub(super) struct QueueState {
    /// The oldest message. A reader that keeps up takes each one before the next, which then needs no place in a list.
    first: Option<Message>,
    /// The messages behind it; empty if there is no first one.
    others: VecDeque<Message>,
    /// The number of messages that it takes.
    capacity: usize,
    reader: Option<Waker>,
    /// Tasks that wait for room, one waker each.
    writers: Vec<Waker>,
    /// No more messages will be added; those in the queue can still be read.
    is_over: bool,
    /// The table of requests, if its messages are answers to them: they are stored there.
    requests: Option<Box<Requests>>,
    counts: QueueCounts,
}

/// Counters of the messages of a queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct QueueCounts {
    /// Messages delivered.
    pub(super) messages: u64,
    /// Their bytes, headers and payload.
    pub(super) bytes: u64,
    /// Messages that were dropped because the queue was full.
    pub(super) dropped: u64,
}

impl QueueCounts {
    #[inline]
    fn add_message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }
}

/// A place that the queue has for one message, which counts as delivered. The queue is locked until the message is there.
pub(crate) struct Place<'a> {
    state: MutexGuard<'a, QueueState>,
    kind: PlaceKind,
    /// The subscription has reached its maximum number of messages.
    pub(crate) is_last: bool,
}

enum PlaceKind {
    First,
    Behind,
    Request(Token),
}

impl Place<'_> {
    /// Puts the message there. Returns the task that waits for it, which the caller wakes when no lock is held.
    #[inline(always)]
    pub(crate) fn put(mut self, message: Message) -> Option<Waker> {
        match self.kind {
            PlaceKind::First => {
                self.state.first = Some(message);
                self.state.reader.take()
            }
            PlaceKind::Behind => self.state.put_behind(message),
            PlaceKind::Request(token) => self.state.answer(token, message),
        }
    }
}

/// The rest of a queue.
pub(super) struct Discarded {
    pub(super) counts: QueueCounts,
    /// Tasks that wait for room, to be woken.
    pub(super) writers: Vec<Waker>,
    _messages: (Option<Message>, VecDeque<Message>),
}

impl SubscriberQueue {
    /// Creates the queue of the subscription with this sid; `is_inbox` if that gets the answers to all requests of a client.
    pub(super) fn new(sid: u64, is_inbox: bool, is_over: bool) -> Self {
        let state = QueueState {
            first: None,
            others: VecDeque::new(),
            capacity: LOCAL_QUEUE_MESSAGES,
            reader: None,
            writers: Vec::new(),
            is_over,
            requests: is_inbox.then(Box::default),
            counts: QueueCounts::default(),
        };
        Self { sid, state: Mutex::new(state) }
    }

    /// Returns the sid of its subscription, which tells it from the other queues of its client.
    pub(crate) fn sid(&self) -> u64 {
        self.sid
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    /// Returns a place for a message without headers. `None` if the message must be delivered as a run, because the queue has no
    /// room for it, or because it answers no open request.
    #[inline(always)]
    pub(crate) fn place(&self, admission: &Admission, message: &Message) -> Option<Place<'_>> {
        let mut state = self.state.lock();
        if state.is_over {
            return None;
        }
        let kind = if state.first.is_none() && state.requests.is_none() {
            PlaceKind::First
        } else {
            state.other_place(message)?
        };
        let admitted = admission.admit(1);
        if admitted.count == 0 {
            return None;
        }
        state.is_over = admitted.is_last;
        state.counts.add_message(message.payload.len());
        Some(Place { state, kind, is_last: admitted.is_last })
    }

    /// Puts a message of the broker itself into the queue.
    pub(crate) fn put(&self, message: Message) {
        let reader = {
            let mut state = self.state.lock();
            if state.is_inbox() {
                let token = Token::read(message.subject.as_ref());
                token.and_then(|token| state.answer(token, message))
            } else if state.may_take_one() {
                state.push(message);
                state.reader.take()
            } else {
                state.counts.dropped += 1;
                None
            }
        };
        wake_all(reader);
    }

    /// Returns the next message, and moves those behind it to `taken`, which is empty. Moved messages no longer count as
    /// waiting in the queue.
    #[inline(always)]
    pub(crate) fn poll_next(
        &self,
        taken: &mut VecDeque<Message>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        let mut state = self.state.lock();
        if state.first.is_none() {
            return state.wait(cx);
        }
        Poll::Ready(Self::take_from(state, taken))
    }

    /// As [`Self::poll_next`], without a task that waits.
    #[inline(always)]
    pub(crate) fn take_next(&self, taken: &mut VecDeque<Message>) -> Option<Message> {
        Self::take_from(self.state.lock(), taken)
    }

    /// Takes the only message, or several.
    #[inline(always)]
    fn take_from(
        mut state: MutexGuard<'_, QueueState>,
        taken: &mut VecDeque<Message>,
    ) -> Option<Message> {
        if state.others.is_empty() && state.writers.is_empty() {
            return state.first.take();
        }
        Self::take_several(state, taken)
    }

    /// Returns the first message, and moves those behind it to `taken`. Wakes publishers that wait for room.
    #[inline(never)]
    fn take_several(
        mut state: MutexGuard<'_, QueueState>,
        taken: &mut VecDeque<Message>,
    ) -> Option<Message> {
        let message = state.first.take();
        state.move_to(taken);
        let writers = state.take_writers();
        drop(state);
        wake_all(writers);
        message
    }

    /// Sets the number of messages that it takes from now on. Messages in the queue remain.
    pub(crate) fn set_capacity(&self, capacity: usize) {
        let writers = {
            let mut state = self.state.lock();
            state.capacity = capacity.clamp(1, LOCAL_QUEUE_MESSAGES);
            state.take_writers()
        };
        wake_all(writers);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().counts.dropped
    }

    pub(super) fn counts(&self) -> QueueCounts {
        self.state.lock().counts
    }

    /// Ends it; messages in it can still be read.
    pub(crate) fn end(&self) {
        let (readers, writers) = {
            let mut state = self.state.lock();
            state.is_over = true;
            let mut readers: Vec<Waker> = state.reader.take().into_iter().collect();
            if let Some(requests) = &mut state.requests {
                readers.extend(requests.take_wakers());
            }
            (readers, state.take_writers())
        };
        wake_all(readers.into_iter().chain(writers));
    }

    /// Ends it and takes everything out of it, to be dropped when no lock is held.
    pub(super) fn discard(&self) -> Discarded {
        let mut state = self.state.lock();
        state.is_over = true;
        Discarded {
            counts: std::mem::take(&mut state.counts),
            writers: state.take_writers(),
            _messages: (state.first.take(), std::mem::take(&mut state.others)),
        }
    }

    /// Opens a request; `None` if the client has the maximum number of open requests.
    pub(crate) fn begin_request(&self) -> Option<Token> {
        self.state.lock().requests.as_mut()?.begin()
    }

    /// Returns the answer to a request; `None` if none will arrive. The request is closed then.
    pub(crate) fn poll_answer(&self, token: Token, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state.lock();
        let is_over = state.is_over;
        let Some(requests) = &mut state.requests else { return Poll::Ready(None) };
        let polled = requests.poll(token, cx);
        if polled.is_pending() && is_over {
            requests.end(token);
            return Poll::Ready(None);
        }
        polled
    }

    /// Closes a request; later answers are dropped.
    pub(crate) fn end_request(&self, token: Token) {
        if let Some(requests) = &mut self.state.lock().requests {
            requests.end(token);
        }
    }
}

/// Wakes tasks. Never called under the lock: a woken task may run at once.
pub(super) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl QueueState {
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// Returns the number of messages that it takes now; `None` if it has ended.
    #[inline]
    pub(super) fn room(&self) -> Option<usize> {
        (!self.is_over).then(|| self.capacity.saturating_sub(self.len()))
    }

    #[inline]
    fn may_take_one(&self) -> bool {
        self.room().is_some_and(|room| room > 0)
    }

    /// Returns true if at most half of it is used, so that several publishers that see it at once all find room.
    fn has_room(&self) -> bool {
        self.len() <= self.capacity / 2
    }

    /// Returns true if there is room for so many messages, and for far more.
    pub(super) fn has_plenty_of_room(&self, messages: usize) -> bool {
        !self.is_over && self.len() + messages < self.capacity / 2
    }

    /// Ready when there is room, or when it has ended.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over || self.has_room() {
            return Poll::Ready(());
        }
        if !self.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            self.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns true if its messages are answers to requests.
    #[inline]
    pub(super) fn is_inbox(&self) -> bool {
        self.requests.is_some()
    }

    /// Answers the request that waits for a message to this subject, if there is one, and counts the message. Returns the waker of the waiting task.
    #[inline]
    pub(super) fn answer_with(
        &mut self,
        subject: &[u8],
        bytes: usize,
        message: impl FnOnce() -> Message,
    ) -> Option<Waker> {
        let request = self.requests.as_mut()?.waiting(Token::read(subject)?)?;
        self.counts.add_message(bytes);
        request.answer(message())
    }

    /// Answers a request, if it waits for an answer. Returns the waker of the waiting task.
    #[inline]
    fn answer(&mut self, token: Token, message: Message) -> Option<Waker> {
        self.requests.as_mut()?.waiting(token)?.answer(message)
    }

    /// Returns the place of an answer, or of a message behind others.
    #[inline(never)]
    fn other_place(&mut self, message: &Message) -> Option<PlaceKind> {
        if let Some(requests) = &mut self.requests {
            let token = Token::read(message.subject.as_ref())?;
            return requests.waiting(token).map(|_| PlaceKind::Request(token));
        }
        self.may_take_one().then_some(PlaceKind::Behind)
    }

    #[inline(never)]
    fn put_behind(&mut self, message: Message) -> Option<Waker> {
        self.others.push_back(message);
        self.reader.take()
    }

    /// Records that the subscription has had its last message.
    #[inline]
    pub(super) fn end_if(&mut self, is_last: bool) {
        self.is_over |= is_last;
    }

    /// Counts a message as delivered.
    #[inline]
    pub(super) fn count(&mut self, bytes: usize) {
        self.counts.add_message(bytes);
    }

    /// Counts messages as dropped.
    #[inline]
    pub(super) fn count_dropped(&mut self, messages: usize) {
        self.counts.dropped += messages as u64;
    }

    /// Adds a message.
    #[inline]
    pub(super) fn push(&mut self, message: Message) {
        if self.first.is_none() {
            self.first = Some(message);
        } else {
            self.others.push_back(message);
        }
    }

    /// Adds messages.
    #[inline]
    pub(super) fn extend(&mut self, mut messages: impl ExactSizeIterator<Item = Message>) {
        if self.first.is_none() {
            self.first = messages.next();
        }
        self.others.extend(messages);
    }

    /// Takes the waker of the task that reads it.
    #[inline]
    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Returns the publishers to be woken, if there is room or the queue has ended.
    fn take_writers(&mut self) -> Vec<Waker> {
        if self.has_room() || self.is_over { std::mem::take(&mut self.writers) } else { Vec::new() }
    }

    /// Moves the messages that its reader takes together with the first one, which was taken, to `taken`, which is empty.
    fn move_to(&mut self, taken: &mut VecDeque<Message>) {
        let most = LOCAL_TAKEN_MESSAGES.min(self.capacity / LOCAL_TAKEN_MESSAGES).max(1) - 1;
        if self.others.len() <= most && self.others.capacity() <= 2 * LOCAL_TAKEN_MESSAGES {
            std::mem::swap(&mut self.others, taken);
        } else {
            taken.extend(self.others.drain(..most.min(self.others.len())));
            self.first = self.others.pop_front();
        }
    }

    /// Notes the reader, unless the queue has ended.
    #[inline(never)]
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match &mut self.reader {
            Some(reader) if reader.will_wake(cx.waker()) => {}
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
