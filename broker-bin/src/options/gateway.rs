//! Gateways to other clusters.

use std::time::Duration;

use broker_core::auth::Secret;
use figment::value::{Dict, Value as Plain};

use super::cluster::has_no_port;
use super::{PeerAuthorization, Tls};
use crate::config::declare::{
    block, blocks, choice, duration, formatted, integer, list, listen, port, section, switch, text,
};
use crate::config::kind::Format;

section! {
    /// Gateways to other clusters.
    pub struct Gateway = Block::new("gateway").off(is_off);

    /// Name of this server's cluster.
    name: Option<String> = None => formatted(Format::Word);
    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for other clusters; -1 is any free port, 0 is none.
    port: i64 = 0 => port();
    /// Authentication of other clusters.
    authorization: PeerAuthorization = PeerAuthorization::default() => block(PeerAuthorization::block);
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Address advertised to other clusters.
    advertise: Option<String> = None => formatted(Format::HostPort);
    /// Attempts to connect to a discovered cluster.
    connect_retries: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// Increases the delay between attempts to connect.
    connect_backoff: bool = false => switch();
    /// Clusters to connect to.
    gateways: Vec<RemoteGateway> = Vec::new() => blocks(RemoteGateway::block);
    /// Accepts connections from the clusters in `gateways` only.
    reject_unknown_cluster: bool = false => switch().aliases(&["reject_unknown"]);
    /// Like the top level's.
    write_deadline: Option<Duration> = None => duration().unset("the top level's");
    /// Action when a gateway exceeds its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"]);

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// A cluster to connect to.
    pub struct RemoteGateway = Block::new("remote gateway");

    /// Its name.
    name: Option<String> = None => formatted(Format::Word).unset("must be given");
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Its servers.
    urls: Vec<Secret> = Vec::new() => list(Format::Url).aliases(&["url"]);
}

/// Harmless to ignore, as for a cluster without routes.
pub(super) fn only_listens_for_clusters(block: &Plain) -> bool {
    let gateways = block.find_ref("gateways").and_then(Plain::as_array);
    let listens = |block: &Dict| !has_no_port(block) && block.contains_key("name");
    block.as_dict().is_some_and(listens) && gateways.is_none_or(<[_]>::is_empty)
}

// NATS 2.14: gateway.go validateGatewayOptions: a name requires a port.
fn is_off(block: &Dict) -> bool {
    has_no_port(block) && block.get("name").is_none()
}
