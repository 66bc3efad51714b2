//! Pinned clients: one client of a priority group receives all messages.

use super::events::{Event, Kind};
use super::requests::Group;
use super::{Consumer, Tick};
use crate::config::Time;
use crate::outbox::Outbox;

/// The client that is pinned.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    /// The id, which messages carry and requests repeat.
    pub(super) id: String,
    group: String,
    pub(super) since: Time,
}

impl Consumer {
    /// Checks the id of a request against the pinned client, which stays pinned by asking.
    pub(super) fn check_pin(&mut self, group: &Group, now: Time) -> Result<(), String> {
        let Some(pin) = &self.pin else { return Ok(()) };
        if group.id == pin.id {
            self.timers.pin = Some(now.plus(self.pinned_ttl()));
        } else if !group.id.is_empty() {
            return Err("423 Nats-Pin-Id mismatch".into());
        }
        Ok(())
    }

    fn pinned_ttl(&self) -> i64 {
        let ttl = self.config.pinned_ttl;
        if ttl > 0 { ttl } else { super::limits::PINNED_TTL }
    }

    /// Pins the client of the first request. Returns false if the request names no group.
    // NATS 2.14: consumer.go assignNewPinId.
    pub(super) fn assign_pin(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        let id = self.random.id();
        let Some(group) = self.requests.first_mut().and_then(|request| request.group.as_mut())
        else {
            return false;
        };
        if group.group.is_empty() {
            return false;
        }
        group.id.clone_from(&id);
        let name = group.group.clone();
        self.timers.pin = Some(now.plus(self.pinned_ttl()));
        self.pin = Some(Pin { id: id.clone(), group: name.clone(), since: now });
        let account = self.scope.account.clone();
        let event = Event {
            account: &account,
            group: Some(&name),
            pinned_id: Some(&id),
            ..Event::default()
        };
        self.event(Kind::Pinned, &event, now, out);
        true
    }

    pub(super) fn unassign_pin(&mut self) {
        (self.pin, self.timers.pin) = (None, None);
    }

    /// Takes the pin from a client that did not ask for too long.
    pub(super) fn expire_pin(&mut self, now: Time, out: &mut dyn Outbox) -> Tick {
        self.timers.pin = None;
        match self.pin.take() {
            Some(pin) => {
                self.send_unpinned(&pin.group, "timeout", now, out);
                Tick::Deliver
            }
            None => Tick::Idle,
        }
    }

    /// Takes the pin from the pinned client of a priority group. Returns true if [`Self::deliver`] has something to do.
    // NATS 2.14: jetstream_api.go jsConsumerUnpinRequest.
    pub fn unpin(&mut self, group: &str, now: Time, out: &mut dyn Outbox) -> bool {
        self.unassign_pin();
        self.send_unpinned(group, "admin", now, out);
        true
    }

    fn send_unpinned(&mut self, group: &str, reason: &str, now: Time, out: &mut dyn Outbox) {
        let account = self.scope.account.clone();
        let event = Event {
            account: &account,
            group: Some(group),
            unpin_reason: reason,
            ..Event::default()
        };
        self.event(Kind::Unpinned, &event, now, out);
    }
}
