//! Work that grows with the number of subscriptions of a client, done a slice at a time.
//!
//! A client may have a million subscriptions. A walk through all of them would delay every session on
//! the same thread, and every session that needs the interest of the same account. So a session does
//! [`SLICE`](crate::limits::SLICE) of it at once, and then reports that it [has chores](ClientSession::has_chores).
//! Until they are done it processes no further input, so that the client sees no difference.

use std::collections::VecDeque;
use std::time::Instant;

use super::undecided::{Checking, Undecided};
use super::{ClientSession, Phase};
use crate::account::Ending;
use crate::auth::{Grant, Subscribe};
use crate::endpoint::{AckGuard, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::interest::Interested;
use crate::snapshot::Connection;
use crate::sort::sort_by;
use crate::sync::{Arc, Ordering};
use crate::system::SystemEvent;
use crate::table::Place;

/// In the order in which they are done.
pub(super) type Chores = VecDeque<Chore>;

pub(super) enum Chore {
    /// Does nothing: other sessions run before more of the input is processed.
    Pause,
    /// Ends subscriptions, and continues with the step that follows.
    End(Ending, Then),
    /// Ends the subscriptions from this place on that are no longer allowed. The author of the change waits for it.
    Recheck(Place, #[expect(dead_code, reason = "held until it is done")] Vec<Arc<AckGuard>>),
    /// Searches, from this place on, for a subscription by which the client offers a service.
    NoteServices(Place, #[expect(dead_code, reason = "held until it is done")] Vec<Arc<AckGuard>>),
}

/// The step that follows the end of all subscriptions.
pub(super) enum Then {
    /// Another CONNECT is processed. Holds the user and the key before it.
    Authenticate((String, String)),
    /// The decision about credentials takes time.
    Wait(Box<Undecided>),
    /// The client is admitted with another grant.
    Admit(Box<Grant>),
    /// The client is closed because the server shuts down.
    Part,
    /// None: the session has ended.
    Gone,
}

impl ClientSession {
    /// Returns true if there is work left that is done a slice at a time. Then call [`Self::do_chores`] before
    /// input is read, and let other sessions run after it.
    #[inline]
    pub fn has_chores(&self) -> bool {
        self.chores.is_some()
    }

    /// Does one slice of the work. [`Self::receive`] does it too, instead of processing input. When
    /// there are no more [chores](Self::has_chores), call it with the bytes kept.
    #[inline]
    pub fn do_chores(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        self.do_chore(now, scratch);
        self.byte_queue.drain(now, false, scratch);
    }

    pub(super) fn do_chore(&mut self, now: Instant, scratch: &mut Scratch) {
        let Some(mut chores) = self.chores.take() else { return };
        let Some(mut chore) = chores.pop_front() else { return };
        if self.do_slice(&mut chore, scratch) {
            chores.push_front(chore);
            self.chores = Some(chores);
            return;
        }
        self.chores = Some(chores).filter(|chores| !chores.is_empty());
        if let Chore::End(_, then) = chore {
            self.go_on(then, now, scratch);
        }
    }

    /// Lets other sessions run before more of the input is processed.
    pub(super) fn pause(&mut self) {
        self.chores.get_or_insert_default().push_back(Chore::Pause);
    }

    /// Does a slice at once, and keeps the rest for later if there is one.
    pub(super) fn begin_chore(&mut self, mut chore: Chore, scratch: &mut Scratch) {
        if self.has_chores() || self.do_slice(&mut chore, scratch) {
            self.chores.get_or_insert_default().push_back(chore);
        }
    }

    /// Ends all subscriptions and continues with `then`; at once, if they are few.
    pub(super) fn end_subscriptions_then(
        &mut self,
        then: Then,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        if let Some(then) = self.end_subscriptions_before(then) {
            self.go_on(then, now, scratch);
        }
    }

    /// Ends all subscriptions. Returns `then` if they were few; else it follows later.
    fn end_subscriptions_before(&mut self, then: Then) -> Option<Then> {
        let Some(mut ending) = self.take_subscriptions() else { return Some(then) };
        if !self.do_ending(&mut ending) {
            return Some(then);
        }
        self.chores.get_or_insert_default().push_back(Chore::End(ending, then));
        None
    }

    /// Ends the subscriptions of a client that is closed because the server shuts down; then its queue is released.
    pub(super) fn end_subscriptions_and_part(&mut self) {
        if self.end_subscriptions_before(Then::Part).is_some() {
            self.byte_queue.finish_held(CloseReason::ServerShutdown);
        }
    }

    fn take_subscriptions(&self) -> Option<Ending> {
        let Phase::Served(served) = &self.phase else { return None };
        Some(served.member.end_subscriptions())
    }

    fn go_on(&mut self, then: Then, now: Instant, scratch: &mut Scratch) {
        match then {
            Then::Authenticate(before) => self.authenticate(&before, now, scratch),
            Then::Wait(undecided) => self.wait_for(undecided),
            Then::Admit(grant) => self.let_in(*grant, scratch),
            Then::Part => self.byte_queue.finish_held(CloseReason::ServerShutdown),
            Then::Gone => {}
        }
    }

    /// Does a slice of a chore. Returns true if there is more of it.
    fn do_slice(&mut self, chore: &mut Chore, scratch: &mut Scratch) -> bool {
        let (place, next) = match chore {
            Chore::Pause => return false,
            Chore::End(ending, _) => return self.do_ending(ending),
            Chore::Recheck(place, _) => {
                let next = self.recheck_subscriptions(*place, scratch);
                (place, next)
            }
            Chore::NoteServices(place, _) => {
                let next = self.note_services(*place);
                (place, next)
            }
        };
        *place = next.unwrap_or_default();
        next.is_some()
    }

    fn do_ending(&self, ending: &mut Ending) -> bool {
        let trace = self.trace.as_deref();
        ending.step(|sid| {
            if let Some(trace) = trace {
                trace.ended(sid);
            }
        })
    }

    /// Ends the subscriptions of one part that the permissions no longer allow, each with an error.
    // NATS 2.14: client.go processSubsOnConfigReload.
    fn recheck_subscriptions(&mut self, place: Place, scratch: &mut Scratch) -> Option<Place> {
        let Phase::Served(served) = &self.phase else { return None };
        let member = &served.member;
        let (part, next) = self.endpoint.sids.part(place);
        let mut denied = Vec::new();
        for subscription in part {
            match member.review(subscription.filter(), subscription.queue()) {
                Subscribe::Deny => denied.push(subscription),
                Subscribe::Allow => subscription.set_filtered(false),
                Subscribe::AllowAndFilter => subscription.set_filtered(true),
            }
        }
        // The table has no defined order.
        sort_by(&mut denied, |a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
        denied.iter().for_each(|subscription| {
            member.unsubscribe(subscription, None);
        });
        for subscription in denied {
            if let Some(trace) = &self.trace {
                trace.ended(subscription.sid());
            }
            let fault = ClientFault::SubscriptionRevoked {
                subject: subscription.filter().into(),
                queue: subscription.queue().map(Into::into),
                sid: subscription.sid().into(),
            };
            self.fault(&fault, scratch);
        }
        next
    }

    fn note_services(&self, place: Place) -> Option<Place> {
        let (part, next) = self.endpoint.sids.part(place);
        for subscription in part {
            self.note_service(subscription.filter(), subscription.queue());
        }
        next.filter(|_| !self.endpoint.is_service.load(Ordering::Relaxed))
    }

    /// Ends the session, and a slice of its subscriptions, because the connection is lost or must be closed.
    /// Returns false if none are left; until then, call it again, and let other sessions run in between. A session
    /// that is dropped before ends the rest at once.
    pub fn depart(&mut self, reason: CloseReason) -> bool {
        if !self.has_departed {
            self.has_departed = true;
            self.endpoint.control.close();
            self.close(reason);
            let last = self.note_end(self.closing().unwrap_or(reason));
            let rest = self.take_subscriptions().map(|ending| Chore::End(ending, Then::Gone));
            let chores = self.chores.get_or_insert_default();
            // The steps after them are dropped.
            chores.retain(|chore| matches!(chore, Chore::End(..)));
            chores.extend(rest);
            self.leave_account();
            if let Some((connection, reason, at)) = &last {
                let (reason, at) = (*reason, *at);
                self.shared.notice(|| SystemEvent::Disconnected { connection, reason, at });
            }
            // The session no longer waits for a review.
            self.drop_review();
            self.phase = Phase::Checking(Checking::NOTHING);
            self.byte_queue.abandon(reason);
            self.shared.unregister(&self.endpoint);
        }
        let Some(mut chores) = self.chores.take() else { return false };
        if let Some(Chore::End(ending, _)) = chores.front_mut()
            && !self.do_ending(ending)
        {
            chores.pop_front();
        }
        let has_more = !chores.is_empty();
        self.chores = Some(chores).filter(|_| has_more);
        has_more
    }

    /// Logs and records the end of the session, while its state still exists. Returns its record if the program
    /// listens to events.
    fn note_end(&self, reason: CloseReason) -> Option<(Connection, CloseReason, Instant)> {
        self.reply_writer().log_end(reason);
        let at = self.shared.clock.now();
        let (_, left_behind_bytes) = self.byte_queue.left_behind();
        let closed = self.endpoint.last_snapshot(at, reason, left_behind_bytes);
        let last = self.shared.system.load().as_ref().map(|_| closed.connection.clone());
        self.shared.note_closed(closed);
        last.map(|connection| (connection, reason, at))
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        let reason = self.closing().unwrap_or(CloseReason::ClientClosed);
        while self.depart(reason) {}
    }
}
