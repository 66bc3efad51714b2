//! `/routez`: the other servers of the cluster.

use broker_core::cluster::{RouteSnapshot, SubjectPermission};
use serde::Serialize;

use super::connz::SubscriptionLists;
use super::observer::Observer;
use super::query::{BadRequest, Query};
use super::subsz::SubDetail;
use super::time::{Moment, Now, round_trip};

/// The parameters of `/routez`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RoutezOptions {
    /// Includes subscriptions.
    pub subscriptions: SubscriptionLists,
}

impl RoutezOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        Ok(Self { subscriptions: SubscriptionLists::of(query.subscriptions()?) })
    }
}

/// The answer of `/routez`, in the reference's order.
// NATS 2.14: monitor.go Routez.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Routez {
    /// The server's id.
    pub server_id: String,
    /// The server's name.
    pub server_name: String,
    /// The time of the answer.
    pub now: Moment,
    /// The subjects whose interest is sent to other servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest is taken from other servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectPermission>,
    /// The number of routes.
    pub num_routes: usize,
    /// The routes.
    pub routes: Vec<RouteInfo>,
}

/// A route, in the reference's order.
// NATS 2.14: monitor.go RouteInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RouteInfo {
    /// The connection's id.
    pub rid: u64,
    /// The other server's id.
    pub remote_id: String,
    /// The other server's name.
    pub remote_name: String,
    /// True if this server has dialled.
    pub did_solicit: bool,
    /// True if the address of the other server is configured.
    pub is_configured: bool,
    /// The address of the other end.
    pub ip: String,
    /// The port of the other end.
    pub port: u16,
    /// The beginning of the connection.
    pub start: Moment,
    /// The time of the last activity.
    pub last_activity: Moment,
    /// The last measured round trip.
    pub rtt: String,
    /// The time since the beginning.
    pub uptime: String,
    /// The time since the last activity.
    pub idle: String,
    /// The subjects whose interest the other server sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest the other server takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectPermission>,
    /// The bytes that wait for the other server.
    pub pending_size: usize,
    /// Messages from the other server.
    pub in_msgs: u64,
    /// Messages to the other server.
    pub out_msgs: u64,
    /// Bytes from the other server.
    pub in_bytes: u64,
    /// Bytes to the other server.
    pub out_bytes: u64,
    /// The number of subscriptions of the other server.
    pub subscriptions: usize,
    /// Their subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<Box<str>>,
    /// They in detail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// The account, if the route is one account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The negotiated compression.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub compression: &'static str,
}

impl RouteInfo {
    fn new(route: RouteSnapshot, now: &Now) -> Self {
        Self {
            rid: route.id,
            remote_id: route.remote_id,
            remote_name: route.remote_name,
            did_solicit: route.is_solicited,
            is_configured: route.is_configured,
            ip: route.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
            port: route.remote.map_or(0, |remote| remote.port()),
            start: now.at(route.since),
            last_activity: now.at(route.last_activity),
            rtt: round_trip(route.rtt),
            uptime: now.since(route.since),
            idle: now.since(route.last_activity),
            import: route.import,
            export: route.export,
            pending_size: route.out.pending_bytes,
            in_msgs: route.in_messages,
            out_msgs: route.out.messages,
            in_bytes: route.in_bytes,
            out_bytes: route.out.bytes,
            subscriptions: route.subscriptions,
            subscriptions_list: Vec::new(),
            subscriptions_list_detail: Vec::new(),
            account: route.account.map(|account| (*account).to_owned()),
            compression: route.compression.name(),
        }
    }
}

impl Observer {
    /// Returns the routes, ordered by id. There are none without a cluster.
    pub fn routez(&self, options: &RoutezOptions) -> Routez {
        let info = self.broker().info();
        let set = self.broker().options().cluster;
        let permissions = set.and_then(|set| set.permissions).unwrap_or_default();
        let now = self.now();
        let routes = self.routes().into_iter();
        let routes: Vec<_> = routes.map(|route| self.route(route, options, &now)).collect();
        Routez {
            server_id: info.server_id,
            server_name: info.server_name,
            now: now.moment(),
            import: permissions.import,
            export: permissions.export,
            num_routes: routes.len(),
            routes,
        }
    }

    /// Returns the routes; none without a cluster.
    pub(crate) fn routes(&self) -> Vec<RouteSnapshot> {
        self.broker().cluster().map(|cluster| cluster.routes()).unwrap_or_default()
    }

    fn route(&self, route: RouteSnapshot, options: &RoutezOptions, now: &Now) -> RouteInfo {
        let mut info = RouteInfo::new(route, now);
        if options.subscriptions == SubscriptionLists::Count {
            return info;
        }
        let held = self.broker().subscriptions_of(info.rid, usize::MAX);
        if options.subscriptions == SubscriptionLists::Detail {
            let details = held.into_iter().map(SubDetail::of_connection);
            info.subscriptions_list_detail = details.collect();
        } else {
            info.subscriptions_list = held.into_iter().map(|one| one.filter).collect();
        }
        info
    }
}
