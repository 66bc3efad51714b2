//! natsd's own metrics of routes to the other servers of a cluster.

use broker_core::CloseReason;
use broker_core::cluster::RouteSnapshot;

use super::writer::Writer;
use crate::monitor::Observer;

pub(super) fn write(writer: &Writer, observer: &Observer) {
    let broker = observer.broker();
    let Some(cluster) = broker.cluster() else { return };
    let options = broker.options().cluster.unwrap_or_default();
    let gauge = |name, help, value: usize| writer.gauge(name, help, &[], value as f64);
    let help = "Other servers of the cluster with a route.";
    gauge("natsd_cluster_servers", help, cluster.server_count());
    let help = "Servers that are configured as routes.";
    gauge("natsd_cluster_configured_routes", help, options.routes.len());
    let help = "Routes that were lost and that this server has made again.";
    writer.counter("natsd_route_reconnects_total", help, &[], cluster.reconnects());
    ends(writer, &broker.closed_routes_by_reason());
    for route in cluster.routes() {
        of_route(writer, &route);
    }
}

fn of_route(writer: &Writer, route: &RouteSnapshot) {
    let rid = route.id.to_string();
    let labels = [
        ("rid", &*rid),
        ("remote", &*route.remote_name),
        ("remote_id", &*route.remote_id),
        ("account", route.account.as_deref().unwrap_or_default()),
    ];
    if let Some(rtt) = route.rtt {
        let help = "Last measured round trip to the other server.";
        writer.gauge("natsd_route_rtt_seconds", help, &labels, rtt.as_secs_f64());
    }
    for (name, help, value) in [
        (
            "natsd_route_pending_bytes",
            "Bytes queued for the other server.",
            route.out.pending_bytes,
        ),
        ("natsd_route_subscriptions", "Subscriptions of the other server.", route.subscriptions),
    ] {
        writer.gauge(name, help, &labels, value as f64);
    }
    for (name, help, value) in [
        ("natsd_route_in_messages_total", "Messages from the other server.", route.in_messages),
        ("natsd_route_in_bytes_total", "Their bytes.", route.in_bytes),
        ("natsd_route_out_messages_total", "Messages to the other server.", route.out.messages),
        ("natsd_route_out_bytes_total", "Their bytes.", route.out.bytes),
    ] {
        writer.counter(name, help, &labels, value);
    }
}

/// The ends of routes, with the names of those of clients. Slow ones are exported from the start: a counter that first
/// appears at 1 shows no increase.
fn ends(writer: &Writer, closed: &[(CloseReason, u64)]) {
    for (reason, count) in closed {
        writer.counter(
            "natsd_connections_closed_total",
            "Closed connections, by kind and reason.",
            &[("kind", "route"), ("reason", &reason.to_string())],
            *count,
        );
    }
    for (label, reason) in [
        ("pending_bytes", CloseReason::SlowConsumerPendingBytes),
        ("write_deadline", CloseReason::SlowConsumerWriteDeadline),
    ] {
        let found = closed.iter().find(|(other, _)| *other == reason);
        writer.counter(
            "natsd_slow_consumers_total",
            "Connections closed as slow consumers, by kind and reason.",
            &[("kind", "route"), ("reason", label)],
            found.map_or(0, |(_, count)| *count),
        );
    }
    let total = closed.iter().map(|(_, count)| count).sum();
    let help = "Routes that have ended. Each is made again if its server is still wanted.";
    writer.counter("natsd_routes_closed_total", help, &[], total);
}
