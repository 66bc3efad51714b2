//! Changes of the options.

use super::{ClusterOptions, Effect, RouteId, RouteInfo, Topology};
use crate::error::CloseReason;
use crate::sync::Arc;

impl Topology {
    /// Applies other options.
    // NATS 2.14: reload.go clusterOption, routesOption.
    pub(in crate::cluster) fn apply(
        &mut self,
        options: Arc<ClusterOptions>,
        system_account: &Arc<str>,
    ) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.options, options);
        let now = Arc::clone(&self.options);
        self.follow_options(system_account);
        if !self.is_started {
            return Vec::new();
        }
        let restarts = before.pool_size != now.pool_size
            || before.accounts != now.accounts
            || before.compression != now.compression
            || before.is_tls != now.is_tls;
        let removed = |address: &_| !now.routes.contains(address);
        let mut effects = Vec::new();
        let ids: Vec<RouteId> = self.routes().map(|(id, _)| id).collect();
        for id in ids {
            let Some(record) = self.records.get_mut(&id) else { continue };
            let is_removed = record.is_configured && record.address.as_ref().is_some_and(removed);
            if is_removed {
                record.stays_closed = true;
            }
            if is_removed || restarts {
                effects.push(Effect::Close(id, CloseReason::RouteRemoved));
            } else if before.permissions != now.permissions {
                let info = self.info();
                effects.push(Effect::Send(id, Box::new(info)));
                effects.push(Effect::Interest(id));
            }
        }
        let added: Vec<_> =
            now.routes.iter().filter(|route| !before.routes.contains(route)).cloned().collect();
        effects.extend(self.dial_all(&added));
        if before.no_advertise != now.no_advertise {
            effects.push(Effect::Urls);
        }
        effects
    }

    /// Handles the request of another server to give an account a route of its own: a reload there has added it.
    // NATS 2.14: route.go processRouteInfo.
    pub(super) fn handle_account_request(&mut self, id: RouteId, info: &RouteInfo) -> Vec<Effect> {
        if info.route_account.is_empty() {
            return Vec::new();
        }
        self.pinned.insert(Arc::from(&*info.route_account));
        let answer = RouteInfo { route_account: String::new(), ..info.clone() };
        vec![Effect::Send(id, Box::new(answer))]
    }
}
