//! A connection becomes a route.

use std::net::IpAddr;

use super::{
    Effect, GossipMode, Joined, Place, Record, Refusal, Remote, RouteConnect, RouteId, RouteInfo,
    Topology, url,
};
use crate::error::CloseReason;
use crate::options::{ClusterOptions, CompressionMode, MAX_POOL_SIZE};
use crate::sync::Arc;

impl Topology {
    /// Handles the CONNECT of a connection that another server has dialled.
    // NATS 2.14: route.go processRouteConnect.
    pub(in crate::cluster) fn handle_connect(
        &mut self,
        id: RouteId,
        connect: &RouteConnect,
    ) -> Result<Vec<Effect>, Refusal> {
        if !connect.lang.is_empty() {
            return Err(Refusal::ClientOnRoutePort);
        }
        if !connect.gateway.is_empty() {
            return Err(Refusal::Gateway(connect.gateway.clone()));
        }
        let mut effects = Vec::new();
        if connect.cluster != self.own.cluster {
            let other = (&*connect.cluster, connect.cluster_dynamic);
            if !self.yields_to(other) {
                let (theirs, ours) = (connect.cluster.clone(), self.own.cluster.clone());
                return Err(Refusal::OtherName { theirs, ours, is_told: true });
            }
            effects = self.rename(other, &connect.name);
        }
        if let Some(record) = self.records.get_mut(&id) {
            record.remote_id.clone_from(&connect.name);
            record.credentials = Some((connect.user.clone(), connect.pass.clone()));
        }
        Ok(effects)
    }

    /// Returns true if these options admit the same servers as the current ones.
    pub(in crate::cluster) fn admits_as(&self, options: &ClusterOptions) -> bool {
        let now = &*self.options;
        now.credentials == options.credentials
            && now.maps_certificates == options.maps_certificates
            && now.checks_known_urls == options.checks_known_urls
            && (!now.admits_by_certificate() || now.routes == options.routes)
    }

    /// Returns true if this server takes the other name: its own was generated, and the other was not or is larger.
    fn yields_to(&self, (name, is_generated): (&str, bool)) -> bool {
        self.own.cluster_dynamic && (!is_generated || *self.own.cluster < *name)
    }

    /// Takes another name. Routes to other servers than `remote` are closed.
    // NATS 2.14: server.go setClusterName, route.go removeAllRoutesExcept.
    fn rename(&mut self, (name, is_generated): (&str, bool), remote: &str) -> Vec<Effect> {
        name.clone_into(&mut self.own.cluster);
        if !is_generated {
            self.own.cluster_dynamic = false;
        }
        let others = self.routes().filter(|(_, record)| record.remote_id != remote);
        let conflict = CloseReason::ClusterNameConflict;
        let mut effects: Vec<Effect> = others.map(|(id, _)| Effect::Close(id, conflict)).collect();
        effects.push(Effect::Renamed(name.to_owned()));
        effects
    }

    /// Handles an INFO. `compression`: what was negotiated, if this is the first INFO behind the negotiation.
    // NATS 2.14: route.go processRouteInfo.
    pub(in crate::cluster) fn handle_info(
        &mut self,
        id: RouteId,
        mut info: RouteInfo,
        nonce: String,
    ) -> (Joined, Vec<Effect>) {
        let Some(record) = self.records.get_mut(&id) else {
            return (Joined::Refused(Refusal::Ending), Vec::new());
        };
        if info.server_id == self.own.server_id {
            record.remote_id.clone_from(&info.server_id);
            return (Joined::Refused(Refusal::Duplicate), Vec::new());
        }
        let mut effects = Vec::new();
        if !info.cluster.is_empty() && info.cluster != self.own.cluster {
            let other = (&*info.cluster, info.cluster_dynamic);
            if !self.yields_to(other) {
                let (theirs, ours) = (info.cluster, self.own.cluster.clone());
                let fault = Refusal::OtherName { theirs, ours, is_told: false };
                return (Joined::Refused(fault), effects);
            }
            effects = self.rename(other, &info.server_id);
        }
        if let Some(fault) = self.conflict(id, &info) {
            self.note_conflict(id);
            return (Joined::Refused(fault), effects);
        }
        let Some(record) = self.records.get_mut(&id) else { return (Joined::Noted, effects) };
        if record.has_info {
            effects.extend(self.handle_later_info(id, &info));
            return (Joined::Noted, effects);
        }
        if !record.is_solicited && info.server_name == self.own.server_name {
            let fault = Refusal::DuplicateName(info.server_name);
            return (Joined::Refused(fault), effects);
        }
        record.take(&mut info);
        let joined = match self.register(id, &info, nonce, &mut effects) {
            Ok(place) => {
                if let Some(record) = self.records.get_mut(&id) {
                    record.has_joined = true;
                    self.reconnects += u64::from(record.is_again);
                    if std::mem::take(&mut record.has_old_info) && place.info.is_none() {
                        effects.push(Effect::Send(id, Box::new(self.info())));
                    }
                }
                Joined::Registered(place)
            }
            Err(fault) => Joined::Refused(fault),
        };
        (joined, effects)
    }

    /// Returns a refusal if the sender of INFO has JetStream, and so has this server or one that it is connected to: each
    /// request would reach both. The server that came first stays.
    // Ours: NATS 2.14 replicates streams.
    fn conflict(&self, id: RouteId, info: &RouteInfo) -> Option<Refusal> {
        let record = self.records.get(&id)?;
        // A registered route also brings what its server reports of others.
        let is_sender = !record.has_info || record.remote_id == info.server_id;
        if !is_sender || !info.jetstream {
            return None;
        }
        let is_other = |it: &&Record| {
            let is_one = it.has_joined && it.has_jetstream && it.remote_id != info.server_id;
            is_one && !(it.replicates && replicates(info))
        };
        let ours = if self.own.jetstream {
            &self.own.server_name
        } else {
            &self.records.values().find(is_other)?.remote_name
        };
        Some(Refusal::JetStream { theirs: info.server_name.clone(), ours: ours.clone() })
    }

    /// Notes that a connection is closed because of a conflict: it is made again later than others.
    pub(in crate::cluster) fn note_conflict(&mut self, id: RouteId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.is_conflicting = true;
        }
    }

    /// Returns the compression of a connection whose other server offers `theirs`.
    // NATS 2.14: server.go selectCompressionMode.
    pub(in crate::cluster) fn choose_compression(
        &self,
        theirs: &str,
    ) -> Result<CompressionMode, Refusal> {
        let ours = self.options.compression.mode;
        if !ours.compresses() || theirs.is_empty() {
            let is_known = ours != CompressionMode::NotSupported && !theirs.is_empty();
            let none = CompressionMode::NotSupported;
            return Ok(if is_known { CompressionMode::Off } else { none });
        }
        let mode = CompressionMode::from_name(theirs)
            .ok_or_else(|| Refusal::Compression(theirs.to_owned()))?;
        Ok(match (ours, mode) {
            (_, CompressionMode::NotSupported | CompressionMode::Off) => mode,
            (CompressionMode::Accept, CompressionMode::Accept) => CompressionMode::Off,
            (CompressionMode::Accept, CompressionMode::S2Auto) => CompressionMode::S2Fast,
            (CompressionMode::Accept, _) => mode,
            _ => ours,
        })
    }

    pub(in crate::cluster) fn set_compression(&mut self, id: RouteId, mode: CompressionMode) {
        if let Some(record) = self.records.get_mut(&id) {
            record.compression = mode;
        }
    }

    /// Gives a connection its place.
    // NATS 2.14: route.go addRoute.
    fn register(
        &mut self,
        id: RouteId,
        info: &RouteInfo,
        nonce: String,
        effects: &mut Vec<Effect>,
    ) -> Result<Place, Refusal> {
        if self.is_ending {
            return Err(Refusal::Ending);
        }
        let Some(record) = self.records.get_mut(&id) else { return Err(Refusal::Ending) };
        if record.is_of_removed(&self.options.routes) {
            record.stays_closed = true;
            return Err(Refusal::Removed);
        }
        let own_size = self.options.pool_size.map_or(0, i64::from);
        let largest = own_size.max(info.route_pool_size).min(i64::from(MAX_POOL_SIZE));
        let has_pool = info.route_pool_size > 0 && own_size > 0;
        let index = info.route_pool_idx;
        if !has_pool {
            if let Some(account) = &record.account {
                record.stays_closed = true;
                return Err(Refusal::NoDedicatedRoute(account.to_string()));
            }
            record.has_no_pool = true;
        } else if record.is_solicited {
            if index != 0 {
                return Err(Refusal::IndexSet(index));
            }
        } else if index < 0 || index >= largest {
            return Err(Refusal::InvalidIndex { index, size: info.route_pool_size });
        }
        let gossip = std::mem::take(&mut record.gossip);
        match record.account.clone() {
            Some(account) => self.register_for_account(id, info, &account, gossip, nonce, effects),
            None => {
                let size = if has_pool { largest as usize } else { 1 };
                self.register_in_pool(id, info, (has_pool, size), gossip, nonce, effects)
            }
        }
    }

    fn register_for_account(
        &mut self,
        id: RouteId,
        info: &RouteInfo,
        account: &Arc<str>,
        gossip: GossipMode,
        nonce: String,
        effects: &mut Vec<Effect>,
    ) -> Result<Place, Refusal> {
        if !self.pinned.contains(account) {
            if let Some(record) = self.records.get_mut(&id) {
                record.stays_closed = true;
            }
            return Err(Refusal::NoAccountRoute(account.to_string()));
        }
        let key = (Arc::clone(account), info.server_id.clone());
        if let Some(other) = self.account_routes.get(&key).copied() {
            if !self.gives_way_for_account(other, id, info) {
                self.note_duplicate(Some(other), id, true);
                return Err(Refusal::Duplicate);
            }
            effects.extend(self.replace(other, id));
        }
        self.account_routes.insert(key, id);
        let record = self.records.get(&id);
        let (is_solicited, compression) =
            record.map_or((false, CompressionMode::Off), |it| (it.is_solicited, it.compression));
        let delayed = is_solicited && self.options.compression.mode.compresses();
        let own = delayed
            .then(|| Box::new(self.first_info(Some(account), compression, 0, gossip, nonce)));
        let servers = self.account_routes.keys().filter(|(other, _)| other == account).count();
        if servers > 1 {
            effects.extend(self.report(id, info, gossip));
        }
        Ok(Place { index: None, has_no_pool: false, info: own, pings: false })
    }

    fn register_in_pool(
        &mut self,
        id: RouteId,
        info: &RouteInfo,
        (has_pool, size): (bool, usize),
        gossip: GossipMode,
        nonce: String,
        effects: &mut Vec<Effect>,
    ) -> Result<Place, Refusal> {
        let delays = self.delays_info(id);
        let is_solicited = self.records.get(&id).is_some_and(|record| record.is_solicited);
        let remote = self.remotes.entry(info.server_id.clone()).or_default();
        let is_new = remote.is_empty();
        if remote.pool.len() < size {
            remote.pool.resize(size, None);
        }
        let (place, taken) = match (has_pool, is_solicited) {
            (false, _) => (Some(0).filter(|_| is_new), remote.pool[0]),
            (true, false) => {
                let index = info.route_pool_idx as usize;
                let taken = remote.pool[index];
                (Some(index).filter(|_| taken.is_none()), taken)
            }
            (true, true) => (remote.pool.iter().position(Option::is_none), None),
        };
        let peers: Vec<RouteId> = remote.pool.iter().flatten().copied().collect();
        if has_pool {
            self.unite(id, &peers);
        }
        let given = || taken.filter(|old| has_pool && self.gives_way(*old, id, info));
        let index = match (place, given()) {
            (Some(index), _) => index,
            (None, Some(old)) => {
                effects.extend(self.replace(old, id));
                info.route_pool_idx as usize
            }
            (None, None) => {
                let stays_closed = has_pool || taken.is_some();
                self.note_duplicate(taken, id, stays_closed);
                return Err(Refusal::Duplicate);
            }
        };
        let remote = self.remotes.entry(info.server_id.clone()).or_default();
        remote.pool[index] = Some(id);
        let count = remote.pool.iter().flatten().count();
        let is_first = place.is_some() && (is_new || !has_pool || count == 1);
        if is_first && let Some(remote) = self.remotes.get_mut(&info.server_id) {
            remote.urls.clone_from(&info.connect_urls);
            remote.websocket_urls.clone_from(&info.ws_connect_urls);
            self.has_peer_urls.0 |= !info.connect_urls.is_empty();
            self.has_peer_urls.1 |= !info.ws_connect_urls.is_empty();
            if !self.options.no_advertise {
                effects.push(Effect::Urls);
            }
        }
        if is_first && !delays {
            effects.extend(self.announce_end_to(id));
        }
        let dials_next = has_pool && is_solicited && count < size;
        let Some(record) = self.records.get_mut(&id) else { return Err(Refusal::Ending) };
        record.index = Some(index);
        record.dials_next = dials_next;
        let (has_no_pool, compression) = (record.has_no_pool, record.compression);
        record.gossip = gossip;
        let own =
            delays.then(|| Box::new(self.first_info(None, compression, index, gossip, nonce)));
        if is_first && self.remotes.len() > 1 {
            effects.extend(self.report(id, info, gossip));
        }
        Ok(Place { index: Some(index), has_no_pool, info: own, pings: dials_next })
    }

    /// Returns true if a route makes place for an accepted connection, to which the other server has given the same
    /// place: the route is none for the other server.
    ///
    /// Ours: NATS 2.14 keeps the route, so that two servers that dial each other at the same time close both
    /// connections, and after a partition a server is not taken back before its lost connection is noticed. With a server
    /// of NATS, which keeps its own connection, the outcome is the same or better: one of the two remains.
    fn gives_way(&self, old: RouteId, id: RouteId, info: &RouteInfo) -> bool {
        let (Some(old), Some(new)) = (self.records.get(&old), self.records.get(&id)) else {
            return false;
        };
        if new.is_dialed {
            return false;
        }
        if old.is_confirmed {
            // It was a route there too, and is lost there; unless a server that is not it uses the id of the other server.
            return old.ip.is_some() && old.ip == new.ip;
        }
        // Both have dialled at the same time: the connection of the smaller id stays.
        old.is_dialed && self.own.server_id > info.server_id
    }

    /// As [`Self::gives_way`], for a route of one account.
    fn gives_way_for_account(&self, old: RouteId, id: RouteId, info: &RouteInfo) -> bool {
        let (Some(old), Some(new)) = (self.records.get(&old), self.records.get(&id)) else {
            return false;
        };
        let have_collided = old.is_dialed && !old.is_confirmed && !new.is_dialed;
        // A server that compresses nothing sends INFO before it knows whether it takes the connection.
        have_collided && old.offered.compresses() && self.own.server_id > info.server_id
    }

    /// Has a connection stand for a route that is closed in favour of it.
    fn replace(&mut self, old: RouteId, id: RouteId) -> Vec<Effect> {
        let Some(replaced) = self.records.get_mut(&old) else { return Vec::new() };
        replaced.stays_closed = true;
        (replaced.index, replaced.dials_next) = (None, false);
        let replaced = replaced.clone();
        if let Some(new) = self.records.get_mut(&id).filter(|_| replaced.is_solicited) {
            new.solicit(replaced.address.as_ref(), replaced.is_configured);
        }
        vec![Effect::Close(old, CloseReason::DuplicateRoute)]
    }

    /// Makes all connections of a pool stand for dialled ones if one of them is.
    // NATS 2.14: route.go addRoute, hasSolicitedRoute.
    fn unite(&mut self, id: RouteId, pool: &[RouteId]) {
        let solicited = |record: &&Record| record.is_solicited;
        let model = match self.records.get(&id).filter(solicited) {
            Some(own) => Some(own),
            None => pool.iter().filter_map(|id| self.records.get(id)).find(solicited),
        };
        let Some(model) = model.cloned() else { return };
        for id in pool.iter().chain(std::iter::once(&id)) {
            if let Some(record) = self.records.get_mut(id) {
                record.solicit(model.address.as_ref(), model.is_configured);
            }
        }
    }

    /// Notes that a connection is closed because there is another one.
    // NATS 2.14: route.go handleDuplicateRoute.
    fn note_duplicate(&mut self, other: Option<RouteId>, id: RouteId, stays_closed: bool) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.stays_closed |= stays_closed;
        let duplicate = record.clone();
        let Some(other) = other.and_then(|other| self.records.get_mut(&other)) else { return };
        if duplicate.is_solicited && !other.is_solicited {
            other.is_solicited = true;
            other.address.clone_from(&duplicate.address);
        }
        other.is_configured |= duplicate.is_configured;
        other.retries = true;
    }

    /// Handles an INFO of a registered route.
    fn handle_later_info(&mut self, id: RouteId, info: &RouteInfo) -> Vec<Effect> {
        let Some(record) = self.records.get_mut(&id) else { return Vec::new() };
        if !info.route_acc_add_reqid.is_empty() {
            return self.handle_account_request(id, info);
        }
        if record.remote_id != info.server_id {
            let has_no_pool = record.has_no_pool;
            return self.handle_report(info, has_no_pool);
        }
        if info.ldm {
            return self.forget_urls(&info.server_id);
        }
        if !info.gateway.is_empty() {
            tracing::error!(
                "Received information about gateway {:?} from {}, but gateway is not configured",
                info.gateway,
                record.remote_id
            );
            return Vec::new();
        }
        record.import.clone_from(&info.import);
        let before = std::mem::replace(&mut record.export, info.export.clone());
        // NATS 2.14: route.go updateRemoteRoutePerms.
        if before == info.export {
            return Vec::new();
        }
        vec![Effect::Wanted { id, before, now: info.export.clone() }]
    }

    /// Handles a PONG: the other server has accepted this one, so that the next connection of the pool is dialled.
    pub(in crate::cluster) fn handle_pong(&mut self, id: RouteId) -> Option<Effect> {
        let record = self.records.get_mut(&id)?;
        record.is_confirmed |= record.has_info;
        if !std::mem::take(&mut record.dials_next) || self.is_ending {
            return None;
        }
        let record = self.records.get(&id)?;
        let dial = self.dial_again(record, None)?;
        Some(Effect::Dial(crate::cluster::RouteDial { gossip: record.gossip, ..dial }))
    }
}

/// Returns true if the sender replicates streams with others: nats-server, which tells its version of Go.
fn replicates(info: &RouteInfo) -> bool {
    info.go.starts_with("go")
}

impl Record {
    /// Takes what the first INFO tells of the other server.
    fn take(&mut self, info: &mut RouteInfo) {
        self.has_info = true;
        self.remote_id.clone_from(&info.server_id);
        self.remote_name.clone_from(&info.server_name);
        self.has_jetstream = info.jetstream;
        self.replicates = replicates(info);
        (self.import, self.export) = (info.import.clone(), info.export.clone());
        let offered = CompressionMode::from_name(&info.compression);
        self.offered = offered.unwrap_or(CompressionMode::NotSupported);
        self.urls.clone_from(&info.connect_urls);
        self.websocket_urls.clone_from(&info.ws_connect_urls);
        let told = || super::gossip::parse_url(&url(&info.host, info.port));
        self.address = self.address.take().or_else(told);
        if info.ip.is_empty() {
            let seen = self.ip.map(|ip| match ip {
                IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
                IpAddr::V4(_) => ip,
            });
            let host = seen.map_or_else(|| info.host.clone(), |ip| ip.to_string());
            info.ip = url(&host, info.port);
        }
        match &self.account {
            Some(account) if self.is_solicited => info.route_account = account.to_string(),
            _ if !self.is_solicited && !info.route_account.is_empty() => {
                self.account = Some(Arc::from(&*info.route_account));
            }
            _ => {}
        }
    }
}

impl Remote {
    pub(super) fn is_empty(&self) -> bool {
        self.pool.iter().all(Option::is_none)
    }
}
