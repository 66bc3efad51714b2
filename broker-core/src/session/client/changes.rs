//! What changes for a client while it is here: limits, who may be here, what they may do.

use std::time::Instant;

use super::chores::Chore;
use super::{ClientSession, Phase};
use crate::auth::{Decision, Denied, Grant};
use crate::error::{ClientFault, CloseReason};
use crate::news::Heard;
use crate::outlet::Work;
use crate::sync::Arc;
use crate::table::Place;

impl ClientSession {
    /// Has something changed that [`Self::handle_news`] must see to? Look when the link was woken, and when
    /// there are no more [chores](Self::has_chores): they come first.
    #[inline]
    pub fn has_news(&self) -> bool {
        let has_some =
            self.receiver.news.is_there() || (self.leaving.is_some() && self.outlet.has_progress());
        has_some && !self.has_chores()
    }

    /// Does what changes of the broker ask for. May bring [`Self::next_timeout`] forward, and
    /// [close](Self::closing) the session. [`Self::receive`] does it too.
    pub fn handle_news(&mut self, now: Instant, work: &mut Work) {
        // One thing after the other.
        if self.has_chores() {
            return self.do_chores(now, work);
        }
        let news = self.receiver.news.take();
        self.outlet.take_progress();
        if self.closing().is_some() {
            return;
        }
        work.start(now);
        if news.options {
            self.follow_options(now);
        }
        #[cfg(feature = "testing")]
        for lines in &news.lines {
            self.outlet.send(work, |out| out.extend_from_slice(lines));
        }
        if news.authenticator {
            self.review(&news.heard, work);
        }
        if let Some(fault) = &news.fault
            && self.closing.is_none()
        {
            self.fault(fault, work);
        }
        if news.end {
            self.announce_end(now, &news.heard, work);
        }
        if news.leave {
            self.begin_to_leave(now);
        } else {
            self.leave(now);
        }
        self.outlet.drain(now, false, work);
    }

    /// There will be no more of it: the session is about to be closed.
    pub fn ignore_news(&self) {
        self.receiver.news.close();
    }

    // NATS 2.14: what is pending and how long it may take are fixed when a client comes.
    fn follow_options(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let options = shared.options.load();
        self.terms.max_control_line_bytes = options.limits.max_control_line_bytes;
        self.terms.max_payload_bytes = options.limits.max_payload_bytes;
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
    /// `heard`: for whom waits until the client goes by what comes of it.
    pub(super) fn review(&mut self, heard: &[Arc<Heard>], work: &mut Work) {
        let held = match &self.phase {
            // It may have to show nothing now.
            Phase::Stranger(_) => return self.let_in_as_is(),
            Phase::Checking(_) => {
                self.must_review = true;
                return;
            }
            Phase::Served(_) => self.held_grant(),
        };
        let Some(held) = held else { return };
        let decision = self.authenticator().review(&held, &self.credentials());
        match decision {
            Decision::Grant(grant) if grant.account == held.account => {
                self.regrant(grant, heard, work);
            }
            Decision::Grant(_) | Decision::Deny(Denied::Unknown) => {
                self.closing = self.closing.or(Some(CloseReason::UserRemoved));
            }
            Decision::Deny(denied) => self.fault(&denied.into(), work),
            Decision::Compute(_) => self.fault(&ClientFault::AuthorizationViolation, work),
        }
    }

    fn regrant(&mut self, grant: Grant, heard: &[Arc<Heard>], work: &mut Work) {
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
            return self.receiver.permissions.store(grant.permissions);
        }
        self.receiver.change_permissions(grant.permissions);
        self.publisher.forget();
        self.begin_chore(Chore::Recheck(Place::default(), heard.to_vec()), work);
    }
}
