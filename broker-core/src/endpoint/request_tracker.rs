//! Open requests of a client in lame duck mode: those that it has sent, and those that it has received and not
//! answered. They let the connection be closed between two requests.
//!
//! From the announcement of lame duck mode on, the tracker intercepts deliveries to the byte queue of the client;
//! the session reports the client's messages. Before that there is no tracker.

use std::collections::HashMap;
use std::time::Instant;

use super::byte_queue::{Intercepted, Interceptor};
use super::{Run, Subscription};
use crate::interest::Interested;
use crate::limits::{ANSWER_PATIENCE, TRACKED_REQUESTS};
use crate::proto::Publish;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Tracks the open requests of one client.
#[derive(Default)]
pub(crate) struct RequestTracker {
    /// May be locked while the client's queue is; nothing else is locked under it.
    tracked: Mutex<Tracked>,
    /// The last reply that the client waits for has arrived while its queue is held.
    has_progress: AtomicBool,
}

#[derive(Default)]
struct Tracked {
    /// The replies that the client waits for.
    awaited: Requests,
    /// The replies that other endpoints wait for.
    owed: Requests,
    /// The number of requests that the client has sent.
    requests: u64,
    refuses_requests: bool,
}

/// Reply subjects, and the times at which they were opened. A request that is open for longer than any requester
/// waits counts as answered: some messages have a reply subject and want no reply.
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

/// The open requests of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TrackedRequests {
    /// The client waits for replies.
    pub(crate) awaits: bool,
    /// The client has received requests that it has not answered.
    pub(crate) owes: bool,
    /// The number of requests that the client has sent since the announcement.
    pub(crate) requests: u64,
}

impl RequestTracker {
    /// Refuses, from now on, messages with a reply subject and messages that another receiver could take; requesters get
    /// "no responders".
    pub(crate) fn refuse_requests(&self) {
        self.tracked.lock().refuses_requests = true;
    }

    /// Returns the open requests.
    pub(crate) fn requests(&self, now: Instant) -> TrackedRequests {
        let mut tracked = self.tracked.lock();
        TrackedRequests {
            awaits: tracked.awaited.are_open(now),
            owes: tracked.owed.are_open(now),
            requests: tracked.requests,
        }
    }

    /// Records messages that the client publishes. `is_own`: the reply goes to the client itself.
    pub(crate) fn note_sent(
        &self,
        messages: &[Publish<'_>],
        now: Instant,
        is_own: impl Fn(&Publish<'_>) -> bool,
    ) {
        // Computed before locking: `is_own` reads the interest, for which nothing may be locked.
        let requests: Vec<&Publish<'_>> = messages
            .iter()
            .filter(|message| !message.reply.is_empty() && is_own(message))
            .collect();
        let mut tracked = self.tracked.lock();
        for message in messages {
            tracked.owed.close(message.subject);
        }
        tracked.requests += requests.len() as u64;
        for request in requests {
            tracked.awaited.open(request.reply, now);
        }
    }

    /// Records that a request has no responders.
    pub(crate) fn note_no_responders(&self, reply: &[u8]) {
        self.tracked.lock().awaited.close(reply);
    }

    /// Clears the [progress](Interceptor::has_progress): the session is handling it.
    pub(crate) fn take_progress(&self) {
        self.has_progress.store(false, Ordering::Release);
    }
}

impl Interceptor for RequestTracker {
    fn intercept(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        is_held: bool,
        now: Instant,
    ) -> Intercepted {
        let mut tracked = self.tracked.lock();
        if tracked.refuses_requests {
            if subscription.queue().is_some() {
                return Intercepted::Nothing;
            }
            let has_requests = run.messages.iter().any(|message| !message.reply.is_empty());
            if has_requests && !is_inbox(subscription.filter()) {
                return Intercepted::WithoutRequests;
            }
        }
        let has_awaited = !tracked.awaited.0.is_empty();
        tracked.awaited.close(run.subject);
        for message in run.messages {
            if !message.reply.is_empty() {
                tracked.owed.open(message.reply, now);
            }
        }
        if is_held && has_awaited && tracked.awaited.0.is_empty() {
            self.has_progress.store(true, Ordering::Release);
        }
        Intercepted::All
    }

    fn has_progress(&self) -> bool {
        self.has_progress.load(Ordering::Acquire)
    }
}

/// Returns true if a subscription to this filter waits for replies: all official clients use the prefix,
/// unless configured otherwise. A reply may itself ask for one, as those of streams do, and must be delivered.
#[inline]
pub(crate) fn is_inbox(filter: &[u8]) -> bool {
    filter.starts_with(b"_INBOX.")
}
