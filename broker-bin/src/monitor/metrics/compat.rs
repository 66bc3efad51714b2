//! The metrics of prometheus-nats-exporter, with its names, labels, types and values, for all of
//! its endpoints. Those of `/jsz` are in [`super::jsz`].

use broker_core::snapshot::{Account, Connection};
use serde_json::Value;

use super::writer::Writer;
use crate::monitor::accountz::AccountInfo;
use crate::monitor::accstatz::AccountStat;
use crate::monitor::query::DEFAULT_LIMIT;
use crate::monitor::{HealthzOptions, Observer, RoutezOptions, Varz};
use crate::options::MetricsPrefix;

/// Strings exported as labels; other strings are omitted.
const SHOWN_STRINGS: &[&str] = &[
    "server_id",
    "server_name",
    "version",
    "domain",
    "leader",
    "name",
    "start",
    "config_load_time",
];

/// The timestamps among them.
const MOMENTS: &[&str] = &["start", "config_load_time"];

pub(super) fn write(
    writer: &Writer,
    prefix: MetricsPrefix,
    observer: &Observer,
    varz: &Varz,
    connections: &[Connection],
    accounts: &[Account],
) {
    let compat = Compat { writer, prefix };
    if let Ok(value) = serde_json::to_value(varz) {
        compat.flatten("varz", &[], &value);
    }
    if let Ok(value) = serde_json::to_value(observer.routez(&RoutezOptions::default())) {
        compat.flatten("routez", &[], &value);
    }
    compat.routes(observer);
    if let Ok(value) = serde_json::to_value(observer.subsz_of(accounts)) {
        compat.flatten("subsz", &[], &value);
    }
    compat.healthz(observer);
    compat.connz(connections);
    compat.leafz(observer);
    compat.accstatz(accounts);
    compat.accountz(observer, accounts);
    super::jsz::write(writer, prefix, observer, &varz.server_name);
}

struct Compat<'a> {
    writer: &'a Writer,
    prefix: MetricsPrefix,
}

impl Compat<'_> {
    /// The generic part of the exporter: all numbers, and a few strings.
    fn flatten(&self, endpoint: &str, path: &[&str], value: &Value) {
        let Some(object) = value.as_object() else { return };
        for (key, value) in object {
            let path = [path, &[&**key]].concat();
            let name = joined(&path);
            match value {
                Value::Number(number) => {
                    let value = number.as_f64().unwrap_or_default();
                    self.gauge(&format!("{endpoint}_{name}"), &name, &[], value);
                }
                Value::String(text) if SHOWN_STRINGS.contains(&&**key) => {
                    let full = format!("{endpoint}_{name}");
                    match millis(key, text) {
                        Some(millis) => self.gauge(&full, &name, &[], millis),
                        None => self.gauge(&full, &name, &[("value", text)], 1.0),
                    }
                }
                // The exporter omits leaf nodes.
                Value::Object(_) if key != "leaf" => self.flatten(endpoint, &path, value),
                _ => {}
            }
        }
    }

    fn healthz(&self, observer: &Observer) {
        let status = observer.healthz(&HealthzOptions::default()).status;
        let is_ok = status == "ok";
        // The exporter uses 0 for healthy, `/healthz` 1.
        self.gauge("healthz_status", "status", &[], f64::from(!is_ok));
        self.gauge("healthz_status_value", "status", &[("value", status)], f64::from(is_ok));
    }

    fn connz(&self, connections: &[Connection]) {
        let sum = |of: &dyn Fn(&Connection) -> u64| connections.iter().map(of).sum::<u64>();
        for (name, value) in [
            ("num_connections", connections.len() as u64),
            ("total", connections.len() as u64),
            ("offset", 0),
            ("limit", DEFAULT_LIMIT as u64),
            ("pending_bytes", sum(&|one| one.pending_bytes as u64)),
            ("subscriptions", sum(&|one| one.subscriptions as u64)),
        ] {
            self.gauge(&format!("connz_{name}"), name, &[], value as f64);
        }
        // Sums over open connections, which decrease when one is closed.
        for (name, value) in [
            ("in_bytes", sum(&|one| one.traffic.in_bytes)),
            ("out_bytes", sum(&|one| one.traffic.out_bytes)),
            ("in_msgs", sum(&|one| one.traffic.in_messages)),
            ("out_msgs", sum(&|one| one.traffic.out_messages)),
        ] {
            self.writer.counter(&self.core(&format!("connz_{name}")), name, &[], value);
        }
    }

    fn leafz(&self, observer: &Observer) {
        let leafnodes = observer.leafz().leafnodes;
        self.gauge("leafz_conn_nodes_total", "nodes_total", &[], leafnodes as f64);
    }

    /// Each route, as the exporter shows it.
    fn routes(&self, observer: &Observer) {
        for route in observer.routes() {
            let rid = route.id.to_string();
            let labels = [("rid", &*rid)];
            let info = [
                labels[0],
                ("remote_id", &*route.remote_id),
                ("remote_name", &*route.remote_name),
                ("account", route.account.as_deref().unwrap_or_default()),
                ("ip", &route.remote.map(|remote| remote.ip().to_string()).unwrap_or_default()),
                ("compression", route.compression.name()),
            ];
            self.gauge("routez_route_info", "route_info", &info, 1.0);
            for (name, value) in [
                ("rtt_seconds", route.rtt.unwrap_or_default().as_secs_f64()),
                ("subscriptions", route.subscriptions as f64),
                ("uptime_seconds", route.since.elapsed().as_secs() as f64),
                ("in_msgs", route.in_messages as f64),
                ("out_msgs", route.out.messages as f64),
                ("in_bytes", route.in_bytes as f64),
                ("out_bytes", route.out.bytes as f64),
            ] {
                self.gauge(&format!("routez_route_{name}"), name, &labels, value);
            }
        }
    }

    fn accstatz(&self, accounts: &[Account]) {
        for stat in accounts.iter().map(AccountStat::new) {
            let labels =
                [("account", &*stat.acc), ("account_id", &stat.acc), ("account_name", &stat.name)];
            for (name, value) in [
                ("current_connections", stat.conns as u64),
                ("total_connections", stat.total_conns as u64),
                ("subscriptions", stat.num_subscriptions as u64),
                ("leaf_nodes", stat.leafnodes as u64),
                ("sent_messages", stat.sent.all.msgs),
                ("sent_bytes", stat.sent.all.bytes),
                ("received_messages", stat.received.all.msgs),
                ("received_bytes", stat.received.all.bytes),
                ("slow_consumers", stat.slow_consumers),
            ] {
                self.gauge(&format!("accstatz_{name}"), name, &labels, value as f64);
            }
        }
    }

    fn accountz(&self, observer: &Observer, accounts: &[Account]) {
        let now = observer.now().moment();
        for info in accounts.iter().map(|account| AccountInfo::new(account, now)) {
            let labels = [("account_id", &*info.account_name), ("account_name", &*info.name_tag)];
            for (name, value) in [
                ("client_connections", info.client_connections),
                ("leafnode_connections", info.leafnode_connections),
                ("subscriptions", info.subscriptions),
                ("is_system", usize::from(info.is_system)),
                ("expired", usize::from(info.expired)),
                ("complete", usize::from(info.complete)),
                ("jetstream_enabled", usize::from(info.jetstream_enabled)),
                // JWT limits; without a JWT the exporter reports 0.
                ("limit_subs", 0),
                ("limit_data", 0),
                ("limit_payload", 0),
                ("limit_imports", 0),
                ("limit_exports", 0),
                ("limit_wildcards", 0),
                ("limit_conn", 0),
                ("limit_leaf", 0),
            ] {
                self.gauge(&format!("accountz_{name}"), name, &labels, value as f64);
            }
        }
    }

    fn gauge(&self, name: &str, help: &str, labels: super::writer::Labels<'_>, value: f64) {
        self.writer.gauge(&self.core(name), help, labels, value);
    }

    fn core(&self, name: &str) -> String {
        let prefix = match self.prefix {
            MetricsPrefix::Gnatsd => "gnatsd",
            MetricsPrefix::Nats => "nats",
        };
        format!("{prefix}_{name}")
    }
}

/// Joins the keys that lead to a value into a name, as the exporter does.
fn joined(path: &[&str]) -> String {
    let name = path.join("_").replace('/', "_");
    let parts: Vec<&str> = name.split('_').filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

/// Parses a timestamp as milliseconds since 1970.
fn millis(key: &str, text: &str) -> Option<f64> {
    if !MOMENTS.contains(&key) {
        return None;
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(timestamp.as_millisecond() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_as_the_exporter_does() {
        assert_eq!(joined(&["http_req_stats", "/varz"]), "http_req_stats_varz");
        assert_eq!(joined(&["http_req_stats", "/"]), "http_req_stats");
        assert_eq!(joined(&["mem"]), "mem");
    }

    #[test]
    fn timestamps_are_milliseconds() {
        assert_eq!(millis("start", "1970-01-01T00:00:01.5Z"), Some(1500.0));
        assert_eq!(millis("server_name", "1970-01-01T00:00:01Z"), None);
    }
}
