//! Timers of a consumer.

use super::{Consumer, Tick, View};
use crate::config::Time;
use crate::outbox::Outbox;

/// The times of the next actions; `None` for those that are not due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Messages whose acknowledgement was waited for long enough.
    pub(super) expiry: Option<Time>,
    /// The end of a pause.
    pub(super) unpause: Option<Time>,
    /// The consumer has not been used for too long.
    pub(super) inactive: Option<Time>,
    /// The pinned client has not asked for too long.
    pub(super) pin: Option<Time>,
    /// The next heartbeat of a push consumer.
    pub(super) heartbeat: Option<Time>,
    /// The next message may be sent.
    pub(super) hold: Option<Time>,
    /// Something is due at once: messages that were removed make room for others.
    pub(super) is_woken: bool,
}

impl Consumer {
    /// Returns the time of the next [`Self::tick`]; `None` without one.
    pub fn deadline(&self) -> Option<Time> {
        let timers = &self.timers;
        if timers.is_woken {
            return Some(Time(0));
        }
        let all = [
            timers.expiry,
            timers.unpause,
            timers.inactive,
            timers.pin,
            timers.heartbeat,
            timers.hold,
            // Ends and heartbeats are due after their time has passed.
            self.requests.due.map(|due| due.plus(1)),
        ];
        all.into_iter().flatten().min()
    }

    /// Performs the actions that are due.
    // NATS 2.14: consumer.go loopAndGatherMsgs, after the wait.
    pub fn tick(&mut self, view: View<'_>, now: Time, out: &mut dyn Outbox) -> Tick {
        let _ = view;
        let is_due = |time: Option<Time>| time.is_some_and(|time| time <= now);
        let mut tick = if self.send_removed(now, out) { Tick::Deliver } else { Tick::Idle };
        if is_due(self.timers.expiry) && self.expire(now, out) {
            tick = Tick::Deliver;
        }
        if is_due(self.timers.unpause) {
            self.timers.unpause = None;
            self.send_pause(now, out);
            tick = Tick::Deliver;
        }
        if is_due(self.timers.hold) {
            self.timers.hold = None;
            tick = Tick::Deliver;
        }
        if is_due(self.timers.pin) && self.expire_pin(now, out) == Tick::Deliver {
            tick = Tick::Deliver;
        }
        if self.requests.due.is_some_and(|due| due < now) {
            // With a heartbeat or an end, requests end that do not wait, though acknowledgements are waited for.
            let has_paused = tick == Tick::Idle && self.timers.hold.is_none();
            let is_end = has_paused && self.requests.has_due(now);
            self.check_requests(is_end, false, now, out);
        }
        if is_due(self.timers.heartbeat) {
            self.beat(now, out);
        }
        if is_due(self.timers.inactive) && self.is_unused(now, out) {
            tick = Tick::Inactive;
        }
        tick
    }

    /// Restarts the time of inactivity, because a client uses the consumer.
    // NATS 2.14: consumer.go suppressDeletion.
    pub(super) fn note_use(&mut self, now: Time) {
        if !self.is_push() {
            self.requests.last_used = now;
        }
        if self.timers.inactive.is_some() {
            self.timers.inactive = Some(now.plus(self.inactive_after));
        }
    }

    /// Returns true if no client has used the consumer for its threshold of inactivity. Otherwise it sets the time of the next
    /// check.
    // NATS 2.14: consumer.go deleteNotActive.
    fn is_unused(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        self.timers.inactive = None;
        if self.is_push() {
            return !self.push.is_active;
        }
        let idle_since = self.requests.last_used;
        if now < idle_since.plus(self.inactive_after) {
            self.timers.inactive = Some(idle_since.plus(self.inactive_after));
            return false;
        }
        self.check_requests(true, true, now, out);
        if !self.requests.is_empty() {
            self.timers.inactive = Some(now.plus(self.inactive_after));
            return false;
        }
        // A client may still work on messages, until their acknowledgement is not waited for any more.
        let ends = self.pending.iter().map(|pending| self.expiry_of(pending));
        let last = ends.max().map(|end| end.plus(self.inactive_after));
        self.timers.inactive = last.filter(|last| *last > now);
        self.timers.inactive.is_none()
    }
}
