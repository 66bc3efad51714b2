use std::collections::BTreeMap;

use broker_bin::options::{self, Request};
use broker_bin::options::{MetricsPrefix, MetricsServerId};
use broker_bin::{Daemon, Options};

use crate::common::{Client, get, options, start};

/// Returns each series with its value.
pub(crate) async fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
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

/// Returns the value of the only series with that name and these labels.
pub(crate) fn value(series: &BTreeMap<String, f64>, name: &str, labels: &str) -> f64 {
    let is_it = |key: &&String| key.split('{').next() == Some(name) && key.contains(labels);
    let found: Vec<_> = series.keys().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} {labels}: {found:?}");
    series[found[0]]
}

#[tokio::test]
async fn the_metrics_of_the_exporter_exist_under_its_names() {
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
async fn names_and_server_label_can_follow_the_chart() {
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
    value(&series, "natsd_connections", "transport=\"tcp\"");
}

#[tokio::test]
async fn natsds_own_metrics_count_close_reasons() {
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
    is("natsd_connections", "transport=\"tcp\"", 0.0);
    is("natsd_slow_consumers_total", "reason=\"pending_bytes\"", 0.0);
    is("natsd_auth_failures_total", "reason=\"credentials\"", 0.0);
    is("natsd_pending_bytes", "", 0.0);
    is("natsd_stalled_workers", "", 0.0);
    is("natsd_worker_stalls_total", "", 0.0);
    is("natsd_account_connections", "account=\"$G\"", 0.0);
    value(&series, "natsd_build_info", "nats_version=\"2.14.5\"");
}

#[tokio::test]
async fn counters_have_the_type_counter() {
    let daemon = start().await;
    let body = get(&daemon, "/metrics").await.body;
    let types: BTreeMap<&str, &str> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in &types {
        let is_counter = name.ends_with("_total") && name.starts_with("natsd_");
        let is_exporter_s =
            name.starts_with("gnatsd_connz_in_") || name.starts_with("gnatsd_connz_out_");
        let is_histogram = [
            "natsd_publish_to_flush_seconds",
            "natsd_queue_wait_seconds",
            "natsd_auth_callout_seconds",
        ]
        .contains(name);
        let expected = match (is_counter || is_exporter_s, is_histogram) {
            (true, _) => "counter",
            (_, true) => "histogram",
            _ => "gauge",
        };
        assert_eq!(*kind, expected, "{name}");
    }
    for name in types.keys() {
        assert!(body.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert!(types.len() > 100, "{}", types.len());
}

#[tokio::test]
async fn names_of_clients_are_escaped_in_metrics() {
    let options = Options {
        server_name: Some("a\"b\\c".into()),
        metrics_server_id: MetricsServerId::Name,
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let series = scrape(&daemon).await;
    assert!(series.keys().all(|key| key.contains(r#"server_id="a\"b\\c""#)), "{series:?}");
}

/// Returns names, types and labels of the selected metrics.
pub(crate) fn described(body: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let types: BTreeMap<&str, &str> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let series =
        body.lines().filter(|line| !line.starts_with('#') && !line.is_empty() && is_meant(line));
    let mut described: Vec<String> = series
        .map(|line| {
            let (name, labels) = line.split_once('{').unwrap();
            // No value here contains a comma.
            let mut labels: Vec<&str> =
                labels.split(',').map(|label| label.split('=').next().unwrap()).collect();
            labels.sort_unstable();
            format!("{name} {} {}", types[name], labels.join(","))
        })
        .collect();
    described.sort_unstable();
    described.dedup();
    described
}

#[tokio::test]
async fn the_metrics_under_the_prefixes_of_the_exporter_are_exactly_its_own() {
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

#[tokio::test]
async fn latency_is_a_histogram() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    let count = || daemon.broker().latencies().publish_to_flush.count();
    // One read in 61 is sampled.
    let measuring = async {
        while count() < 3 {
            client.say("SUB a 1\r\nPUB a 5\r\nhello\r\n").await;
        }
    };
    tokio::time::timeout(crate::common::DEADLINE, measuring).await.unwrap();
    let series = scrape(&daemon).await;
    let name = "natsd_publish_to_flush_seconds";
    let total = value(&series, &format!("{name}_count"), "");
    assert!(total >= 3.0);
    let all = value(&series, &format!("{name}_bucket"), "le=\"+Inf\"");
    assert_eq!(all.to_bits(), total.to_bits());
    assert!(value(&series, &format!("{name}_sum"), "") > 0.0);
    let body = get(&daemon, "/metrics").await.body;
    let buckets: Vec<f64> = body
        .lines()
        .filter(|line| line.starts_with(&format!("{name}_bucket")))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(buckets.len(), 20);
    assert!(buckets.is_sorted(), "{buckets:?}");
    value(&series, "natsd_queue_wait_seconds_bucket", "le=\"0.00001\"");
    value(&series, "natsd_queue_wait_seconds_bucket", "le=\"10\"");
    value(&series, "natsd_queue_wait_seconds_count", "");
}

#[tokio::test]
async fn messages_are_counted_by_configured_subjects() {
    let daemon = start().await;
    assert!(!get(&daemon, "/metrics").await.body.contains("natsd_subject_messages"));
    let options = Options {
        metrics_subjects: vec!["orders.>".into(), "stock.*".into()],
        ..crate::common::options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let mut client = Client::connect(&daemon, "").await;
    client.say("PUB orders.eu.1 5\r\nhello\r\nPUB orders.us 2\r\nhi\r\nPUB x 1\r\nx\r\n").await;
    let series = scrape(&daemon).await;
    for (name, filter, expected) in [
        ("natsd_subject_messages_total", "orders.>", 2.0),
        ("natsd_subject_bytes_total", "orders.>", 7.0),
        ("natsd_subject_messages_total", "stock.*", 0.0),
    ] {
        let found = value(&series, name, &format!("filter=\"{filter}\""));
        assert_eq!(found.to_bits(), f64::to_bits(expected), "{name} {filter}");
    }
}

#[tokio::test]
async fn too_many_counted_subjects_are_refused() {
    let names = |count: usize| (0..count).map(|one| format!("s.{one}")).collect();
    let options = |count| Options { metrics_subjects: names(count), ..options() };
    assert_eq!(options(64).check(), Ok(()));
    let text = options(65).check().unwrap_err().to_string();
    assert_eq!(text, "metrics_subjects: 65 are more than the 64 that can be counted");
}

#[tokio::test]
async fn the_outcome_of_reloads_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("natsd.conf");
    let text = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1'\n";
    std::fs::write(&file, text).unwrap();
    let request = Request { file: Some(file.clone()), ..Request::default() };
    let daemon = Daemon::start_loaded(options::load(&request).unwrap()).await.unwrap();
    let told = async || {
        let series = scrape(&daemon).await;
        let count = |result: &str| {
            value(&series, "natsd_config_reloads_total", &format!("result=\"{result}\"")) as u64
        };
        let value = |name| value(&series, &format!("natsd_config_last_reload_{name}"), "");
        let when = value("success_timestamp_seconds");
        (count("success"), count("failure"), value("successful") as u64, when)
    };
    let (succeeded, failed, was_successful, at_first) = told().await;
    assert_eq!((succeeded, failed, was_successful), (0, 0, 1));

    std::fs::write(&file, format!("{text}nonsense: 1\n")).unwrap();
    daemon.reload().await.unwrap_err();
    assert_eq!(told().await, (0, 1, 0, at_first));

    std::fs::write(&file, format!("{text}debug: true\n")).unwrap();
    daemon.reload().await.unwrap();
    let (succeeded, failed, was_successful, at) = told().await;
    assert_eq!((succeeded, failed, was_successful), (1, 1, 1));
    assert!(at > at_first);
    let series = scrape(&daemon).await;
    assert!(value(&series, "natsd_config_last_reload_duration_seconds", "") > 0.0);
}
