//! STATSZ: statistics of the server.

use broker_core::ServerInfo;
use broker_core::cluster::RouteSnapshot;
use serde::Serialize;

use super::sender::Sender;
use crate::monitor::{ByKind, JetStreamConfig, JetStreamVarz, MessagesAndBytes, Moment};

/// The event and the answer, in the reference's order.
// NATS 2.14: events.go ServerStatsMsg.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Statsz {
    server: ServerInfo,
    statsz: ServerStats,
}

// NATS 2.14: events.go ServerStats.
#[derive(Clone, Debug, Serialize)]
struct ServerStats {
    start: Moment,
    mem: u64,
    cores: usize,
    cpu: f64,
    connections: usize,
    total_connections: u64,
    active_accounts: usize,
    subscriptions: usize,
    sent: MessagesAndBytes,
    sent_to_clients: MessagesAndBytes,
    received: MessagesAndBytes,
    received_from_clients: MessagesAndBytes,
    slow_consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_consumer_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "is_0")]
    stale_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_connection_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteStat>,
    active_servers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetstream: Option<JetStreamVarz>,
    gomaxprocs: usize,
}

// NATS 2.14: events.go RouteStat.
#[derive(Clone, Debug, Serialize)]
struct RouteStat {
    rid: u64,
    name: String,
    sent: MessagesAndBytes,
    received: MessagesAndBytes,
    pending: usize,
}

impl RouteStat {
    fn new(route: RouteSnapshot) -> Self {
        Self {
            rid: route.id,
            name: route.remote_name,
            sent: MessagesAndBytes { msgs: route.out.messages, bytes: route.out.bytes },
            received: MessagesAndBytes { msgs: route.in_messages, bytes: route.in_bytes },
            pending: route.out.pending_bytes,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_0(count: &u64) -> bool {
    *count == 0
}

impl Statsz {
    pub(super) fn new(sender: &Sender) -> Self {
        let observer = sender.observer();
        let (stats, accounts) = observer.broker().stats_and_accounts();
        let varz = observer.varz_of(stats);
        let sum = |msgs, bytes| MessagesAndBytes { msgs, bytes };
        let some = |counts: ByKind| Some(counts).filter(|counts| *counts != ByKind::default());
        let statsz = ServerStats {
            start: varz.start,
            mem: varz.mem,
            cores: varz.cores,
            cpu: varz.cpu,
            connections: varz.connections,
            total_connections: varz.total_connections,
            active_accounts: accounts.iter().filter(|account| account.connections > 0).count(),
            subscriptions: varz.subscriptions,
            sent: sum(varz.out_msgs, varz.out_bytes),
            sent_to_clients: sum(varz.out_client_msgs, varz.out_client_bytes),
            received: sum(varz.in_msgs, varz.in_bytes),
            received_from_clients: sum(varz.in_client_msgs, varz.in_client_bytes),
            slow_consumers: varz.slow_consumers,
            slow_consumer_stats: some(varz.slow_consumer_stats),
            stale_connections: varz.stale_connections,
            stale_connection_stats: some(varz.stale_connection_stats),
            routes: observer.routes().into_iter().map(RouteStat::new).collect(),
            active_servers: sender.known().count() + 1,
            jetstream: jetstream(varz.jetstream),
            gomaxprocs: varz.gomaxprocs,
        };
        Self { server: observer.broker().server_info(), statsz }
    }
}

/// Returns JetStream without its directory, which the event does not tell.
fn jetstream(varz: JetStreamVarz) -> Option<JetStreamVarz> {
    let config = JetStreamConfig { store_dir: String::new(), ..varz.config? };
    Some(JetStreamVarz { config: Some(config), ..varz })
}

/// Returns the subject of the event.
pub(super) fn subject(sender: &Sender) -> String {
    format!("$SYS.SERVER.{}.STATSZ", sender.server_id())
}

/// Publishes the event, if it has a subscriber.
pub(super) fn publish(sender: &Sender) {
    let subject = subject(sender);
    if sender.is_wanted(&subject) {
        sender.publish(&subject, &Statsz::new(sender));
    }
}
