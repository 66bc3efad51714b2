//! Routes to the other servers of a cluster.

use std::time::Duration;

use broker_core::auth::Secret;
use broker_core::cluster::MAX_POOL_SIZE;
use figment::value::Dict;

use super::{Permissions, Tls};
use crate::config::declare::{
    block, choice, duration, formatted, integer, list, listen, port, seconds, section, switch, text,
};
use crate::config::kind::{Format, MANY};
use crate::config::lang::{Node, Value};
use crate::config::settle::number;
use crate::config::table::{Group, Meaning};

section! {
    /// Routes to the other servers of a cluster. Without a port there are none.
    pub struct Cluster = Block::new("cluster");

    /// Name of the cluster, the same on all of its servers.
    name: Option<String> = None => formatted(Format::Word).unset("a random one, or that of the others")
        .called("cluster name").at_once().flag(Group::Cluster, &["cluster_name"], "<name>");
    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0").called("cluster host");
    /// Port for other servers; -1 is any free port, 0 is none.
    port: i64 = 0 => port().called("cluster port");
    /// Authentication of other servers.
    authorization: PeerAuthorization = PeerAuthorization::default() => block(PeerAuthorization::block)
        .at_once();
    /// Servers to connect to, each with its port, and with user and password if it requires them.
    routes: Vec<Secret> = Vec::new() => list(Format::Url).at_once()
        .flag(Group::Cluster, &["routes"], "<url,url...>");
    /// Encryption, on both sides. Each server must present a certificate of an accepted authority, whatever `verify`
    /// says.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Address advertised to other servers.
    advertise: Option<String> = None => formatted(Format::HostPort).aliases(&["cluster_advertise"]).at_once()
        .flag(Group::Cluster, &["cluster_advertise"], "<host:port>");
    /// Reports no addresses for clients to other servers, and to clients none of other servers.
    no_advertise: bool = false => switch().at_once().flag(Group::Cluster, &["no_advertise"], "");
    /// Attempts to connect to a discovered server.
    connect_retries: i64 = 0 => integer(i64::MIN, i64::MAX).at_once()
        .flag(Group::Cluster, &["connect_retries"], "<number>");
    /// Increases the delay between attempts to connect.
    connect_backoff: bool = false => switch().at_once();
    /// Subjects imported from and exported to other servers: the interest in them is sent to others, or taken from
    /// them.
    permissions: Option<Permissions> = None => block(Permissions::block).unset("all").at_once();
    /// Routes per server, which share the accounts; a negative number is one route, for all accounts.
    pool_size: i64 = 3 => integer(i64::MIN, MAX_POOL_SIZE as i64).zero_is_default().at_once();
    /// Accounts with a route of their own to each server. The system account always has one, unless `pool_size` is
    /// negative.
    accounts: Vec<String> = Vec::new() => list(Format::Any).at_once();
    /// Compression of routes.
    compression: Compression = Compression::default() => block(Compression::block).at_once();
    /// Like the top level's.
    ping_interval: Option<Duration> = None => duration().unset("the top level's, at most 2s").at_once();
    /// Like the top level's.
    ping_max: i64 = 0 => integer(0, MANY).unset("the top level's").at_once();
    /// Like the top level's.
    write_deadline: Option<Duration> = None => duration().unset("the top level's").at_once();
    /// Action when a route exceeds its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"]).at_once();

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// Authentication of other servers.
    pub struct PeerAuthorization = Block::new("peer authorization");

    /// Name of the user that they must present.
    user: Option<String> = None => text().aliases(&["username"]).at_once();
    /// Password of that user.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]).at_once();
    /// Timeout of authentication.
    timeout: Option<Duration> = None => seconds().zero_is_default()
        .unset("2s; with TLS, a second more than its timeout").at_once();
    /// Deprecated: use `permissions` of the enclosing block.
    permissions: Option<Permissions> = None => block(Permissions::block)
        .aliases(&["default_permission", "default_permissions"]).at_once();
}

section! {
    /// Compression of routes, gateways and leaf nodes. A word or a switch in place of the block is
    /// its `mode`.
    pub struct Compression = Block::new("compression")
        .short("a mode, true, false or a map", mode);

    /// `off`, `accept`, `s2_fast`, `s2_better`, `s2_best`, `s2_uncompressed` or `s2_auto`; `on` and
    /// `off` may also be written as switches.
    mode: Option<String> = None => choice(&[
        "off", "disabled", "false", "not supported", "not_supported", "accept", "on", "enabled", "true",
        "s2_auto", "auto", "s2_uncompressed", "s2_fast", "fast", "s2_better", "better", "s2_best", "best",
    ]).unset("accept; of leaf nodes s2_auto").at_once();
    /// Round-trip times at which `s2_auto` increases the compression.
    rtt_thresholds: Vec<String> = Vec::new() => list(Format::Duration)
        .aliases(&["thresholds", "rtts", "rtt"]).unset("10ms, 50ms, 100ms").at_once();
}

fn mode(node: &Node) -> Meaning {
    let mode = match &node.value {
        Value::Bool(on) => Value::String(if *on { "on" } else { "off" }.into()),
        Value::String(_) => node.value.clone(),
        _ => return Meaning::Unknown,
    };
    Meaning::Is(super::authorization::map(node, "mode", mode))
}

/// A block that only listens is off without a port.
pub(crate) fn has_no_port(block: &Dict) -> bool {
    block.get("port").and_then(number).unwrap_or(0) == 0
}

impl Cluster {
    /// Returns true if other servers can connect.
    pub fn is_on(&self) -> bool {
        self.port != 0
    }
}
