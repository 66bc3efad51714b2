//! The record that the topology keeps of one connection to another server.

use std::net::IpAddr;

use crate::auth::Secret;
use crate::cluster::RouteDial;
use crate::options::{CompressionMode, RouteAddress, SubjectPermission};
use crate::proto::route::GossipMode;
use crate::sync::Arc;

/// One connection to another server, from its beginning on.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// This server has dialled, or the connection stands for one that it has dialled.
    pub(super) is_solicited: bool,
    /// This server has made the connection, whatever it stands for.
    pub(super) is_dialed: bool,
    /// The connection replaces one that was a route.
    pub(super) is_again: bool,
    /// The id of the server whose lost route the connection replaces; empty if it replaces none.
    pub(super) lost_id: String,
    /// The connection was a route.
    pub(super) has_joined: bool,
    /// The other server has answered on the connection since it became a route, and has made it one too.
    pub(super) is_confirmed: bool,
    /// The address of the other server is configured.
    pub(super) is_configured: bool,
    /// The address that leads to the other server.
    pub(super) address: Option<RouteAddress>,
    /// The address of the other end.
    pub(super) ip: Option<IpAddr>,
    pub(super) account: Option<Arc<str>>,
    /// The data that the other server has presented.
    pub(super) credentials: Option<(String, Secret)>,
    pub(super) gossip: GossipMode,
    /// The id of the other server; empty before its INFO.
    pub(super) remote_id: String,
    pub(super) remote_name: String,
    /// The index in the pool of the other server.
    pub(super) index: Option<usize>,
    /// The connection is the only one, for all accounts.
    pub(super) has_no_pool: bool,
    /// It is connected again though it was reported by another server only.
    pub(super) retries: bool,
    /// It is not connected again.
    pub(super) stays_closed: bool,
    /// The next connection of the pool is dialled at the first PONG.
    pub(super) dials_next: bool,
    /// The other server has JetStream.
    pub(super) has_jetstream: bool,
    /// It replicates streams with other servers that do.
    pub(super) replicates: bool,
    /// The connection is closed because two servers of the cluster have JetStream.
    pub(super) is_conflicting: bool,
    /// The first INFO of the other server has arrived.
    pub(super) has_info: bool,
    /// The permissions have changed since the other server may have been told them.
    pub(super) has_old_info: bool,
    /// The addresses of the other server's listeners for clients.
    pub(super) urls: Vec<String>,
    pub(super) websocket_urls: Vec<String>,
    pub(super) import: Option<SubjectPermission>,
    pub(super) export: Option<SubjectPermission>,
    pub(super) compression: CompressionMode,
    /// The mode in the INFO of the other server.
    pub(super) offered: CompressionMode,
}

impl Record {
    /// Returns the record of an accepted connection.
    pub(super) fn accepted(ip: Option<IpAddr>) -> Self {
        Self { ip, compression: CompressionMode::Off, ..Self::default() }
    }

    /// Returns the record of a dialled connection.
    pub(super) fn dialed(dial: &RouteDial, ip: Option<IpAddr>) -> Self {
        Self {
            is_solicited: true,
            is_dialed: true,
            is_again: dial.is_again,
            lost_id: dial.lost_id.clone(),
            is_configured: dial.is_configured,
            address: Some(dial.address.clone()),
            account: dial.account.clone(),
            gossip: dial.gossip,
            ..Self::accepted(ip)
        }
    }

    /// Returns true if its address was configured, and is not any more.
    pub(super) fn is_of_removed(&self, routes: &[RouteAddress]) -> bool {
        self.is_configured && !self.address.as_ref().is_some_and(|address| routes.contains(address))
    }

    /// Makes the connection stand for one that this server has dialled to that address.
    // NATS 2.14: route.go upgradeRouteToSolicited.
    pub(super) fn solicit(&mut self, address: Option<&RouteAddress>, is_configured: bool) {
        if !self.is_solicited || (is_configured && !self.is_configured) {
            self.address = address.cloned();
        }
        self.is_solicited = true;
        self.is_configured |= is_configured;
    }
}
