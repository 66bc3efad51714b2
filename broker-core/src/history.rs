//! Records and totals of closed connections.

use std::collections::HashMap;

use crate::closed::ClosedList;
use crate::endpoint::Kind;
use crate::error::CloseReason;
use crate::snapshot::{AuthFailure, Closed};
use crate::sort::sort_by_key;
use crate::stats::{InterestStats, Traffic};
use crate::sync::Arc;

/// The bound of the list of closed connections, in bytes. With usual client names, the
/// default of 10,000 connections takes a quarter of it; but a client chooses its name.
const CLOSED_BYTES: usize = 16 << 20;

/// Records and totals of closed connections.
#[derive(Default)]
pub(crate) struct History {
    /// The number of departures from accounts.
    departures: u64,
    accounts: HashMap<Arc<str>, PastTraffic>,
    reasons: HashMap<CloseReason, u64>,
    route_reasons: HashMap<CloseReason, u64>,
    /// Deadlines that clients have missed without being closed for it.
    slow_clients: u64,
    /// Routes that were slow, open or closed, each time once.
    slow_routes: u64,
    auth_failures: HashMap<AuthFailure, u64>,
    closed: ClosedList,
}

/// Totals of the endpoints that have left an account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PastTraffic {
    pub(crate) traffic: Traffic,
    /// The part of other servers.
    pub(crate) route_traffic: Traffic,
    pub(crate) interest: InterestStats,
    pub(crate) slow_consumers: u64,
}

/// Totals of the departures from all accounts.
pub(crate) struct DepartedTotals {
    pub(crate) departures: u64,
    pub(crate) accounts: HashMap<Arc<str>, PastTraffic>,
}

impl History {
    /// Adds the totals of an endpoint that leaves an account. Returns the number of the departure.
    pub(crate) fn note_departure(
        &mut self,
        account: &Arc<str>,
        kind: Kind,
        traffic: Traffic,
        interest: InterestStats,
    ) -> u64 {
        let past = self.accounts.entry(Arc::clone(account)).or_default();
        past.traffic += traffic;
        if kind == Kind::Route {
            past.route_traffic += traffic;
        }
        past.interest += interest;
        self.departures += 1;
        self.departures
    }

    pub(crate) fn note_auth_failure(&mut self, failure: AuthFailure) {
        *self.auth_failures.entry(failure).or_default() += 1;
    }

    /// Records a closed connection. `max`: the number of records to keep.
    pub(crate) fn note_closed(&mut self, closed: Closed, max: usize) {
        *self.reasons.entry(closed.reason).or_default() += 1;
        if closed.reason.is_slow_consumer()
            && let Some(account) = &closed.connection.account
        {
            self.accounts.entry(Arc::clone(account)).or_default().slow_consumers += 1;
        }
        self.closed.push(closed);
        self.forget_beyond(max);
    }

    fn forget_beyond(&mut self, max: usize) {
        let is_too_much = |list: &ClosedList| list.len() > max || list.len_bytes() > CLOSED_BYTES;
        while is_too_much(&self.closed) && self.closed.pop() {}
        self.closed.shrink();
    }

    /// Counts a closed connection to another server.
    pub(crate) fn note_route_closed(&mut self, reason: CloseReason, was_slow: bool) {
        if reason.is_slow_consumer() && !was_slow {
            self.slow_routes += 1;
        }
        *self.route_reasons.entry(reason).or_default() += 1;
    }

    /// Counts a client that has missed a deadline without being closed for it.
    pub(crate) fn note_slow_client(&mut self, account: Option<&Arc<str>>) {
        self.slow_clients += 1;
        if let Some(account) = account {
            self.accounts.entry(Arc::clone(account)).or_default().slow_consumers += 1;
        }
    }

    /// Counts another server that has missed a deadline for the first time, and is not closed for it.
    pub(crate) fn note_slow_route(&mut self) {
        self.slow_routes += 1;
    }

    /// Returns how often clients were slow.
    pub(crate) fn slow_clients(&self) -> u64 {
        self.slow_clients + self.count(CloseReason::is_slow_consumer)
    }

    /// Returns how often other servers became slow.
    // NATS 2.14: client.go handleWriteTimeout counts each event of a route once.
    pub(crate) fn slow_routes(&self) -> u64 {
        self.slow_routes
    }

    /// Returns the number of closed connections to other servers by reason.
    pub(crate) fn route_reasons(&self) -> Vec<(CloseReason, u64)> {
        in_order(&self.route_reasons)
    }

    /// Returns the number of closed connections by reason.
    pub(crate) fn reasons(&self) -> Vec<(CloseReason, u64)> {
        in_order(&self.reasons)
    }

    pub(crate) fn count(&self, is_meant: impl Fn(CloseReason) -> bool) -> u64 {
        self.reasons.iter().filter(|(reason, _)| is_meant(**reason)).map(|(_, n)| n).sum()
    }

    pub(crate) fn auth_failures(&self) -> Vec<(AuthFailure, u64)> {
        let mut failures: Vec<_> = self.auth_failures.iter().map(|(why, n)| (*why, *n)).collect();
        failures.sort_unstable();
        failures
    }

    /// Returns at most `max` records.
    pub(crate) fn closed(&mut self, max: usize) -> ClosedList {
        self.forget_beyond(max);
        self.closed.clone()
    }

    pub(crate) fn departed(&self) -> DepartedTotals {
        DepartedTotals { departures: self.departures, accounts: self.accounts.clone() }
    }
}

fn in_order(reasons: &HashMap<CloseReason, u64>) -> Vec<(CloseReason, u64)> {
    let mut reasons: Vec<_> = reasons.iter().map(|(reason, n)| (*reason, *n)).collect();
    sort_by_key(&mut reasons, |(reason, _)| reason.to_string());
    reasons
}
