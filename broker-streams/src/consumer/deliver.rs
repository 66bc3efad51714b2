//! Delivery: selects the next message and sends it to a client.

use super::events::{Kind, Message};
use super::{Consumer, Point, View};
use crate::config::{AckPolicy, Retention, Time};
use crate::decimal::write_decimal;
use crate::outbox::{Outbox, Outgoing};
use crate::store::{Record, Storage, StorageError};

/// The reason of an advisory about a message that its stream removed before it was acknowledged.
// NATS 2.14: consumer.go ackTermUnackedLimitsReason.
pub(super) const REMOVED: &str = "Unacknowledged message was deleted";

/// The pause after a store could not read a message, in nanoseconds.
const READ_PAUSE: i64 = 1_000_000_000;

/// The result of an attempt to deliver the next message.
enum Step {
    /// It was sent, or is damaged and was passed over.
    Done,
    /// There is no message, or no client may receive it now.
    Wait(Wait),
}

/// The reason to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    /// Too many messages are not acknowledged.
    MaxAckPending,
    /// The next message is due later.
    Held,
    /// Anything else: requests that do not wait end.
    End,
}

/// The next message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) sequence: u64,
    pub(super) deliveries: u64,
    /// It is delivered for the first time.
    pub(super) is_new: bool,
}

/// Buffers that are used again for each message.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    record: Vec<u8>,
    reply: Vec<u8>,
    headers: Vec<u8>,
    pub(super) pinned: Vec<u8>,
}

impl Consumer {
    /// Sends the messages that clients may receive now, at most `budget`. Returns true if there are more.
    // NATS 2.14: consumer.go loopAndGatherMsgs.
    pub fn deliver(
        &mut self,
        view: View<'_>,
        now: Time,
        out: &mut dyn Outbox,
        budget: usize,
    ) -> bool {
        self.send_removed(now, out);
        for _ in 0..budget {
            if let Step::Wait(wait) = self.step(view, now, out) {
                self.wait(wait, now, out);
                return false;
            }
        }
        true
    }

    fn step(&mut self, view: View<'_>, now: Time, out: &mut dyn Outbox) -> Step {
        let is_ready =
            if self.is_push() { self.push.may_send() } else { !self.requests.is_empty() };
        if !is_ready || self.is_paused(now) {
            return Step::Wait(Wait::End);
        }
        if self.timers.hold.is_some_and(|until| now < until) {
            return Step::Wait(Wait::Held);
        }
        self.timers.hold = None;
        match self.next_message(view, now, out) {
            Ok(candidate) => self.load_and_send(view, candidate, now, out),
            Err(wait) => Step::Wait(wait),
        }
    }

    fn wait(&mut self, wait: Wait, now: Time, out: &mut dyn Outbox) {
        if self.replay_until.is_some_and(|last| self.next > last) {
            self.replay_until = None;
        }
        if wait == Wait::End && self.requests.has_no_wait() {
            self.check_requests(true, false, now, out);
        }
    }

    /// Finds the next message: one to deliver again, one of the last of each subject, or the next of the stream.
    // NATS 2.14: consumer.go getNextMsg.
    fn next_message(
        &mut self,
        view: View<'_>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<Candidate, Wait> {
        while let Some(sequence) = self.again.first() {
            let deliveries = self.again.count(sequence) + 2;
            if self.max_deliver > 0 && deliveries > self.max_deliver {
                self.give_up(sequence, deliveries - 1, now, out);
            } else if exists(view.storage, sequence) {
                return Ok(Candidate { sequence, deliveries, is_new: false });
            } else {
                self.settle_removed(sequence);
            }
        }
        let max = self.config.max_ack_pending;
        if max > 0 && self.pending.len() as u64 >= max.cast_unsigned() {
            return Err(Wait::MaxAckPending);
        }
        let sequence = match self.next_of_last_ones(view.storage) {
            Some(sequence) => sequence,
            None => self.next_of_stream(view),
        };
        let new = Candidate { sequence, deliveries: 1, is_new: true };
        if sequence <= view.visible { Ok(new) } else { Err(Wait::End) }
    }

    /// Ends the deliveries of a message that was delivered as often as it may be. The floor of the acknowledgements moves over it with the
    /// next one that moves it.
    // NATS 2.14: consumer.go getNextMsg.
    pub(super) fn give_up(
        &mut self,
        sequence: u64,
        deliveries: u64,
        now: Time,
        out: &mut dyn Outbox,
    ) {
        if deliveries == self.max_deliver {
            let message = Message { sequence, deliveries, ..Message::default() };
            self.message_event(Kind::MaxDeliveries, message, now, out);
        }
        self.again.unqueue(sequence);
        self.again.set_count(sequence, deliveries);
        self.changes.counted(sequence);
        if self.pending.remove(sequence).is_some() {
            self.changes.pending(sequence);
            self.changes.note();
            self.last_delivered = now;
        }
    }

    fn next_of_last_ones(&mut self, storage: &dyn Storage) -> Option<u64> {
        loop {
            let sequence = *self.last_ones.as_ref()?.sequences.last()?;
            if exists(storage, sequence) {
                return Some(sequence);
            }
            self.advance(sequence);
        }
    }

    /// Returns the next sequence of the stream; a sequence that is not visible if there is none.
    fn next_of_stream(&mut self, view: View<'_>) -> u64 {
        let found = self.ahead.first(
            |first| exists(view.storage, first),
            || view.storage.next_match(&self.filters, self.next),
        );
        if let Some(sequence) = found
            && sequence <= view.visible
        {
            return sequence;
        }
        if found.is_none() {
            self.count.reset(0, view.storage.state().last_sequence);
        }
        // Nothing up to the last visible message is selected: it need not be searched again.
        self.next = self.next.max(view.visible + 1);
        u64::MAX
    }

    fn load_and_send(
        &mut self,
        view: View<'_>,
        candidate: Candidate,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Step {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut buffer = std::mem::take(&mut scratch.record);
        let step = match view.storage.load(candidate.sequence, &mut buffer) {
            Ok(Some(record)) => self.send(&record, candidate, &mut scratch, now, out),
            Ok(None) => self.skip(candidate),
            Err(error) => self.cannot_read(candidate, &error, now),
        };
        scratch.record = buffer;
        self.scratch = scratch;
        step
    }

    /// A damaged message is not delivered, and does not keep others from being delivered; another error may pass.
    fn cannot_read(&mut self, candidate: Candidate, error: &StorageError, now: Time) -> Step {
        let (stream, name) = (&self.scope.stream, &self.scope.name);
        tracing::error!(
            "Received an error looking up message with sequence {} for consumer '{} > {stream} > {name}': {error}",
            candidate.sequence,
            self.scope.account,
        );
        if matches!(error, StorageError::Damaged { .. }) {
            return self.skip(candidate);
        }
        self.timers.hold = Some(now.plus(READ_PAUSE));
        Step::Wait(Wait::Held)
    }

    fn skip(&mut self, candidate: Candidate) -> Step {
        if candidate.is_new {
            self.count.delivered();
            self.advance(candidate.sequence);
        } else {
            self.settle_removed(candidate.sequence);
        }
        Step::Done
    }

    /// Moves behind a message that is delivered for the first time, or cannot be.
    fn advance(&mut self, sequence: u64) {
        self.next = sequence + 1;
        self.ahead.passed(sequence);
        if let Some(ones) = &mut self.last_ones {
            ones.sequences.pop();
            if ones.sequences.is_empty() {
                self.next = self.next.max(ones.resume + 1);
                self.last_ones = None;
            }
        }
    }

    fn send(
        &mut self,
        record: &Record<'_>,
        candidate: Candidate,
        scratch: &mut Scratch,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Step {
        self.write_reply(record, candidate, &mut scratch.reply);
        let (headers, payload) = if self.config.headers_only {
            write_size_header(record, &mut scratch.headers);
            (&scratch.headers[..], &b""[..])
        } else {
            (record.headers, record.payload)
        };
        let message =
            Outgoing { to: b"", subject: record.subject, reply: &scratch.reply, headers, payload };
        let size = record.subject.len() + scratch.reply.len() + headers.len() + payload.len();
        if let Some(until) = self.held_until(record.time, size, now) {
            self.timers.hold = Some(until);
            return Step::Wait(Wait::Held);
        }
        let mut pinned = std::mem::take(&mut scratch.pinned);
        let is_sent = if self.is_push() {
            self.send_push(&message, candidate, now, out)
        } else {
            self.send_pull(&message, candidate, &mut pinned, now, out)
        };
        scratch.pinned = pinned;
        if !is_sent {
            return Step::Wait(Wait::End);
        }
        self.last_sent = Some((record.time, now));
        Step::Done
    }

    fn write_reply(&self, record: &Record<'_>, candidate: Candidate, reply: &mut Vec<u8>) {
        let pending = self.count.get();
        let pending = if candidate.is_new { pending.saturating_sub(1) } else { pending };
        reply.clear();
        reply.extend_from_slice(&self.ack_prefix);
        let time = u64::try_from(record.time.0).unwrap_or_default();
        let (delivery, sequence) = (self.next_delivery, candidate.sequence);
        for number in [candidate.deliveries, sequence, delivery, time, pending] {
            reply.push(b'.');
            write_decimal(reply, number);
        }
    }

    /// Returns when a message may be sent that may not be sent now: by the pace of the original, or by the rate limit.
    fn held_until(&mut self, stored: Time, size: usize, now: Time) -> Option<Time> {
        if self.replay_until.is_some()
            && let Some((before, sent)) = self.last_sent
        {
            let delay = stored.since(before);
            let due = sent.plus(delay);
            if delay > 1_000_000 && now < due {
                return Some(due);
            }
        }
        self.rate.as_mut()?.held_until(size, now)
    }

    /// Records the delivery of a message.
    // NATS 2.14: consumer.go deliverMsg.
    pub(super) fn note_sent(&mut self, candidate: Candidate, now: Time) {
        let Candidate { sequence, deliveries, is_new } = candidate;
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        if is_new {
            self.count.delivered();
            self.advance(sequence);
        } else {
            self.again.unqueue(sequence);
            self.again.set_count(sequence, deliveries - 1);
            self.changes.counted(sequence);
        }
        self.stored.delivered.delivery = delivery;
        self.stored.delivered.sequence = self.stored.delivered.sequence.max(sequence);
        self.last_delivered = now;
        if self.config.ack_policy == AckPolicy::None {
            self.floor = Point { delivery, sequence };
            self.stored.floor = self.stored.delivered;
            self.changes.note();
            if self.scope.retention != Retention::Limits {
                self.release(sequence, sequence);
            }
        } else {
            self.track(sequence, delivery, now);
        }
    }
}

/// Returns true if the store has a message with the sequence.
pub(super) fn exists(storage: &dyn Storage, sequence: u64) -> bool {
    storage.subject_of(sequence).is_some()
}

/// Writes the headers of a message that is delivered without its payload.
// NATS 2.14: consumer.go convertToHeadersOnly.
fn write_size_header(record: &Record<'_>, headers: &mut Vec<u8>) {
    headers.clear();
    match record.headers.strip_suffix(b"\r\n") {
        Some(fields) => headers.extend_from_slice(fields),
        None => headers.extend_from_slice(b"NATS/1.0\r\n"),
    }
    headers.extend_from_slice(b"Nats-Msg-Size: ");
    write_decimal(headers, record.payload.len() as u64);
    headers.extend_from_slice(b"\r\n\r\n");
}
