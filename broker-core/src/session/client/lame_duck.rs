//! Lame duck mode of one client: closes it without the loss of a request.
//!
//! Each request that the server has read is answered, and nothing that the client sent is lost because the
//! connection was closed while it was sending. The client may not support lame duck mode: it continues as
//! before, and reconnects when it is closed. So the server waits for, or creates, a moment in which the
//! client has no open request:
//!
//! 1. It gets no more requests: queue groups skip it, and requesters get "no responders" and ask
//!    elsewhere. It still gets all other messages, above all answers.
//! 2. **Answering.** It is served until it has answered the requests that it received, for [`ANSWER_PATIENCE`] at
//!    most.
//! 3. **Holding.** A client that sends requests may always have one open: each answer triggers the next
//!    request. So answers to it are held back, and its input is read, until all of its requests are
//!    answered and it has sent none for [`QUIET`], by when none is on the network either. A client that
//!    sends requests regardless of answers is held for [`HOLD_PATIENCE`].
//! 4. **Waiting**: for such a client. Its input is not read any more, until all that was read is answered.
//! 5. **Half-closed.** Its subscriptions end. The held bytes are sent in one piece with the end of the stream, so
//!    that the client notices the close before it has sent much more. That rest is still read and
//!    published until the client closes its side, except for requests, which could not be answered: the
//!    requester sees the connection end without an answer, and may ask again.
//!
//! Open requests are tracked from the announcement on ([`crate::Broker::announce_end`]). Older ones are covered by
//! the rule that no connection is closed within [`QUIET`] after it.

use std::time::{Duration, Instant};

use super::chores::Chore;
use super::{ClientSession, Phase};
use crate::endpoint::{AckGuard, Interceptor, RequestTracker, Scratch, is_inbox};
use crate::limits::{ANSWER_PATIENCE, HOLD_PATIENCE, QUIET};
use crate::proto::Batch;
use crate::sync::{Arc, Ordering};
use crate::table::Place;

/// The interval of checks while the client is being closed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The lame duck state of a session, from the announcement on.
pub(super) struct LameDuck {
    since: Instant,
    stage: Stage,
    /// The time of the next check.
    next: Instant,
    tracker: Arc<RequestTracker>,
}

impl LameDuck {
    fn new(since: Instant) -> Self {
        Self { since, stage: Stage::Announced, next: since, tracker: Arc::default() }
    }

    /// Returns the open requests of the client.
    pub(super) fn tracker(&self) -> &RequestTracker {
        &self.tracker
    }

    /// Returns true if the last reply that the client waits for has arrived, while its queue is held.
    pub(super) fn has_progress(&self) -> bool {
        self.tracker.has_progress()
    }
}

#[derive(Clone, Copy)]
enum Stage {
    /// The client has been notified, and is served as before.
    Announced,
    Answering {
        until: Instant,
    },
    Holding {
        until: Instant,
        requests: u64,
        quiet_since: Instant,
    },
    Waiting {
        until: Instant,
    },
    Parted,
}

impl ClientSession {
    /// Enters lame duck mode.
    // NATS 2.14: server.go sendLDMToClients: to clients that understand it, once they have had their first
    // PONG; the others get it with the INFO that follows their first PONG.
    pub(super) fn announce_end(
        &mut self,
        now: Instant,
        acks: &[Arc<AckGuard>],
        scratch: &mut Scratch,
    ) {
        if self.lame_duck.is_some() {
            return;
        }
        let lame_duck = self.lame_duck.insert(Box::new(LameDuck::new(now)));
        self.byte_queue.set_interceptor(Arc::clone(&lame_duck.tracker) as Arc<_>);
        self.begin_chore(Chore::NoteServices(Place::default(), acks.to_vec()), scratch);
        if self.options.protocol >= 1 && self.has_ponged {
            self.send_info(|_| {}, scratch);
        }
    }

    /// Records that the client may offer a service: it is closed after clients that do not.
    pub(super) fn note_service(&self, filter: &[u8], queue: Option<&[u8]>) {
        if self.lame_duck.is_some() && (queue.is_some() || !is_inbox(filter)) {
            self.endpoint.is_service.store(true, Ordering::Relaxed);
        }
    }

    /// Begins to close the client.
    pub(super) fn begin_to_leave(&mut self, now: Instant) {
        if let Some(lame_duck) = &mut self.lame_duck
            && matches!(lame_duck.stage, Stage::Announced)
        {
            lame_duck.stage = Stage::Answering { until: now + ANSWER_PATIENCE };
            lame_duck.tracker.refuse_requests();
            self.leave(now);
        }
    }

    /// Returns true if the connection must be read. If not, [`Self::handle_timeout`] or
    /// [`Self::handle_update`] changes that, or closes the session.
    pub fn wants_input(&self) -> bool {
        let stage = self.lame_duck.as_ref().map(|lame_duck| lame_duck.stage);
        !matches!(stage, Some(Stage::Waiting { .. })) && !matches!(self.phase, Phase::Checking(_))
    }

    /// Returns true if the session is half-closed: its subscriptions have ended. The driver
    /// [releases](crate::endpoint::ByteQueue::release) and writes the queue, ends the stream, and passes
    /// input to [`Self::receive`] until the client closes its side, or for a moment.
    pub fn has_half_closed(&self) -> bool {
        let stage = self.lame_duck.as_ref().map(|lame_duck| lame_duck.stage);
        matches!(stage, Some(Stage::Parted)) && self.closing.is_none()
    }

    /// Returns the time that the client has for reading its queue.
    pub fn patience(&self) -> Duration {
        self.byte_queue.max_wait()
    }

    pub(super) fn leaving_timeout(&self) -> Option<Instant> {
        let lame_duck = self.lame_duck.as_ref()?;
        let has_none = matches!(lame_duck.stage, Stage::Announced | Stage::Parted);
        (!has_none).then_some(lame_duck.next)
    }

    /// Takes the next step, if it is due.
    pub(super) fn leave(&mut self, now: Instant) {
        let Some(lame_duck) = &mut self.lame_duck else { return };
        if matches!(lame_duck.stage, Stage::Announced | Stage::Parted) {
            return;
        }
        lame_duck.next = now + LOOK_AGAIN;
        let watched = lame_duck.tracker.requests(now);
        match &mut lame_duck.stage {
            Stage::Announced | Stage::Parted => {}
            Stage::Answering { until } => {
                let has_answered = !watched.owes && now >= lame_duck.since + QUIET;
                if !has_answered && now < *until {
                    return;
                }
                if watched.requests == 0 && now >= lame_duck.since + 2 * QUIET {
                    return self.part();
                }
                // If this fails, a publisher is writing at this moment; the next check tries again.
                if self.byte_queue.hold() {
                    lame_duck.stage = Stage::Holding {
                        until: now + HOLD_PATIENCE,
                        requests: watched.requests,
                        quiet_since: now,
                    };
                }
            }
            Stage::Holding { until, requests, quiet_since } => {
                if *requests != watched.requests {
                    (*requests, *quiet_since) = (watched.requests, now);
                }
                if !watched.awaits && now >= *quiet_since + QUIET {
                    self.part();
                } else if now >= *until {
                    lame_duck.stage = Stage::Waiting { until: now + ANSWER_PATIENCE };
                }
            }
            Stage::Waiting { until } => {
                if !watched.awaits || now >= *until {
                    self.part();
                }
            }
        }
    }

    fn part(&mut self) {
        if let Some(lame_duck) = &mut self.lame_duck {
            lame_duck.stage = Stage::Parted;
        }
        self.end_subscriptions_and_part();
    }

    /// Tracks the requests among the client's messages, and removes those that can no longer be answered.
    #[cold]
    pub(super) fn note_messages(&self, batch: &mut Batch<'_>, now: Instant) {
        if self.has_half_closed() {
            return batch.retain(|message| message.reply.is_empty());
        }
        let Phase::Served(served) = &self.phase else { return };
        let Some(lame_duck) = &self.lame_duck else { return };
        lame_duck.tracker.note_sent(batch.messages(), now, |message| {
            served.member.own_subscription(message.reply).is_some()
        });
    }
}
