//! Interception: inspects each delivery before the queue takes it, and holds the queue back.
//!
//! A queue has an interceptor only in lame duck mode. A delivery makes a single check, that the queue is open and
//! has no interceptor; everything else is cold.

use std::time::Instant;

use super::{ByteQueue, Encoder, Entry, State};
use crate::endpoint::{Accepted, Destination, Run, Scratch, Subscription};
use crate::error::CloseReason;
use crate::proto::Publish;
use crate::sync::{Arc, Ordering};

/// Inspects each delivery before a byte queue takes it. Called with the queue locked: it may lock only what
/// locks nothing itself.
pub(crate) trait Interceptor: Send + Sync {
    /// Returns how much of a run the queue takes. `is_held`: the queue is [held](ByteQueue::hold).
    fn intercept(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        is_held: bool,
        now: Instant,
    ) -> Intercepted;

    /// Returns true if the session waits for a delivery that arrived while the queue was held.
    fn has_progress(&self) -> bool;
}

/// The part of a run that an intercepted queue takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Intercepted {
    All,
    /// All messages without a reply subject.
    WithoutRequests,
    Nothing,
}

impl<E: Encoder> ByteQueue<E> {
    /// Passes further deliveries to an interceptor, until the queue ends.
    pub(crate) fn set_interceptor(&self, interceptor: Arc<dyn Interceptor>) {
        let mut state = self.state.lock();
        if state.is_open() {
            state.entry = Entry::Intercepted(interceptor);
        }
    }

    /// Keeps deliveries instead of writing them. Returns false if a write is in progress or the queue takes no more
    /// deliveries. Nothing is held that would make the client a slow consumer.
    pub(crate) fn hold(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_writing || !state.is_open() {
            return false;
        }
        // With `is_writing` set, other callers do not write.
        (state.is_held, state.is_writing) = (true, true);
        true
    }

    /// Takes no more deliveries, as [`Destination::finish`] does, but leaves it to the connection to
    /// [release](Self::release) the held bytes.
    pub(crate) fn finish_held(&self, reason: CloseReason) {
        self.state.lock().finish(reason);
        self.is_ending.store(true, Ordering::Release);
    }

    /// Releases the held bytes, which [`drain`](Self::drain) then writes.
    pub fn release(&self) {
        self.state.lock().release();
    }

    /// Returns how much of a run is taken by a queue that is not simply open.
    #[cold]
    pub(super) fn intercept(
        &self,
        state: &mut State,
        subscription: &Subscription,
        run: &Run<'_>,
        now: Instant,
    ) -> Intercepted {
        let Entry::Intercepted(interceptor) = &state.entry else { return Intercepted::Nothing };
        let intercepted = interceptor.intercept(subscription, run, state.is_held, now);
        if state.pending_bytes > self.max_pending_bytes / 2 {
            state.release();
        }
        intercepted
    }

    /// Delivers the messages of a run that have no reply subject.
    #[cold]
    pub(super) fn deliver_without_requests(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        scratch: &mut Scratch,
    ) -> Accepted {
        let asks_nothing = |message: &&Publish<'_>| message.reply.is_empty();
        let messages: Vec<_> = run.messages.iter().filter(asks_nothing).copied().collect();
        if messages.is_empty() {
            return Accepted::NOTHING;
        }
        let some = Run { messages: &messages, ..*run };
        let accepted = self.deliver(subscription, &some, may_refuse, scratch);
        // Counts the messages before the first request; those behind it have no reply subject and are
        // delivered, so that none is missed.
        let before = run.messages.iter().take_while(asks_nothing).count();
        Accepted { count: accepted.count.min(before), ..accepted }
    }
}

impl State {
    /// Ends the hold.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.is_writing = false;
        }
    }

    /// Returns true if a flush that found the queue held must wake the session.
    pub(super) fn has_progress(&self) -> bool {
        self.is_held
            && matches!(&self.entry, Entry::Intercepted(interceptor) if interceptor.has_progress())
    }
}
