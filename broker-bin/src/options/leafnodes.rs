//! Links from and to leaf nodes.

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
    /// Links from leaf nodes, if there is a port, and as a leaf node to others, if there are remotes.
    pub struct Leafnodes = Block::new("leafnodes").off(is_off);

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for leaf nodes; -1 is any that is free, 0 is none.
    port: i64 = 0 => port();
    /// How leaf nodes say that they may connect.
    authorization: LeafAuthorization = LeafAuthorization::default() => block(LeafAuthorization::block);
    /// Servers to connect to as a leaf node.
    remotes: Vec<RemoteLeaf> = Vec::new() => blocks(RemoteLeaf::block).at_once();
    /// How long to wait before trying again to connect.
    reconnect: Duration = Duration::from_secs(1) => duration().zero_is_default()
        .aliases(&["reconnect_delay", "reconnect_interval"]);
    /// How long a connection may take to come about.
    dial_timeout: Duration = Duration::from_secs(1) => duration().zero_is_default();
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Address that leaf nodes are told to connect to.
    advertise: Option<String> = None => formatted(Format::HostPort).aliases(&["leafnode_advertise"]);
    /// Leaf nodes are not told of other servers.
    no_advertise: bool = false => switch();
    /// The oldest version that a leaf node may have.
    min_version: Option<String> = None => formatted(Format::Version).aliases(&["minimum_version"]);
    /// Compression of the links.
    compression: Compression = Compression::default() => block(Compression::block).at_once();
    /// Leaf nodes do not see what other leaf nodes are interested in.
    isolate_leafnode_interest: bool = false => switch().aliases(&["isolate"]);
    /// As the top level's.
    write_deadline: Option<Duration> = None => duration().unset("the top level's");
    /// What happens to a link past its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"]);

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// How leaf nodes say that they may connect.
    pub struct LeafAuthorization = Block::new("leaf authorization");

    /// The user that they must name.
    user: Option<String> = None => text().aliases(&["username"]);
    /// That user's password.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]);
    /// The public key that they must hold.
    nkey: Option<String> = None => formatted(Format::Nkey("U", "a public user key"));
    /// How long they may take to say so.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default();
    /// Users who may connect.
    users: Vec<LeafUser> = Vec::new() => blocks(LeafUser::block);
    /// The account that they are put into.
    account: Option<String> = None => text().unset("$G");
    /// They must come by a trusted proxy.
    proxy_required: bool = false => switch();
}

section! {
    /// A user who may connect as a leaf node.
    pub struct LeafUser = Block::new("leaf user");

    /// The name.
    user: Option<String> = None => text().aliases(&["username"]).unset("must be given");
    /// The password.
    password: Secret = Secret::default() => formatted(Format::Secret).aliases(&["pass"]);
    /// The account that the user is put into.
    account: Option<String> = None => text().unset("$G");
    /// The user must come by a trusted proxy.
    proxy_required: bool = false => switch();
}

section! {
    /// A server to connect to as a leaf node.
    pub struct RemoteLeaf = Block::new("remote leaf");

    /// Its addresses.
    urls: Vec<Secret> = Vec::new() => list(Format::Url).aliases(&["url"]);
    /// The addresses are tried in their order.
    no_randomize: bool = false => switch().aliases(&["dont_randomize"]);
    /// The account here that is linked.
    account: Option<String> = None => text().aliases(&["local"]).unset("$G");
    /// A file of credentials.
    credentials: Option<PathBuf> = None => formatted(Format::Path).aliases(&["creds"]);
    /// The seed of a user's key.
    nkey: Option<Secret> = None => formatted(Format::Nkey("S", "a seed of a user's key"))
        .aliases(&["seed"]);
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block);
    /// This side is the hub.
    hub: bool = false => switch();
    /// Subjects that are not taken from the other side.
    deny_imports: Vec<String> = Vec::new() => list(Format::Subject).aliases(&["deny_import"]);
    /// Subjects that are not given to the other side.
    deny_exports: Vec<String> = Vec::new() => list(Format::Subject).aliases(&["deny_export"]);
    /// Compress WebSocket frames.
    ws_compression: bool = false => switch()
        .aliases(&["ws_compress", "websocket_compress", "websocket_compression"]);
    /// Do not mask WebSocket frames.
    ws_no_masking: bool = false => switch().aliases(&["websocket_no_masking"]);
    /// Leaders of streams move away when the link is lost.
    jetstream_cluster_migrate: Option<LeafMigration> = None => block(LeafMigration::block)
        .aliases(&["js_cluster_migrate"]);
    /// The other side does not see what is of interest here.
    isolate_leafnode_interest: bool = false => switch().aliases(&["isolate"]);
    /// Ask the other side to keep to itself what is of interest there.
    request_isolation: bool = false => switch();
    /// Compression of the link.
    compression: Compression = Compression::default() => block(Compression::block);
    /// How long the other side may take for its first line.
    first_info_timeout: Duration = Duration::from_secs(1) => duration().zero_is_default();
    /// As the block's around it.
    dial_timeout: Option<Duration> = None => duration();
    /// Do not connect.
    disabled: bool = false => switch();
    /// An HTTP proxy on the way to a WebSocket.
    proxy: LeafProxy = LeafProxy::default() => block(LeafProxy::block);
    /// Stay with these addresses, whatever others the other side tells of.
    ignore_discovered_servers: bool = false => switch();
}

section! {
    /// When leaders of streams move away from a leaf node that lost its link. `true` is the block with its
    /// defaults.
    pub struct LeafMigration = Block::new("leaf migration").short("a map, true or false", if_on);

    /// After how long.
    leader_migrate_delay: Duration = Duration::ZERO => duration();
}

section! {
    /// An HTTP proxy on the way to a WebSocket.
    pub struct LeafProxy = Block::new("leaf proxy");

    /// Its address.
    url: Option<Secret> = None => formatted(Format::Url);
    /// The user that it is told.
    username: Option<String> = None => text();
    /// That user's password.
    password: Option<Secret> = None => formatted(Format::Secret);
    /// How long it may take.
    timeout: Option<Duration> = None => duration();
}

fn is_off(block: &Dict) -> bool {
    has_no_port(block) && connects_to_nobody(block)
}

/// As of a cluster without routes.
pub(super) fn only_listens_for_leafs(block: &Plain) -> bool {
    block.as_dict().is_some_and(connects_to_nobody)
}

fn connects_to_nobody(block: &Dict) -> bool {
    let is_disabled =
        |remote: &Plain| remote.find_ref("disabled").and_then(Plain::to_bool).unwrap_or(false);
    let remotes = block.get("remotes").and_then(Plain::as_array).unwrap_or_default();
    remotes.iter().all(is_disabled)
}
