//! Failures are reported in all monitoring outputs.

use std::time::Duration;

use broker_bin::options::{self, Request};
use broker_bin::{Daemon, Options};
use serde_json::json;

use crate::common::{Client, get, json, options, start, until};

async fn is_in_metrics(daemon: &Daemon, series: &[(&str, &str, u64)]) {
    let body = get(daemon, "/metrics").await.body;
    for (name, labels, expected) in series {
        let found = body.lines().find(|line| {
            line.split('{').next() == Some(name)
                && labels.split(' ').all(|label| line.contains(label))
        });
        let value = found.and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        assert_eq!(value, expected.to_string(), "{name} {labels}");
    }
}

#[tokio::test]
async fn a_slow_consumer_is_reported() {
    let options = Options { max_payload: 100_000, max_pending: 200_000, ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    let mut slow = Client::connect(&daemon, "\"name\":\"slow\"").await;
    slow.say("SUB flood 1\r\n").await;
    let mut publisher = Client::connect(&daemon, "").await;
    let message = format!("PUB flood 100000\r\n{}\r\n", "x".repeat(100_000));
    let flooding = async {
        // The socket buffers fill first.
        while daemon.broker().connection(slow.cid).is_some() {
            publisher.say(&message).await;
        }
    };
    tokio::time::timeout(crate::common::DEADLINE, flooding).await.unwrap();
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["slow_consumers"], 1);
    let counts = json!({"clients": 1, "routes": 0, "gateways": 0, "leafs": 0});
    assert_eq!(varz["slow_consumer_stats"], counts);
    assert_eq!(json(&daemon, "/accstatz").await["account_statz"][0]["slow_consumers"], 1);
    let closed = json(&daemon, &format!("/connz?state=closed&cid={}", slow.cid)).await;
    let closed = &closed["connections"][0];
    assert_eq!(closed["reason"], "Slow Consumer (Pending Bytes)");
    assert!(closed["pending_bytes"].as_u64().unwrap() > 0);
    is_in_metrics(
        &daemon,
        &[
            ("natsd_slow_consumers_total", "kind=\"client\" reason=\"pending_bytes\"", 1),
            ("natsd_slow_consumers_total", "kind=\"client\" reason=\"write_deadline\"", 0),
            ("natsd_account_slow_consumers_total", "account=\"$G\"", 1),
            ("natsd_connections_closed_total", "Slow Consumer", 1),
            ("gnatsd_varz_slow_consumers", "", 1),
            ("gnatsd_varz_slow_consumer_stats_clients", "", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_stale_connection_is_reported() {
    let options = Options { ping_interval: Duration::from_millis(20), ping_max: 1, ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    let silent = Client::arrive(&daemon).await;
    until(|| daemon.broker().connection(silent.cid).is_none()).await;
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["stale_connections"], 1);
    let counts = json!({"clients": 1, "routes": 0, "gateways": 0, "leafs": 0});
    assert_eq!(varz["stale_connection_stats"], counts);
    let closed = json(&daemon, "/connz?state=closed").await;
    assert_eq!(closed["connections"][0]["reason"], "Stale Connection");
    is_in_metrics(
        &daemon,
        &[
            ("natsd_stale_connections_total", "", 1),
            ("gnatsd_varz_stale_connection_stats_clients", "", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_authentication_failure_is_reported() {
    let mut options = options();
    options.authorization.token = Some("t0k".into());
    let daemon = Daemon::start(options).await.unwrap();
    let mut wrong = Client::arrive(&daemon).await;
    wrong.send("CONNECT {\"auth_token\":\"w0rd\"}\r\n").await;
    until(|| daemon.broker().connection(wrong.cid).is_none()).await;
    let closed = get(&daemon, "/connz?state=closed&auth=1").await;
    assert!(closed.body.contains("\"Authentication Failure\""), "{closed:?}");
    assert!(!closed.body.contains("w0rd") && !closed.body.contains("t0k"));
    let failures = [
        ("natsd_auth_failures_total", "reason=\"credentials\"", 1),
        ("natsd_auth_failures_total", "reason=\"timeout\"", 0),
    ];
    is_in_metrics(&daemon, &failures).await;
}

#[tokio::test]
async fn the_configuration_is_reported_with_digest_and_load_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("natsd.conf");
    let text = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1'\n";
    std::fs::write(&file, text).unwrap();
    let request = Request { file: Some(file.clone()), ..Request::default() };
    let daemon = Daemon::start_loaded(options::load(&request).unwrap()).await.unwrap();
    let first = json(&daemon, "/varz").await;
    let digest = |varz: &serde_json::Value| varz["config_digest"].as_str().unwrap().to_owned();
    assert!(digest(&first).starts_with("sha256:") && digest(&first).len() == 71);
    assert!(first["config_load_time"].as_str() <= first["now"].as_str());

    // A refused reload changes neither.
    std::fs::write(&file, format!("{text}nonsense: 1\n")).unwrap();
    daemon.reload().await.unwrap_err();
    let second = json(&daemon, "/varz").await;
    assert_eq!(second["config_digest"], first["config_digest"]);
    assert_eq!(second["config_load_time"], first["config_load_time"]);

    std::fs::write(&file, format!("{text}max_connections: 77\n")).unwrap();
    daemon.reload().await.unwrap();
    let third = json(&daemon, "/varz").await;
    assert_ne!(third["config_digest"], first["config_digest"]);
    assert!(third["config_load_time"].as_str() > first["config_load_time"].as_str());
    assert_eq!(third["max_connections"], 77);
}

#[tokio::test]
async fn without_a_file_there_is_no_digest() {
    let daemon = start().await;
    assert_eq!(json(&daemon, "/varz").await["config_digest"], "");
}
