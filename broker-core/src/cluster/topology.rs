//! The topology of a cluster: a state machine without connections, clock or threads.
//!
//! It is given what the connections to other servers bring (CONNECT, INFO, PONG, the end), and answers with
//! [effects](Effect). Servers of one cluster are all connected to each other. A server dials the configured addresses, and
//! those that others report. A connection between two servers belongs to a pool, and each account to one connection of
//! it; or to one account alone.
// NATS 2.14: route.go.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Effect, Joined, Place, Refusal, RouteId};
use super::record::Record;
use super::ticket::Stub;
use crate::cluster::RouteDial;
use crate::options::{ClusterOptions, CompressionMode, RouteAddress};
use crate::proto::route::{GossipMode, RouteConnect, RouteInfo};
use crate::sort::to_set;
use crate::sync::Arc;

mod dials;
mod gossip;
mod joining;
mod leaving;
mod reload;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// See the module.
pub(super) struct Topology {
    options: Arc<ClusterOptions>,
    /// The description of this server for others, without the parts that differ between connections.
    own: RouteInfo,
    /// The accounts with routes of their own.
    pinned: BTreeSet<Arc<str>>,
    records: BTreeMap<RouteId, Record>,
    remotes: BTreeMap<String, Remote>,
    /// The routes of one account each, by account and the id of the other server.
    account_routes: BTreeMap<(Arc<str>, String), RouteId>,
    /// The accounts among [`Self::pinned`] that other servers have asked to give a route of their own.
    asked: BTreeSet<Arc<str>>,
    /// The orders to dial reported servers, by host, port and account.
    reported: BTreeMap<(String, u16, Option<Arc<str>>), Stub>,
    /// The answers that are awaited before routes of accounts are dialled.
    awaited: Option<reload::Awaited>,
    /// The address of the listener.
    bound: (String, u16),
    /// The host name of the first configured route that has one: certificates of reported servers are verified for it.
    tls_name: Option<String>,
    /// The server accepts and dials no more routes.
    is_ending: bool,
    /// Clients are no longer sent to this server.
    has_announced_end: bool,
    is_started: bool,
    /// Another server has told addresses of its listeners for clients, or for WebSocket clients.
    has_peer_urls: (bool, bool),
    /// The number of routes that this server has made again after they were lost.
    reconnects: u64,
}

/// Another server of the cluster.
#[derive(Debug, Default)]
struct Remote {
    /// The connections of the pool, by index.
    pool: Vec<Option<RouteId>>,
    /// The addresses of its clients' listeners, from its first connection.
    urls: Vec<String>,
    websocket_urls: Vec<String>,
}

impl Topology {
    /// `system_account`: it has a route of its own where there is a pool.
    pub(super) fn new(
        options: Arc<ClusterOptions>,
        own: RouteInfo,
        system_account: &Arc<str>,
    ) -> Self {
        let mut topology = Self {
            own,
            pinned: BTreeSet::new(),
            records: BTreeMap::new(),
            remotes: BTreeMap::new(),
            account_routes: BTreeMap::new(),
            asked: BTreeSet::new(),
            reported: BTreeMap::new(),
            awaited: None,
            bound: (String::new(), 0),
            tls_name: None,
            is_ending: false,
            has_announced_end: false,
            is_started: false,
            has_peer_urls: (false, false),
            reconnects: 0,
            options,
        };
        topology.pinned = topology.configured_accounts(system_account);
        topology.follow_options();
        topology
    }

    /// Applies the options to what this server tells of itself.
    fn follow_options(&mut self) {
        let options = Arc::clone(&self.options);
        let is_name = |host: &str| host.parse::<std::net::IpAddr>().is_err();
        let named = options.routes.iter().find(|route| is_name(&route.host));
        self.tls_name = named.map(|route| route.host.clone());
        let own = &mut self.own;
        own.auth_required = options.credentials.is_some();
        (own.tls_required, own.tls_verify) = (options.is_tls, options.is_tls);
        own.route_pool_size = options.pool_size.map_or(0, i64::from);
        let permissions = options.permissions.clone().unwrap_or_default();
        (own.import, own.export) = (permissions.import, permissions.export);
        let (host, port) = options.advertise.as_ref().unwrap_or(&self.bound);
        own.host.clone_from(host);
        own.port = *port;
        own.ip = options.advertise.as_ref().map_or_else(String::new, |_| url(host, *port));
    }

    /// Returns the accounts that have routes of their own by the options.
    fn configured_accounts(&self, system_account: &Arc<str>) -> BTreeSet<Arc<str>> {
        let accounts = self.options.accounts.iter();
        let system = Some(system_account).filter(|_| self.options.has_system_route);
        let accounts = accounts.chain(system);
        to_set(accounts.filter(|_| self.pool_size() > 0).cloned())
    }

    /// Sets the address of the listener.
    pub(super) fn set_address(&mut self, host: &str, port: u16) {
        self.bound = (host.to_owned(), port);
        self.follow_options();
    }

    /// Sets the addresses of this server's listeners for clients.
    pub(super) fn set_client_urls(&mut self, urls: Vec<String>, websocket_urls: Vec<String>) {
        (self.own.connect_urls, self.own.ws_connect_urls) = (urls, websocket_urls);
    }

    /// Sets what this server tells of its JetStream. Call it before the first connection.
    pub(super) fn set_jetstream(&mut self, is_on: bool, domain: &str) {
        self.own.jetstream = is_on;
        domain.clone_into(&mut self.own.domain);
    }

    pub(super) fn name(&self) -> &str {
        &self.own.cluster
    }

    pub(super) fn has_generated_name(&self) -> bool {
        self.own.cluster_dynamic
    }

    pub(super) fn options(&self) -> &Arc<ClusterOptions> {
        &self.options
    }

    pub(super) fn record(&self, id: RouteId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// Returns the routes: the connections that are registered.
    pub(super) fn routes(&self) -> impl Iterator<Item = (RouteId, &Record)> {
        let pooled = self.remotes.values().flat_map(|remote| remote.pool.iter().flatten());
        let ids = to_set(pooled.chain(self.account_routes.values()).copied());
        ids.into_iter().filter_map(|id| Some((id, self.records.get(&id)?)))
    }

    /// Returns the number of routes that this server has made again.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Returns the number of other servers.
    pub(super) fn remote_count(&self) -> usize {
        self.remotes.len()
    }

    /// Returns true if the interest of an account is sent over this route.
    // NATS 2.14: route.go sendSubsToRoute, updateRouteSubscriptionMap.
    pub(super) fn carries(&self, record: &Record, account: &str) -> bool {
        if let Some(own) = &record.account {
            return **own == *account;
        }
        if record.has_no_pool {
            return true;
        }
        !self.pinned.contains(account)
            && record.index == Some(pool_index(self.pool_size(), account))
    }

    /// Returns the configured number of routes to each server; 0 without a pool.
    fn pool_size(&self) -> usize {
        self.options.pool_size.map_or(0, usize::from)
    }

    /// Returns the INFO that begins a connection.
    // NATS 2.14: route.go generateRouteInitialInfoJSON.
    pub(super) fn first_info(
        &self,
        account: Option<&str>,
        compression: CompressionMode,
        index: usize,
        gossip: GossipMode,
        nonce: String,
    ) -> RouteInfo {
        let mode = match self.options.compression.mode {
            CompressionMode::S2Auto => CompressionMode::S2Auto,
            _ => compression,
        };
        let mut info = self.info();
        info.nonce = nonce;
        info.route_account = account.unwrap_or_default().to_owned();
        info.route_pool_idx = index as i64;
        mode.name().clone_into(&mut info.compression);
        info.gossip_mode = gossip;
        info
    }

    /// Returns the INFO that begins this connection.
    pub(super) fn opening_info(&mut self, id: RouteId, nonce: String) -> RouteInfo {
        if let Some(record) = self.records.get_mut(&id) {
            record.has_old_info = false;
        }
        let record = self.records.get(&id).cloned().unwrap_or_default();
        let offered = match record.compression {
            CompressionMode::Off | CompressionMode::NotSupported => self.options.compression.mode,
            chosen => chosen,
        };
        let account = record.account.as_deref().filter(|_| record.is_solicited);
        self.first_info(account, offered, 0, record.gossip, nonce)
    }

    /// Returns what this server tells of itself at any time.
    fn info(&self) -> RouteInfo {
        let mut info = self.own.clone();
        // A route that is lost in lame duck mode is made again, without its listeners, which are closed.
        if self.options.no_advertise || self.has_announced_end {
            info.connect_urls.clear();
            info.ws_connect_urls.clear();
        }
        info
    }

    /// Returns the CONNECT of a connection that this server has dialled.
    // NATS 2.14: route.go sendRouteConnect.
    pub(super) fn connect(&self, id: RouteId) -> RouteConnect {
        let address = self.records.get(&id).and_then(|record| record.address.as_ref());
        let credentials = address.and_then(|address| address.credentials.clone());
        let (user, pass) = credentials.unwrap_or_default();
        RouteConnect {
            echo: true,
            user,
            pass,
            tls_required: self.options.is_tls,
            headers: self.own.headers,
            name: self.own.server_id.clone(),
            cluster: self.own.cluster.clone(),
            cluster_dynamic: self.own.cluster_dynamic,
            lnoc: true,
            ..RouteConnect::default()
        }
    }

    /// Returns true if a dialled connection waits for the INFO of the other server before it sends its own.
    // NATS 2.14: route.go createRoute.
    pub(super) fn delays_info(&self, id: RouteId) -> bool {
        let Some(record) = self.records.get(&id).filter(|record| record.is_solicited) else {
            return false;
        };
        let is_pooled = record.account.is_none() && self.pool_size() > 0;
        is_pooled || self.options.compression.mode.compresses()
    }

    /// Adds a connection.
    pub(super) fn open(&mut self, id: RouteId, record: Record) {
        self.records.insert(id, record);
    }
}

/// Returns the URL of a listener for routes.
pub(super) fn url(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("nats-route://[{host}]:{port}/")
    } else {
        format!("nats-route://{host}:{port}/")
    }
}

/// Returns the connection of a pool that carries an account: the same on all servers.
// NATS 2.14: route.go computeRoutePoolIdx.
pub(super) fn pool_index(size: usize, account: &str) -> usize {
    if size <= 1 {
        return 0;
    }
    // FNV-1a.
    let hash = account
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash as usize % size
}
