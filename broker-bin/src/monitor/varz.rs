//! `/varz`: general data of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(feature = "jwt")]
use broker_core::auth::jwt::OperatorClaims;
use broker_core::stats::Stats;
use broker_core::{CloseReason, Limits};
use serde::Serialize;

use super::clusterz::ClusterVarz;
use super::jetstream::JetStreamVarz;
use super::observer::{Facts, Observer};
use super::skip::{is_0, is_false};
use super::time::Moment;
use super::websocketz::WebsocketVarz;

/// The answer of `/varz`, in the reference's order.
// NATS 2.14: monitor.go Varz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Varz {
    /// The server's id, new with each start.
    pub server_id: String,
    /// The server's name.
    pub server_name: String,
    /// The NATS version.
    pub version: String,
    /// The protocol version.
    pub proto: u8,
    /// The commit of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<&'static str>,
    /// The compiler of the build.
    pub go: String,
    /// The host of the client listener.
    pub host: String,
    /// The port of the client listener.
    pub port: u16,
    /// Clients must authenticate.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Clients must use TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Clients must present certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Addresses advertised to clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Maximum number of client connections; -1 for unlimited.
    pub max_connections: i64,
    /// Maximum number of subscriptions per client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<usize>,
    /// Interval of pings to idle clients, in nanoseconds.
    pub ping_interval: u64,
    /// Maximum number of unanswered pings.
    pub ping_max: u32,
    /// The host of the monitoring listener.
    pub http_host: String,
    /// The HTTP port.
    pub http_port: u16,
    /// The prefix of monitoring paths.
    pub http_base_path: String,
    /// The HTTPS port.
    pub https_port: u16,
    /// Timeout of authentication, in seconds.
    pub auth_timeout: f64,
    /// Maximum length of a control line, in bytes.
    pub max_control_line: usize,
    /// Maximum size of a payload, in bytes.
    pub max_payload: usize,
    /// Maximum number of bytes queued for one client.
    pub max_pending: usize,
    /// Routes.
    pub cluster: ClusterVarz,
    /// Gateways.
    pub gateway: Absent,
    /// Leaf nodes.
    pub leaf: Absent,
    /// MQTT.
    pub mqtt: Absent,
    /// WebSocket.
    pub websocket: WebsocketVarz,
    /// JetStream.
    pub jetstream: JetStreamVarz,
    /// Timeout of TLS handshakes, in seconds.
    pub tls_timeout: f64,
    /// Timeout of writes to a client, in nanoseconds.
    pub write_deadline: u64,
    /// The treatment of a client that exceeds it, if it is configured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub write_timeout: String,
    /// The start of the server.
    pub start: Moment,
    /// The time of the answer.
    pub now: Moment,
    /// The time since the start.
    pub uptime: String,
    /// Resident memory, in bytes.
    pub mem: u64,
    /// Cores available to the process.
    pub cores: usize,
    /// Threads that serve clients.
    pub gomaxprocs: usize,
    /// Processor usage in percent of one core.
    pub cpu: f64,
    /// Current number of connections.
    pub connections: usize,
    /// Total number of connections.
    pub total_connections: u64,
    /// Current number of routes.
    pub routes: usize,
    /// The number of servers they lead to.
    pub remotes: usize,
    /// Current number of leaf nodes.
    pub leafnodes: usize,
    /// Messages received.
    pub in_msgs: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Messages received from clients.
    pub in_client_msgs: u64,
    /// Bytes received from clients.
    pub in_client_bytes: u64,
    /// Messages sent.
    pub out_msgs: u64,
    /// Bytes sent.
    pub out_bytes: u64,
    /// Messages sent to clients.
    pub out_client_msgs: u64,
    /// Bytes sent to clients.
    pub out_client_bytes: u64,
    /// Connections closed as slow consumers.
    pub slow_consumers: u64,
    /// Connections closed as stale.
    pub stale_connections: u64,
    /// Publishers stalled for a slow client by the reference's rule, which natsd does not have:
    /// always 0.
    pub stalled_clients: u64,
    /// Subscriptions in all accounts.
    pub subscriptions: usize,
    /// The number of requests per endpoint.
    pub http_req_stats: BTreeMap<&'static str, u64>,
    /// The time of the last configuration load.
    pub config_load_time: Moment,
    /// The digest of the configuration file.
    pub config_digest: String,
    /// Tags of the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Metadata of the server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// nats-server's feature flags as configured; they have no effect on natsd.
    pub feature_flags: BTreeMap<String, bool>,
    /// The JWTs of the trusted operators, which are public.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub trusted_operators_jwt: Arc<[String]>,
    /// The claims in them.
    #[cfg(feature = "jwt")]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub trusted_operators_claim: Arc<[OperatorClaims]>,
    /// The system account.
    pub system_account: Arc<str>,
    /// The number of log-ins that were refused because the account is not one of `resolver_pinned_accounts`.
    #[serde(skip_serializing_if = "is_0")]
    pub pinned_account_fails: u64,
    /// Slow consumers by kind.
    pub slow_consumer_stats: ByKind,
    /// Stale connections by kind.
    pub stale_connection_stats: ByKind,
    /// Waits for disk I/O: always 0 without JetStream.
    pub disk_io_wait_stats: DiskWaits,
    /// The earliest expiry of the client listener's certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<Moment>,
}

/// An unimplemented part of NATS: `{}`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Absent {}

/// Counts by kind of endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ByKind {
    /// Clients.
    pub clients: u64,
    /// Routes.
    pub routes: u64,
    /// Gateways.
    pub gateways: u64,
    /// Leaf nodes.
    pub leafs: u64,
}

/// Waits for disk I/O.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiskWaits {
    /// Current number of waits.
    pub waiters: u64,
    /// Total number of waits.
    pub waits: u64,
    /// Total duration, in nanoseconds.
    pub wait_time: u64,
    /// Longest duration, in nanoseconds.
    pub max_wait_time: u64,
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Observer {
    /// Returns the general data of the server.
    pub fn varz(&self) -> Varz {
        self.varz_of(self.broker().stats())
    }

    /// Like [`varz`](Self::varz), from a snapshot.
    pub(crate) fn varz_of(&self, stats: Stats) -> Varz {
        let now = self.now();
        let broker = self.broker();
        let info = broker.info();
        let Limits {
            max_control_line_bytes,
            max_payload_bytes,
            max_pending_bytes,
            max_connections,
            max_subscriptions,
            ping_interval,
            ping_max,
            write_deadline,
            auth_timeout,
            ..
        } = broker.options().limits;
        let closed_routes = |is_meant: &dyn Fn(CloseReason) -> bool| -> u64 {
            let closed = broker.closed_routes_by_reason();
            closed.iter().filter(|(reason, _)| is_meant(*reason)).map(|(_, count)| count).sum()
        };
        let slow = ByKind {
            clients: stats.slow_consumers,
            routes: stats.slow_routes,
            ..ByKind::default()
        };
        let stale = ByKind {
            clients: stats.stale_connections,
            routes: closed_routes(&|reason| reason == CloseReason::StaleConnection),
            ..ByKind::default()
        };
        let facts = self.facts();
        let Facts { http_port, https_port, tls_timeout, .. } = *facts;
        let start = now.at(self.started());
        let process = self.process();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = tokio::runtime::Handle::try_current();
        Varz {
            server_id: info.server_id,
            server_name: info.server_name,
            version: info.version,
            proto: info.proto,
            git_commit: option_env!("BUILD_COMMIT"),
            go: info.go,
            host: facts.host.clone(),
            port: facts.port,
            auth_required: broker.is_auth_required(),
            tls_required: info.tls_required,
            tls_verify: info.tls_verify,
            connect_urls: info.connect_urls,
            max_connections: max_connections.map_or(-1, |max| max.try_into().unwrap_or(i64::MAX)),
            max_subscriptions,
            ping_interval: nanos(ping_interval),
            ping_max,
            http_host: facts.http_host.clone(),
            http_port,
            http_base_path: facts.http_base_path.clone(),
            https_port,
            auth_timeout: auth_timeout.as_secs_f64(),
            max_control_line: max_control_line_bytes,
            max_payload: max_payload_bytes,
            max_pending: max_pending_bytes,
            cluster: self.cluster_varz(&facts, info.cluster),
            gateway: Absent {},
            leaf: Absent {},
            mqtt: Absent {},
            websocket: WebsocketVarz {
                tls_cert_not_after: self.websocket_tls_not_after(),
                ..facts.websocket.clone()
            },
            jetstream: self.jetstream(),
            tls_timeout,
            write_deadline: nanos(write_deadline),
            write_timeout: facts.write_timeout.clone(),
            start,
            now: now.moment(),
            uptime: now.since(self.started()),
            mem: process.memory_bytes(),
            cores,
            gomaxprocs: threads.map_or(cores, |runtime| runtime.metrics().num_workers()),
            cpu: process.cpu_percent(),
            connections: stats.connections,
            total_connections: stats.total_connections,
            routes: self.routes().len(),
            remotes: self.broker().cluster().map_or(0, |cluster| cluster.server_count()),
            leafnodes: 0,
            in_msgs: stats.in_messages,
            in_bytes: stats.in_bytes,
            in_client_msgs: stats.in_messages.saturating_sub(stats.routes.in_messages),
            in_client_bytes: stats.in_bytes.saturating_sub(stats.routes.in_bytes),
            out_msgs: stats.out_messages,
            out_bytes: stats.out_bytes,
            out_client_msgs: stats.out_messages.saturating_sub(stats.routes.out_messages),
            out_client_bytes: stats.out_bytes.saturating_sub(stats.routes.out_bytes),
            slow_consumers: slow.clients + slow.routes,
            stale_connections: stale.clients + stale.routes,
            stalled_clients: 0,
            subscriptions: stats.subscriptions,
            http_req_stats: self.requests(),
            config_load_time: facts.config_load_time.unwrap_or(start),
            config_digest: facts.config_digest.clone(),
            tags: facts.tags.clone(),
            metadata: facts.metadata.clone(),
            feature_flags: facts.feature_flags.clone(),
            trusted_operators_jwt: Arc::clone(&facts.operators.tokens),
            #[cfg(feature = "jwt")]
            trusted_operators_claim: Arc::clone(&facts.operators.claims),
            system_account: broker.system_account(),
            pinned_account_fails: facts.operators.pinned_account_fails(),
            slow_consumer_stats: slow,
            stale_connection_stats: stale,
            disk_io_wait_stats: DiskWaits::default(),
            tls_cert_not_after: self.tls_not_after(),
        }
    }

    fn cluster_varz(&self, facts: &Facts, name: String) -> ClusterVarz {
        let mut cluster = ClusterVarz { name, ..facts.cluster.clone() };
        if self.broker().cluster().is_some() {
            cluster.tls_cert_not_after = self.cluster_tls_not_after();
        }
        cluster
    }
}
