//! All options, each declared once; independent of where a value comes from.
//!
//! A declaration states a field with its default, purpose, kind of value, command-line flag and the
//! time at which a change takes effect. [`config`](crate::config) uses it to read files,
//! environment and flags; `docs/config.md` and `--help` are generated from it.

mod access;
mod account_configs;
#[cfg(feature = "jwt")]
mod account_source;
mod accounts;
mod advice;
mod authorization;
#[cfg_attr(not(feature = "jwt"), path = "no_callout.rs")]
mod callout;
mod cluster;
mod cluster_error;
mod diff;
mod error;
mod gateway;
mod jetstream;
#[cfg(feature = "streams")]
mod jetstream_limits;
mod leafnodes;
mod lists;
mod load;
mod log;
mod monitoring;
mod mqtt;
mod ocsp;
mod operator;
#[cfg(feature = "jwt")]
mod operator_error;
#[cfg(feature = "jwt")]
mod operators;
pub mod page;
mod proxies;
mod route_url;
mod routing;
mod server;
mod shares;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod websocket;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use broker_core::auth::Secret;

use crate::config::declare::{
    block, choice, duration, formatted, integer, list, listen, port, section, size, switch, text,
    with_jwt, with_streams,
};
use crate::config::kind::{Bare, Format, Kind, MANY};
use crate::config::table::Group;

pub use access::Access;
#[cfg(test)]
pub(crate) use access::BUILT_LISTS;
pub(crate) use access::Deciders;
pub use accounts::{
    Account, AccountLimits, Export, Import, Imported, Latency, MapDestination, MessageTrace,
};
pub use advice::Advice;
pub use authorization::{
    AllowResponses, AuthCallout, Authorization, Permissions, SubjectLists, User,
};
pub(crate) use cluster::has_no_port;
pub use cluster::{Cluster, Compression, PeerAuthorization};
pub use cluster_error::ClusterError;
pub use diff::{Change, diff};
pub use error::{OptionsError, TlsBlockError, WebsocketError};
use gateway::only_listens_for_clusters;
pub use gateway::{Gateway, RemoteGateway};
pub use jetstream::{AccountJetStream, JetStream, JetStreamBatch, JetStreamLimits, Tpm};
use leafnodes::only_listens_for_leafs;
pub use leafnodes::{LeafAuthorization, LeafMigration, LeafProxy, LeafUser, Leafnodes, RemoteLeaf};
pub(crate) use load::load_checked;
pub use load::{ConfigErrors, Loaded, Request, load, load_text};
pub use log::{LogFormat, LogOptions, NoLogFormat};
pub use monitoring::{MetricsPrefix, MetricsServerId, MonitorOptions};
pub use mqtt::Mqtt;
pub use ocsp::{Ocsp, OcspCache, OcspPeer};
pub use operator::{Proxies, Resolver, TrustedProxy};
#[cfg(feature = "jwt")]
pub use operator_error::OperatorError;
#[cfg(feature = "jwt")]
pub use operators::Operators;
#[cfg(feature = "observer")]
pub(crate) use server::feature_flags;
pub use tls::{CertificatePair, Tls};
pub use unix::{ListenUnix, ListenUnixError};
pub use websocket::{SimpleAuthorization, Websocket};

section! {
    /// All options: the contents of a file outside of braces.
    ///
    /// ```
    /// let options = broker_bin::Options { port: 0, ..Default::default() };
    /// assert_eq!(options.host, "0.0.0.0");
    /// ```
    pub struct Options = Block::new("Top level");

    /// Name under which the program was called, used in the name of the ports file.
    program: String = "natsd".into() => text().internal();

    /// Host name or address to listen on. Of a name with several addresses, the first IPv4 address
    /// is used, or else the first.
    host: String = "0.0.0.0".into() => text()
        .aliases(&["net"]).flag(Group::Server, &["a", "addr", "net"], "<host>");
    /// Port for clients; -1 is any free port, 0 is the default. (In a program's `Options`, 0 is any
    /// free port.)
    port: u16 = 4222 => port().zero_is_default().flag(Group::Server, &["p", "port"], "<port>");
    /// Unix socket for clients of this machine, beside the port. NATS has no such option.
    listen_unix: ListenUnix = ListenUnix::default() => block(ListenUnix::block);
    /// Name of this server, shown to clients and operators.
    server_name: Option<String> = None => formatted(Format::Word)
        .unset("its id").flag(Group::Server, &["n", "name", "server_name"], "<name>");
    /// Address advertised to clients, for servers behind a proxy or NAT.
    client_advertise: Option<String> = None => formatted(Format::HostPort)
        .at_once().flag(Group::Server, &["client_advertise"], "<host:port>");
    /// Tags of this server, shown by monitoring.
    server_tags: Vec<String> = Vec::new() => list(Format::Any).at_once()
        .called("tags");
    /// Metadata of this server, shown by monitoring.
    server_metadata: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts).at_once()
        .called("metadata");

    /// File for the process id.
    pid_file: Option<PathBuf> = None => formatted(Format::Path)
        .aliases(&["pidfile"]).at_once().flag(Group::Server, &["P", "pid"], "<file>");
    /// Directory for the file `<program>_<pid>.ports`, which lists the open ports.
    ports_file_dir: Option<PathBuf> = None => formatted(Format::Path)
        .at_once().flag(Group::Server, &["ports_file_dir"], "<dir>");

    /// Logs debug messages.
    debug: bool = false => switch().at_once().flag(Group::Logging, &["D", "debug"], "");
    /// Logs the raw protocol.
    trace: bool = false => switch().at_once().flag(Group::Logging, &["V", "trace"], "");
    /// Traces the system account too.
    trace_verbose: bool = false => switch().at_once().implies(&["trace"]);
    /// Logs the raw protocol, with headers but without payloads.
    trace_headers: bool = false => switch().at_once().implies(&["trace"]);
    /// Bytes of a payload shown in a trace; 0 or less shows all.
    max_traced_msg_len: i64 = 0 => integer(i64::MIN, i64::MAX).at_once()
        .flag(Group::Logging, &["max_traced_msg_len"], "<bytes>");
    /// Begins log lines with date and time.
    logtime: bool = true => switch().at_once().flag(Group::Logging, &["T", "logtime"], "");
    /// Logs times in UTC instead of local time.
    logtime_utc: bool = false => switch().at_once().flag(Group::Logging, &["logtime_utc"], "");
    /// File for the log.
    log_file: Option<PathBuf> = None => formatted(Format::Path)
        .aliases(&["logfile"]).unset("stderr").at_once().flag(Group::Logging, &["l", "log"], "<file>");
    /// Size at which the log file is rotated; 0 or less disables rotation.
    log_size_limit: i64 = 0 => Key::new(Kind::Size { min: i64::MIN, max: i64::MAX })
        .aliases(&["logfile_size_limit"]).at_once().flag(Group::Logging, &["log_size_limit"], "<bytes>");
    /// Number of log files to keep, including the current one; 0 or less keeps all.
    log_max_num: i64 = 0 => integer(i64::MIN, i64::MAX).aliases(&["logfile_max_num"]).at_once();
    /// Logs to the syslog of this machine.
    syslog: bool = false => switch().at_once().flag(Group::Logging, &["s", "syslog"], "");
    /// Logs to the syslog at this address: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    remote_syslog: Option<String> = None => text().at_once()
        .flag(Group::Logging, &["r", "remote_syslog"], "<url>");
    /// Format of log lines. NATS has no such option: its format is `text`.
    log_format: LogFormat = LogFormat::Text => choice(&["text", "json"]).at_once();

    /// Maximum length of a control line: a protocol line without payload.
    max_control_line: usize = 4096 => size(MANY).zero_is_default().at_once();
    /// Maximum size of a payload with its headers; -1 is the protocol's maximum, 999,999,999 bytes.
    max_payload: i64 = 1 << 20 => Key::new(Kind::Size { min: -1, max: MANY }).zero_is_default().at_once();
    /// Bytes that may be queued for one client before it is closed as a slow consumer.
    max_pending: u64 = 64 << 20 => size(i64::MAX).zero_is_default();
    /// Memory for the queues of all clients together; beyond it the client that holds most is
    /// closed. The default follows the machine's memory, or the limit of the control group. NATS
    /// has no such limit.
    max_pending_total: Option<u64> = None => size(i64::MAX).zero_is_default()
        .unset("a quarter of the memory, 1GB at most").new_connections();
    /// Maximum number of clients; 0 or less refuses all.
    max_connections: i64 = 65_536 => integer(i64::MIN, i64::MAX).aliases(&["max_conn"]).at_once();
    /// Maximum number of subscriptions per client; 0 and -1 are unlimited.
    max_subscriptions: i64 = 0 => integer(-1, i64::MAX).aliases(&["max_subs"]).at_once();
    /// Maximum number of tokens in the subject of a subscription.
    max_subscription_tokens: Option<u8> = None => integer(1, 255)
        .aliases(&["max_sub_tokens"]).unset("no limit").at_once();
    /// Number of closed connections that monitoring remembers.
    max_closed_clients: usize = 10_000 => integer(0, MANY).zero_is_default().at_once();
    /// Idle time after which a client is pinged.
    ping_interval: Duration = Duration::from_mins(2) => duration().zero_is_default().at_once();
    /// Unanswered pings after which a connection is closed as stale.
    ping_max: u32 = 2 => integer(0, MANY).zero_is_default().at_once();
    /// Time for a client to read what is queued for it before it is closed as a slow consumer.
    write_deadline: Duration = Duration::from_secs(10) => duration().zero_is_default().new_connections();
    /// Action when a client exceeds its `write_deadline`.
    write_timeout: String = "default".into() => choice(&["default", "close", "retry"]);
    /// Time in which lame duck mode closes all clients: at least 30s.
    lame_duck_duration: Duration = Duration::from_mins(2) => Key::new(Kind::Duration {
        bare: Bare::Refused, min: Duration::from_secs(30),
    }).at_once();
    /// Delay before lame duck mode closes the first clients: less than `lame_duck_duration`.
    lame_duck_grace_period: Duration = Duration::from_secs(10) => Key::new(Kind::Duration {
        bare: Bare::Refused, min: Duration::ZERO,
    }).zero_is_default().at_once();
    /// Disables headers.
    no_header_support: bool = false => switch();

    /// Authentication and permissions of clients.
    authorization: Authorization = Authorization::default() => block(Authorization::block).at_once();
    /// Accounts: isolated subject spaces with their users.
    accounts: BTreeMap<String, Account> = BTreeMap::new() => Key::new(Kind::Named {
        name: Format::Word, block: Account::block,
    }).at_once();
    /// User of clients that present no credentials.
    no_auth_user: Option<String> = None => text().at_once();
    /// Account that receives the server's own events.
    system_account: Option<String> = None => text().aliases(&["system"]).unset("$SYS");
    /// Disables the server's own events and requests to it, unless the configuration names a system account.
    no_system_account: bool = false => switch().aliases(&["no_system", "no_sys_acc"]);
    /// JWT of clients that present none.
    default_sentinel: Option<Secret> = None => with_jwt(formatted(Format::Secret).at_once());
    /// Rewrites the subjects of published messages.
    mappings: BTreeMap<String, Vec<MapDestination>> = BTreeMap::new() => Key::new(Kind::NamedLists {
        name: Format::Subject, block: MapDestination::block,
    }).aliases(&["maps"]).called("accounts").at_once();
    /// Proxies that may connect on behalf of clients.
    proxies: Proxies = Proxies::default() => block(Proxies::block);
    /// Connections to `port` come through a proxy and begin with a PROXY protocol header, version 1
    /// or 2, that states the client's address. Any client that can reach the port can claim any
    /// address.
    proxy_protocol: bool = false => switch();

    /// Logs each n-th failed attempt to connect to another server.
    connect_error_reports: i64 = 3600 => integer(i64::MIN, i64::MAX).zero_is_default().at_once();
    /// Logs each n-th failed attempt to reconnect to another server.
    reconnect_error_reports: i64 = 1 => integer(i64::MIN, i64::MAX).zero_is_default().at_once();
    /// Disables the cache of subjects.
    disable_sublist_cache: bool = false => switch().aliases(&["no_sublist_cache"])
        .no_effect("natsd's caches need no switch");
    /// Does not stall publishers for slow receivers.
    no_fast_producer_stall: bool = false => switch().at_once()
        .no_effect("natsd delays publishers by a rule of its own");
    /// Feature flags of nats-server, by name. `js_ack_fc_v2` puts the domain and the account into the subjects by which clients of
    /// streams acknowledge; `js_raft_delete_range` has no effect.
    feature_flags: BTreeMap<String, bool> = BTreeMap::new() => Key::new(Kind::Switches);

    /// Host of the monitoring endpoints.
    http_host: String = String::new() => text().internal().called("HTTPHost");
    /// Port of the monitoring endpoints over HTTP; -1 is any free port, 0 is none. They listen on
    /// the host of the clients' port, unless `http` sets another.
    http_port: i64 = 0 => port().aliases(&["monitor_port"]).called("HTTPPort")
        .flag(Group::Server, &["m", "http_port"], "<port>");
    /// Port of the monitoring endpoints over HTTPS with the certificate of `tls`; in place of
    /// `http_port`.
    https_port: i64 = 0 => port()
        .flag(Group::Server, &["ms", "https_port"], "<port>");
    /// Prefix of the paths of the monitoring endpoints.
    http_base_path: Option<String> = None => text()
        .flag(Group::Server, &["http_base_path"], "<path>");
    /// Token required by the monitoring endpoints (`Authorization: Bearer`), except `/healthz`.
    /// NATS has no such option.
    http_token: Option<Secret> = None => formatted(Format::Secret).unset("none is asked for");
    /// User required by the monitoring endpoints (`Authorization: Basic`). NATS has no such option.
    http_user: Option<String> = None => text();
    /// Password of that user.
    http_password: Option<Secret> = None => formatted(Format::Secret);
    /// Shows messages of streams of all accounts on the live page and at `/messagez` to everybody with
    /// these credentials. NATS has no such option.
    http_messages: bool = false => switch();
    /// Prefix of the metrics that prometheus-nats-exporter has too. NATS has no such option.
    metrics_prefix: MetricsPrefix = MetricsPrefix::Gnatsd => choice(&["gnatsd", "nats"]);
    /// Value of the label `server_id` of metrics. NATS has no such option.
    metrics_server_id: MetricsServerId = MetricsServerId::Url => choice(&["url", "id", "name"]);
    /// Subjects, with wildcards, for which `/metrics` counts messages; at most 64. NATS has no such
    /// option.
    metrics_subjects: Vec<String> = Vec::new() => list(Format::Subject);
    /// Port of the profiler.
    prof_port: i64 = 0 => port().not_yet("profiler").passed_over("nothing listens there")
        .flag(Group::Profiling, &["profile"], "<port>");
    /// Sampling rate of the profiler for blocked threads.
    prof_block_rate: i64 = 0 => integer(i64::MIN, i64::MAX).at_once().not_yet("profiler")
        .passed_over("it looks at nothing");

    /// TLS for client connections.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// TLS was disabled on the command line, which overrides the file.
    tls_off: bool = false => switch().internal();
    /// Accepts clients without TLS beside those with TLS.
    allow_non_tls: bool = false => switch();
    /// OCSP stapling.
    ocsp: Ocsp = Ocsp::default() => block(Ocsp::block).at_once().not_yet("OCSP");
    /// Cache of OCSP responses.
    ocsp_cache: OcspCache = OcspCache::default() => block(OcspCache::block).at_once().not_yet("OCSP")
        .passed_over("nothing is asked that could be remembered");

    /// Routes to the other servers of a cluster.
    cluster: Cluster = Cluster::default() => block(Cluster::block).at_once();
    /// Gateways to other clusters.
    gateway: Gateway = Gateway::default() => block(Gateway::block).not_yet("gateways")
        .passed_over_if(only_listens_for_clusters, "without `gateways`", "nothing listens for other clusters");
    /// Leaf node connections.
    leafnodes: Leafnodes = Leafnodes::default() => block(Leafnodes::block)
        .aliases(&["leaf"]).at_once().not_yet("leaf nodes")
        .passed_over_if(only_listens_for_leafs, "without `remotes`", "nothing listens for them");
    /// Clients over WebSocket.
    websocket: Websocket = Websocket::default() => block(Websocket::block).aliases(&["ws"]);
    /// MQTT clients.
    mqtt: Mqtt = Mqtt::default() => block(Mqtt::block).not_yet("MQTT")
        .passed_over("nothing listens for its clients");
    /// JetStream.
    jetstream: Option<JetStream> = None => with_streams(block(JetStream::block));
    /// Directory of the streams.
    store_dir: Option<PathBuf> = None => formatted(Format::Path).aliases(&["storedir"])
        .flag(Group::JetStream, &["sd", "store_dir"], "<dir>");
    /// JetStream domains by account.
    default_js_domain: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts)
        .not_yet("leaf nodes").passed_over("there are none to name a domain for");

    /// Operators that sign accounts: JWTs, or files of them.
    operator: Vec<Secret> = Vec::new() => with_jwt(list(Format::Secret)
        .aliases(&["operators", "roots", "root", "root_operators", "root_operator"])
        .called("TrustedOperators"));
    /// Source of the accounts' JWTs.
    resolver: Option<Resolver> = None => with_jwt(block(Resolver::block)
        .aliases(&["account_resolver", "accounts_resolver"]).called("AccountResolver"));
    /// TLS for connections to the resolver.
    resolver_tls: Option<Tls> = None => with_jwt(block(Tls::block)
        .called("AccountResolverTLSConfig").at_once());
    /// JWTs of accounts, by public key.
    resolver_preload: BTreeMap<String, Secret> = BTreeMap::new() => with_jwt(Key::new(Kind::Texts)
        .at_once());
    /// The only accounts that users may have, beside the system account.
    resolver_pinned_accounts: Vec<String> = Vec::new() => with_jwt(list(Format::Any).at_once()).unset("any");
    /// Public keys of operators.
    trusted_keys: Vec<String> = Vec::new() => with_jwt(list(Format::Nkey("O", "a public operator key"))
        .aliases(&["trusted"]));

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
    /// Host and port of the monitoring endpoints, over HTTP.
    http => listen("http_host", "http_port");
    /// Host and port of the monitoring endpoints, over HTTPS.
    https => listen("http_host", "https_port");
}
