//! Decisions of the authenticator that take time: computations, which the driver runs, and answers from an external
//! source.
//!
//! At login the input of the client waits for the decision. A connected client whose review takes time remains
//! served under its current grant; the author of the change waits for the result.

use std::time::Instant;

use super::{ClientSession, Phase};
use crate::auth::{Chained, Compute, Decision, DenialReason, Denied, Grant, Next, Pending};
use crate::endpoint::{AckGuard, Endpoint, Scratch};
use crate::session::asking::{Asked, ask};
use crate::sync::Arc;
use crate::system::Denial;

/// A pending decision.
pub(super) struct Undecided {
    step: Step,
    /// Decides from the result.
    next: Option<Next>,
}

/// The source of the result.
enum Step {
    /// The driver must run the computation.
    Compute(Compute),
    /// The driver runs the computation.
    Computing,
    /// An external answer, and its deadline.
    Pending(Pending, Instant),
    /// As `Pending`: the answer to a question over the broker.
    Asked(
        Pending,
        Instant,
        #[expect(dead_code, reason = "waits for the answer")] Asked,
        Arc<str>,
        DenialReason,
    ),
}

/// A decision as the session continues with it.
pub(super) enum Begun {
    Decided(Result<Grant, Denied>),
    Undecided(Box<Undecided>),
}

/// Credentials that are being checked.
pub(super) struct Checking {
    undecided: Option<Box<Undecided>>,
    /// The end of the time to authenticate.
    until: Option<Instant>,
    /// The service whose answer has denied the client.
    denial: Option<Box<Denial>>,
}

/// A review of a connected client that takes time.
pub(super) struct Review {
    undecided: Box<Undecided>,
    /// Held until the result is in force.
    acks: Vec<Arc<AckGuard>>,
}

impl Step {
    /// Waits for an external answer, which wakes the session. Returns its deadline.
    fn wait(pending: &Pending, endpoint: &Arc<Endpoint>, now: Instant) -> Instant {
        let endpoint = Arc::clone(endpoint);
        pending.notify(move || {
            if endpoint.control.leave(None, |control| control.decision = true) {
                endpoint.destination.wake();
            }
        });
        now + pending.timeout()
    }
}

impl Undecided {
    fn take_check(&mut self) -> Option<Compute> {
        if !matches!(self.step, Step::Compute(_)) {
            return None;
        }
        match std::mem::replace(&mut self.step, Step::Computing) {
            Step::Compute(check) => Some(check),
            Step::Computing | Step::Pending(..) | Step::Asked(..) => None,
        }
    }

    fn is_computing(&self) -> bool {
        matches!(self.step, Step::Computing)
    }

    fn is_asked(&self) -> bool {
        matches!(self.step, Step::Asked(..))
    }

    /// Returns the reason of a rejection because the answer is late.
    // NATS 2.14: auth_callout.go: without an answer of the service a client is not authorized.
    fn late(&self) -> Denied {
        if self.is_asked() { Denied::Credentials } else { Denied::Unavailable }
    }

    fn answer(&self) -> Option<Result<Grant, Denied>> {
        match &self.step {
            Step::Pending(pending, _) | Step::Asked(pending, ..) => pending.take(),
            Step::Compute(_) | Step::Computing => None,
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match &self.step {
            Step::Pending(_, deadline) | Step::Asked(_, deadline, ..) => Some(*deadline),
            Step::Compute(_) | Step::Computing => None,
        }
    }

    /// Returns who has denied the client, if a service was asked.
    fn denial(&self) -> Option<Box<Denial>> {
        let Step::Asked(.., account, reason) = &self.step else { return None };
        Some(Box::new(Denial { account: Arc::clone(account), reason: reason.take() }))
    }
}

impl Checking {
    /// No pending decision, and no account.
    pub(super) const NOTHING: Self = Self { undecided: None, until: None, denial: None };

    /// Returns who has denied the client, if it was a service.
    pub(super) fn denial(&self) -> Option<&Denial> {
        self.denial.as_deref()
    }

    fn is_computing(&self) -> bool {
        self.undecided.as_ref().is_some_and(|undecided| undecided.is_computing())
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.undecided.as_ref()?.deadline()
    }

    /// Returns the end of the time to authenticate, if it ends before the time for the answer.
    // NATS 2.14: CONNECT ends the time to authenticate, also if a service is asked.
    pub(super) fn must_show_by(&self) -> Option<Instant> {
        let deadline = self.deadline()?;
        if self.undecided.as_ref().is_some_and(|undecided| undecided.is_asked()) {
            return None;
        }
        self.until.filter(|until| *until < deadline)
    }
}

impl ClientSession {
    /// Begins a decision: publishes its question, or has its answer wake the session.
    pub(super) fn begin(&self, decision: Decision, now: Instant, scratch: &mut Scratch) -> Begun {
        let (first, next) = match decision {
            Decision::Chained(Chained { first, next }) => (*first, Some(next)),
            first => (first, None),
        };
        let step = match first {
            Decision::Grant(grant) => Err(Ok(grant)),
            Decision::Deny(denied) => Err(Err(denied)),
            Decision::Compute(check) => Ok(Step::Compute(check)),
            Decision::Pending(pending) => {
                let deadline = Step::wait(&pending, &self.endpoint, now);
                Ok(Step::Pending(pending, deadline))
            }
            Decision::Ask(question) => {
                let (account, reason) = (Arc::clone(&question.account), question.reason.clone());
                ask(&self.shared, question, scratch).map_err(Err).map(|(pending, asked)| {
                    let deadline = Step::wait(&pending, &self.endpoint, now);
                    Step::Asked(pending, deadline, asked, account, reason)
                })
            }
            // A chain is flat.
            Decision::Chained(_) => Err(Err(Denied::Unavailable)),
        };
        match (step, next) {
            (Ok(step), next) => Begun::Undecided(Box::new(Undecided { step, next })),
            (Err(result), None) => Begun::Decided(result),
            (Err(result), Some(next)) => self.begin(next(result), now, scratch),
        }
    }

    /// Waits for the decision about credentials. The session has left its account.
    pub(super) fn wait_for(&mut self, undecided: Box<Undecided>) {
        self.leave_account();
        let until = match &self.phase {
            Phase::Unauthenticated(deadline) => Some(*deadline),
            Phase::Checking(checking) => checking.until,
            Phase::Served(_) => None,
        };
        self.phase = Phase::Checking(Checking { undecided: Some(undecided), until, denial: None });
    }

    /// Waits for the decision about a client that stays connected meanwhile. It replaces the previous review, whose
    /// authors of changes then wait for this one.
    pub(super) fn wait_for_review(&mut self, undecided: Box<Undecided>, acks: Vec<Arc<AckGuard>>) {
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
        let is_reviewed = self.reviewing.as_ref().is_some_and(|one| one.undecided.is_computing());
        match &self.phase {
            Phase::Checking(checking) if checking.is_computing() => {
                self.end_check(result, now, scratch);
            }
            Phase::Served(_) if is_reviewed => self.end_review(result, now, scratch),
            // Another decision has replaced it.
            _ => {}
        }
        self.byte_queue.drain(now, false, scratch);
    }

    /// Continues with the external answer, if it has arrived.
    pub(super) fn handle_decision(&mut self, now: Instant, scratch: &mut Scratch) {
        match (&self.phase, &self.reviewing) {
            (Phase::Checking(checking), _) => {
                if let Some(result) = checking.undecided.as_ref().and_then(|one| one.answer()) {
                    self.end_check(result, now, scratch);
                }
            }
            (Phase::Served(_), Some(review)) => {
                if let Some(result) = review.undecided.answer() {
                    self.end_review(result, now, scratch);
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
                let late = checking.undecided.as_ref().map(|undecided| undecided.late());
                self.end_check(Err(late.unwrap_or(Denied::Unavailable)), now, scratch);
            }
            (Phase::Served(_), Some(review)) if is_over(review.undecided.deadline()) => {
                let late = review.undecided.late();
                self.end_review(Err(late), now, scratch);
            }
            _ => {}
        }
    }

    /// Continues with the result of a step at login.
    fn end_check(&mut self, result: Result<Grant, Denied>, now: Instant, scratch: &mut Scratch) {
        let Phase::Checking(checking) = &mut self.phase else { return };
        let undecided = checking.undecided.take();
        checking.denial =
            undecided.as_ref().filter(|_| result.is_err()).and_then(|undecided| undecided.denial());
        match undecided.and_then(|undecided| undecided.next) {
            Some(next) => self.follow(next(result), now, scratch),
            None => self.admit(result, now, scratch),
        }
    }

    /// Continues with the result of a step of a review.
    fn end_review(&mut self, result: Result<Grant, Denied>, now: Instant, scratch: &mut Scratch) {
        let Some(review) = self.reviewing.take() else { return };
        let Review { undecided, acks } = *review;
        match undecided.next {
            Some(next) => self.follow_review(next(result), acks, now, scratch),
            None => self.conclude_review(result, &acks, scratch),
        }
    }

    /// Applies a decision of a review. `acks` are held until the result is in force.
    pub(super) fn follow_review(
        &mut self,
        decision: Decision,
        acks: Vec<Arc<AckGuard>>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        match self.begin(decision, now, scratch) {
            Begun::Decided(result) => self.conclude_review(result, &acks, scratch),
            Begun::Undecided(undecided) => self.wait_for_review(undecided, acks),
        }
    }

    pub(super) fn decision_timeout(&self) -> Option<Instant> {
        match (&self.phase, &self.reviewing) {
            (Phase::Checking(checking), _) => checking.must_show_by().or(checking.deadline()),
            (Phase::Served(_), Some(review)) => review.undecided.deadline(),
            _ => None,
        }
    }
}
