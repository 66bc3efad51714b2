//! The orders to dial other servers.

use std::time::Duration;

use super::{Effect, GossipMode, Record, RouteAddress, RouteDial, Topology};
use crate::cluster::ticket::Ticket;
use crate::sync::Arc;

/// The pause before a configured server is dialled again.
// NATS 2.14: const.go DEFAULT_ROUTE_RECONNECT.
const RECONNECT: Duration = Duration::from_secs(1);

/// The largest random pause before it, so that two servers that dial each other do not collide again and again.
// NATS 2.14: route.go reConnectToRoute.
const JITTER_MILLIS: u64 = 100;

/// The same after they have collided: both connections were closed, each by one of them. Only a pause that is longer
/// than a round trip keeps them from doing it again.
const COLLISION_JITTER_MILLIS: u64 = 500;

/// The further pause of one of the two, so that the other one is through by then.
const COLLISION_PAUSE: Duration = Duration::from_secs(1);

/// The same after two servers with JetStream have met. It takes an operator to end that.
const CONFLICT: Duration = Duration::from_secs(10);

impl Topology {
    /// Dials the configured servers.
    // NATS 2.14: route.go solicitRoutes.
    pub(in crate::cluster) fn start(&mut self) -> Vec<Effect> {
        self.is_started = true;
        let routes = self.options.routes.clone();
        self.dial_all(&routes)
    }

    /// Dials these configured servers, once for each route that has no pool.
    pub(super) fn dial_all(&self, routes: &[RouteAddress]) -> Vec<Effect> {
        let accounts = self.pinned.iter().cloned().map(Some);
        self.dial_for(routes, std::iter::once(None).chain(accounts))
    }

    /// Dials these configured servers for these accounts.
    pub(super) fn dial_for(
        &self,
        routes: &[RouteAddress],
        accounts: impl Iterator<Item = Option<Arc<str>>>,
    ) -> Vec<Effect> {
        let dial = |route, account: &Option<_>| self.configured(route, account.clone());
        let all = accounts.flat_map(|account| {
            routes.iter().map(move |route| Effect::Dial(dial(route, &account)))
        });
        all.collect()
    }

    fn configured(&self, address: &RouteAddress, account: Option<Arc<str>>) -> RouteDial {
        RouteDial {
            address: address.clone(),
            is_configured: true,
            account,
            gossip: GossipMode::Default,
            delay: Duration::ZERO,
            is_first: true,
            retries: None,
            has_backoff: self.options.connect_backoff,
            tls_name: self.tls_name.clone(),
            is_again: false,
            lost_id: String::new(),
            ticket: Ticket::default(),
        }
    }

    /// Returns the order to dial the server of a connection.
    pub(super) fn dial_again(
        &self,
        record: &Record,
        account: Option<Arc<str>>,
    ) -> Option<RouteDial> {
        let configured = self.configured(record.address.as_ref()?, account);
        let retries = Some(self.options.connect_retries);
        let last_id = if record.has_joined { &record.remote_id } else { &record.lost_id };
        Some(RouteDial {
            lost_id: last_id.clone(),
            is_configured: record.is_configured,
            retries: if record.is_configured { None } else { retries },
            ..configured
        })
    }

    /// As [`Self::dial_again`], after the connection was lost.
    pub(super) fn reconnect(&self, record: &Record, jitter: u64) -> Option<RouteDial> {
        let dial = self.dial_again(record, record.account.clone())?;
        // Ours: in NATS 2.14 a reported server that refuses the connection is dialled again without a pause.
        let waits = record.is_configured || !record.has_joined;
        let pause = match (record.is_conflicting, waits) {
            (true, _) => CONFLICT,
            (false, true) => RECONNECT,
            (false, false) => Duration::ZERO,
        };
        let has_collided = record.is_dialed && record.retries && !record.is_confirmed;
        let spread = if has_collided { COLLISION_JITTER_MILLIS } else { JITTER_MILLIS };
        let waits = has_collided && self.own.server_id > record.remote_id;
        let pause = pause + if waits { COLLISION_PAUSE } else { Duration::ZERO };
        let delay = pause + Duration::from_millis(jitter % spread);
        let is_again = record.has_joined || record.is_again;
        Some(RouteDial { delay, is_first: false, is_again, ..dial })
    }

    /// Returns true if a configured server is still to be dialled, or a reported one.
    // NATS 2.14: route.go connectToRoute, routeStillValid.
    pub(in crate::cluster) fn wants(&self, dial: &RouteDial) -> bool {
        if self.is_ending {
            return false;
        }
        let has_account = dial.account.as_ref().is_none_or(|account| self.pinned.contains(account));
        let is_listed = self.options.routes.contains(&dial.address);
        has_account && (!dial.is_configured || (is_listed && !self.is_made(dial)))
    }

    /// Returns true if this configured connection of one account exists already.
    fn is_made(&self, dial: &RouteDial) -> bool {
        let routes = self.account_routes.iter();
        let of_account = routes.filter(|((account, _), _)| Some(account) == dial.account.as_ref());
        let mut records = of_account.filter_map(|(_, id)| self.records.get(id));
        records.any(|it| it.is_configured && it.address.as_ref() == Some(&dial.address))
    }
}
