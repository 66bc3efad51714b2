//! Interception: a look at each delivery before the queue takes it, and holding the queue back.
//!
//! A queue has an interceptor only in lame duck mode. A delivery asks one thing, that the queue is open and has
//! none; all else is cold.

use std::time::Instant;

use super::{ByteQueue, Encoder, Entry, State};
use crate::endpoint::{Accepted, Destination, Run, Scratch, Subscription};
use crate::error::CloseReason;
use crate::proto::Publish;
use crate::sync::{Arc, Ordering};

/// Sees each delivery before a byte queue takes it. Called with the queue locked: it may lock only what
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

    /// Returns true if the session waits for a delivery that has come while the queue was held.
    fn has_progress(&self) -> bool;
}

/// How much of a run an intercepted queue takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Intercepted {
    All,
    /// All messages that ask for no reply.
    WithoutRequests,
    Nothing,
}

impl<E: Encoder> ByteQueue<E> {
    /// Has an interceptor look at what comes from now on, until the queue ends.
    pub(crate) fn set_interceptor(&self, interceptor: Arc<dyn Interceptor>) {
        let mut state = self.state.lock();
        if state.is_open() {
            state.entry = Entry::Intercepted(interceptor);
        }
    }

    /// Keeps what comes, instead of writing it. Returns false if somebody is writing just now, or if nothing
    /// comes any more. Nothing is held that would make the client a slow consumer.
    pub(crate) fn hold(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_writing || !state.is_open() {
            return false;
        }
        // A caller that would write leaves it to the one that does.
        (state.is_held, state.is_writing) = (true, true);
        true
    }

    /// Takes nothing more, as [`Destination::finish`] does, but leaves it to the connection to
    /// [release](Self::release) what is held.
    pub(crate) fn finish_held(&self, reason: CloseReason) {
        self.state.lock().finish(reason);
        self.is_ending.store(true, Ordering::Release);
    }

    /// Lets what was held leave: [drain](Self::drain) it.
    pub fn release(&self) {
        self.state.lock().release();
    }

    /// Returns how much of a run a queue takes that is not open to all.
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

    /// Delivers the messages of a run that ask for no reply.
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
        // Those before the first request; those behind it ask for no reply, so that nobody misses one.
        let before = run.messages.iter().take_while(asks_nothing).count();
        Accepted { count: accepted.count.min(before), ..accepted }
    }
}

impl State {
    /// Ends the holding.
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
