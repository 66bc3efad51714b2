//! `/varz`: the server as a whole.

use std::collections::BTreeMap;

use broker_core::Limits;
use broker_core::stats::Stats;
use serde::Serialize;

use super::observer::{Facts, Observer};
use super::skip::is_false;
use super::time::Moment;
use super::websocketz::WebsocketVarz;

/// What `/varz` shows, in the order of the reference.
// NATS 2.14: monitor.go Varz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Varz {
    /// The server's id, new with each start.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The version of NATS it speaks.
    pub version: String,
    /// The version of the protocol.
    pub proto: u8,
    /// The commit it was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<&'static str>,
    /// What it was built with.
    pub go: String,
    /// The host clients connect to.
    pub host: String,
    /// The port clients connect to.
    pub port: u16,
    /// Clients must show who they are.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Clients must use TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Clients must show certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Addresses that clients are told of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// How many clients may be connected; -1 for any number.
    pub max_connections: i64,
    /// How many subscriptions one client may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<usize>,
    /// When a silent client is asked, in nanoseconds.
    pub ping_interval: u64,
    /// How many questions may stay without an answer.
    pub ping_max: u32,
    /// The host of these endpoints.
    pub http_host: String,
    /// Their port, over HTTP.
    pub http_port: u16,
    /// What their paths begin with.
    pub http_base_path: String,
    /// Their port, over HTTPS.
    pub https_port: u16,
    /// How long logging in may take, in seconds.
    pub auth_timeout: f64,
    /// The longest control line, in bytes.
    pub max_control_line: usize,
    /// The largest payload, in bytes.
    pub max_payload: usize,
    /// How much may wait for one client, in bytes.
    pub max_pending: usize,
    /// Routes.
    pub cluster: Absent,
    /// Gateways.
    pub gateway: Absent,
    /// Leaf nodes.
    pub leaf: Absent,
    /// MQTT.
    pub mqtt: Absent,
    /// WebSocket.
    pub websocket: WebsocketVarz,
    /// Streams.
    pub jetstream: Absent,
    /// How long a TLS handshake may take, in seconds.
    pub tls_timeout: f64,
    /// How long a client may take to read, in nanoseconds.
    pub write_deadline: u64,
    /// When the server started.
    pub start: Moment,
    /// When this was looked at.
    pub now: Moment,
    /// How long it has run.
    pub uptime: String,
    /// Resident memory, in bytes.
    pub mem: u64,
    /// Cores of the machine that it may use.
    pub cores: usize,
    /// Threads that serve clients.
    pub gomaxprocs: usize,
    /// The share of one core it uses, in percent.
    pub cpu: f64,
    /// Connections now.
    pub connections: usize,
    /// Connections ever.
    pub total_connections: u64,
    /// Routes now.
    pub routes: usize,
    /// Servers at the other end of them.
    pub remotes: usize,
    /// Leaf nodes now.
    pub leafnodes: usize,
    /// Messages that came.
    pub in_msgs: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages that came from clients.
    pub in_client_msgs: u64,
    /// Their bytes.
    pub in_client_bytes: u64,
    /// Messages that went.
    pub out_msgs: u64,
    /// Their bytes.
    pub out_bytes: u64,
    /// Messages that went to clients.
    pub out_client_msgs: u64,
    /// Their bytes.
    pub out_client_bytes: u64,
    /// Connections that were cut because they did not keep up.
    pub slow_consumers: u64,
    /// Connections that were cut because they did not answer.
    pub stale_connections: u64,
    /// Clients that were made to wait: none, natsd never does.
    pub stalled_clients: u64,
    /// Subscriptions in all accounts.
    pub subscriptions: usize,
    /// How often each endpoint was asked.
    pub http_req_stats: BTreeMap<&'static str, u64>,
    /// When the configuration was last read.
    pub config_load_time: Moment,
    /// The digest of its file.
    pub config_digest: String,
    /// Words that describe the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Facts that describe the server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// New behaviour of nats-server by name, and whether the configuration switches it on. natsd does not go by it.
    pub feature_flags: BTreeMap<String, bool>,
    /// The account of the system.
    pub system_account: &'static str,
    /// Slow consumers by kind.
    pub slow_consumer_stats: ByKind,
    /// Stale connections by kind.
    pub stale_connection_stats: ByKind,
    /// Waits for the disk: none, there is nothing on it.
    pub disk_io_wait_stats: DiskWaits,
    /// Until when the certificates for clients hold: the end of the first that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<Moment>,
}

/// A part of NATS that natsd has not, or not yet: `{}`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Absent {}

/// Counts by kind of connection.
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

/// Waits for the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiskWaits {
    /// Who waits now.
    pub waiters: u64,
    /// Waits ever.
    pub waits: u64,
    /// How long together, in nanoseconds.
    pub wait_time: u64,
    /// The longest, in nanoseconds.
    pub max_wait_time: u64,
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Observer {
    /// The server as a whole.
    pub fn varz(&self) -> Varz {
        self.varz_of(self.broker().stats())
    }

    /// The same for who has looked already.
    pub(super) fn varz_of(&self, stats: Stats) -> Varz {
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
            git_commit: option_env!("NATSD_GIT_COMMIT"),
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
            cluster: Absent {},
            gateway: Absent {},
            leaf: Absent {},
            mqtt: Absent {},
            websocket: WebsocketVarz {
                tls_cert_not_after: self.websocket_tls_not_after(),
                ..facts.websocket.clone()
            },
            jetstream: Absent {},
            tls_timeout,
            write_deadline: nanos(write_deadline),
            start,
            now: now.moment(),
            uptime: now.since(self.started()),
            mem: process.memory_bytes(),
            cores,
            gomaxprocs: threads.map_or(cores, |runtime| runtime.metrics().num_workers()),
            cpu: process.cpu_percent(),
            connections: stats.connections,
            total_connections: stats.total_connections,
            routes: 0,
            remotes: 0,
            leafnodes: 0,
            in_msgs: stats.in_messages,
            in_bytes: stats.in_bytes,
            in_client_msgs: stats.in_messages,
            in_client_bytes: stats.in_bytes,
            out_msgs: stats.out_messages,
            out_bytes: stats.out_bytes,
            out_client_msgs: stats.out_messages,
            out_client_bytes: stats.out_bytes,
            slow_consumers: stats.slow_consumers,
            stale_connections: stats.stale_connections,
            stalled_clients: 0,
            subscriptions: stats.subscriptions,
            http_req_stats: self.requests(),
            config_load_time: facts.config_load_time.unwrap_or(start),
            config_digest: facts.config_digest.clone(),
            tags: facts.tags.clone(),
            metadata: facts.metadata.clone(),
            feature_flags: facts.feature_flags.clone(),
            system_account: broker_core::account::SYSTEM,
            slow_consumer_stats: ByKind { clients: stats.slow_consumers, ..ByKind::default() },
            stale_connection_stats: ByKind {
                clients: stats.stale_connections,
                ..ByKind::default()
            },
            disk_io_wait_stats: DiskWaits::default(),
            tls_cert_not_after: self.tls_not_after(),
        }
    }
}
