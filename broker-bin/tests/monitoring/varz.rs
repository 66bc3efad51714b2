use std::collections::BTreeMap;

use broker_bin::options::Resolver;
use broker_bin::{Daemon, Options};
use broker_net::testing::{TestAccount, TestOperator};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::common::{Client, get, json, keys, options, start, until};

#[tokio::test]
async fn varz_has_the_fields_of_the_reference_in_order() {
    let daemon = start().await;
    let body = get(&daemon, "/varz").await.body;
    // NATS 2.14: the fields of a server without cluster, JetStream and the like.
    let expected = "server_id server_name version proto go host port max_connections ping_interval ping_max \
        http_host http_port http_base_path https_port auth_timeout max_control_line max_payload max_pending \
        cluster gateway leaf mqtt websocket jetstream tls_timeout write_deadline start now uptime mem cores \
        gomaxprocs cpu connections total_connections routes remotes leafnodes in_msgs in_bytes \
        in_client_msgs in_client_bytes out_msgs out_bytes out_client_msgs out_client_bytes slow_consumers \
        stale_connections stalled_clients subscriptions http_req_stats config_load_time config_digest \
        feature_flags system_account slow_consumer_stats stale_connection_stats disk_io_wait_stats";
    // A build outside of a checkout has no commit.
    let with_commit = expected.replace(" proto ", " proto git_commit ");
    let expected = option_env!("BUILD_COMMIT").map_or(expected, |_| &with_commit);
    assert_eq!(keys(&body), expected.split_whitespace().collect::<Vec<_>>());
}

#[tokio::test]
async fn limits_and_addresses_are_the_effective_ones() {
    let options = Options {
        server_name: Some("n1".into()),
        max_payload: 1000,
        max_subscriptions: 7,
        server_tags: vec!["a".into(), "b".into()],
        server_metadata: BTreeMap::from([("rack".into(), "7".into())]),
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["server_name"], "n1");
    assert_eq!(varz["host"], "127.0.0.1");
    assert_eq!(varz["port"], daemon.local_addr().port());
    assert_eq!(varz["http_port"], daemon.monitoring_addr().unwrap().port());
    assert_eq!(varz["max_payload"], 1000);
    assert_eq!(varz["max_subscriptions"], 7);
    assert_eq!(varz["ping_interval"], 120_000_000_000_u64);
    assert_eq!(varz["tags"], json!(["a", "b"]));
    assert_eq!(varz["metadata"], json!({"rack": "7"}));
    assert_eq!(varz.get("auth_required"), None, "no credentials are required");
    assert!(varz["mem"].as_u64().unwrap() > 1 << 20);
    assert!(varz["cores"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn feature_flags_are_those_of_the_reference_as_configured() {
    let shown = |varz: &serde_json::Value| varz["feature_flags"].clone();
    let daemon = start().await;
    let off = json!({"js_ack_fc_v2": false, "js_raft_delete_range": false});
    assert_eq!(shown(&json(&daemon, "/varz").await), off);
    let feature_flags =
        BTreeMap::from([("js_ack_fc_v2".to_owned(), true), ("nobody_has_it".to_owned(), true)]);
    let daemon = Daemon::start(Options { feature_flags, ..options() }).await.unwrap();
    let on = json!({"js_ack_fc_v2": true, "js_raft_delete_range": false});
    assert_eq!(shown(&json(&daemon, "/varz").await), on);
}

#[tokio::test]
async fn traffic_is_summed() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB a 1\r\nSUB b 2\r\nPUB a 5\r\nhello\r\nPUB x 2\r\nyo\r\n").await;
    let varz = json(&daemon, "/varz").await;
    let count = |key: &str| varz[key].as_u64().unwrap();
    assert_eq!((count("connections"), count("total_connections")), (1, 1));
    assert_eq!((count("in_msgs"), count("in_bytes")), (2, 7));
    assert_eq!((count("out_msgs"), count("out_bytes")), (1, 5));
    assert_eq!((count("in_client_msgs"), count("out_client_msgs")), (2, 1));
    assert_eq!(count("subscriptions"), 2);
    client.leave(&daemon).await;
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["connections"], 0);
    assert_eq!(varz["in_bytes"], 7, "counts are kept");
}

#[tokio::test]
async fn requests_are_counted_by_endpoint() {
    let daemon = start().await;
    for path in ["/connz", "/connz?limit=x", "/subscriptionsz", "/subsz?subs=x", "/", "/nope"] {
        get(&daemon, path).await;
    }
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["http_req_stats"], json!({"/": 1, "/connz": 1, "/subsz": 2, "/varz": 1}));
}

#[tokio::test]
async fn auth_required_is_reported() {
    let mut options = options();
    options.authorization.token = Some("t".into());
    let daemon = Daemon::start(options).await.unwrap();
    assert_eq!(json(&daemon, "/varz").await["auth_required"], true);
}

#[tokio::test]
async fn the_start_is_constant_and_now_advances() {
    let daemon = start().await;
    let (first, second) = (json(&daemon, "/varz").await, json(&daemon, "/varz").await);
    assert_eq!(first["start"], second["start"]);
    assert!(first["now"].as_str() < second["now"].as_str());
    assert!(first["start"].as_str().unwrap().ends_with('Z'));
}

// NATS 2.14: a cluster with a name and without a port.
#[tokio::test]
async fn a_cluster_without_a_port_is_named() {
    let mut options = options();
    options.cluster.name = Some("X".into());
    let daemon = Daemon::start(options).await.unwrap();
    assert_eq!(json(&daemon, "/varz").await["cluster"], json!({"name": "X"}));
    let mut stream = tokio::net::TcpStream::connect(daemon.local_addr()).await.unwrap();
    let mut info = vec![0; 4096];
    let length = stream.read(&mut info).await.unwrap();
    let info = String::from_utf8_lossy(&info[..length]);
    assert!(info.starts_with("INFO {") && info.contains("\"cluster\":\"X\""), "{info}");
    assert_eq!(daemon.broker().server_info().cluster, "X");
}

#[tokio::test]
async fn trusted_operators_and_refused_accounts_are_shown() {
    let operator = TestOperator::new();
    let (a, b) = (operator.account("A"), operator.account("B"));
    let stored = |account: &TestAccount| (account.public_key(), account.jwt());
    let options = Options {
        operator: vec![operator.jwt()],
        resolver: Some(Resolver::default()),
        resolver_preload: [stored(&a), stored(&b)].into(),
        resolver_pinned_accounts: vec![a.public_key()],
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let varz = json(&daemon, "/varz").await;
    assert_eq!(varz["trusted_operators_jwt"], json!([operator.jwt().expose()]));
    let claims = &varz["trusted_operators_claim"];
    assert_eq!(claims.as_array().unwrap().len(), 1);
    assert_eq!(claims[0]["nats"]["type"], "operator");
    assert_eq!(claims[0]["sub"], claims[0]["iss"]);
    assert_eq!(varz.get("pinned_account_fails"), None);
    let user = b.user_with("u", |claims| claims.nats.limits.bearer_token = true);
    let mut client = Client::arrive(&daemon).await;
    client.send(&format!("CONNECT {{\"jwt\":\"{}\"}}\r\n", user.jwt().expose())).await;
    until(|| daemon.varz().pinned_account_fails == 1).await;
}
