//! What a client asks, is asked and answers, once the server prepares to go: so that it is let go between
//! two questions.
//!
//! Kept by the client's queue, because that is where whoever answers it, or asks it, comes by. A queue
//! that is not watched does not know of any of this.

use std::collections::HashMap;
use std::time::Instant;

use super::{ByteQueue, Encoder, State};
use crate::endpoint::{Accepted, Destination, Run, Scratch, Subscription};
use crate::error::CloseReason;
use crate::interest::Interested;
use crate::limits::{ANSWER_PATIENCE, TRACKED_REQUESTS};
use crate::proto::Publish;
use crate::sync::Ordering;

/// See the module.
#[derive(Default)]
pub(super) struct RequestTracker {
    /// Where the client waits for answers.
    awaited: Requests,
    /// Where others wait for its answers.
    owed: Requests,
    /// How many requests it has sent.
    requests: u64,
    /// It gets no more work.
    refuses_requests: bool,
    /// What comes is kept until the client parts.
    is_held: bool,
}

/// Reply subjects, and since when they stand open. What stands open for longer than anybody waits is as
/// good as answered: some messages name a reply subject and want no reply.
#[derive(Default)]
struct Requests(HashMap<Box<[u8]>, Instant>);

impl Requests {
    fn open(&mut self, reply: &[u8], now: Instant) {
        if self.0.len() >= TRACKED_REQUESTS {
            self.forget_old(now);
        }
        if self.0.len() < TRACKED_REQUESTS {
            self.0.insert(reply.into(), now);
        }
    }

    fn close(&mut self, reply: &[u8]) {
        self.0.remove(reply);
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, since| now.saturating_duration_since(*since) < ANSWER_PATIENCE);
    }

    fn are_open(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        !self.0.is_empty()
    }
}

/// How much of a run a special byte queue takes.
pub(super) enum Filtered {
    All,
    Some,
    Nothing,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TrackedRequests {
    /// It waits for answers.
    pub(crate) awaits: bool,
    /// It has been asked and has not answered.
    pub(crate) owes: bool,
    /// How many requests it has sent since it is watched.
    pub(crate) requests: u64,
}

impl<E: Encoder> ByteQueue<E> {
    /// Begins to tracker.
    pub(crate) fn track_requests(&self) {
        let mut state = self.state.lock();
        state.tracker.get_or_insert_default();
        state.is_special = true;
    }

    /// From now on it gets no messages that others could have, or that ask for an answer; those who ask
    /// are told that nobody is there.
    pub(crate) fn refuse_requests(&self) {
        if let Some(tracker) = &mut self.state.lock().tracker {
            tracker.refuses_requests = true;
        }
    }

    /// What is known now.
    pub(crate) fn tracked_requests(&self, now: Instant) -> TrackedRequests {
        match &mut self.state.lock().tracker {
            None => TrackedRequests { awaits: false, owes: false, requests: 0 },
            Some(tracker) => TrackedRequests {
                awaits: tracker.awaited.are_open(now),
                owes: tracker.owed.are_open(now),
                requests: tracker.requests,
            },
        }
    }

    /// The client sends these. `is_own`: does it ask for an answer to itself?
    pub(crate) fn note_sent(
        &self,
        messages: &[Publish<'_>],
        now: Instant,
        is_own: impl Fn(&Publish<'_>) -> bool,
    ) {
        let questions: Vec<&Publish<'_>> = messages
            .iter()
            .filter(|message| !message.reply.is_empty() && is_own(message))
            .collect();
        let mut state = self.state.lock();
        let Some(tracker) = &mut state.tracker else { return };
        for message in messages {
            tracker.owed.close(message.subject);
        }
        tracker.requests += questions.len() as u64;
        for question in questions {
            tracker.awaited.open(question.reply, now);
        }
    }

    /// Nobody will answer there.
    pub(crate) fn note_no_responders(&self, reply: &[u8]) {
        if let Some(tracker) = &mut self.state.lock().tracker {
            tracker.awaited.close(reply);
        }
    }

    /// Keeps what comes, instead of writing it. False if somebody is writing just now. Nothing is held
    /// that would make the client a slow consumer.
    pub(crate) fn hold(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_writing {
            return false;
        }
        if let Some(tracker) = &mut state.tracker {
            tracker.is_held = true;
            // Whoever would write leaves it to the one who does.
            state.is_writing = true;
        }
        true
    }

    /// Takes nothing more, as [`Destination::finish`] does, but leaves it to the connection to
    /// [release](Self::release) what is held.
    pub(crate) fn finish_held(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        state.finishing.get_or_insert(reason);
        state.is_special = true;
        self.is_ending.store(true, Ordering::Release);
    }

    /// What was held may leave: [drain](Self::drain) it.
    pub fn release(&self) {
        self.state.lock().retire();
    }

    /// Has the last answer come while the client's messages were held? Forgets it.
    pub(crate) fn take_progress(&self) -> bool {
        self.has_progress.swap(false, Ordering::AcqRel)
    }

    /// See [`Self::take_progress`].
    pub(crate) fn has_progress(&self) -> bool {
        self.has_progress.load(Ordering::Acquire)
    }

    /// Delivers of a run what a client gets that is on its way out.
    #[cold]
    pub(super) fn deliver_some(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        scratch: &mut Scratch,
    ) -> Accepted {
        let is_statement = |message: &&Publish<'_>| message.reply.is_empty();
        let statements: Vec<_> = run.messages.iter().filter(is_statement).copied().collect();
        if statements.is_empty() {
            return Accepted::NOTHING;
        }
        let some = Run { messages: &statements, ..*run };
        let accepted = self.deliver(subscription, &some, may_refuse, scratch);
        // Those before the first question; those behind it want no answer, so that nobody asks whether
        // they were heard.
        let before = run.messages.iter().take_while(is_statement).count();
        Accepted { count: accepted.count.min(before), ..accepted }
    }
}

impl State {
    /// Who holds it, holds it no longer.
    pub(super) fn retire(&mut self) {
        if let Some(tracker) = &mut self.tracker
            && std::mem::take(&mut tracker.is_held)
        {
            self.is_writing = false;
        }
    }

    pub(super) fn finish(&mut self, reason: CloseReason) {
        self.finishing.get_or_insert(reason);
        self.is_special = true;
        self.retire();
    }

    /// What of a run may come in; notes it. The bool: the last answer is there, and somebody waits for
    /// that.
    #[cold]
    pub(super) fn filter_run(
        &mut self,
        subscription: &Subscription,
        run: &Run<'_>,
        most_held: usize,
        now: Instant,
    ) -> (Filtered, bool) {
        if !self.is_open() {
            return (Filtered::Nothing, false);
        }
        let pending_bytes = self.pending_bytes;
        let Some(tracker) = &mut self.tracker else { return (Filtered::All, false) };
        if tracker.refuses_requests {
            if subscription.queue().is_some() {
                return (Filtered::Nothing, false);
            }
            let has_questions = run.messages.iter().any(|message| !message.reply.is_empty());
            if has_questions && !is_inbox(subscription.filter()) {
                return (Filtered::Some, false);
            }
        }
        let has_awaited = !tracker.awaited.0.is_empty();
        tracker.awaited.close(run.subject);
        for message in run.messages {
            if !message.reply.is_empty() {
                tracker.owed.open(message.reply, now);
            }
        }
        let has_all = tracker.is_held && has_awaited && tracker.awaited.0.is_empty();
        if pending_bytes > most_held {
            self.retire();
        }
        (Filtered::All, has_all)
    }
}

/// Does a subscription to this wait for answers? What all official clients call theirs, unless told
/// otherwise. An answer may itself ask for one, as those of streams do, and must come through.
pub(crate) fn is_inbox(filter: &[u8]) -> bool {
    filter.starts_with(b"_INBOX.")
}
