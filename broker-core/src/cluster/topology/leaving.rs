//! The end of connections, and of the server.

use super::{Effect, RouteId, Topology};

impl Topology {
    /// Removes a connection that has ended. `jitter`: a random number for the pause before the next one.
    // NATS 2.14: route.go removeRoute, client.go reconnect.
    pub(in crate::cluster) fn handle_lost(&mut self, id: RouteId, jitter: u64) -> Vec<Effect> {
        let Some(record) = self.records.remove(&id) else { return Vec::new() };
        let mut effects = Vec::new();
        if let Some(account) = &record.account {
            let key = (std::sync::Arc::clone(account), record.remote_id.clone());
            if self.account_routes.get(&key) == Some(&id) {
                self.account_routes.remove(&key);
            }
        } else if let Some(index) = record.index
            && let Some(remote) = self.remotes.get_mut(&record.remote_id)
            && remote.pool.get(index) == Some(&Some(id))
        {
            remote.pool[index] = None;
            if remote.is_empty() {
                effects.extend(self.forget_urls(&record.remote_id));
                self.remotes.remove(&record.remote_id);
                if record.has_no_pool && self.pool_size() > 1 && !record.stays_closed {
                    let dial = self.dial_again(&record, None).filter(|_| record.is_configured);
                    effects.extend(dial.filter(|dial| self.wants(dial)).map(Effect::Dial));
                    return effects;
                }
            }
        }
        effects.extend(self.redial(&record, jitter));
        effects
    }

    fn redial(&self, record: &super::Record, jitter: u64) -> Option<Effect> {
        let is_wanted = record.is_solicited || record.retries;
        if record.stays_closed || self.is_ending || !is_wanted || !self.is_started {
            return None;
        }
        if record.remote_id == self.own.server_id {
            return None;
        }
        let has_no_pool = record.account.is_none() && self.pool_size() == 0;
        if has_no_pool && self.remotes.contains_key(&record.remote_id) {
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

    /// Returns the addresses of all servers' listeners for clients: first those of this server, unless it ends.
    // NATS 2.14: server.go updateServerINFOAndSendINFOToClients.
    pub(in crate::cluster) fn client_urls(&self) -> (Vec<String>, Vec<String>) {
        let (mut urls, mut websocket_urls) = if self.has_announced_end {
            (Vec::new(), Vec::new())
        } else {
            (self.own.connect_urls.clone(), self.own.ws_connect_urls.clone())
        };
        for remote in self.remotes.values().filter(|_| !self.options.no_advertise) {
            add(&mut urls, &remote.urls);
            add(&mut websocket_urls, &remote.websocket_urls);
        }
        (urls, websocket_urls)
    }

    /// Accepts and dials no more.
    pub(in crate::cluster) fn stop(&mut self) {
        self.is_ending = true;
    }

    /// Announces the end of this server to the others.
    // NATS 2.14: server.go sendLDMToRoutes.
    pub(in crate::cluster) fn announce_end(&mut self) -> Vec<Effect> {
        self.is_ending = true;
        self.has_announced_end = true;
        let mut info = self.info();
        info.ldm = true;
        let mut ids: Vec<RouteId> = Vec::new();
        for remote in self.remotes.values() {
            ids.extend(remote.pool.iter().flatten().next());
        }
        ids.into_iter().map(|id| Effect::Send(id, Box::new(info.clone()))).collect()
    }
}

fn add(urls: &mut Vec<String>, more: &[String]) {
    for url in more {
        if !urls.contains(url) {
            urls.push(url.clone());
        }
    }
}
