//! Push consumers: messages are sent to a subject while it has a subscriber.

use broker_core::header_block;

use super::deliver::Candidate;
use super::limits::{FLOW_CONTROL_BYTES, FLOW_CONTROL_START};
use super::pull::send_heartbeat;
use super::{AckSubject, Consumer, View};
use crate::config::{AckPolicy, Time};
use crate::outbox::{Outbox, Outgoing};

/// The state of a push consumer.
#[derive(Debug, Default)]
pub(super) struct Push {
    /// The deliver subject has a subscriber.
    pub(super) is_active: bool,
    flow: Option<Flow>,
}

/// The flow control of a push consumer: bytes that were sent and not confirmed by the client.
// NATS 2.14: consumer.go needFlowControl, sendFlowControl, processFlowControl.
#[derive(Debug)]
struct Flow {
    /// The bytes that were sent and not confirmed.
    bytes: u64,
    /// The limit of these bytes.
    window: u64,
    /// The reply subject of the open flow control request; empty if there is none.
    id: Vec<u8>,
    /// The bytes that its answer confirms.
    covered: u64,
}

impl Push {
    pub(super) fn new(has_flow_control: bool) -> Self {
        let flow = Flow { bytes: 0, window: FLOW_CONTROL_START, id: Vec::new(), covered: 0 };
        Self { is_active: false, flow: has_flow_control.then_some(flow) }
    }

    pub(super) fn may_send(&self) -> bool {
        self.is_active && self.flow.as_ref().is_none_or(|flow| flow.bytes <= flow.window)
    }

    pub(super) fn stalled(&self) -> &[u8] {
        self.flow.as_ref().map_or(b"", |flow| &flow.id)
    }
}

/// Spreads messages over time, by their bytes.
#[derive(Debug)]
pub(super) struct RateLimit {
    bytes_per_second: u64,
    burst: u64,
    /// The bytes that may be sent at `time`.
    credit: f64,
    time: Time,
}

impl RateLimit {
    /// Creates a limit that lets `burst` bytes pass at once.
    pub(super) fn new(bits_per_second: u64, burst: u64, now: Time) -> Option<Self> {
        let bytes_per_second = (bits_per_second / 8).max(1);
        let limit = Self { bytes_per_second, burst, credit: burst as f64, time: now };
        (bits_per_second > 0).then_some(limit)
    }

    /// Takes the credit for a message, or returns when there is enough.
    pub(super) fn held_until(&mut self, size: usize, now: Time) -> Option<Time> {
        let rate = self.bytes_per_second as f64 / 1e9;
        let passed = now.since(self.time).max(0) as f64;
        self.credit = (self.credit + passed * rate).min(self.burst as f64);
        self.time = self.time.max(now);
        // A message that is larger than the burst would never be sent.
        let size = (size as u64).min(self.burst) as f64;
        if self.credit >= size {
            self.credit -= size;
            return None;
        }
        let wait = (size - self.credit) / rate;
        Some(now.plus(wait.ceil() as i64 + 1))
    }
}

impl Consumer {
    /// Returns the subject and the queue group whose interest decides whether a push consumer delivers; `None` for a pull consumer.
    pub fn delivers_to(&self) -> Option<(&[u8], Option<&[u8]>)> {
        let subject = self.config.deliver_subject.as_bytes();
        let group = Some(self.config.deliver_group.as_bytes()).filter(|group| !group.is_empty());
        (!subject.is_empty()).then_some((subject, group))
    }

    /// Checks whether somebody subscribes to exactly the deliver subject: one who listens to everything takes no messages from
    /// those they are for. Called once after the creation or recovery, and after each
    /// change of interest in [`Self::delivers_to`]. Returns true if [`Self::deliver`] can deliver.
    // NATS 2.14: consumer.go updateDeliveryInterest.
    pub fn interest_changed(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        let Some((subject, group)) = self.delivers_to() else { return false };
        let is_active = out.has_literal_interest(subject, group);
        let was_active = std::mem::replace(&mut self.push.is_active, is_active);
        self.watch_inactivity(now);
        is_active && !was_active
    }

    /// Starts or stops the time that a push consumer may be unused.
    fn watch_inactivity(&mut self, now: Time) {
        if self.push.is_active {
            self.timers.inactive = None;
        } else if self.inactive_after > 0 && self.timers.inactive.is_none() {
            self.timers.inactive = Some(now.plus(self.inactive_after));
        }
    }

    /// Sends a message to the deliver subject. Returns false if it has no subscriber.
    pub(super) fn send_push(
        &mut self,
        message: &Outgoing<'_>,
        candidate: Candidate,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let to = self.config.deliver_subject.as_bytes();
        let size = to.len() + message.reply.len() + message.headers.len() + message.payload.len();
        if !out.send(&Outgoing { to, ..*message }) {
            self.push.is_active = false;
            self.watch_inactivity(now);
            return false;
        }
        self.note_sent(candidate, now);
        self.beat_after(now);
        if self.needs_flow_control(size as u64) {
            self.send_flow_control(out);
        }
        true
    }

    pub(super) fn beat_after(&mut self, now: Time) {
        let interval = self.config.heartbeat;
        if self.is_push() && interval > 0 {
            self.timers.heartbeat = Some(now.plus(interval));
        }
    }

    pub(super) fn beat(&mut self, now: Time, out: &mut dyn Outbox) {
        if self.push.is_active {
            let to = self.config.deliver_subject.as_bytes();
            let (delivery, sequence) = (self.next_delivery - 1, self.next - 1);
            send_heartbeat(to, delivery, sequence, self.push.stalled(), out);
            let is_acked_so = self.config.ack_policy == AckPolicy::FlowControl;
            if is_acked_so && !self.pending.is_empty() && self.push.stalled().is_empty() {
                self.send_flow_control(out);
            }
        }
        self.beat_after(now);
    }

    /// Counts the bytes of a message. Returns true if an answer is to be asked for.
    fn needs_flow_control(&mut self, size: u64) -> bool {
        let is_acked_so = self.config.ack_policy == AckPolicy::FlowControl;
        let max = self.config.max_ack_pending;
        let is_full = max > 0 && self.pending.len() as u64 >= max.cast_unsigned();
        let Some(flow) = &mut self.push.flow else { return false };
        flow.bytes += size;
        if flow.id.is_empty() {
            return flow.bytes > flow.window / 2 || (is_acked_so && is_full);
        }
        if flow.bytes.saturating_sub(flow.covered) >= flow.window {
            flow.covered += size;
        }
        false
    }

    fn send_flow_control(&mut self, out: &mut dyn Outbox) {
        let id = self.random.name(4);
        let Some(flow) = &mut self.push.flow else { return };
        let prefix = self.scope.ack_form.flow_prefix(&self.scope);
        flow.id = format!("{prefix}.{id}").into_bytes();
        flow.covered = flow.bytes;
        let to = self.config.deliver_subject.as_bytes();
        let headers = b"NATS/1.0 100 FlowControl Request\r\n\r\n";
        out.send(&Outgoing { to, subject: to, reply: &flow.id, headers, ..Outgoing::default() });
    }

    /// Accepts a message to `$JS.FC.…`. Returns true if [`Self::deliver`] has something to do.
    pub fn flow_control(
        &mut self,
        view: View<'_>,
        subject: &[u8],
        headers: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let _ = view;
        let Some(flow) = &mut self.push.flow else { return false };
        if subject != flow.id || subject.is_empty() {
            return false;
        }
        flow.window = (flow.window * 2).min(FLOW_CONTROL_BYTES);
        flow.bytes = flow.bytes.saturating_sub(flow.covered);
        (flow.id, flow.covered) = (Vec::new(), 0);
        if self.config.ack_policy == AckPolicy::FlowControl {
            self.ack_by_flow_control(headers, now, out);
        }
        true
    }

    fn ack_by_flow_control(&mut self, headers: &[u8], now: Time, out: &mut dyn Outbox) {
        let number = |name: &[u8]| {
            let value = header_block::value(headers, name)?;
            std::str::from_utf8(value).ok()?.parse::<u64>().ok()
        };
        let sequence = number(b"Nats-Last-Stream").unwrap_or_default();
        if sequence > 0 {
            let ack = AckSubject {
                stream: b"",
                consumer: b"",
                deliveries: 1,
                stream_sequence: sequence,
                consumer_sequence: number(b"Nats-Last-Consumer").unwrap_or_default(),
                time: 0,
                pending: 0,
            };
            self.process_ack(&ack, false, now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_lets_a_burst_pass_and_then_its_rate() {
        let mut limit = RateLimit::new(8_000, 500, Time(0)).unwrap();
        assert_eq!(limit.held_until(300, Time(0)), None);
        assert_eq!(limit.held_until(200, Time(0)), None);
        let due = limit.held_until(100, Time(0)).unwrap();
        assert!((100_000_000..100_001_000).contains(&due.0), "{due:?}");
        assert_eq!(limit.held_until(100, due), None);
        let due = limit.held_until(9_999, due).unwrap();
        assert_eq!(limit.held_until(9_999, due), None);
        assert!(RateLimit::new(0, 500, Time(0)).is_none());
    }
}
