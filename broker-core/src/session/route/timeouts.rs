//! The deadlines of a connection to another server.

use std::time::Instant;

use super::{Phase, RouteSession, limits_of};
use crate::cluster::Refusal;
use crate::endpoint::{Scratch, SlowWrite};
use crate::proto::encode;
use crate::session::ping::Due;
use crate::sync::Arc;
use crate::trace::Trace;

impl RouteSession {
    pub(super) fn deadline(&self) -> Instant {
        let mut next = self.ping.deadline();
        if let Phase::Unauthenticated(deadline) = &self.phase {
            next = next.min(*deadline);
        }
        self.byte_queue.write_deadline().map_or(next, |deadline| next.min(deadline))
    }

    /// Sends PING, and closes a connection whose other server does not authenticate, answer or read.
    pub(super) fn check_deadlines(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.closing.is_some() {
            return;
        }
        scratch.start(now);
        if let Some(slow) = self.byte_queue.handle_timeout(now) {
            crate::session::slow::log(&self.endpoint, &self.byte_queue, slow);
            if matches!(slow, SlowWrite::Detected { is_first: true, .. }) {
                self.shared.note_slow_route();
            }
        }
        if matches!(self.phase, Phase::Unauthenticated(deadline) if now >= deadline) {
            self.fault(&Refusal::AuthTimeout, scratch);
        } else {
            self.keep_alive(now, scratch);
        }
        self.byte_queue.drain_own(None, now, scratch);
    }

    fn keep_alive(&mut self, now: Instant, scratch: &mut Scratch) {
        let limits = limits_of(&self.shared.options.load().limits, &self.cluster.options());
        // A PING would wait behind what the other server does not read: `write_deadline` decides.
        if self.byte_queue.is_blocked() {
            return self.ping.postpone(now, &limits);
        }
        match self.ping.handle_timeout(now, &limits) {
            Due::Nothing => {}
            // The other server may not read yet what is not the greeting; it is given as much time to send it.
            Due::Ping if !matches!(self.phase, Phase::Joined) => {}
            Due::Ping => {
                self.byte_queue.send(scratch, |out| out.extend_from_slice(encode::PING));
                self.accounts.forget();
            }
            Due::Stale => self.fault(&Refusal::Stale, scratch),
        }
    }

    /// Applies options that have changed.
    pub(super) fn follow_options(&mut self, now: Instant) {
        let limits = limits_of(&self.shared.options.load().limits, &self.cluster.options());
        self.ping.follow(now, &limits);
        self.follow_accounts();
        self.follow_permissions();
        self.follow_trace();
    }

    /// Applies the permissions of routes: to interest of the other server from now on, and to what there is. Both at once:
    /// no interest is taken in between.
    // NATS 2.14: reload.go reloadClusterPermissions.
    pub(super) fn follow_permissions(&mut self) {
        let rules = self.cluster.rules();
        let permissions = rules.map(|rules| Arc::clone(&rules.permissions));
        let before = self.endpoint.permissions.swap(permissions.clone());
        self.accounts.forget();
        if let Some(permissions) = permissions
            && before.is_none_or(|before| !Arc::ptr_eq(&before, &permissions))
        {
            self.end_denied(&permissions);
        }
    }

    /// Applies what accounts have configured.
    pub(super) fn follow_accounts(&mut self) {
        let options = self.shared.options.load();
        let traces = options.accounts.iter().any(|account| account.trace_destination.is_some());
        self.limits.traces_by_account =
            traces || self.shared.authenticator.load().configures_accounts();
    }

    pub(super) fn follow_trace(&mut self) {
        let options = self.shared.options.load();
        let trace =
            options.trace.then(|| Arc::new(Trace::new(self.endpoint.to_string(), &options)));
        crate::endpoint::Destination::set_trace(&*self.byte_queue, trace.clone());
        self.trace = trace;
    }
}
