//! The description of a server for other servers: `INFO {json}`.

use serde::Serialize;

use crate::options::SubjectPermission;

/// How far the news of a new route is passed on.
// NATS 2.14: route.go gossipDefault, ….
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GossipMode {
    /// By the rules.
    #[default]
    Default,
    /// Not at all.
    Disabled,
    /// In any case.
    Override,
}

/// The fields of INFO that servers of one cluster send each other, in the order of NATS 2.14.
///
/// Fields that do not apply are absent from the JSON.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RouteInfo {
    /// The id of the server that is described: of the sender, or of another server that the sender reports.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The version of NATS that it is compatible with.
    pub version: String,
    /// The version of the protocol of servers.
    pub proto: i64,
    /// Its build.
    pub go: String,
    /// The host of its listener for routes, or the advertised one.
    pub host: String,
    /// The port of its listener for routes, or the advertised one.
    pub port: u16,
    /// True if headers are supported.
    pub headers: bool,
    /// True if other servers must authenticate.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// True if routes use TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// True if routes verify certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// The largest payload with headers, in bytes.
    pub max_payload: i64,
    /// True if streams are supported.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The URL of its listener for routes: `nats-route://host:port/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// A nonce, which routes do not sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// True if that name was generated.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// The domain of its streams.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The addresses of its listeners for clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The addresses of its listeners for WebSocket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// True if it is in lame duck mode.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// The compression that it offers, or has chosen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// The subjects whose interest it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectPermission>,
    /// True if it understands `LS+` and `LMSG`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnoc: bool,
    /// True if it understands `LS-` with the origin.
    #[serde(skip_serializing_if = "is_false")]
    pub lnocu: bool,
    /// The number of its routes to each server; 0 if it knows no pools.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_size: i64,
    /// The index of this route in the pool.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_idx: i64,
    /// The account of this route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// The id of a request to give an account a route of its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_acc_add_reqid: String,
    /// How far the news of this route is passed on.
    #[serde(skip_serializing_if = "GossipMode::is_default")]
    pub gossip_mode: GossipMode,
    /// The cluster whose gateway it describes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// The address of its listener for gateways.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway_url: String,
    /// The addresses of its listeners for leaf nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leafnode_urls: Vec<String>,
    /// Its public key for sealed messages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

impl GossipMode {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

impl Serialize for GossipMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}
