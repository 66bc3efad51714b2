//! Administration of a consumer: update, pause, reset, deletion, state.

use super::events::{Event, Kind};
use super::limits::INACTIVE_THRESHOLD;
use super::pull::{send_rest, send_status};
use super::push::RateLimit;
use super::{Consumer, ConsumerInfo, Point, PriorityGroupState, SequenceInfo, View};
use crate::config::{ConsumerConfig, DeliverPolicy, Retention, Time};
use crate::outbox::Outbox;

/// The reason why a consumer does not start again at a sequence. The text follows `invalid reset: `.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResetError {
    /// The sequence is below the one in the configuration.
    #[error("below start seq")]
    BelowStartSequence,
    /// The sequence is below that of the time in the configuration.
    #[error("below start time")]
    BelowStartTime,
    /// The deliver policy lets consumers start again only after the last acknowledged message.
    #[error("not allowed")]
    NotAllowed,
}

impl Consumer {
    /// Takes another configuration, which was checked against the current one. Returns true if [`Self::deliver`] has something to do.
    // NATS 2.14: consumer.go updateConfig.
    pub fn update(
        &mut self,
        config: ConsumerConfig,
        view: View<'_>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        self.passed = self.passed_before(&config);
        let old = std::mem::replace(&mut self.config, config);
        self.apply_config();
        if old.deliver_subject != self.config.deliver_subject {
            self.expire_all(now, out);
            self.interest_changed(now, out);
        }
        if old.ack_wait != self.config.ack_wait && self.timers.expiry.is_some() {
            self.timers.expiry = Some(now.plus(100_000_000));
        }
        if old.rate_limit != self.config.rate_limit {
            self.rate = RateLimit::new(self.config.rate_limit, self.scope.burst_bytes, now);
        }
        if old.inactive_threshold != self.config.inactive_threshold {
            self.set_inactive_threshold();
            let after = self.inactive_after;
            self.timers.inactive = (after > 0).then(|| now.plus(after));
        }
        if old.pause_until != self.config.pause_until {
            self.watch_pause(now);
            self.send_pause(now, out);
        }
        if self.config.sourcing {
            let _ = self.reset(view, 0);
        }
        if (&old.filter_subject, &old.filter_subjects)
            != (&self.config.filter_subject, &self.config.filter_subjects)
        {
            // A work queue keeps what nobody has worked on.
            if self.scope.retention == Retention::Interest {
                self.release(self.floor.sequence.max(1), view.storage.state().last_sequence);
            }
            self.recount(view);
        }
        true
    }

    /// Pauses deliveries until a time; resumes them without one. Returns true if [`Self::deliver`] can deliver.
    pub fn pause(&mut self, until: Option<Time>, now: Time, out: &mut dyn Outbox) -> bool {
        if self.config.pause_until != until {
            self.config.pause_until = until;
            self.watch_pause(now);
            self.send_pause(now, out);
        }
        !self.is_paused(now)
    }

    pub(super) fn is_paused(&self, now: Time) -> bool {
        self.config.pause_until.is_some_and(|until| now < until)
    }

    pub(super) fn watch_pause(&mut self, now: Time) {
        self.timers.unpause = self.config.pause_until.filter(|until| *until > now);
    }

    pub(super) fn send_pause(&mut self, now: Time, out: &mut dyn Outbox) {
        let until = self.config.pause_until;
        let event = Event {
            paused: Some(self.is_paused(now)),
            pause_until: Some(until.unwrap_or_default()),
            ..Event::default()
        };
        self.event(Kind::Paused, &event, now, out);
    }

    /// Starts again at a sequence; after the last acknowledged message if it is 0. Returns the sequence.
    ///
    /// # Errors
    ///
    /// [`ResetError`] if the configuration does not allow the sequence.
    // NATS 2.14: consumer.go resetStartingSeqLocked.
    pub fn reset(&mut self, view: View<'_>, sequence: u64) -> Result<u64, ResetError> {
        let config = &self.config;
        let sequence = match (sequence, config.deliver_policy, config.start_time) {
            (0, ..) => self.floor.sequence + 1,
            (_, DeliverPolicy::All, _) => sequence,
            (_, DeliverPolicy::ByStartSequence, _) if sequence < config.start_sequence => {
                return Err(ResetError::BelowStartSequence);
            }
            (_, DeliverPolicy::ByStartSequence, _) => sequence,
            (_, DeliverPolicy::ByStartTime, Some(time)) => {
                if sequence < view.storage.sequence_at(time) {
                    return Err(ResetError::BelowStartTime);
                }
                sequence
            }
            _ => return Err(ResetError::NotAllowed),
        };
        // The highest sequences would leave no next one.
        let sequence = sequence.min(u64::MAX / 2);
        self.pending.clear();
        self.again.clear();
        self.last_ones = None;
        self.timers.expiry = None;
        (self.next, self.next_delivery) = (sequence, 1);
        self.ahead.forget();
        self.floor = Point { delivery: 0, sequence: sequence - 1 };
        (self.stored.delivered, self.stored.floor) = (self.floor, self.floor);
        (self.last_delivered, self.last_acked) = (Time(0), Time(0));
        self.changes.whole();
        self.recount(view);
        Ok(sequence)
    }

    /// Decides how long the consumer may be unused.
    // NATS 2.14: consumer.go updateInactiveThreshold.
    pub(super) fn set_inactive_threshold(&mut self) {
        // Clients that renew the use in the same interval must not be late.
        let jitter = 100_000_000 + self.random.below(900_000_000).cast_signed();
        let is_ephemeral = self.config.durable.is_empty();
        let threshold = self.config.inactive_threshold;
        self.inactive_after = if is_ephemeral && threshold <= 0 {
            self.config.inactive_threshold = INACTIVE_THRESHOLD;
            INACTIVE_THRESHOLD + jitter
        } else if threshold > 0 && !self.is_push() {
            threshold + jitter
        } else {
            threshold.max(0)
        };
    }

    /// Sends the advisory of the creation, and that of the pause with which the consumer begins.
    // NATS 2.14: jetstream_api.go jsConsumerCreateRequest.
    pub fn announce(&mut self, now: Time, out: &mut dyn Outbox) {
        self.event(Kind::Created, &Event { action: "create", ..Event::default() }, now, out);
        if self.is_paused(now) {
            self.send_pause(now, out);
        }
    }

    /// Sends the messages of a deletion: the advisory, and a status to each waiting request.
    pub fn close(&mut self, now: Time, out: &mut dyn Outbox) {
        self.send_removed(now, out);
        self.event(Kind::Deleted, &Event { action: "delete", ..Event::default() }, now, out);
        for request in self.requests.take_all() {
            send_status(&request.reply, "409 Consumer Deleted", out);
        }
    }

    /// Ends the waiting requests, and tells their senders that the server ends.
    // NATS 2.14: jetstream.go signalPullConsumers.
    pub fn announce_end(&mut self, out: &mut dyn Outbox) {
        for request in self.requests.take_all() {
            send_rest(&request, "409 Server Shutdown", out);
        }
    }

    /// Returns the number of messages that were delivered and not acknowledged.
    pub fn ack_pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Returns the state that `CONSUMER.INFO` responds with. Ends requests that have expired.
    // NATS 2.14: consumer.go infoWithSnapAndReply.
    pub fn info(&mut self, now: Time, out: &mut dyn Outbox) -> ConsumerInfo {
        if !self.is_push() {
            self.check_requests(false, true, now, out);
        }
        let mut delivered = self.stored.delivered;
        if delivered == Point::default() {
            delivered = Point { delivery: self.next_delivery - 1, sequence: self.next - 1 };
        }
        let pause = self.config.pause_until.map_or(0, |until| until.since(now).max(0));
        let redelivered = self.again.counts().len() as u64;
        ConsumerInfo {
            stream: self.scope.stream.clone(),
            name: self.scope.name.clone(),
            created: self.created,
            config: self.config.clone(),
            delivered: sequence_info(delivered, self.last_delivered),
            ack_floor: sequence_info(self.stored.floor, self.last_acked),
            num_ack_pending: self.pending.len() as u64,
            num_redelivered: if self.config.max_deliver == 1 { 0 } else { redelivered },
            num_waiting: self.requests.len() as u64,
            num_pending: self.count.get(),
            push_bound: self.is_push() && self.push.is_active,
            paused: pause > 0,
            pause_remaining: pause,
            timestamp: now,
            priority_groups: self.priority_groups(),
        }
    }

    fn priority_groups(&self) -> Vec<PriorityGroupState> {
        let pin = self.pin.as_ref();
        let state = |group: &String| PriorityGroupState {
            group: group.clone(),
            pinned_client_id: pin.map(|pin| pin.id.clone()).unwrap_or_default(),
            pinned_ts: pin.map(|pin| pin.since).unwrap_or_default(),
        };
        self.config.priority_groups.first().map(state).into_iter().collect()
    }
}

fn sequence_info(point: Point, last: Time) -> SequenceInfo {
    let last = (last != Time(0)).then_some(last);
    SequenceInfo { consumer: point.delivery, stream: point.sequence, last }
}
