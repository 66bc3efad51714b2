//! Leaf node connections.

use std::path::PathBuf;
use std::time::Duration;

use broker_core::auth::Secret;
use figment::value::{Dict, Value as Plain};

use super::authorization::if_on;
use super::cluster::has_no_port;
use super::{Compression, Tls};
use crate::config::declare::{
    block, blocks, choice, duration, formatted, list, listen, port, seconds, section, switch, text,
};
use crate::config::kind::Format;

section! {
    /// Leaf nodes: accepts connections if there is a port, and connects as a leaf node to the
    /// `remotes`.
    pub struct Leafnodes = Block::new("leafnodes").off(is_off);

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for leaf nodes; -1 is any free port, 0 is none.
    port: i64 = 0 => port();
    /// Authentication of leaf nodes.
    authorization: LeafAuthorization = LeafAuthorization::default() => block(LeafAuthorization::block);
    /// Servers to connect to as a leaf node.
    remotes: Vec<RemoteLeaf> = Vec::new() => blocks(RemoteLeaf::block).at_once();
    /// Delay before reconnecting.
    reconnect: Duration = Duration::from_secs(1) => duration().zero_is_default()
        .aliases(&["reconnect_delay", "reconnect_interval"]);
    /// Timeout of connecting.
    dial_timeout: Duration = Duration::from_secs(1) => duration().zero_is_default();
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Address advertised to leaf nodes.
    advertise: Option<String> = None => formatted(Format::HostPort).aliases(&["leafnode_advertise"]);
    /// Does not advertise other servers to leaf nodes.
    no_advertise: bool = false => switch();
    /// Minimum version of a leaf node.
    min_version: Option<String> = None => formatted(Format::Version).aliases(&["minimum_version"]);
    /// Compression of the connections.
    compression: Compression = Compression::default() => block(Compression::block).at_once();
    /// Hides the interest of leaf nodes from each other.
    isolate_leafnode_interest: bool = false => switch().aliases(&["isolate"]);
    /// Like the top level's.
    write_deadline: Option<Duration> = None => duration().unset("the top level's");
    /// Action when a connection exceeds its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"]);

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// Authentication of leaf nodes.
    pub struct LeafAuthorization = Block::new("leaf authorization");

    /// Name of the user that they must present.
    user: Option<String> = None => text().aliases(&["username"]);
    /// Password of that user.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]);
    /// Public key whose seed they must hold.
    nkey: Option<String> = None => formatted(Format::Nkey("U", "a public user key"));
    /// Timeout of authentication.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default();
    /// The users.
    users: Vec<LeafUser> = Vec::new() => blocks(LeafUser::block);
    /// Account of the leaf nodes.
    account: Option<String> = None => text().unset("$G");
    /// They must connect through a trusted proxy.
    proxy_required: bool = false => switch();
}

section! {
    /// A user of leaf nodes.
    pub struct LeafUser = Block::new("leaf user");

    /// The name.
    user: Option<String> = None => text().aliases(&["username"]).unset("must be given");
    /// The password.
    password: Secret = Secret::default() => formatted(Format::Secret).aliases(&["pass"]);
    /// Account of the user.
    account: Option<String> = None => text().unset("$G");
    /// The user must connect through a trusted proxy.
    proxy_required: bool = false => switch();
}

section! {
    /// A server to connect to as a leaf node.
    pub struct RemoteLeaf = Block::new("remote leaf");

    /// Addresses of the server.
    urls: Vec<Secret> = Vec::new() => list(Format::Url).aliases(&["url"]);
    /// Tries the addresses in their order.
    no_randomize: bool = false => switch().aliases(&["dont_randomize"]);
    /// The local account.
    account: Option<String> = None => text().aliases(&["local"]).unset("$G");
    /// Credentials file.
    credentials: Option<PathBuf> = None => formatted(Format::Path).aliases(&["creds"]);
    /// Seed of a user's key.
    nkey: Option<Secret> = None => formatted(Format::Nkey("S", "a seed of a user's key"))
        .aliases(&["seed"]);
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block);
    /// This side is the hub.
    hub: bool = false => switch();
    /// Subjects not imported from the remote side.
    deny_imports: Vec<String> = Vec::new() => list(Format::Subject).aliases(&["deny_import"]);
    /// Subjects not exported to the remote side.
    deny_exports: Vec<String> = Vec::new() => list(Format::Subject).aliases(&["deny_export"]);
    /// Compresses WebSocket frames.
    ws_compression: bool = false => switch()
        .aliases(&["ws_compress", "websocket_compress", "websocket_compression"]);
    /// Does not mask WebSocket frames.
    ws_no_masking: bool = false => switch().aliases(&["websocket_no_masking"]);
    /// Moves stream leaders away when the connection is lost.
    jetstream_cluster_migrate: Option<LeafMigration> = None => block(LeafMigration::block)
        .aliases(&["js_cluster_migrate"]);
    /// Hides local interest from the remote side.
    isolate_leafnode_interest: bool = false => switch().aliases(&["isolate"]);
    /// Requests that the remote side hides its interest.
    request_isolation: bool = false => switch();
    /// Compression of the connection.
    compression: Compression = Compression::default() => block(Compression::block);
    /// Timeout of the remote side's first line.
    first_info_timeout: Duration = Duration::from_secs(1) => duration().zero_is_default();
    /// Like the enclosing block's.
    dial_timeout: Option<Duration> = None => duration();
    /// Does not connect.
    disabled: bool = false => switch();
    /// HTTP proxy for WebSocket connections.
    proxy: LeafProxy = LeafProxy::default() => block(LeafProxy::block);
    /// Uses these addresses only, and no discovered ones.
    ignore_discovered_servers: bool = false => switch();
}

section! {
    /// Moves stream leaders away from a leaf node that lost its connection. `true` is the block
    /// with its defaults.
    pub struct LeafMigration = Block::new("leaf migration").short("a map, true or false", if_on);

    /// Delay of the move.
    leader_migrate_delay: Duration = Duration::ZERO => duration();
}

section! {
    /// HTTP proxy for WebSocket connections.
    pub struct LeafProxy = Block::new("leaf proxy");

    /// Address of the proxy.
    url: Option<Secret> = None => formatted(Format::Url);
    /// User name for the proxy.
    username: Option<String> = None => text();
    /// Password of that user.
    password: Option<Secret> = None => formatted(Format::Secret);
    /// Timeout of the proxy.
    timeout: Option<Duration> = None => duration();
}

fn is_off(block: &Dict) -> bool {
    has_no_port(block) && connects_to_nobody(block)
}

/// Harmless to ignore, as for a cluster without routes.
pub(super) fn only_listens_for_leafs(block: &Plain) -> bool {
    block.as_dict().is_some_and(connects_to_nobody)
}

fn connects_to_nobody(block: &Dict) -> bool {
    let is_disabled =
        |remote: &Plain| remote.find_ref("disabled").and_then(Plain::to_bool).unwrap_or(false);
    let remotes = block.get("remotes").and_then(Plain::as_array).unwrap_or_default();
    remotes.iter().all(is_disabled)
}
