//! The destination of an in-process client: a bounded queue for each subscription.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::subscriber_queue::{QueueCounts, QueueState, SubscriberQueue, wake_all};
use super::{Accepted, Destination, OutCounts, Run, Scratch};
use crate::arena::{Arena, block_of};
use crate::endpoint::Subscription;
use crate::error::CloseReason;
use crate::headers::HeaderMap;
use crate::message::Message;
use crate::proto::Publish;
use crate::subject::Subject;
use crate::sync::{Arc, Mutex};
use crate::trace::Trace;

/// The queues of one client.
#[derive(Default)]
pub(crate) struct LocalQueues {
    /// Locked before a queue, never after.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keyed by the place in the upper half of a sid.
    queues: Arena<Arc<SubscriberQueue>>,
    /// For each block of `queues` the counts of those that were removed from it.
    removed: Vec<QueueCounts>,
    /// The number of queues opened: the lower half of the next sid.
    opened: u32,
    /// Readers that wait for messages delivered by the current call.
    to_wake: SmallVec<[Waker; 2]>,
    is_touched: bool,
    /// All queues have ended, or are about to be.
    is_closed: bool,
}

impl LocalQueues {
    /// Opens the queue of a subscription.
    pub(crate) fn open(&self) -> Arc<SubscriberQueue> {
        self.open_as(false)
    }

    /// Opens the queue of the subscription that gets the answers to all requests.
    pub(crate) fn open_inbox(&self) -> Arc<SubscriberQueue> {
        self.open_as(true)
    }

    fn open_as(&self, is_inbox: bool) -> Arc<SubscriberQueue> {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.opened = state.opened.wrapping_add(1);
        let (number, is_closed) = (state.opened, state.is_closed);
        let mut opened = None;
        let place = state.queues.insert_with(|place| {
            let sid = (u64::from(place) << 32) | u64::from(number);
            let queue = Arc::new(SubscriberQueue::new(sid, is_inbox, is_closed));
            Arc::clone(opened.insert(queue))
        });
        if state.removed.len() <= block_of(place) {
            state.removed.resize(block_of(place) + 1, QueueCounts::default());
        }
        opened.unwrap_or_else(|| unreachable!("it was made when it was inserted"))
    }

    /// Removes a queue and its messages.
    pub(crate) fn discard(&self, queue: &SubscriberQueue) {
        let place = (queue.sid() >> 32) as u32;
        let discarded = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let discarded = queue.discard();
            state.queues.remove(place);
            if let Some(removed) = state.removed.get_mut(block_of(place)) {
                removed.add(discarded.counts);
            }
            discarded
        };
        wake_all(discarded.writers);
    }

    /// Registers a reader, to be woken by [`Self::flush`]. Returns true if the caller must flush.
    #[inline(never)]
    fn wake_later(&self, reader: Waker) -> bool {
        let mut state = self.state.lock();
        state.to_wake.push(reader);
        !std::mem::replace(&mut state.is_touched, true)
    }
}

impl Destination for LocalQueues {
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        _scratch: &mut Scratch,
    ) -> Accepted {
        let Some(queue) = subscription.local_queue() else { return Accepted::NOTHING };
        let mut state = queue.lock();
        let Some(room) = state.room() else { return Accepted::NOTHING };
        if may_refuse && room < run.messages.len() {
            return Accepted::NOTHING;
        }
        let admitted = subscription.admit(run.messages.len());
        state.end_if(admitted.is_last);
        let messages = &run.messages[..admitted.count];
        let reader = if state.is_inbox() {
            answer(&mut state, messages, run)
        } else {
            match messages {
                [message] if room > 0 => state.add_one(message, run),
                _ => state.add(messages, room, run),
            }
            state.take_reader()
        };
        drop(state);
        // Messages that a queue drops have still reached its subscription: they do not count as having no responders.
        Accepted {
            count: admitted.count,
            is_last: admitted.is_last,
            must_flush: reader.is_some_and(|reader| self.wake_later(reader)),
            ..Accepted::NOTHING
        }
    }

    fn has_plenty_of_room(
        &self,
        subscription: &Subscription,
        messages: usize,
        _body_bytes: usize,
    ) -> bool {
        let queue = subscription.local_queue();
        queue.is_some_and(|queue| queue.lock().has_plenty_of_room(messages))
    }

    fn poll_room(&self, subscription: &Subscription, cx: &mut Context<'_>) -> Poll<()> {
        subscription.local_queue().map_or(Poll::Ready(()), |queue| queue.lock().poll_room(cx))
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
        let _state = subscription.local_queue().map(|queue| queue.lock());
        subscription.end_after(max)
    }

    fn finish(&self, reason: CloseReason) {
        // Messages in the queues can always be read.
        self.close(reason);
    }

    fn close(&self, _reason: CloseReason) {
        self.state.lock().is_closed = true;
        // Ended block by block, so that opening one of a million does not wait.
        for block in 0.. {
            let queues: Vec<_> = match self.state.lock().queues.block(block) {
                Some(queues) => queues.cloned().collect(),
                None => return,
            };
            queues.iter().for_each(|queue| queue.end());
        }
    }

    /// Does nothing: an in-process client has no task.
    fn wake(&self) {}

    /// NATS 2.14: messages that stay inside the process are not traced.
    fn set_trace(&self, _trace: Option<Arc<Trace>>) {}

    /// Adds up block by block, each at one moment, so that a counter never falls.
    fn counts(&self) -> OutCounts {
        let mut sum = QueueCounts::default();
        for block in 0.. {
            let state = self.state.lock();
            let Some(removed) = state.removed.get(block) else { break };
            sum.add(*removed);
            let queues = state.queues.block(block).into_iter().flatten();
            queues.for_each(|queue| sum.add(queue.counts()));
        }
        let QueueCounts { messages, bytes, dropped } = sum;
        OutCounts { messages, bytes, dropped, ..OutCounts::default() }
    }
}

/// Answers a request with the first of these messages if it waits for an answer; others are dropped. Returns the waker of
/// the waiting task.
#[inline(never)]
fn answer(state: &mut QueueState, messages: &[Publish<'_>], run: &Run<'_>) -> Option<Waker> {
    let message = messages.first()?;
    state.answer_with(run.subject, message.body.len(), || owned(subject_of(run), message, run))
}

impl QueueState {
    /// Adds one message. Most have neither reply nor headers, and come from a client that has the parsed subject and shares
    /// the payload.
    #[inline(always)]
    fn add_one(&mut self, message: &Publish<'_>, run: &Run<'_>) {
        let is_bare = message.reply.is_empty() && !message.has_headers();
        match (run.parsed, run.shared) {
            (Some(subject), Some(shared)) if is_bare && shared.len() == message.body.len() => {
                self.count(message.body.len());
                self.push(Message::of(subject.clone(), shared.clone()));
            }
            _ => self.add(std::slice::from_ref(message), 1, run),
        }
    }

    /// Adds as many of the messages as there is room for. The others are dropped.
    #[inline(never)]
    fn add(&mut self, messages: &[Publish<'_>], room: usize, run: &Run<'_>) {
        let taken = messages.len().min(room);
        self.count_dropped(messages.len() - taken);
        if taken == 0 {
            return;
        }
        let messages = &messages[..taken];
        messages.iter().for_each(|message| self.count(message.body.len()));
        let subject = subject_of(run);
        self.extend(messages.iter().map(|message| owned(subject.clone(), message, run)));
    }
}

/// Returns the subject that readers see.
fn subject_of(run: &Run<'_>) -> Subject {
    run.parsed.cloned().unwrap_or_else(|| Subject::from_wire(run.shown_subject()))
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
    use crate::endpoint::admission::Admission;

    fn hand_over(queue: &SubscriberQueue) -> bool {
        let message = Message::of(Subject::from_wire(b"a"), Bytes::from_static(b"one"));
        let admission = Admission::default();
        queue.place(&admission, &message).map(|place| place.put(message)).is_some()
    }

    #[test]
    fn counters_include_the_queues_that_were_removed() {
        let queues = LocalQueues::default();
        let all: Vec<_> = (0..600).map(|_| queues.open()).collect();
        for queue in all.iter().chain(&all) {
            assert!(hand_over(queue));
        }
        for queue in &all {
            queues.discard(queue);
            let OutCounts { messages, bytes, .. } = queues.counts();
            assert_eq!((messages, bytes), (1200, 3600));
            assert!(!hand_over(queue), "it is removed");
        }
        assert!(hand_over(&queues.open()));
        assert_eq!(queues.counts().messages, 1201);
    }

    #[test]
    fn closing_ends_all_queues_and_those_opened_later() {
        let queues = LocalQueues::default();
        let all: Vec<_> = (0..600).map(|_| queues.open()).collect();
        queues.close(CloseReason::ClientClosed);
        assert!(all.iter().all(|queue| !hand_over(queue)));
        assert!(!hand_over(&queues.open()));
    }

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
