//! The deadlines of a client's session.

use std::time::Instant;

use super::{ClientSession, Phase};
use crate::endpoint::{Scratch, SlowWrite};
use crate::error::ClientFault;
use crate::session::ping::Due;
use crate::snapshot::AuthFailure;
use crate::sync::Arc;

impl ClientSession {
    /// Returns the time by which [`Self::handle_timeout`] must be called at the latest. It may be called earlier.
    pub fn next_timeout(&self) -> Instant {
        let mut next = self.waits_for_answer().unwrap_or(self.ping.deadline());
        if let Phase::Unauthenticated(deadline) = &self.phase
            && self.securing.is_done()
        {
            next = next.min(*deadline);
        }
        for deadline in [self.decision_timeout(), self.expiry_timeout()].into_iter().flatten() {
            next = next.min(deadline);
        }
        if let Some(deadline) = self.silent_until {
            next = next.min(deadline);
        }
        if let Some(deadline) = self.byte_queue.write_deadline() {
            next = next.min(deadline);
        }
        if let Some(look) = self.patience_timeout() {
            next = next.min(look);
        }
        self.leaving_timeout().map_or(next, |lame_duck| next.min(lame_duck))
    }

    /// Returns the end of the wait for an external answer at login: there is no PING meanwhile.
    fn waits_for_answer(&self) -> Option<Instant> {
        matches!(self.phase, Phase::Checking(_)).then(|| self.decision_timeout()).flatten()
    }

    /// Logs that the client reads too slowly, or does no longer.
    fn note_slow(&self, slow: SlowWrite) {
        crate::session::slow::log(&self.label(), &self.byte_queue, slow);
        if matches!(slow, SlowWrite::Detected { .. }) {
            let account = match &self.phase {
                Phase::Served(served) => Some(&served.member.account.name),
                _ => None,
            };
            self.shared.note_slow_client(account);
        }
    }

    /// Handles the timeouts that are due: sends PING to an idle client, and closes a stale client, one that has not
    /// authenticated, and one that does not read.
    pub fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.closing.is_some() {
            return;
        }
        scratch.start(now);
        if let Some(slow) = self.byte_queue.handle_timeout(now) {
            self.note_slow(slow);
        }
        self.check_patience(now);
        self.check_decision(now, scratch);
        self.check_expiry(now, scratch);
        let must_show_by = match &self.phase {
            Phase::Unauthenticated(deadline) => Some(*deadline),
            Phase::Checking(checking) => checking.must_show_by(),
            Phase::Served(_) => self.silent_until,
        };
        if must_show_by.is_some_and(|deadline| now >= deadline) {
            self.note_auth_failure(AuthFailure::Timeout);
            self.fault(&ClientFault::AuthenticationTimeout, scratch);
        } else if self.closing.is_none() && self.waits_for_answer().is_none() {
            let shared = Arc::clone(&self.shared);
            if now >= self.ping.deadline() {
                tracing::debug!(client = %self.label(), "Client Ping Timer");
            }
            match self.ping.handle_timeout(now, &shared.options.load().limits) {
                Due::Nothing => {}
                Due::Ping => {
                    self.reply_writer().ping(scratch);
                    self.publisher.forget();
                }
                Due::Stale => self.fault(&ClientFault::StaleConnection, scratch),
            }
        }
        self.leave(now);
        self.byte_queue.drain(now, false, scratch);
    }
}
