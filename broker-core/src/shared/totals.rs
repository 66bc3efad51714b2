//! Totals of a broker. Sessions keep their own counters; the sums are computed on request.

use std::collections::BTreeMap;

use super::Shared;
use crate::endpoint::{AccountMembership, Endpoint, Kind};
use crate::error::CloseReason;
use crate::history::DepartedTotals;
use crate::snapshot::{Account, Closed};
use crate::sort::to_map;
use crate::stats::{Stats, Traffic};
use crate::sync::{Arc, Ordering};

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        self.stats_of(&self.account_snapshots())
    }

    pub(crate) fn stats_of(&self, accounts: &BTreeMap<Arc<str>, Account>) -> Stats {
        let mut traffic = Traffic::default();
        let mut routes = Traffic::default();
        for account in accounts.values() {
            traffic += account.traffic;
            routes += account.route_traffic;
        }
        let history = self.history.lock();
        Stats {
            connections: self.connections.load(Ordering::Relaxed),
            total_connections: self.connections_ever.load(Ordering::Relaxed),
            subscriptions: accounts.values().map(|account| account.interest.subscriptions).sum(),
            in_messages: traffic.in_messages,
            in_bytes: traffic.in_bytes,
            out_messages: traffic.out_messages,
            out_bytes: traffic.out_bytes,
            routes,
            pending_bytes: self.queues.pending_bytes.load(Ordering::Relaxed),
            slow_consumers: history.slow_clients(),
            slow_routes: history.slow_routes(),
            stale_connections: history.count(|reason| reason == CloseReason::StaleConnection),
        }
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Endpoint>> {
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.kind.is_client_connection());
        endpoints
    }

    /// Returns true if monitoring shows the account of that name. A removed account is not shown, but its
    /// totals still count.
    pub(crate) fn is_shown(&self, name: &str) -> bool {
        self.accounts.get(name).is_some_and(|account| !account.is_removed())
    }

    /// Counts each endpoint once, as present or as departed. Otherwise a counter could decrease, which
    /// monitoring would interpret as a restart of the server.
    pub(crate) fn account_snapshots(&self) -> BTreeMap<Arc<str>, Account> {
        let parties: Vec<_> = self
            .endpoints()
            .into_iter()
            .map(|endpoint| (endpoint.memberships(), endpoint))
            .collect();
        let DepartedTotals { departures, accounts: past } = self.history.lock().departed();
        let all = self.all_accounts();
        let accounts = all.iter().map(|account| {
            let past = past.get(&account.name).copied().unwrap_or_default();
            let mut interest = account.interest.stats();
            interest += past.interest;
            let (exports, imports) = account.share_counts();
            let snapshot = Account {
                name: Arc::clone(&account.name),
                is_system: account.is_system,
                connections: 0,
                traffic: past.traffic,
                route_traffic: past.route_traffic,
                interest,
                slow_consumers: past.slow_consumers,
                lost_reply_permissions: account.lost_replies.load(Ordering::Relaxed),
                exports,
                imports,
                mappings: account.interest.mappings().map_or_else(Arc::default, |all| all.list()),
            };
            (Arc::clone(&account.name), snapshot)
        });
        let mut accounts = to_map(accounts);
        let each = parties.iter().flat_map(|(memberships, endpoint)| {
            memberships.iter().map(move |membership| (membership, endpoint))
        });
        for (membership, endpoint) in each {
            if membership.had_ended(departures) {
                continue;
            }
            let Some(account) = accounts.get_mut(membership.account()) else { continue };
            account.connections += usize::from(endpoint.kind.is_client_connection());
            let traffic = membership.traffic(endpoint);
            account.traffic += traffic;
            if endpoint.kind == Kind::Route {
                account.route_traffic += traffic;
            }
            account.interest += membership.look_ups(endpoint);
        }
        accounts
    }

    /// Adds the counters of a client in its account to the totals, because it leaves the account.
    pub(crate) fn depart(&self, endpoint: &Endpoint) {
        let Some(membership) = endpoint.membership.load_full() else { return };
        self.note_departure(endpoint, &membership);
        endpoint.membership.store(None);
    }

    /// Does the same for one of several accounts of an endpoint.
    pub(crate) fn depart_from(&self, endpoint: &Endpoint, slot: u16) {
        let Some(membership) = endpoint.membership_in(slot) else { return };
        self.note_departure(endpoint, &membership);
        endpoint.remove_membership(slot);
    }

    fn note_departure(&self, endpoint: &Endpoint, membership: &AccountMembership) {
        let traffic = membership.traffic(endpoint);
        let mut interest = membership.look_ups(endpoint);
        // The endpoint's cache no longer exists.
        (interest.cached, interest.total_fan_out, interest.max_fan_out) = (0, 0, 0);
        {
            let mut history = self.history.lock();
            membership.end(history.note_departure(
                membership.account(),
                endpoint.kind,
                traffic,
                interest,
            ));
        }
        membership.leave(endpoint.kind);
    }

    /// Records a closed connection.
    pub(crate) fn note_closed(&self, closed: Closed) {
        let max = self.max_closed();
        self.history.lock().note_closed(closed, max);
    }

    /// Counts a closed connection to another server.
    pub(crate) fn note_route_closed(&self, reason: CloseReason, was_slow: bool) {
        self.history.lock().note_route_closed(reason, was_slow);
    }

    /// Counts a client that reads too slowly and stays connected.
    pub(crate) fn note_slow_client(&self, account: Option<&Arc<str>>) {
        self.history.lock().note_slow_client(account);
    }

    /// Counts a server that has begun to read too slowly.
    pub(crate) fn note_slow_route(&self) {
        self.history.lock().note_slow_route();
    }

    pub(crate) fn max_closed(&self) -> usize {
        self.options.load().limits.max_closed_connections
    }
}
