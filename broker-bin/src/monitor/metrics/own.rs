//! natsd's own metrics, which complement the exporter's and type counters as counters.

use std::time::Duration;

use broker_core::CloseReason;
use broker_core::snapshot::{Account, AuthFailure, Connection};

use super::writer::Writer;
use crate::monitor::{Observer, Varz};
use crate::{NATS_VERSION, VERSION};

pub(super) fn write(
    writer: &Writer,
    observer: &Observer,
    varz: &Varz,
    connections: &[Connection],
    accounts: &[Account],
) {
    let gauge = |name, help, value| writer.gauge(name, help, &[], value);
    let counter = |name, help, value| writer.counter(name, help, &[], value);

    let build = [
        ("version", VERSION),
        ("nats_version", NATS_VERSION),
        ("git_commit", varz.git_commit.unwrap_or_default()),
    ];
    writer.gauge("natsd_build_info", "Versions of the running server; always 1.", &build, 1.0);
    gauge("natsd_start_time_seconds", "Start of the server.", varz.start.unix_seconds());
    let uptime = observer.started().elapsed().as_secs_f64();
    gauge("natsd_uptime_seconds", "Time since the start.", uptime);
    gauge("natsd_memory_bytes", "Resident memory.", varz.mem as f64);
    let used = observer.process().cpu_seconds();
    gauge("natsd_cpu_seconds", "Processor time used since the process began.", used);

    for transport in ["tcp", "websocket", "unix", "memory", "stream"] {
        let count = connections.iter().filter(|one| one.transport == transport).count();
        let labels = [("transport", transport)];
        writer.gauge("natsd_connections", "Clients connected.", &labels, count as f64);
    }
    let is_secured = |one: &&Connection| one.security.is_some();
    let secured = connections.iter().filter(is_secured).count();
    gauge("natsd_tls_connections", "Clients connected with TLS.", secured as f64);
    let ends = [varz.tls_cert_not_after, varz.websocket.tls_cert_not_after];
    if let Some(not_after) = ends.into_iter().flatten().min() {
        let help = "Earliest expiry of the certificates for clients.";
        gauge("natsd_tls_certificate_expiry_timestamp_seconds", help, not_after.unix_seconds());
    }
    counter("natsd_connections_total", "Clients that ever connected.", varz.total_connections);
    for (reason, count) in observer.broker().closed_by_reason() {
        writer.counter(
            "natsd_connections_closed_total",
            "Closed connections, by kind and reason.",
            &[("kind", "client"), ("reason", &reason.to_string())],
            count,
        );
    }
    slow_consumers(writer, observer);
    counter(
        "natsd_stale_connections_total",
        "Clients closed as stale because they did not answer PINGs.",
        varz.stale_connections,
    );
    auth_failures(writer, observer);

    counter(
        "natsd_reply_permissions_lost_total",
        "Requests no longer answerable by allow_responses because too many were open.",
        accounts.iter().map(|account| account.lost_reply_permissions).sum(),
    );

    counter("natsd_in_messages_total", "Messages from clients.", varz.in_msgs);
    counter("natsd_in_bytes_total", "Their bytes, headers and payload.", varz.in_bytes);
    counter("natsd_out_messages_total", "Messages to clients.", varz.out_msgs);
    counter("natsd_out_bytes_total", "Their bytes, headers and payload.", varz.out_bytes);
    let pending = connections.iter().map(|one| one.pending_bytes);
    let (total, most) = (pending.clone().sum::<usize>(), pending.max().unwrap_or(0));
    gauge("natsd_pending_bytes", "Bytes queued for all clients.", total as f64);
    gauge(
        "natsd_pending_bytes_max",
        "Bytes queued for the client with the longest queue.",
        most as f64,
    );

    let latencies = observer.broker().latencies();
    writer.histogram(
        "natsd_publish_to_flush_seconds",
        "Time from reading messages to writing them to all receivers that take them at once, sampled.",
        &latencies.publish_to_flush,
    );
    writer.histogram(
        "natsd_queue_wait_seconds",
        "Time for which bytes waited that a client did not take at once.",
        &latencies.queue_wait,
    );
    for count in observer.broker().counted_subjects() {
        let filter = count.filter.to_string();
        let labels = [("filter", &*filter)];
        let help = "Messages from clients to subjects that match one of metrics_subjects.";
        writer.counter("natsd_subject_messages_total", help, &labels, count.messages);
        let help = "Their bytes, headers and payload.";
        writer.counter("natsd_subject_bytes_total", help, &labels, count.bytes);
    }
    questions(writer, observer);
    reloads(writer, observer, varz);
    let system = observer.system_counters();
    let help = "Events of the system account that were dropped because too many waited.";
    counter("natsd_system_events_dropped_total", help, system.events_dropped());
    let help = "Requests to the system account that were dropped because too many waited.";
    counter("natsd_system_requests_dropped_total", help, system.requests_dropped());
    let (stalled, stalls) = observer.stalls();
    let help = "Threads now blocked by one connection for a second or more.";
    gauge("natsd_stalled_workers", help, stalled as f64);
    let help = "Times that a connection blocked its thread for a second or more.";
    counter("natsd_worker_stalls_total", help, stalls);

    subscriptions(writer, accounts);
    for (path, count) in &varz.http_req_stats {
        let help = "Requests to the monitoring endpoints.";
        writer.counter("natsd_http_requests_total", help, &[("path", path)], *count);
    }
    for account in accounts {
        of_account(writer, account);
    }
}

/// Both reasons are exported from the start: a counter that first appears at 1 shows no increase.
fn slow_consumers(writer: &Writer, observer: &Observer) {
    let closed = observer.broker().closed_by_reason();
    for (label, reason) in [
        ("pending_bytes", CloseReason::SlowConsumerPendingBytes),
        ("write_deadline", CloseReason::SlowConsumerWriteDeadline),
    ] {
        let count =
            closed.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count);
        writer.counter(
            "natsd_slow_consumers_total",
            "Connections closed as slow consumers, by kind and reason.",
            &[("kind", "client"), ("reason", label)],
            count,
        );
    }
}

fn auth_failures(writer: &Writer, observer: &Observer) {
    let failures = observer.broker().auth_failures();
    for (label, failure) in [
        ("credentials", AuthFailure::Credentials),
        ("connection_kind", AuthFailure::ConnectionKind),
        ("user_removed", AuthFailure::UserRemoved),
        ("unavailable", AuthFailure::Unavailable),
        ("before_connect", AuthFailure::BeforeConnect),
        ("timeout", AuthFailure::Timeout),
    ] {
        let found = failures.iter().find(|(other, _)| *other == failure);
        writer.counter(
            "natsd_auth_failures_total",
            "Failed authentications, by reason.",
            &[("reason", label)],
            found.map_or(0, |(_, count)| *count),
        );
    }
}

/// The requests to a service that authenticates clients (`auth_callout`).
fn questions(writer: &Writer, observer: &Observer) {
    let stats = observer.broker().question_stats();
    let help = "Clients that wait for the decision of an auth callout.";
    writer.gauge("natsd_auth_callouts_in_flight", help, &[], stats.open as f64);
    for (result, count) in [
        ("granted", stats.granted),
        ("denied", stats.denied),
        ("unanswered", stats.unanswered),
        ("refused", stats.refused),
    ] {
        writer.counter(
            "natsd_auth_callouts_total",
            "Completed auth callouts, by result.",
            &[("result", result)],
            count,
        );
    }
    writer.histogram(
        "natsd_auth_callout_seconds",
        "Time from the request of an auth callout to the answer.",
        &stats.answer_times,
    );
}

/// The names follow those of Prometheus itself.
fn reloads(writer: &Writer, observer: &Observer, varz: &Varz) {
    let reloads = observer.reloads();
    for (result, count) in [("success", reloads.succeeded), ("failure", reloads.failed)] {
        writer.counter(
            "natsd_config_reloads_total",
            "Reloads of the configuration, by result.",
            &[("result", result)],
            count,
        );
    }
    let (was_successful, took) = reloads.last.unwrap_or((true, Duration::ZERO));
    for (name, help, value) in [
        (
            "natsd_config_last_reload_successful",
            "Whether the last reload took effect; 1 if there was none.",
            f64::from(was_successful),
        ),
        (
            "natsd_config_last_reload_success_timestamp_seconds",
            "Time at which the current configuration was read.",
            varz.config_load_time.unix_seconds(),
        ),
        (
            "natsd_config_last_reload_duration_seconds",
            "Duration of the last reload until it applied to all clients.",
            took.as_secs_f64(),
        ),
    ] {
        writer.gauge(name, help, &[], value);
    }
}

fn subscriptions(writer: &Writer, accounts: &[Account]) {
    let sum = |of: &dyn Fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
    let now = sum(&|account| account.interest.subscriptions as u64);
    writer.gauge("natsd_subscriptions", "Subscriptions.", &[], now as f64);
    for (name, help, value) in [
        (
            "natsd_subscriptions_made_total",
            "Subscriptions ever made.",
            sum(&|account| account.interest.inserts),
        ),
        (
            "natsd_subscriptions_ended_total",
            "Subscriptions that have ended.",
            sum(&|account| account.interest.removes),
        ),
        (
            "natsd_subject_lookups_total",
            "Lookups of the subscriptions that match a subject.",
            sum(&|account| account.interest.look_ups),
        ),
        (
            "natsd_subject_lookups_remembered_total",
            "Lookups answered by the cache of a session.",
            sum(&|account| account.interest.cache_hits),
        ),
    ] {
        writer.counter(name, help, &[], value);
    }
}

fn of_account(writer: &Writer, account: &Account) {
    let labels = [("account", &*account.name)];
    let gauges = [
        ("natsd_account_connections", "Clients connected.", account.connections),
        ("natsd_account_subscriptions", "Subscriptions.", account.interest.subscriptions),
    ];
    for (name, help, value) in gauges {
        writer.gauge(name, help, &labels, value as f64);
    }
    let traffic = account.traffic;
    let counters = [
        ("natsd_account_in_messages_total", "Messages from clients.", traffic.in_messages),
        ("natsd_account_in_bytes_total", "Their bytes.", traffic.in_bytes),
        ("natsd_account_out_messages_total", "Messages to clients.", traffic.out_messages),
        ("natsd_account_out_bytes_total", "Their bytes.", traffic.out_bytes),
        (
            "natsd_account_slow_consumers_total",
            "Clients closed as slow consumers.",
            account.slow_consumers,
        ),
    ];
    for (name, help, value) in counters {
        writer.counter(name, help, &labels, value);
    }
}
