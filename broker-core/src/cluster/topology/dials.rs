//! The orders to dial other servers.

use std::time::Duration;

use super::{Effect, GossipMode, Record, RouteAddress, RouteDial, Topology};
use crate::sync::Arc;

/// The pause before a configured server is dialled again.
// NATS 2.14: const.go DEFAULT_ROUTE_RECONNECT.
const RECONNECT: Duration = Duration::from_secs(1);

/// The largest random pause before it, so that two servers that dial each other do not collide again and again.
// NATS 2.14: route.go reConnectToRoute.
const JITTER_MILLIS: u64 = 100;

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
        let accounts = std::iter::once(None).chain(self.pinned.iter().map(Some));
        let all = accounts.flat_map(|account| routes.iter().map(move |route| (route, account)));
        all.map(|(route, account)| Effect::Dial(self.configured(route, account.cloned()))).collect()
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
        Some(RouteDial {
            is_configured: record.is_configured,
            retries: if record.is_configured { None } else { retries },
            ..configured
        })
    }

    /// As [`Self::dial_again`], after the connection was lost.
    pub(super) fn reconnect(&self, record: &Record, jitter: u64) -> Option<RouteDial> {
        let dial = self.dial_again(record, record.account.clone())?;
        let pause = if record.is_configured { RECONNECT } else { Duration::ZERO };
        let delay = pause + Duration::from_millis(jitter % JITTER_MILLIS);
        Some(RouteDial { delay, is_first: false, ..dial })
    }

    /// Returns true if a configured server is still to be dialled, or a reported one.
    // NATS 2.14: route.go connectToRoute, routeStillValid.
    pub(in crate::cluster) fn wants(&self, dial: &RouteDial) -> bool {
        if self.is_ending {
            return false;
        }
        let has_account = dial.account.as_ref().is_none_or(|account| self.pinned.contains(account));
        let is_listed = self.options.routes.contains(&dial.address);
        !dial.is_configured || (is_listed && has_account)
    }
}
