use std::collections::BTreeMap;

use broker_bin::options::{MetricsPrefix, MetricsServerId};
use broker_bin::{Daemon, Options};

use crate::common::{Client, get, options, start};

/// Every series with its value.
async fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
    let answer = get(daemon, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let series = answer.body.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The value of the one series of that name that has these labels.
fn value(series: &BTreeMap<String, f64>, name: &str, labels: &str) -> f64 {
    let is_it = |key: &&String| key.split('{').next() == Some(name) && key.contains(labels);
    let found: Vec<_> = series.keys().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} {labels}: {found:?}");
    series[found[0]]
}

#[tokio::test]
async fn the_exporter_s_metrics_are_there_under_its_names() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB a 1\r\nPUB a 5\r\nhello\r\n").await;
    get(&daemon, "/varz").await;
    let series = scrape(&daemon).await;
    for (name, expected) in [
        ("gnatsd_varz_connections", 1.0),
        ("gnatsd_varz_in_msgs", 1.0),
        ("gnatsd_varz_in_bytes", 5.0),
        ("gnatsd_varz_out_msgs", 1.0),
        ("gnatsd_varz_subscriptions", 1.0),
        ("gnatsd_varz_slow_consumers", 0.0),
        ("gnatsd_varz_max_payload", 1_048_576.0),
        ("gnatsd_varz_http_req_stats_varz", 1.0),
        ("gnatsd_varz_slow_consumer_stats_clients", 0.0),
        ("gnatsd_connz_num_connections", 1.0),
        ("gnatsd_connz_in_bytes", 5.0),
        ("gnatsd_connz_subscriptions", 1.0),
        ("gnatsd_routez_num_routes", 0.0),
        ("gnatsd_subsz_num_subscriptions", 1.0),
        ("gnatsd_leafz_conn_nodes_total", 0.0),
        ("gnatsd_healthz_status", 0.0),
        ("jetstream_server_jetstream_disabled", 1.0),
    ] {
        assert_eq!(value(&series, name, "").to_bits(), f64::to_bits(expected), "{name}");
    }
    let varz = daemon.varz();
    let label = format!("value=\"{}\"", varz.server_id);
    assert_eq!(value(&series, "gnatsd_varz_server_id", &label).to_bits(), 1_f64.to_bits());
    assert_eq!(
        value(&series, "gnatsd_varz_version", "value=\"2.14.5\"").to_bits(),
        1_f64.to_bits()
    );
    let start = value(&series, "gnatsd_varz_start", "");
    assert_eq!(start.to_bits(), (varz.start.unix_millis() as f64).to_bits(), "in milliseconds");
    value(&series, "gnatsd_accstatz_received_messages", "account=\"$G\"");
    value(&series, "gnatsd_accountz_is_system", "account_id=\"$SYS\"");
    value(&series, "gnatsd_healthz_status_value", "value=\"ok\"");
    let url = format!("server_id=\"http://{}\"", daemon.monitoring_addr().unwrap());
    assert!(series.keys().all(|key| key.contains(&url)));
    assert!(!series.keys().any(|key| key.contains("varz_auth_required")), "no booleans");
}

#[tokio::test]
async fn names_and_the_server_s_label_can_be_those_of_the_chart() {
    let options = Options {
        server_name: Some("n1".into()),
        metrics_prefix: MetricsPrefix::Nats,
        metrics_server_id: MetricsServerId::Name,
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let series = scrape(&daemon).await;
    value(&series, "nats_varz_cpu", "server_id=\"n1\"");
    value(&series, "nats_server_total_streams", "server_id=\"n1\"");
    assert!(!series.keys().any(|key| key.starts_with("gnatsd_") || key.starts_with("jetstream_")));
    value(&series, "natsd_connections", "carrier=\"tcp\"");
}

#[tokio::test]
async fn our_own_metrics_tell_why_clients_are_gone() {
    let daemon = start().await;
    let client = Client::connect(&daemon, "").await;
    let mut offender = Client::connect(&daemon, "").await;
    client.leave(&daemon).await;
    let cid = offender.cid;
    offender.send("NONSENSE\r\n").await;
    crate::common::until(|| daemon.broker().connection(cid).is_none()).await;
    let series = scrape(&daemon).await;
    let is = |name: &str, labels: &str, expected: f64| {
        assert_eq!(value(&series, name, labels).to_bits(), expected.to_bits(), "{name} {labels}");
    };
    is("natsd_connections_closed_total", "reason=\"Client Closed\"", 1.0);
    is("natsd_connections_closed_total", "reason=\"Protocol Violation\"", 1.0);
    is("natsd_connections_total", "", 2.0);
    is("natsd_connections", "carrier=\"tcp\"", 0.0);
    is("natsd_slow_consumers_total", "reason=\"pending_bytes\"", 0.0);
    is("natsd_auth_failures_total", "reason=\"credentials\"", 0.0);
    is("natsd_pending_bytes", "", 0.0);
    is("natsd_account_connections", "account=\"$G\"", 0.0);
    value(&series, "natsd_build_info", "nats_version=\"2.14.5\"");
}

#[tokio::test]
async fn counters_are_called_counters() {
    let daemon = start().await;
    let body = get(&daemon, "/metrics").await.body;
    let types: BTreeMap<&str, &str> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in &types {
        let is_counter = name.ends_with("_total") && name.starts_with("natsd_");
        let is_exporter_s =
            name.starts_with("gnatsd_connz_in_") || name.starts_with("gnatsd_connz_out_");
        let expected = if is_counter || is_exporter_s { "counter" } else { "gauge" };
        assert_eq!(*kind, expected, "{name}");
    }
    for name in types.keys() {
        assert!(body.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert!(types.len() > 100, "{}", types.len());
}

#[tokio::test]
async fn names_of_clients_cannot_break_the_lines_of_metrics() {
    let options = Options {
        server_name: Some("a\"b\\c".into()),
        metrics_server_id: MetricsServerId::Name,
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let series = scrape(&daemon).await;
    assert!(series.keys().all(|key| key.contains(r#"server_id="a\"b\\c""#)), "{series:?}");
}

/// Names, types and labels, of those that begin so.
fn described(body: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let types: BTreeMap<&str, &str> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let series = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut described: Vec<String> = series
        .map(|line| {
            let (name, labels) = line.split_once('{').unwrap();
            // No value here has a comma.
            let mut labels: Vec<&str> =
                labels.split(',').map(|label| label.split('=').next().unwrap()).collect();
            labels.sort_unstable();
            format!("{name} {} {}", types[name], labels.join(","))
        })
        .filter(|line| is_meant(line))
        .collect();
    described.sort_unstable();
    described.dedup();
    described
}

#[tokio::test]
async fn there_is_nothing_that_the_exporter_has_not_under_its_prefixes_and_nothing_is_missing() {
    let daemon = start().await;
    for path in ["/", "/varz", "/connz", "/routez", "/subsz", "/accountz", "/accstatz", "/leafz"] {
        get(&daemon, path).await;
    }
    for path in ["/gatewayz", "/jsz", "/healthz"] {
        get(&daemon, path).await;
    }
    let body = get(&daemon, "/metrics").await.body;
    let ours = described(&body, |line| !line.starts_with("natsd_"));
    let file = include_str!("exporter_metrics.txt");
    let theirs: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ours, theirs);
}
