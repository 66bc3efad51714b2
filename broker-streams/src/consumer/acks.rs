//! Acknowledgements, and redelivery of messages without one.

use serde::Deserialize;

use super::deliver::REMOVED;
use super::events::{Kind, Message};
use super::limits::{EXPIRY_PAUSE, EXPIRY_PAUSE_PER_MESSAGE, WAITING_ADVISORIES};
use super::pending::Pending;
use super::{AckOutcome, AckSubject, Consumer, Point, View};
use crate::config::{AckPolicy, Retention, Time};
use crate::go::parse_duration;
use crate::outbox::Outbox;

/// The options of a negative acknowledgement.
#[derive(Deserialize)]
struct NakOptions {
    #[serde(default)]
    delay: i64,
}

impl Consumer {
    /// Accepts a message to `$JS.ACK.…`, without its headers.
    // NATS 2.14: consumer.go processAck.
    pub fn ack(
        &mut self,
        view: View<'_>,
        ack: &AckSubject<'_>,
        reply: &[u8],
        payload: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> AckOutcome {
        self.note_use(now);
        let was_full = self.is_full();
        let is_known = ack.stream_sequence != 0;
        let mut outcome = AckOutcome { respond: is_known, ..AckOutcome::default() };
        match payload {
            b"" | b"+ACK" | b"+OK" => outcome.respond &= self.process_ack(ack, true, now, out),
            [b'+', b'N', b'X', b'T', request @ ..] => {
                self.process_ack(ack, true, now, out);
                outcome.respond = false;
                outcome.deliver = self.request(view, reply, request, now, out);
            }
            [b'-', b'N', b'A', b'K', options @ ..] => {
                outcome.deliver = self.process_nak(ack, options, now, out);
            }
            b"+WPI" => self.process_progress(ack.stream_sequence, now),
            [b'+', b'T', b'E', b'R', b'M', reason @ ..] => {
                outcome.respond &= self.process_term(ack, reason, now, out);
            }
            _ => {}
        }
        outcome.respond &= !reply.is_empty();
        outcome.delivered = self.acked.take();
        outcome.deliver |= was_full && !self.is_full();
        outcome
    }

    fn is_full(&self) -> bool {
        let max = self.config.max_ack_pending;
        max > 0 && self.pending.len() as u64 >= max.cast_unsigned()
    }

    /// Returns false for a message that was not delivered, whose acknowledgement is not answered.
    // NATS 2.14: consumer.go processAckMsgLocked.
    pub(super) fn process_ack(
        &mut self,
        ack: &AckSubject<'_>,
        may_sample: bool,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let sequence = ack.stream_sequence;
        if sequence >= self.next && !self.config.flow_control {
            return false;
        }
        match self.config.ack_policy {
            AckPolicy::None => return self.scope.retention != Retention::Limits,
            AckPolicy::Explicit => {
                if may_sample && self.is_sampled() {
                    self.send_sample(ack, now, out);
                }
                self.acknowledge(sequence);
                self.release(sequence, sequence);
            }
            AckPolicy::All | AckPolicy::FlowControl => {
                // Clients may name any number. A message that was delivered again has several: each is as good, so that
                // only the sequence decides.
                let sequence = sequence.min(self.next - 1);
                if sequence <= self.floor.sequence {
                    return true;
                }
                let delivery = ack.consumer_sequence.min(self.next_delivery - 1);
                let delivery = delivery.max(self.floor.delivery);
                self.acknowledge_all(Point { delivery, sequence });
            }
        }
        self.last_acked = now;
        self.changes.note();
        true
    }

    fn acknowledge(&mut self, sequence: u64) {
        if self.again.forget(sequence) {
            self.changes.counted(sequence);
        }
        if let Some(pending) = self.pending.remove(sequence) {
            self.changes.pending(sequence);
            self.acked = Some(pending.time);
            self.move_floor(pending);
        }
    }

    fn acknowledge_all(&mut self, point: Point) {
        let mut lowest = point.sequence;
        while let Some(first) = self.pending.first().map(|pending| pending.sequence)
            && first <= point.sequence
        {
            lowest = lowest.min(first);
            self.acked = self.pending.remove(first).map(|pending| pending.time);
            if self.again.forget(first) {
                self.changes.counted(first);
            }
        }
        self.floor = point;
        self.stored.floor = Point {
            delivery: point.delivery.min(self.stored.delivered.delivery),
            sequence: point.sequence.min(self.stored.delivered.sequence),
        };
        self.release(lowest, point.sequence);
    }

    /// Moves the floor of the acknowledgements over a message that is pending no more, if it was the first.
    // NATS 2.14: consumer.go moveAckFloor, which compares numbers of deliveries: a message that was delivered again has several.
    pub(super) fn move_floor(&mut self, settled: Pending) {
        match self.pending.first() {
            None => {
                self.floor = Point { delivery: self.next_delivery - 1, sequence: self.next - 1 };
                self.stored.floor = self.stored.delivered;
            }
            Some(first) if settled.sequence < first.sequence => {
                let delivery = self.floor.delivery.max(first.delivery - 1);
                self.floor = Point { delivery, sequence: first.sequence - 1 };
                self.stored.floor = self.floor;
            }
            Some(_) => {}
        }
        self.changes.note();
    }

    /// Returns true if the sender asks to deliver again at once.
    // NATS 2.14: consumer.go processNak.
    fn process_nak(
        &mut self,
        ack: &AckSubject<'_>,
        options: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let (sequence, delivery) = (ack.stream_sequence, ack.consumer_sequence);
        let is_in_range = delivery > self.floor.delivery && delivery <= self.next_delivery;
        if !is_in_range || !self.pending.contains(sequence) {
            return false;
        }
        self.message_event(Kind::Naked, message_of(ack, ""), now, out);
        let options = options.trim_ascii();
        if !options.is_empty() {
            match parse_delay(options) {
                Some(delay) => {
                    self.delay(sequence, delay, now);
                    return false;
                }
                None => self.warn_of_delay(options),
            }
        }
        self.again.queue(sequence);
        true
    }

    /// Delivers a message again after a time.
    fn delay(&mut self, sequence: u64, delay: i64, now: Time) {
        self.again.unqueue(sequence);
        let ack_wait = self.config.ack_wait;
        if let Some(pending) = self.pending.get_mut(sequence) {
            pending.time = now.plus(-ack_wait).plus(delay);
            let pending = *pending;
            self.changes.pending(sequence);
            self.last_delivered = now;
            self.expire_by(self.expiry_of(&pending));
        }
    }

    fn warn_of_delay(&self, options: &[u8]) {
        let (account, stream, name) = (&self.scope.account, &self.scope.stream, &self.scope.name);
        let text = String::from_utf8_lossy(&options[..options.len().min(64)]);
        tracing::warn!(
            "JetStream consumer '{account} > {stream} > {name}' bad NAK delay value: {text:?}"
        );
    }

    fn process_progress(&mut self, sequence: u64, now: Time) {
        if let Some(pending) = self.pending.get_mut(sequence) {
            pending.time = now;
            self.changes.pending(sequence);
            self.last_delivered = now;
        }
    }

    fn process_term(
        &mut self,
        ack: &AckSubject<'_>,
        reason: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let is_valid = self.process_ack(ack, false, now, out);
        let reason = String::from_utf8_lossy(reason.trim_ascii());
        self.message_event(Kind::Terminated, message_of(ack, &reason), now, out);
        is_valid
    }

    // NATS 2.14: consumer.go shouldSample.
    fn is_sampled(&mut self) -> bool {
        match self.sample_percent {
            ..=0 => false,
            100.. => true,
            percent => self.random.below(100).cast_signed() <= percent,
        }
    }

    fn send_sample(&mut self, ack: &AckSubject<'_>, now: Time, out: &mut dyn Outbox) {
        if let Some(pending) = self.pending.get(ack.stream_sequence) {
            let ack_time = Some(now.since(pending.time));
            let message = Message { ack_time, ..message_of(ack, "") };
            self.message_event(Kind::Acked, message, now, out);
        }
    }

    /// Records a message that was sent and is to be acknowledged.
    // NATS 2.14: consumer.go trackPending.
    pub(super) fn track(&mut self, sequence: u64, delivery: u64, now: Time) {
        match self.pending.get_mut(sequence) {
            // The number of the first delivery stays.
            Some(pending) => pending.time = now,
            None => self.pending.insert(Pending { sequence, delivery, time: now }),
        }
        self.changes.pending(sequence);
        self.expire_by(self.expiry_of(&Pending { sequence, delivery, time: now }));
    }

    /// Returns when a message is delivered again, if it is not acknowledged before.
    pub(super) fn expiry_of(&self, pending: &Pending) -> Time {
        let backoff = &self.config.backoff;
        let wait = match backoff.len() {
            0 => self.config.ack_wait,
            length => {
                let count = usize::try_from(self.again.count(pending.sequence));
                backoff[count.unwrap_or(length).min(length - 1)]
            }
        };
        pending.time.plus(wait)
    }

    fn expire_by(&mut self, time: Time) {
        if self.config.ack_wait > 0 {
            let time = time.plus(EXPIRY_PAUSE);
            self.timers.expiry = Some(self.timers.expiry.map_or(time, |known| known.min(time)));
        }
    }

    /// Waits for all acknowledgements, at recovery.
    pub(super) fn watch_expiry(&mut self) {
        if let Some(first) = self.pending.iter().map(|pending| self.expiry_of(pending)).min() {
            self.expire_by(first);
        }
    }

    /// Queues the messages whose acknowledgement was waited for long enough. Returns true if there are some.
    // NATS 2.14: consumer.go checkPending.
    pub(super) fn expire(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        self.timers.expiry = None;
        let (mut expired, mut next) = (Vec::new(), None);
        for pending in self.pending.iter() {
            if self.again.is_queued(pending.sequence) {
                continue;
            }
            let due = self.expiry_of(pending);
            if due <= now {
                expired.push(*pending);
            } else {
                next = Some(next.map_or(due, |known: Time| known.min(due)));
            }
        }
        let pause = self.pending.len() as i64 * EXPIRY_PAUSE_PER_MESSAGE + EXPIRY_PAUSE;
        self.timers.expiry = next.map(|next| next.max(now.plus(pause)));
        let given_up = self.give_up_some(&mut expired, now, out);
        self.queue_expired(&expired, now) || given_up
    }

    /// Removes those that were delivered as often as they may be. Returns true if there were some.
    fn give_up_some(
        &mut self,
        expired: &mut Vec<Pending>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let before = expired.len();
        let max = self.max_deliver;
        let mut kept = Vec::with_capacity(expired.len());
        for pending in std::mem::take(expired) {
            let deliveries = self.again.count(pending.sequence) + 1;
            if max > 0 && deliveries >= max {
                self.give_up(pending.sequence, deliveries, now, out);
            } else {
                kept.push(pending);
            }
        }
        *expired = kept;
        before != expired.len()
    }

    /// Their times rise, so that they expire in this order if they are not delivered.
    fn queue_expired(&mut self, expired: &[Pending], now: Time) -> bool {
        let Some(first) = expired.first() else { return false };
        let offset = now.since(first.time);
        for pending in expired {
            self.again.queue(pending.sequence);
            if let Some(pending) = self.pending.get_mut(pending.sequence) {
                pending.time = pending.time.plus(offset);
            }
        }
        true
    }

    /// Delivers all again that are not acknowledged.
    // NATS 2.14: consumer.go forceExpirePending.
    pub(super) fn expire_all(&mut self, now: Time, out: &mut dyn Outbox) {
        let is_queued = |pending: &&Pending| self.again.is_queued(pending.sequence);
        let mut all: Vec<_> =
            self.pending.iter().filter(|pending| !is_queued(pending)).copied().collect();
        self.give_up_some(&mut all, now, out);
        self.queue_expired(&all, now);
    }

    /// Forgets an unacknowledged message that its stream has removed.
    pub(super) fn settle_removed(&mut self, sequence: u64) {
        let deliveries = self.again.count(sequence) + 1;
        if self.again.forget(sequence) {
            self.changes.counted(sequence);
        }
        let Some(pending) = self.pending.remove(sequence) else { return };
        self.changes.pending(sequence);
        self.move_floor(pending);
        self.release(sequence, sequence);
        self.timers.is_woken = true;
        if self.removed.len() < WAITING_ADVISORIES {
            self.removed.push((pending, deliveries));
        }
    }

    /// Sends the advisories about messages that were removed. Returns true if some were: others may have room.
    pub(super) fn send_removed(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        let is_woken = std::mem::take(&mut self.timers.is_woken);
        if is_woken {
            self.last_acked = now;
            self.changes.note();
        }
        for (pending, deliveries) in std::mem::take(&mut self.removed) {
            let message = Message {
                sequence: pending.sequence,
                delivery: Some(pending.delivery),
                deliveries,
                reason: REMOVED,
                ..Message::default()
            };
            self.message_event(Kind::Terminated, message, now, out);
        }
        is_woken
    }
}

fn message_of<'a>(ack: &AckSubject<'_>, reason: &'a str) -> Message<'a> {
    Message {
        sequence: ack.stream_sequence,
        delivery: Some(ack.consumer_sequence),
        deliveries: ack.deliveries,
        ack_time: None,
        reason,
    }
}

/// Reads the delay of a negative acknowledgement: JSON or a duration of Go.
fn parse_delay(options: &[u8]) -> Option<i64> {
    if options[0] == b'{' {
        return serde_json::from_slice::<NakOptions>(options).ok().map(|options| options.delay);
    }
    parse_duration(options)
}
