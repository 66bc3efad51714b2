//! What changes for a client while it is here: limits, who may be here, what they may do.

use std::time::Instant;

use super::{ClientSession, Phase};
use crate::auth::{Decision, Denied, Grant, Subscribe};
use crate::endpoint::{Scratch, Subscription};
use crate::error::{ClientFault, CloseReason};
use crate::interest::Interested;
use crate::routing::end;
use crate::subject::SubjectFilter;
use crate::sync::Arc;

impl ClientSession {
    /// Has something changed that [`Self::handle_update`] must see to? Look when the link was woken.
    #[inline]
    pub fn has_update(&self) -> bool {
        self.endpoint.control.is_there()
            || (self.lame_duck.is_some() && self.byte_queue.has_progress())
    }

    /// Does what changes of the broker ask for. May bring [`Self::next_timeout`] forward, and
    /// [close](Self::closing) the session. [`Self::receive`] does it too.
    pub fn handle_update(&mut self, now: Instant, scratch: &mut Scratch) {
        let control = self.endpoint.control.take();
        self.byte_queue.take_progress();
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
            self.review(scratch);
        }
        if let Some(fault) = &control.fault
            && self.closing.is_none()
        {
            self.fault(fault, scratch);
        }
        if control.end {
            self.announce_end(now, scratch);
        }
        if control.leave {
            self.begin_to_leave(now);
        } else {
            self.leave(now);
        }
        self.byte_queue.drain(now, false, scratch);
    }

    /// There will be no more of it: the session is about to be closed.
    pub fn ignore_updates(&self) {
        self.endpoint.control.close();
    }

    // NATS 2.14: what is pending and how long it may take are fixed when a client comes.
    fn follow_options(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let options = shared.options.load();
        self.limits.max_control_line_bytes = options.limits.max_control_line_bytes;
        self.limits.max_payload_bytes = options.limits.max_payload_bytes;
        self.ping.follow(now, &options.limits);
        self.follow_trace();
    }

    /// What the client was let in with.
    pub(super) fn held_grant(&self) -> Option<Grant> {
        let Phase::Served(served) = &self.phase else { return None };
        let mut grant = Grant::anonymous().with_account(Arc::clone(&served.account.name));
        grant.user.clone_from(&served.user);
        grant.permissions.clone_from(&served.permissions);
        grant.proof.clone_from(&served.proof);
        Some(grant)
    }

    /// Asks the authenticator, which is another than the one that let the client in.
    // NATS 2.14: reload.go reloadAuthorization.
    pub(super) fn review(&mut self, scratch: &mut Scratch) {
        let held = match &self.phase {
            // It may have to show nothing now.
            Phase::Unauthenticated(_) => return self.let_in_as_is(),
            Phase::Checking(_) => {
                self.must_review = true;
                return;
            }
            Phase::Served(_) => self.held_grant(),
        };
        let Some(held) = held else { return };
        let decision = self.authenticator().review(&held, &self.credentials());
        match decision {
            Decision::Grant(grant) if grant.account == held.account => self.regrant(grant, scratch),
            Decision::Grant(_) | Decision::Deny(Denied::Unknown) => {
                self.closing = self.closing.or(Some(CloseReason::UserRemoved));
            }
            Decision::Deny(_) | Decision::Compute(_) => {
                self.fault(&ClientFault::AuthorizationViolation, scratch);
            }
        }
    }

    fn regrant(&mut self, grant: Grant, scratch: &mut Scratch) {
        let Phase::Served(served) = &mut self.phase else { return };
        if grant.proof.is_some() {
            self.options.forget_secrets();
        }
        served.user = grant.user;
        served.proof = grant.proof;
        let is_same = match (&served.permissions, &grant.permissions) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after) || before == after,
            (None, None) => true,
            _ => false,
        };
        // Even if they are the same: others may then be compared by their address.
        served.permissions.clone_from(&grant.permissions);
        if is_same {
            return self.endpoint.permissions.store(grant.permissions);
        }
        self.endpoint.change_permissions(grant.permissions);
        self.publisher.forget();
        self.recheck_subscriptions(scratch);
    }

    /// Ends the subscriptions that the client may not have any more, and tells it.
    // NATS 2.14: client.go processSubsOnConfigReload.
    fn recheck_subscriptions(&mut self, scratch: &mut Scratch) {
        let Phase::Served(served) = &self.phase else { return };
        let account = Arc::clone(&served.account);
        let verdict = |subscription: &Subscription| match &served.permissions {
            None => Subscribe::Allow,
            Some(permissions) => match SubjectFilter::parse(subscription.filter()) {
                Ok(filter) => permissions.may_subscribe(&filter, subscription.queue()),
                Err(_) => Subscribe::Deny,
            },
        };
        let mut denied = Vec::new();
        for subscription in &self.endpoint.sids.list(usize::MAX) {
            match verdict(subscription) {
                Subscribe::Deny => denied.push(Arc::clone(subscription)),
                Subscribe::Allow => subscription.set_filtered(false),
                Subscribe::AllowAndFilter => subscription.set_filtered(true),
            }
        }
        // The table has no order that could be told.
        denied.sort_by(|a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
        for subscription in denied {
            self.endpoint.sids.remove(subscription.sid());
            end(&account, &subscription);
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
    }
}
