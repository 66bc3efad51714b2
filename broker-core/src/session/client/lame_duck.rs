//! How a client is let go by a server that goes, so that no request is lost on the way.
//!
//! A request that the server has read shall be answered to whoever asked, and nothing that a client sent
//! shall be lost because it was cut while sending. The client may know nothing of it: it does nothing
//! but go on, and reconnect when it is cut. So the server waits for, or makes, a moment in which the
//! client has no question open:
//!
//! 1. It gets no more work: queue groups pass it over, and questions are told that nobody is there, who
//!    then ask elsewhere. What else it subscribes to, and above all answers, it still gets.
//! 2. **Answering.** It is served until it has answered what it was asked, for [`ANSWER_PATIENCE`] at
//!    most.
//! 3. **Holding.** If it asks questions itself, there may be always some open: with each answer it asks
//!    the next one. So its answers are kept back, and what it sends is read, until all that it has asked
//!    is answered, and nothing was asked for [`QUIET`], which is then true of the network between us
//!    too. A client that asks regardless of answers is held for [`HOLD_PATIENCE`] and then
//! 4. **Waiting**: not read any more, until what was read is answered.
//! 5. **Parting.** Its subscriptions end, all that was kept leaves in one go with the end of the stream
//!    behind it, so that the client learns that it is cut before it has sent much more. That little is
//!    still read until the client closes its side, and published; but not questions, which could not be
//!    answered: who asks them sees the connection end without an answer, and may ask again.
//!
//! Open questions are known from when the server announced that it will go ([`crate::Broker::announce_end`]).
//! Those from before are taken into account by that nothing ends until [`QUIET`] after that.

use std::time::{Duration, Instant};

use super::{ClientSession, Phase};
use crate::endpoint::{Scratch, is_inbox};
use crate::error::CloseReason;
use crate::interest::{Interested, Matches};
use crate::limits::{ANSWER_PATIENCE, HOLD_PATIENCE, QUIET};
use crate::proto::Batch;
use crate::sync::Ordering;

/// How often to look while the client is on its way out.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a session knows of the server's going, from the announcement on.
pub(super) struct LameDuck {
    since: Instant,
    stage: Stage,
    /// When to look again.
    next: Instant,
}

#[derive(Clone, Copy)]
enum Stage {
    /// The client was told, and is served as ever.
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
    /// The server will go.
    // NATS 2.14: server.go sendLDMToClients: to those who can be told, once they have had their first
    // PONG; the others learn it by the INFO that they get with that.
    pub(super) fn announce_end(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.lame_duck.is_some() {
            return;
        }
        self.lame_duck =
            Some(Box::new(LameDuck { since: now, stage: Stage::Announced, next: now }));
        self.byte_queue.track_requests();
        for subscription in &self.endpoint.sids.list(usize::MAX) {
            self.note_service(subscription.filter(), subscription.queue());
        }
        if self.options.protocol >= 1 && self.has_ponged {
            self.send_info(|_| {}, scratch);
        }
    }

    /// The client offers a service, or may: others should go before it.
    pub(super) fn note_service(&self, filter: &[u8], queue: Option<&[u8]>) {
        if self.lame_duck.is_some() && (queue.is_some() || !is_inbox(filter)) {
            self.endpoint.is_service.store(true, Ordering::Relaxed);
        }
    }

    /// The client must go.
    pub(super) fn begin_to_leave(&mut self, now: Instant) {
        if let Some(lame_duck) = &mut self.lame_duck
            && matches!(lame_duck.stage, Stage::Announced)
        {
            lame_duck.stage = Stage::Answering { until: now + ANSWER_PATIENCE };
            self.byte_queue.refuse_requests();
            self.leave(now);
        }
    }

    /// Must the connection be read? If not, [`Self::handle_timeout`] or [`Self::handle_update`] will
    /// change that, or close it.
    pub fn wants_input(&self) -> bool {
        let stage = self.lame_duck.as_ref().map(|lame_duck| lame_duck.stage);
        !matches!(stage, Some(Stage::Waiting { .. }))
    }

    /// Is the client on its way out, its subscriptions ended? Then, once all that waits has been
    /// [released](crate::endpoint::ByteQueue::release) and has left, and the end of the stream behind it, what it sends should be passed to [`Self::receive`] until it
    /// closes its side, or for a moment.
    pub fn has_half_closed(&self) -> bool {
        let stage = self.lame_duck.as_ref().map(|lame_duck| lame_duck.stage);
        matches!(stage, Some(Stage::Parted)) && self.closing.is_none()
    }

    /// How long the client may take to read what waits for it.
    pub fn patience(&self) -> Duration {
        self.byte_queue.max_wait()
    }

    pub(super) fn leaving_timeout(&self) -> Option<Instant> {
        let lame_duck = self.lame_duck.as_ref()?;
        let has_none = matches!(lame_duck.stage, Stage::Announced | Stage::Parted);
        (!has_none).then_some(lame_duck.next)
    }

    /// Goes on, if there is anything to go on with.
    pub(super) fn leave(&mut self, now: Instant) {
        let Some(lame_duck) = &mut self.lame_duck else { return };
        if matches!(lame_duck.stage, Stage::Announced | Stage::Parted) {
            return;
        }
        lame_duck.next = now + LOOK_AGAIN;
        let watched = self.byte_queue.tracked_requests(now);
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
                // Otherwise somebody is writing: next time.
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
        self.end_subscriptions();
        self.byte_queue.finish_held(CloseReason::ServerShutdown);
    }

    /// Looks at what the client is about to publish, and takes out what must not be.
    #[cold]
    pub(super) fn note_messages(&self, batch: &mut Batch<'_>, now: Instant) {
        if self.has_half_closed() {
            return batch.retain(|message| message.reply.is_empty());
        }
        let Phase::Served(served) = &self.phase else { return };
        self.byte_queue.note_sent(batch.messages(), now, |message| {
            let mut matches = Matches::default();
            served.account.interest.collect(message.reply, &mut matches);
            matches.plain.iter().any(|other| other.endpoint.id == self.endpoint.id)
        });
    }
}
