//! Decisions of the authenticator that take time: computations, which the driver runs, and answers from an external
//! source.
//!
//! At login the input of the client waits for the decision. A connected client whose review takes time remains
//! served under its current grant; the author of the change waits for the result.

use std::time::Instant;

use super::{ClientSession, Phase};
use crate::auth::{Compute, Denied, Grant, Pending};
use crate::endpoint::{AckGuard, Endpoint, Scratch};
use crate::sync::Arc;

/// A pending decision.
pub(super) enum Undecided {
    /// The driver must run the computation.
    Compute(Compute),
    /// The driver runs the computation.
    Computing,
    /// An external answer, and its deadline.
    Pending(Pending, Instant),
}

/// Credentials that are being checked.
pub(super) struct Checking {
    undecided: Option<Undecided>,
    /// The end of the time to authenticate.
    until: Option<Instant>,
}

/// A review of a connected client that takes time.
pub(super) struct Review {
    undecided: Undecided,
    /// Held until the result is in force.
    acks: Vec<Arc<AckGuard>>,
}

impl Undecided {
    /// Waits for an external answer, which wakes the session.
    pub(super) fn pending(pending: Pending, endpoint: &Arc<Endpoint>, now: Instant) -> Self {
        let deadline = now + pending.timeout();
        let endpoint = Arc::clone(endpoint);
        pending.notify(move || {
            if endpoint.control.leave(None, |control| control.decision = true) {
                endpoint.destination.wake();
            }
        });
        Self::Pending(pending, deadline)
    }

    fn take_check(&mut self) -> Option<Compute> {
        if !matches!(self, Self::Compute(_)) {
            return None;
        }
        match std::mem::replace(self, Self::Computing) {
            Self::Compute(check) => Some(check),
            Self::Computing | Self::Pending(..) => None,
        }
    }

    fn answer(&self) -> Option<Result<Grant, Denied>> {
        match self {
            Self::Pending(pending, _) => pending.take(),
            Self::Compute(_) | Self::Computing => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Pending(_, deadline) => Some(*deadline),
            Self::Compute(_) | Self::Computing => None,
        }
    }
}

impl Checking {
    /// No pending decision, and no account.
    pub(super) const NOTHING: Self = Self { undecided: None, until: None };

    fn is_computing(&self) -> bool {
        matches!(self.undecided, Some(Undecided::Computing))
    }

    fn deadline(&self) -> Option<Instant> {
        self.undecided.as_ref()?.deadline()
    }

    /// Returns the end of the time to authenticate, if it ends before the time for the answer.
    pub(super) fn must_show_by(&self) -> Option<Instant> {
        let deadline = self.deadline()?;
        self.until.filter(|until| *until < deadline)
    }
}

impl ClientSession {
    /// Waits for the decision about credentials. The session has left its account.
    pub(super) fn wait_for(&mut self, undecided: Undecided) {
        self.leave_account();
        let until = match &self.phase {
            Phase::Unauthenticated(deadline) => Some(*deadline),
            Phase::Checking(checking) => checking.until,
            Phase::Served(_) => None,
        };
        self.phase = Phase::Checking(Checking { undecided: Some(undecided), until });
    }

    /// Waits for the decision about a client that stays connected meanwhile. It replaces the previous review, whose
    /// authors of changes then wait for this one.
    pub(super) fn wait_for_review(&mut self, undecided: Undecided, acks: Vec<Arc<AckGuard>>) {
        self.reviewing = Some(Box::new(Review { undecided, acks }));
    }

    /// Drops the pending review. Returns its acknowledgements.
    pub(super) fn drop_review(&mut self) -> Vec<Arc<AckGuard>> {
        self.reviewing.take().map(|review| review.acks).unwrap_or_default()
    }

    /// Takes the check that must be run, if there is one: run it where it delays no other session and pass its result
    /// to [`Self::handle_checked`]. It supersedes the previous check, whose result must not be passed any more.
    ///
    /// Call it after [`Self::receive`], [`Self::do_chores`], [`Self::handle_update`] and [`Self::handle_checked`].
    pub fn take_check(&mut self) -> Option<Compute> {
        match (&mut self.phase, &mut self.reviewing) {
            (Phase::Checking(checking), _) => checking.undecided.as_mut()?.take_check(),
            (Phase::Served(_), Some(review)) => review.undecided.take_check(),
            _ => None,
        }
    }

    /// Continues with the result of the check. Call [`Self::receive`] with the bytes kept, next.
    pub fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        scratch.start(now);
        let is_reviewed = self
            .reviewing
            .as_ref()
            .is_some_and(|one| matches!(one.undecided, Undecided::Computing));
        match &self.phase {
            Phase::Checking(checking) if checking.is_computing() => {
                self.admit(result, now, scratch);
            }
            Phase::Served(_) if is_reviewed => self.end_review(result, scratch),
            // Another decision has replaced it.
            _ => {}
        }
        self.byte_queue.drain(now, false, scratch);
    }

    /// Continues with the external answer, if it has arrived.
    pub(super) fn handle_decision(&mut self, now: Instant, scratch: &mut Scratch) {
        match (&self.phase, &self.reviewing) {
            (Phase::Checking(checking), _) => {
                if let Some(result) = checking.undecided.as_ref().and_then(Undecided::answer) {
                    self.admit(result, now, scratch);
                }
            }
            (Phase::Served(_), Some(review)) => {
                if let Some(result) = review.undecided.answer() {
                    self.end_review(result, scratch);
                }
            }
            _ => {}
        }
    }

    /// Denies the client if the time for the answer is over.
    pub(super) fn check_decision(&mut self, now: Instant, scratch: &mut Scratch) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        match (&self.phase, &self.reviewing) {
            (Phase::Checking(checking), _)
                if is_over(checking.deadline()) && checking.must_show_by().is_none() =>
            {
                self.admit(Err(Denied::Unavailable), now, scratch);
            }
            (Phase::Served(_), Some(review)) if is_over(review.undecided.deadline()) => {
                self.end_review(Err(Denied::Unavailable), scratch);
            }
            _ => {}
        }
    }

    fn end_review(&mut self, result: Result<Grant, Denied>, scratch: &mut Scratch) {
        let acks = self.drop_review();
        self.conclude_review(result, &acks, scratch);
    }

    pub(super) fn decision_timeout(&self) -> Option<Instant> {
        match (&self.phase, &self.reviewing) {
            (Phase::Checking(checking), _) => checking.must_show_by().or(checking.deadline()),
            (Phase::Served(_), Some(review)) => review.undecided.deadline(),
            _ => None,
        }
    }
}
