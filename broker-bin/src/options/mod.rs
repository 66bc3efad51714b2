//! Everything that can be set, each option declared once; where a value came from is not known here.
//!
//! A declaration is a field with its default, what it is for, how it is written, which flag sets it and
//! when a change takes effect. [`config`](crate::config) reads files, environment and flags by it, and
//! `docs/config.md` and `--help` are made of it.

mod access;
mod accounts;
mod advice;
mod authorization;
mod cluster;
mod diff;
mod error;
mod gateway;
mod jetstream;
mod leafnodes;
mod load;
mod log;
mod monitoring;
mod mqtt;
mod ocsp;
mod operator;
pub mod page;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod user_lists;
mod websocket;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use broker_core::auth::Secret;

use crate::config::declare::{
    block, choice, duration, formatted, integer, list, listen, port, section, size, switch, text,
};
use crate::config::kind::{Bare, Format, Kind, MANY};
use crate::config::table::Group;

pub use access::Access;
pub(crate) use access::Deciders;
pub use accounts::{
    Account, AccountLimits, Export, Import, Imported, Latency, MapDestination, MessageTrace,
};
pub use advice::Advice;
pub use authorization::{
    AllowResponses, AuthCallout, Authorization, Permissions, SubjectLists, User,
};
pub(crate) use cluster::has_no_port;
use cluster::only_listens_for_servers;
pub use cluster::{Cluster, Compression, PeerAuthorization};
pub use diff::{Change, diff};
pub use error::{OptionsError, TlsBlockError, WebsocketError};
use gateway::only_listens_for_clusters;
pub use gateway::{Gateway, RemoteGateway};
pub use jetstream::{AccountJetStream, JetStream, JetStreamBatch, JetStreamLimits, Tpm};
use leafnodes::only_listens_for_leafs;
pub use leafnodes::{LeafAuthorization, LeafMigration, LeafProxy, LeafUser, Leafnodes, RemoteLeaf};
pub use load::{ConfigErrors, Loaded, Request, load, load_text};
pub use log::{LogFormat, LogOptions, NoLogFormat};
pub use monitoring::{MetricsPrefix, MetricsServerId, MonitorOptions};
pub use mqtt::Mqtt;
pub use ocsp::{Ocsp, OcspCache, OcspPeer};
pub use operator::{Proxies, Resolver, TrustedProxy};
pub use tls::{CertificatePair, Tls};
pub use unix::{ListenUnix, ListenUnixError};
pub use websocket::{SimpleAuthorization, Websocket};

section! {
    /// Everything that can be set: what stands in a file outside of all braces.
    ///
    /// ```
    /// let options = broker_bin::Options { port: 0, ..Default::default() };
    /// assert_eq!(options.host, "0.0.0.0");
    /// ```
    pub struct Options = Block::new("Top level");

    /// The name this program was called by: names the ports file.
    program: String = "natsd".into() => text().internal();

    /// Host name or address to listen on. A name with several addresses stands for the first of IPv4, else for
    /// the first.
    host: String = "0.0.0.0".into() => text()
        .aliases(&["net"]).flag(Group::Server, &["a", "addr", "net"], "<host>");
    /// Port for clients. -1 is any that is free; 0 is the default. (In a program's `Options` 0 is any
    /// that is free.)
    port: u16 = 4222 => port().zero_is_default().flag(Group::Server, &["p", "port"], "<port>");
    /// A socket in the file system that clients of this machine may connect to, beside the port. NATS has no
    /// such option.
    listen_unix: ListenUnix = ListenUnix::default() => block(ListenUnix::block);
    /// Name of this server, shown to clients and operators.
    server_name: Option<String> = None => formatted(Format::Word)
        .unset("its id").flag(Group::Server, &["n", "name", "server_name"], "<name>");
    /// Address that clients are told to connect to. For servers behind a proxy or NAT.
    client_advertise: Option<String> = None => formatted(Format::HostPort)
        .at_once().flag(Group::Server, &["client_advertise"], "<host:port>");
    /// Words that describe this server.
    server_tags: Vec<String> = Vec::new() => list(Format::Any).at_once()
        .called("tags");
    /// Facts that describe this server.
    server_metadata: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts).at_once()
        .called("metadata");

    /// File to write the process id to.
    pid_file: Option<PathBuf> = None => formatted(Format::Path)
        .aliases(&["pidfile"]).at_once().flag(Group::Server, &["P", "pid"], "<file>");
    /// Directory to write `<program>_<pid>.ports` to, which lists the open ports.
    ports_file_dir: Option<PathBuf> = None => formatted(Format::Path)
        .at_once().flag(Group::Server, &["ports_file_dir"], "<dir>");

    /// Log what helps to find a fault.
    debug: bool = false => switch().at_once().flag(Group::Logging, &["D", "debug"], "");
    /// Log the raw protocol.
    trace: bool = false => switch().at_once().flag(Group::Logging, &["V", "trace"], "");
    /// Log the raw protocol of the system account too.
    trace_verbose: bool = false => switch().at_once().implies(&["trace"]);
    /// Log the raw protocol, and of messages the headers only.
    trace_headers: bool = false => switch().at_once().implies(&["trace"]);
    /// Bytes of a payload to show in a trace; 0 and less show all of it.
    max_traced_msg_len: i64 = 0 => integer(i64::MIN, i64::MAX).at_once()
        .flag(Group::Logging, &["max_traced_msg_len"], "<bytes>");
    /// Log lines carry date and time.
    logtime: bool = true => switch().at_once().flag(Group::Logging, &["T", "logtime"], "");
    /// Log times are UTC, not local.
    logtime_utc: bool = false => switch().at_once().flag(Group::Logging, &["logtime_utc"], "");
    /// File to append the log to.
    log_file: Option<PathBuf> = None => formatted(Format::Path)
        .aliases(&["logfile"]).unset("stderr").at_once().flag(Group::Logging, &["l", "log"], "<file>");
    /// Size at which the log file is moved aside and a new one begun; 0 and less never do.
    log_size_limit: i64 = 0 => Key::new(Kind::Size { min: i64::MIN, max: i64::MAX })
        .aliases(&["logfile_size_limit"]).at_once().flag(Group::Logging, &["log_size_limit"], "<bytes>");
    /// How many log files to keep, the one written to among them; 0 and less keep all.
    log_max_num: i64 = 0 => integer(i64::MIN, i64::MAX).aliases(&["logfile_max_num"]).at_once();
    /// Log to the syslog of this machine.
    syslog: bool = false => switch().at_once().flag(Group::Logging, &["s", "syslog"], "");
    /// Log to the syslog at this address: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    remote_syslog: Option<String> = None => text().at_once()
        .flag(Group::Logging, &["r", "remote_syslog"], "<url>");
    /// How log lines are written. NATS has no such option: it knows `text` only.
    log_format: LogFormat = LogFormat::Text => choice(&["text", "json"]).at_once();

    /// Longest control line of the protocol: all but the payload.
    max_control_line: usize = 4096 => size(MANY).zero_is_default().at_once();
    /// Largest payload with its headers; -1 for what the protocol can say, 999,999,999 bytes.
    max_payload: i64 = 1 << 20 => Key::new(Kind::Size { min: -1, max: MANY }).zero_is_default().at_once();
    /// How much may wait for one slow client before it is cut.
    max_pending: u64 = 64 << 20 => size(i64::MAX).zero_is_default();
    /// How much memory may be held by what waits for all clients together; past it the one that holds most
    /// is cut. A container has the memory that its control group allows. NATS has no such bound.
    max_pending_total: Option<u64> = None => size(i64::MAX).zero_is_default()
        .unset("a quarter of the memory, 1GB at most").new_connections();
    /// How many clients may be connected; 0 and less refuse all.
    max_connections: i64 = 65_536 => integer(i64::MIN, i64::MAX).aliases(&["max_conn"]).at_once();
    /// How many subscriptions one client may hold; 0 and -1 are no limit.
    max_subscriptions: i64 = 0 => integer(-1, i64::MAX).aliases(&["max_subs"]).at_once();
    /// How many tokens the subject of a subscription may have.
    max_subscription_tokens: Option<u8> = None => integer(1, 255)
        .aliases(&["max_sub_tokens"]).unset("no limit").at_once();
    /// How many closed connections monitoring remembers.
    max_closed_clients: usize = 10_000 => integer(0, MANY).zero_is_default().at_once();
    /// A client that was silent for so long is asked whether it is still there.
    ping_interval: Duration = Duration::from_mins(2) => duration().zero_is_default().at_once();
    /// How many unanswered pings make a connection stale.
    ping_max: u32 = 2 => integer(0, MANY).zero_is_default().at_once();
    /// A client that takes so long to read what waits for it is cut.
    write_deadline: Duration = Duration::from_secs(10) => duration().zero_is_default().new_connections();
    /// What happens to a client past its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"])
        .off(&["default", "close"]).not_yet("policy \"retry\" for clients");
    /// How long lame duck mode takes to close all clients: at least 30s.
    lame_duck_duration: Duration = Duration::from_mins(2) => Key::new(Kind::Duration {
        bare: Bare::Refused, min: Duration::from_secs(30),
    }).at_once();
    /// How long clients are left in peace when lame duck mode begins: less than `lame_duck_duration`.
    lame_duck_grace_period: Duration = Duration::from_secs(10) => Key::new(Kind::Duration {
        bare: Bare::Refused, min: Duration::ZERO,
    }).zero_is_default().at_once();
    /// Clients may not use headers.
    no_header_support: bool = false => switch();

    /// Who may connect, and what they may do.
    authorization: Authorization = Authorization::default() => block(Authorization::block).at_once();
    /// Subject spaces apart from one another, with their users.
    accounts: BTreeMap<String, Account> = BTreeMap::new() => Key::new(Kind::Named {
        name: Format::Word, block: Account::block,
    }).at_once();
    /// The user that clients are taken for who show no name and no password.
    no_auth_user: Option<String> = None => text().at_once();
    /// The account that the server's own events go to.
    system_account: Option<String> = None => text().aliases(&["system"])
        .off(&["$SYS"]).not_yet("system account of another name");
    /// There is no system account.
    no_system_account: bool = false => switch().aliases(&["no_system", "no_sys_acc"])
        .no_effect("nothing is published there yet");
    /// A JWT for clients that show none.
    default_sentinel: Option<Secret> = None => formatted(Format::Secret).at_once().not_yet("JWTs");
    /// Subjects that are published to by another name.
    mappings: BTreeMap<String, Vec<MapDestination>> = BTreeMap::new() => Key::new(Kind::NamedLists {
        name: Format::Subject, block: MapDestination::block,
    }).aliases(&["maps"]).not_yet("subject mappings");
    /// Proxies that may speak for clients.
    proxies: Proxies = Proxies::default() => block(Proxies::block).not_yet("trusted proxies");
    /// Connections to `port` come by a proxy and begin with a header of the PROXY protocol, version 1 or 2, that
    /// says whom it connects for. Whoever can reach the port can claim any address.
    proxy_protocol: bool = false => switch();

    /// Every so many failed attempts to connect to another server are logged.
    connect_error_reports: i64 = 3600 => integer(i64::MIN, i64::MAX).zero_is_default().at_once()
        .no_effect("there are no connections to other servers yet");
    /// Every so many failed attempts to connect to another server again are logged.
    reconnect_error_reports: i64 = 1 => integer(i64::MIN, i64::MAX).zero_is_default().at_once()
        .no_effect("there are no connections to other servers yet");
    /// The cache of subjects is left out.
    disable_sublist_cache: bool = false => switch().aliases(&["no_sublist_cache"])
        .no_effect("natsd's caches need no switch");
    /// Publishers are not made to wait for slow receivers.
    no_fast_producer_stall: bool = false => switch().at_once()
        .no_effect("natsd never makes them wait");
    /// New behaviour of nats-server, switched on or off by name.
    feature_flags: BTreeMap<String, bool> = BTreeMap::new() => Key::new(Kind::Switches)
        .no_effect("natsd has none of them");

    /// Host of the monitoring endpoints.
    http_host: String = String::new() => text().internal().called("HTTPHost");
    /// Port of the monitoring endpoints, over HTTP; -1 is any that is free, 0 none. They listen where
    /// clients' connections are listened for, unless `http` gives another host.
    http_port: i64 = 0 => port().aliases(&["monitor_port"]).called("HTTPPort")
        .flag(Group::Server, &["m", "http_port"], "<port>");
    /// Port of the monitoring endpoints, over HTTPS with the certificate of `tls`; in place of `http_port`.
    https_port: i64 = 0 => port()
        .flag(Group::Server, &["ms", "https_port"], "<port>");
    /// What paths of the monitoring endpoints begin with.
    http_base_path: Option<String> = None => text()
        .flag(Group::Server, &["http_base_path"], "<path>");
    /// Token that whoever looks at the monitoring endpoints must show (`Authorization: Bearer`), but at
    /// `/healthz`. NATS has no such option.
    http_token: Option<Secret> = None => formatted(Format::Secret).unset("none is asked for");
    /// User that may look at the monitoring endpoints (`Authorization: Basic`). NATS has no such option.
    http_user: Option<String> = None => text();
    /// Password of that user.
    http_password: Option<Secret> = None => formatted(Format::Secret);
    /// What the names of metrics begin with that are those of prometheus-nats-exporter. NATS has no such
    /// option.
    metrics_prefix: MetricsPrefix = MetricsPrefix::Gnatsd => choice(&["gnatsd", "nats"]);
    /// What the label `server_id` of metrics shows. NATS has no such option.
    metrics_server_id: MetricsServerId = MetricsServerId::Url => choice(&["url", "id", "name"]);
    /// Subjects, with wildcards, for which `/metrics` counts messages; at most 64. NATS has no such option.
    metrics_subjects: Vec<String> = Vec::new() => list(Format::Subject);
    /// Port of the profiler.
    prof_port: i64 = 0 => port().not_yet("profiler").passed_over("nothing listens there")
        .flag(Group::Profiling, &["profile"], "<port>");
    /// How often the profiler looks for what waits.
    prof_block_rate: i64 = 0 => integer(i64::MIN, i64::MAX).at_once().not_yet("profiler")
        .passed_over("it looks at nothing");

    /// Encryption of clients' connections.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// The command line says that there is none, whatever the file says.
    tls_off: bool = false => switch().internal();
    /// Clients may connect without TLS although there is TLS.
    allow_non_tls: bool = false => switch();
    /// Stapling of certificate states.
    ocsp: Ocsp = Ocsp::default() => block(Ocsp::block).at_once().not_yet("OCSP");
    /// What is remembered of certificate states.
    ocsp_cache: OcspCache = OcspCache::default() => block(OcspCache::block).at_once().not_yet("OCSP")
        .passed_over("nothing is asked that could be remembered");

    /// Links to the other servers of a cluster.
    cluster: Cluster = Cluster::default() => block(Cluster::block).at_once().not_yet("clusters")
        .passed_over_if(only_listens_for_servers, "without `routes`", "nothing listens for other servers");
    /// Links to other clusters.
    gateway: Gateway = Gateway::default() => block(Gateway::block).not_yet("gateways")
        .passed_over_if(only_listens_for_clusters, "without `gateways`", "nothing listens for other clusters");
    /// Links from and to leaf nodes.
    leafnodes: Leafnodes = Leafnodes::default() => block(Leafnodes::block)
        .aliases(&["leaf"]).at_once().not_yet("leaf nodes")
        .passed_over_if(only_listens_for_leafs, "without `remotes`", "nothing listens for them");
    /// Clients over WebSocket.
    websocket: Websocket = Websocket::default() => block(Websocket::block).aliases(&["ws"]);
    /// MQTT clients.
    mqtt: Mqtt = Mqtt::default() => block(Mqtt::block).not_yet("MQTT")
        .passed_over("nothing listens for its clients");
    /// Streams.
    jetstream: Option<JetStream> = None => block(JetStream::block).at_once().not_yet("JetStream");
    /// Where streams are kept.
    store_dir: Option<PathBuf> = None => formatted(Format::Path)
        .aliases(&["storedir"]).no_effect("nothing is stored yet")
        .flag(Group::JetStream, &["sd", "store_dir"], "<dir>");
    /// The domain of streams by account.
    default_js_domain: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts)
        .not_yet("JetStream").passed_over("there are no streams to name one for");

    /// Operators who vouch for accounts: JWTs, or files of them.
    operator: Vec<Secret> = Vec::new() => list(Format::Secret)
        .aliases(&["operators", "roots", "root", "root_operators", "root_operator"])
        .not_yet("operators and JWTs");
    /// Where the JWTs of accounts are found.
    resolver: Option<Resolver> = None => block(Resolver::block)
        .aliases(&["account_resolver", "accounts_resolver"]).at_once().not_yet("operators and JWTs");
    /// Encryption of connections to the resolver.
    resolver_tls: Option<Tls> = None => block(Tls::block).at_once().not_yet("operators and JWTs")
        .passed_over("there is no resolver to connect to");
    /// JWTs of accounts, by their public keys.
    resolver_preload: BTreeMap<String, Secret> = BTreeMap::new() => Key::new(Kind::Texts)
        .not_yet("operators and JWTs");
    /// Accounts that the resolver never lets go.
    resolver_pinned_accounts: Vec<String> = Vec::new() => list(Format::Any).not_yet("operators and JWTs");
    /// Public keys of operators.
    trusted_keys: Vec<String> = Vec::new() => list(Format::Nkey("O", "a public operator key"))
        .aliases(&["trusted"]).not_yet("operators and JWTs");

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
    /// Host and port of the monitoring endpoints, over HTTP.
    http => listen("http_host", "http_port");
    /// Host and port of the monitoring endpoints, over HTTPS.
    https => listen("http_host", "https_port");
}
