//! Changes of a connected client: limits, review by the authenticator, permissions.

use std::time::Instant;

use super::chores::Chore;
use super::{ClientSession, Phase};
use crate::auth::{Denied, Grant};
use crate::endpoint::{AckGuard, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::sync::{Arc, Ordering};
use crate::table::Place;

impl ClientSession {
    /// Returns true if there is an update for [`Self::handle_update`]. Check it when the write handle was
    /// woken, and when there are no more [chores](Self::has_chores), which must be done before.
    #[inline]
    pub fn has_update(&self) -> bool {
        let has_some = self.endpoint.control.is_there()
            || self.lame_duck.as_ref().is_some_and(|lame_duck| lame_duck.has_progress());
        has_some && !self.has_chores()
    }

    /// Applies updates. May bring [`Self::next_timeout`] forward and [close](Self::closing) the session.
    /// [`Self::receive`] calls it too.
    pub fn handle_update(&mut self, now: Instant, scratch: &mut Scratch) {
        // An update waits for the chores of the one before it.
        if self.has_chores() {
            return self.do_chores(now, scratch);
        }
        let control = self.endpoint.control.take();
        if let Some(lame_duck) = &self.lame_duck {
            lame_duck.tracker().take_progress();
        }
        if self.closing().is_some() {
            return;
        }
        scratch.start(now);
        if control.options {
            self.follow_options(now);
        }
        #[cfg(feature = "testing")]
        for lines in &control.lines {
            self.byte_queue.send(scratch, |out| out.extend_from_slice(lines));
        }
        if control.authenticator {
            self.review(&control.acks, now, scratch);
        }
        // Checked after the review: only the newest authenticator decides.
        if control.decision && self.closing.is_none() {
            self.handle_decision(now, scratch);
        }
        // NATS 2.14: reload.go: a client whose account was removed is closed without an error.
        if control.account_removed {
            self.closing = self.closing.or(Some(CloseReason::UserRemoved));
        }
        if let Some(fault) = &control.fault
            && self.closing.is_none()
        {
            self.fault(fault, scratch);
        }
        // NATS 2.14: route.go sendAsyncInfoToClients.
        if control.info && self.endpoint.follows_info.load(Ordering::Relaxed) {
            self.send_info(|_| (), scratch);
        }
        // NATS 2.14: server.go LDMClientByID.
        if control.say_end && self.lame_duck.is_none() {
            self.send_info(|info| info.ldm = true, scratch);
        }
        if control.end {
            self.announce_end(now, &control.acks, scratch);
        }
        if control.leave {
            self.begin_to_leave(now);
        } else {
            self.leave(now);
        }
        self.byte_queue.drain(now, false, scratch);
    }

    /// Ignores further updates, because the session is about to be closed.
    pub fn ignore_updates(&self) {
        self.endpoint.control.close();
    }

    // NATS 2.14: `max_pending` and `write_deadline` of a connection are fixed when it opens.
    fn follow_options(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let options = shared.options.load();
        self.limits.max_control_line_bytes = options.limits.max_control_line_bytes;
        self.follow_account();
        self.ping.follow(now, &options.limits);
        self.follow_trace();
    }

    /// Returns the grant of the client.
    pub(super) fn held_grant(&self) -> Option<Grant> {
        let Phase::Served(served) = &self.phase else { return None };
        let mut grant = Grant::anonymous().with_account(Arc::clone(&served.member.account.name));
        grant.user.clone_from(&served.user);
        grant.permissions = self.endpoint.permissions.load_full();
        grant.proof.clone_from(&served.proof);
        grant.identity.clone_from(&served.identity);
        grant.proxy.clone_from(&served.proxy);
        (grant.expires, grant.account_expires) = self.expires();
        grant.limits = served.member.limits();
        Some(grant)
    }

    /// Has the new authenticator review the client. `acks` are held until the result is in force.
    // NATS 2.14: reload.go reloadAuthorization.
    fn review(&mut self, acks: &[Arc<AckGuard>], now: Instant, scratch: &mut Scratch) {
        let held = match &self.phase {
            // Authentication may be optional now.
            Phase::Unauthenticated(_) => return self.let_in_as_is(now),
            Phase::Checking(_) => {
                self.must_review = true;
                return;
            }
            Phase::Served(_) => self.held_grant(),
        };
        let Some(held) = held else { return };
        let decision = self.authenticator().review(&held, &self.credentials());
        // The previous change is in force when this one is.
        let mut all_acks = self.drop_review();
        all_acks.extend_from_slice(acks);
        self.follow_review(decision, all_acks, now, scratch);
    }

    /// Applies the result of a review.
    pub(super) fn conclude_review(
        &mut self,
        result: Result<Grant, Denied>,
        acks: &[Arc<AckGuard>],
        scratch: &mut Scratch,
    ) {
        let Phase::Served(served) = &self.phase else { return };
        let expired = result.as_ref().ok().and_then(|grant| self.expired(grant));
        if let Some(fault) = expired {
            return self.fault(&fault, scratch);
        }
        match result {
            Ok(grant) if grant.account == served.member.account.name => {
                self.regrant(grant, acks, scratch);
            }
            Ok(_) | Err(Denied::Unknown) => {
                self.closing = self.closing.or(Some(CloseReason::UserRemoved));
            }
            // NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
            Err(Denied::SignerRemoved) => {
                self.closing = self.closing.or(Some(CloseReason::AuthenticationViolation));
            }
            Err(Denied::Revoked) => self.fault(&ClientFault::AuthenticationRevoked, scratch),
            Err(denied) => self.fault(&denied.into(), scratch),
        }
    }

    fn regrant(&mut self, grant: Grant, acks: &[Arc<AckGuard>], scratch: &mut Scratch) {
        self.forget_proven(&grant);
        self.follow_grant(&grant, scratch.now());
        // Stored even if they are equal: later comparisons may then compare addresses.
        if *self.endpoint.permissions.load() == grant.permissions {
            return self.endpoint.permissions.store(grant.permissions);
        }
        self.endpoint.change_permissions(grant.permissions);
        self.publisher.forget();
        self.begin_chore(Chore::Recheck(Place::default(), acks.to_vec()), scratch);
    }
}
