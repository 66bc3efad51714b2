//! The end of connections, and of the server.

use super::{Effect, Record, RouteId, RouteInfo, Topology};
use crate::sync::Arc;

impl Topology {
    /// Removes a connection that has ended. `jitter`: a random number for the pause before the next one.
    // NATS 2.14: route.go removeRoute, client.go reconnect.
    pub(in crate::cluster) fn handle_lost(&mut self, id: RouteId, jitter: u64) -> Vec<Effect> {
        let Some(record) = self.records.remove(&id) else { return Vec::new() };
        let mut effects = Vec::new();
        if let Some(account) = &record.account {
            let key = (Arc::clone(account), record.remote_id.clone());
            if self.account_routes.get(&key) == Some(&id) {
                self.account_routes.remove(&key);
            }
        } else {
            effects = self.leave_pool(id, &record);
        }
        let is_dialed = record.is_configured && effects.iter().any(is_dial);
        if !is_dialed {
            effects.extend(self.redial(&record, jitter));
        }
        effects
    }

    /// Removes a connection from its pool.
    pub(super) fn leave_pool(&mut self, id: RouteId, record: &Record) -> Vec<Effect> {
        let Some(remote) = self.remotes.get_mut(&record.remote_id) else { return Vec::new() };
        let place = record.index.and_then(|index| remote.pool.get_mut(index));
        let Some(place) = place.filter(|place| **place == Some(id)) else { return Vec::new() };
        *place = None;
        if !remote.is_empty() {
            return Vec::new();
        }
        let mut effects = self.forget_urls(&record.remote_id);
        self.remotes.remove(&record.remote_id);
        if record.has_no_pool && !record.stays_closed && !self.is_ending && self.is_started {
            effects.extend(self.dial_for_pool(record));
        }
        effects
    }

    /// Dials a server that had no pool, and may have one now.
    fn dial_for_pool(&self, record: &Record) -> Vec<Effect> {
        let shared = (self.pool_size() > 1).then_some(None);
        let of_accounts = self.pinned.iter().map(|account| Some(Arc::clone(account)));
        let accounts = shared.into_iter().chain(of_accounts);
        let dials = accounts.filter_map(|account| self.dial_again(record, account));
        dials.filter(|dial| self.wants(dial)).map(Effect::Dial).collect()
    }

    fn redial(&mut self, record: &Record, jitter: u64) -> Option<Effect> {
        let is_wanted = record.is_solicited || record.retries;
        if record.stays_closed || self.is_ending || !is_wanted || !self.is_started {
            return None;
        }
        if record.remote_id == self.own.server_id {
            return None;
        }
        let has_no_pool = record.account.is_none() && self.pool_size() == 0;
        if has_no_pool && let Some(remote) = self.remotes.get(&record.remote_id) {
            let other = remote.pool.iter().flatten().next();
            if let Some(other) = other.and_then(|id| self.records.get_mut(id))
                && record.is_solicited
            {
                other.solicit(record.address.as_ref(), record.is_configured);
            }
            return None;
        }
        self.reconnect(record, jitter).filter(|dial| self.wants(dial)).map(Effect::Dial)
    }

    /// Forgets the addresses of another server's listeners for clients.
    pub(super) fn forget_urls(&mut self, remote_id: &str) -> Vec<Effect> {
        let Some(remote) = self.remotes.get_mut(remote_id) else { return Vec::new() };
        let had_some = !remote.urls.is_empty() || !remote.websocket_urls.is_empty();
        remote.urls.clear();
        remote.websocket_urls.clear();
        let is_told = had_some && !self.options.no_advertise;
        is_told.then_some(Effect::Urls).into_iter().collect()
    }

    /// Returns the addresses of all servers' listeners for clients: none with `no_advertise`; first those of this server,
    /// unless it ends, or no other server has told any yet: a client knows the one that it has connected to.
    // NATS 2.14: server.go updateServerINFOAndSendINFOToClients.
    pub(in crate::cluster) fn client_urls(&self) -> (Vec<String>, Vec<String>) {
        let (mut urls, mut websocket_urls) = <(Vec<String>, Vec<String>)>::default();
        if self.options.no_advertise {
            return (urls, websocket_urls);
        }
        if self.has_peer_urls.0 && !self.has_announced_end {
            urls.clone_from(&self.own.connect_urls);
        }
        if self.has_peer_urls.1 && !self.has_announced_end {
            websocket_urls.clone_from(&self.own.ws_connect_urls);
        }
        for remote in self.remotes.values() {
            add(&mut urls, &remote.urls);
            add(&mut websocket_urls, &remote.websocket_urls);
        }
        (urls, websocket_urls)
    }

    /// Accepts and dials no more.
    pub(in crate::cluster) fn stop(&mut self) {
        self.is_ending = true;
    }

    /// Announces the end of this server to the others. Routes stay, and are made, until the clients have left.
    // NATS 2.14: server.go sendLDMToRoutes.
    pub(in crate::cluster) fn announce_end(&mut self) -> Vec<Effect> {
        let info = Box::new(RouteInfo { ldm: true, ..self.info() });
        self.has_announced_end = true;
        let mut ids: Vec<RouteId> = Vec::new();
        for remote in self.remotes.values() {
            ids.extend(remote.pool.iter().flatten().next());
        }
        ids.into_iter().map(|id| Effect::Send(id, info.clone())).collect()
    }

    /// Announces the end to a server whose first route is made meanwhile: it may have got INFO with the listeners before.
    pub(super) fn announce_end_to(&self, id: RouteId) -> Option<Effect> {
        let info = || Box::new(RouteInfo { ldm: true, ..self.info() });
        self.has_announced_end.then(|| Effect::Send(id, info()))
    }
}

fn is_dial(effect: &Effect) -> bool {
    matches!(effect, Effect::Dial(_))
}

fn add(urls: &mut Vec<String>, more: &[String]) {
    for url in more {
        if !urls.contains(url) {
            urls.push(url.clone());
        }
    }
}
