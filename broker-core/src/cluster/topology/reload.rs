//! Changes of the options.

use super::{
    ClusterOptions, CompressionMode, Effect, Record, RouteId, RouteInfo, Topology, pool_index,
};
use crate::error::CloseReason;
use crate::limits::ASKED_ACCOUNTS;
use crate::sync::Arc;

/// The time after which routes of accounts are dialled though not all servers have answered.
// NATS 2.14: reload.go reloadClusterPoolAndAccounts.
const ANSWERS: std::time::Duration = std::time::Duration::from_secs(2);

/// The answers to a request to give accounts routes of their own.
#[derive(Debug)]
pub(super) struct Awaited {
    request: String,
    /// The number of answers that have not arrived.
    count: usize,
    accounts: Vec<Arc<str>>,
}

impl Topology {
    /// Applies other options. `request`: an id for a request to the other servers.
    // NATS 2.14: reload.go clusterOption, routesOption, reloadClusterPoolAndAccounts.
    pub(in crate::cluster) fn apply(
        &mut self,
        options: Arc<ClusterOptions>,
        system_account: &Arc<str>,
        request: String,
    ) -> Vec<Effect> {
        let pinned_before = self.configured_accounts(system_account);
        let size_before = self.pool_size();
        let before = std::mem::replace(&mut self.options, options);
        let now = Arc::clone(&self.options);
        self.follow_options();
        let mut effects = self.apply_name(&before);
        let pinned = self.configured_accounts(system_account);
        let removed: Vec<_> = pinned_before.difference(&pinned).cloned().collect();
        let added: Vec<_> = pinned.difference(&pinned_before).cloned().collect();
        effects.extend(self.unpin(&removed));
        if self.pool_size() == 0 {
            (self.pinned, self.asked) = Default::default();
        }
        if !self.is_started {
            self.pinned.extend(added);
            return effects;
        }
        let is_resized = size_before != self.pool_size();
        if is_resized {
            effects.extend(self.close_pools());
        }
        effects.extend(self.close_removed());
        // Those that were admitted by certificates may have presented no password.
        let by_certificate = before.admits_by_certificate();
        if before.credentials != now.credentials || by_certificate != now.admits_by_certificate() {
            effects.extend(self.close_unauthorized());
        }
        if before.compression != now.compression {
            effects.extend(self.close_compressed());
        }
        if is_resized || before.compression.mode != now.compression.mode {
            effects.extend(self.close_unfinished(is_resized));
        }
        effects.extend(self.apply_permissions(&before));
        effects.extend(self.ask(&added, request));
        if is_resized {
            effects.extend(self.dial_for(&now.routes, std::iter::once(None)));
        } else {
            effects.extend(removed.iter().flat_map(|account| self.follow_in_pools(account)));
        }
        let accounts = added.iter().cloned().map(Some);
        let mut dials = self.dial_for(&now.routes, accounts);
        for dial in &mut dials {
            if let Effect::Dial(dial) = dial
                && self.awaited.is_some()
            {
                // Should the answers not arrive; else it is no longer wanted then.
                dial.delay = ANSWERS;
            }
        }
        effects.extend(dials);
        let is_new = |route: &&_| !before.routes.contains(route) && !is_resized;
        let new: Vec<_> = now.routes.iter().filter(is_new).cloned().collect();
        effects.extend(self.dial_all(&new));
        if before.no_advertise != now.no_advertise {
            effects.push(Effect::Urls);
        }
        effects
    }

    /// Takes the configured name of the cluster, if there is one; open routes stay, and all servers must take the name
    /// before they connect again.
    // NATS 2.14: reload.go clusterOption.
    fn apply_name(&mut self, before: &ClusterOptions) -> Vec<Effect> {
        if before.name == self.options.name {
            return Vec::new();
        }
        self.own.cluster_dynamic = self.options.name.is_none();
        match &self.options.name {
            Some(name) if *name != self.own.cluster => {
                self.own.cluster.clone_from(name);
                vec![Effect::Renamed(name.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Closes the routes of these accounts, for good.
    fn unpin(&mut self, accounts: &[Arc<str>]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for account in accounts {
            self.pinned.remove(account);
            self.asked.remove(account);
            let mut gone = Vec::new();
            self.account_routes.retain(|(other, _), id| {
                let is_other = other != account;
                gone.extend((!is_other).then_some(*id));
                is_other
            });
            effects.extend(gone.into_iter().map(|id| self.close_for_good(id)));
            effects.push(Effect::TakeBack(Arc::clone(account)));
        }
        effects
    }

    fn close_for_good(&mut self, id: RouteId) -> Effect {
        if let Some(record) = self.records.get_mut(&id) {
            record.stays_closed = true;
        }
        Effect::Close(id, CloseReason::RouteRemoved)
    }

    /// Closes the routes of all pools, which are made again with another size.
    fn close_pools(&mut self) -> Vec<Effect> {
        let pools = self.remotes.values().flat_map(|remote| remote.pool.iter().flatten());
        let ids: Vec<RouteId> = pools.copied().collect();
        let mut effects = Vec::new();
        for id in ids {
            let Some(record) = self.records.get_mut(&id) else { continue };
            // Configured servers are dialled at once.
            record.stays_closed |= record.is_configured;
            record.dials_next = false;
            let left = record.clone();
            // The place is free now, not when the connection has ended.
            record.index = None;
            effects.push(Effect::Close(id, CloseReason::RouteRemoved));
            let alone = Record { has_no_pool: false, ..left };
            effects.extend(self.leave_pool(id, &alone));
        }
        effects
    }

    /// Closes the connections that are no routes yet, to be made again: they have begun by the options before, and the
    /// other server has been told those. Without it the two would place accounts in pools of different sizes, or each
    /// wait for the other's INFO. `is_resized`: configured servers are dialled at once.
    // Ours: NATS 2.14 refuses only those that become routes during the reload.
    fn close_unfinished(&mut self, is_resized: bool) -> Vec<Effect> {
        let unfinished = self.records.iter_mut().filter(|(_, record)| !record.has_joined);
        let close = |(id, record): (&RouteId, &mut Record)| {
            record.stays_closed |= is_resized && record.is_configured && record.account.is_none();
            Effect::Close(*id, CloseReason::RouteRemoved)
        };
        unfinished.map(close).collect()
    }

    /// Closes the routes to servers that are no longer configured, for good.
    fn close_removed(&mut self) -> Vec<Effect> {
        let options = Arc::clone(&self.options);
        let is_removed = |record: &Record| record.is_of_removed(&options.routes);
        let removed: Vec<RouteId> =
            self.routes().filter(|(_, record)| is_removed(record)).map(|(id, _)| id).collect();
        removed
            .into_iter()
            .map(|id| {
                if let Some(address) = self.records.get(&id).and_then(|it| it.address.as_ref()) {
                    tracing::info!("Removed route nats-route://{address}");
                }
                self.close_for_good(id)
            })
            .collect()
    }

    /// Closes the accepted connections whose other servers have not presented the credentials, whether they are routes
    /// yet or not.
    // NATS 2.14: reload.go reloadAuthorization.
    fn close_unauthorized(&self) -> Vec<Effect> {
        if self.options.admits_by_certificate() {
            return Vec::new();
        }
        let wanted = &self.options.credentials;
        // One that has not sent CONNECT is asked for them then.
        let is_refused = |record: &Record| {
            !record.is_solicited
                && wanted.is_some()
                && record.credentials.is_some()
                && record.credentials != *wanted
        };
        let refused = self.records.iter().filter(|(_, record)| is_refused(record));
        refused.map(|(id, _)| Effect::Unauthorized(*id)).collect()
    }

    /// Closes the routes whose compression has to be negotiated again.
    ///
    /// Ours: NATS 2.14 changes the level of a route that is compressed already without closing it.
    fn close_compressed(&self) -> Vec<Effect> {
        let mode = self.options.compression.mode;
        let stays = |record: &Record| {
            record.compression == CompressionMode::NotSupported
                || record.compression == mode
                || (mode == CompressionMode::S2Auto && record.compression.compresses())
        };
        let others = self.routes().filter(|(_, record)| !stays(record));
        others.map(|(id, _)| Effect::Close(id, CloseReason::ClientClosed)).collect()
    }

    /// Tells the other servers the permissions, and applies them to what is sent and taken. Those whose connections are no
    /// routes yet are told when they are.
    // NATS 2.14: reload.go reloadClusterPermissions. It does not tell the latter.
    fn apply_permissions(&mut self, before: &ClusterOptions) -> Vec<Effect> {
        if before.permissions == self.options.permissions {
            return Vec::new();
        }
        for record in self.records.values_mut().filter(|record| !record.has_joined) {
            record.has_old_info = true;
        }
        let info = Box::new(self.info());
        let apply = |id| [Effect::Denied(id), Effect::Send(id, info.clone()), Effect::Interest(id)];
        self.routes().flat_map(|(id, _)| apply(id)).collect()
    }

    /// Asks the other servers to give these accounts routes of their own.
    // NATS 2.14: reload.go reloadClusterPoolAndAccounts.
    fn ask(&mut self, accounts: &[Arc<str>], request: String) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut count = 0;
        for account in accounts {
            self.pinned.insert(Arc::clone(account));
            self.asked.remove(account);
            let index = pool_index(self.pool_size(), account);
            effects.extend(self.move_away(account, false));
            for remote in self.remotes.values().filter(|remote| !self.has_no_pool(remote)) {
                let Some(id) = remote.pool.get(index).copied().flatten() else { continue };
                let info = RouteInfo {
                    route_pool_size: self.own.route_pool_size,
                    route_account: account.to_string(),
                    route_acc_add_reqid: request.clone(),
                    ..RouteInfo::default()
                };
                effects.push(Effect::Send(id, Box::new(info)));
                count += 1;
            }
        }
        let accounts = accounts.to_vec();
        self.awaited = (count > 0).then_some(Awaited { request, count, accounts });
        effects
    }

    /// Ends the interest of an account on the routes of all pools.
    fn move_away(&self, account: &Arc<str>, is_asked: bool) -> Vec<Effect> {
        let remotes = self.remotes.values().filter(|remote| !self.has_no_pool(remote));
        let ids = remotes.flat_map(|remote| remote.pool.iter().flatten());
        ids.map(|id| Effect::Moved { id: *id, account: Arc::clone(account), is_asked }).collect()
    }

    fn has_no_pool(&self, remote: &super::Remote) -> bool {
        let mut records = remote.pool.iter().flatten().filter_map(|id| self.records.get(id));
        records.any(|record| record.has_no_pool)
    }

    /// Sends the interest of an account, which has no route of its own any longer, over the pools.
    fn follow_in_pools(&self, account: &Arc<str>) -> Vec<Effect> {
        let carrying = self.routes().filter(|(_, record)| {
            record.account.is_none() && !record.has_no_pool && self.carries(record, account)
        });
        carrying.map(|(id, _)| Effect::Follow(id, Arc::clone(account))).collect()
    }

    /// Handles the request of another server to give an account a route of its own, or the answer to such a request.
    // NATS 2.14: route.go processRouteInfo.
    pub(super) fn handle_account_request(&mut self, id: RouteId, info: &RouteInfo) -> Vec<Effect> {
        if info.route_account.is_empty() {
            return self.handle_answer(info);
        }
        let account: Arc<str> = Arc::from(&*info.route_account);
        let mut effects = Vec::new();
        if !self.pinned.contains(&account) {
            if self.asked.len() >= ASKED_ACCOUNTS || self.pool_size() == 0 {
                return effects;
            }
            self.pinned.insert(Arc::clone(&account));
            self.asked.insert(Arc::clone(&account));
        }
        let is_asked = self.asked.contains(&account);
        effects.extend(self.move_away(&account, is_asked));
        let answer = RouteInfo { route_account: String::new(), ..info.clone() };
        effects.push(Effect::Send(id, Box::new(answer)));
        effects
    }

    fn handle_answer(&mut self, info: &RouteInfo) -> Vec<Effect> {
        let Some(awaited) = &mut self.awaited else { return Vec::new() };
        if awaited.request != info.route_acc_add_reqid {
            return Vec::new();
        }
        awaited.count -= 1;
        if awaited.count > 0 {
            return Vec::new();
        }
        let Some(Awaited { accounts, .. }) = self.awaited.take() else { return Vec::new() };
        let routes = self.options.routes.clone();
        self.dial_for(&routes, accounts.into_iter().map(Some))
    }
}
