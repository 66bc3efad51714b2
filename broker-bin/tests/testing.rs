//! The test broker with a configuration and monitoring data.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

#[path = "../examples/no_process/main.rs"]
mod no_process;

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use broker_bin::reload::ReloadError;
use broker_bin::testing::{StartError, TestCluster, TestNatsd, block_on};
#[cfg(feature = "jwt")]
use broker_net::testing::{TestAccount, TestOperator};
use futures_util::StreamExt;

/// A production configuration; none of its ports may be bound.
const PRODUCTION: &str = r#"
    listen: 0.0.0.0:4222
    http: 0.0.0.0:8222
    server_name: "eu-1"
    server_tags: [eu, "rack:7"]
    pid_file: "/nowhere/natsd.pid"
    ports_file_dir: "/nowhere"
    log_file: "/nowhere/natsd.log"
    max_payload: 1KB
    ping_interval: "20s"
    accounts {
      SHOP {
        users: [
          { user: app, password: $APP_PASSWORD }
          { user: auditor, password: pw, permissions: { publish: { deny: ">" } } }
        ]
      }
    }
"#;

async fn production() -> TestNatsd {
    let builder = TestNatsd::builder().config(PRODUCTION).variable("APP_PASSWORD", "s3cr3t");
    builder.start().await.unwrap()
}

async fn connect(natsd: &TestNatsd, user: &str, password: &str) -> Client {
    let options = ConnectOptions::with_user_and_password(user.into(), password.into());
    let options = options.reconnect_delay_callback(|_| Duration::from_millis(5)).name(user);
    options.connect(natsd.url()).await.unwrap()
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn a_reload_replaces_the_claims_of_accounts() {
    let operator = TestOperator::new();
    let account = operator.account("A");
    let (joe, ann) = (account.user("joe"), account.user("ann"));
    let natsd = TestNatsd::start_with(operator.config()).await;
    let connect = async |user: &str| {
        let options = ConnectOptions::with_credentials(user).unwrap();
        options.connect(natsd.url()).await
    };
    let revoked = connect(&joe.creds()).await.unwrap();
    let other = connect(&ann.creds()).await.unwrap();
    let detail = |account: &TestAccount| {
        let accountz = natsd.observer().accountz(Some(&account.public_key())).unwrap();
        accountz.account_detail.unwrap()
    };
    assert_eq!(detail(&account).jwt, account.jwt().expose());
    assert!(detail(&account).revoked_user.is_empty());

    account.revoke(&joe);
    natsd.reload(&operator.config()).await.unwrap();
    assert!(detail(&account).revoked_user.contains_key(&joe.public_key()));
    natsd.wait_for_clients(1).await;
    other.flush().await.unwrap();
    assert!(connect(&joe.creds()).await.is_err());
    drop(revoked);

    let next = TestOperator::new();
    let account = next.account("B");
    let mia = account.user("mia");
    natsd.restart_with(&next.config()).await.unwrap();
    assert!(connect(&ann.creds()).await.is_err());
    connect(&mia.creds()).await.unwrap().flush().await.unwrap();
    assert_eq!(detail(&account).jwt, account.jwt().expose());
    natsd.restart().await.unwrap();
    connect(&mia.creds()).await.unwrap().flush().await.unwrap();
    assert_eq!(detail(&account).jwt, account.jwt().expose());
}

#[tokio::test]
async fn a_production_configuration_applies_except_for_its_listeners() {
    let (one, other) = (production().await, production().await);
    assert!(one.address().ip().is_loopback());
    assert_ne!(one.address(), other.address());
    let client = connect(&one, "app", "s3cr3t").await;
    let info = client.server_info();
    assert_eq!((&*info.server_name, info.max_payload), ("eu-1", 1024));
    assert!(async_nats::connect(one.url()).await.is_err());
    let denied = connect(&one, "auditor", "pw").await;
    let tap = one.tap("orders");
    denied.publish("orders", "forged".into()).await.unwrap();
    denied.flush().await.unwrap();
    client.publish("orders", "one".into()).await.unwrap();
    let order = tap.next().await;
    assert_eq!((&*order.payload, &*order.account), (&b"one"[..], "SHOP"));
}

#[tokio::test]
async fn monitoring_data_is_available_as_values() {
    let natsd = production().await;
    let client = connect(&natsd, "app", "s3cr3t").await;
    let _orders = client.queue_subscribe("orders.*", "workers".into()).await.unwrap();
    natsd.wait_for_subscription("orders.eu").await;
    client.publish("orders.eu", "one".into()).await.unwrap();
    natsd.wait_until("it is counted", |broker| broker.stats().in_messages == 1).await;

    let varz = natsd.varz();
    assert_eq!((&*varz.server_name, varz.port), ("eu-1", natsd.address().port()));
    assert_eq!((varz.connections, varz.in_msgs, varz.out_msgs), (1, 1, 1));
    assert_eq!((varz.tags.len(), varz.config_digest.starts_with("sha256:")), (2, true));
    assert_eq!((varz.http_port, varz.max_payload), (0, 1024));
    let connz = natsd.connz();
    let [connection] = &connz.connections[..] else { panic!("{connz:?}") };
    assert_eq!((&*connection.name, connection.account.as_deref()), ("app", Some("SHOP")));
    assert_eq!(connection.authorized_user.as_deref(), Some("app"));
    assert_eq!(*connection.subscriptions_list[0], *"orders.*");
    let subsz = natsd.subsz();
    assert_eq!(*subsz.subscriptions_list[0].subject, *"orders.*");
    assert_eq!(subsz.subscriptions_list[0].qgroup.as_deref(), Some("workers"));
    assert_eq!(natsd.healthz().status, "ok");
    let metrics = natsd.metrics_text();
    let line = format!("gnatsd_varz_connections{{server_id=\"{}\"}} 1\n", varz.server_id);
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test]
async fn a_new_observer_sees_the_run_after_a_restart() {
    let natsd = production().await;
    let client = connect(&natsd, "app", "s3cr3t").await;
    client.publish("x", "".into()).await.unwrap();
    natsd.wait_until("it is counted", |broker| broker.stats().in_messages == 1).await;
    let before = natsd.varz();
    natsd.restart().await.unwrap();
    natsd.wait_for_clients(1).await;
    let after = natsd.varz();
    assert_ne!(before.server_id, after.server_id);
    assert_eq!((after.in_msgs, &after.tags, after.port), (0, &before.tags, before.port));
    assert_eq!(after.config_digest, before.config_digest);
}

#[tokio::test]
async fn a_reload_applies_allowed_changes_and_names_others() {
    let natsd = production().await;
    let client = connect(&natsd, "app", "s3cr3t").await;
    let text = PRODUCTION.replace("1KB", "2KB").replace("auditor", "clerk");
    let reloaded = natsd.reload(&text).await.unwrap();
    assert!(reloaded.changes.iter().any(|change| change.path == "max_payload"));
    assert_eq!(natsd.varz().max_payload, 2048);
    connect(&natsd, "clerk", "pw").await;
    assert_eq!(client.connection_state(), async_nats::connection::State::Connected);

    let refused = natsd.reload(&text.replace("eu-1", "eu-2")).await;
    assert!(matches!(refused, Err(ReloadError::NotAtRunTime(_))), "{refused:?}");
    let refused = natsd.reload("max_payload: many").await;
    assert!(matches!(refused, Err(ReloadError::Config(_))), "{refused:?}");
    assert_eq!(natsd.varz().max_payload, 2048);
}

#[tokio::test]
async fn a_restart_may_bring_another_configuration() {
    let natsd = production().await;
    let client = connect(&natsd, "app", "s3cr3t").await;
    let _orders = client.subscribe("orders.*").await.unwrap();
    let (address, text) = (natsd.address(), PRODUCTION.replace("eu-1", "eu-2"));
    natsd.restart_with(&text).await.unwrap();
    assert_eq!(natsd.address(), address);
    natsd.wait_for_subscription("orders.eu").await;
    assert_eq!(natsd.varz().server_name, "eu-2");

    let refused = natsd.restart_with("max_payload: many").await;
    assert!(matches!(refused, Err(StartError::Config(_))), "{refused:?}");
    assert_eq!(natsd.varz().connections, 1, "nothing has happened");
    natsd.restart_with("").await.unwrap();
    async_nats::connect(natsd.url()).await.unwrap();
}

#[tokio::test]
async fn errors_have_places_and_no_values() {
    let wrong = "port: 4222\nmax_paylod: 1KB\nauthorization { user: app, pasword: s3cr3t }";
    let error = TestNatsd::builder().config(wrong).start().await.unwrap_err();
    assert!(matches!(error, StartError::Config(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("configuration:2:1: ") && text.contains("max_payload"), "{text}");
    assert!(text.contains("configuration:3:") && !text.contains("s3cr3t"), "{text}");

    let builder = TestNatsd::builder().options(|options| options.max_pending = 1);
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, StartError::Options(_)), "{error:?}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = TestNatsd::builder().broker(move |broker| broker.port(port)).start().await;
    assert!(matches!(error, Err(StartError::Broker(_))), "{error:?}");
}

#[test]
fn a_file_with_includes_is_read_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("natsd.conf");
    std::fs::write(&file, "include users.conf\nserver_name: here").unwrap();
    std::fs::write(folder.path().join("users.conf"), "authorization { token: $TOKEN }").unwrap();
    let builder = TestNatsd::builder().config_file(&file).variable("TOKEN", "t");
    let natsd = builder.start_blocking().unwrap();
    assert_eq!(natsd.varz().server_name, "here");
    assert!(natsd.varz().auth_required);
    block_on(natsd.stop());
    let error = TestNatsd::builder().config_file("/nowhere/natsd.conf").start_blocking();
    assert!(error.unwrap_err().to_string().contains("/nowhere/natsd.conf"));
}

#[tokio::test]
async fn the_environment_is_not_read() {
    assert!(std::env::var_os("PATH").is_some());
    let builder = TestNatsd::builder().config("server_name: $PATH");
    let error = builder.start().await.unwrap_err();
    assert!(error.to_string().contains("configuration:1:14: "), "{error}");
}

#[tokio::test]
async fn options_of_the_test_broker_can_be_set() {
    let told = |name: &'static str| {
        TestNatsd::builder()
            .config(format!("server_name: {name}"))
            .broker(|broker| broker.seed(7).user("ada", "pw").keep_lines(0))
    };
    let (one, other) = (told("a").start().await.unwrap(), told("b").start().await.unwrap());
    assert_eq!(one.varz().server_id, other.varz().server_id, "by the seed");
    connect(&one, "ada", "pw").await;
    assert!(one.lines().is_empty());
}

#[cfg(feature = "monitoring")]
#[tokio::test]
async fn a_test_can_serve_the_endpoints() {
    use broker_bin::monitor::{Monitor, MonitorOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let natsd = production().await;
    let monitor = Monitor::bind(&MonitorOptions::default(), natsd.observer()).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(monitor.local_addr()).await.unwrap();
    stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"server_name\": \"eu-1\""), "{answer}");
}

#[test]
fn tests_of_other_projects_need_no_process() {
    no_process::main().unwrap();
}

#[tokio::test]
async fn no_metrics_recorder_is_installed_and_two_brokers_have_separate_metrics() {
    let (one, other) = (production().await, production().await);
    let _client = connect(&one, "app", "s3cr3t").await;
    let connections = |natsd: &TestNatsd| {
        let text = natsd.metrics_text();
        let line = text.lines().find(|line| line.starts_with("gnatsd_varz_connections{")).unwrap();
        line.split(' ').next_back().unwrap().to_owned()
    };
    assert_eq!((&*connections(&one), &*connections(&other)), ("1", "0"));
    let mine = metrics::set_global_recorder(metrics::NoopRecorder);
    assert!(mine.is_ok(), "a recorder is installed");
}

#[tokio::test]
async fn a_reload_changes_where_traces_go() {
    let config = |trace: &str| {
        format!(
            "server_tags: [eu]\naccounts {{ A {{ users: [{{ user: a, password: p }}]\n{trace} }} }}"
        )
    };
    let natsd = TestNatsd::builder().config(config("msg_trace: trace.one")).start().await.unwrap();
    let client = connect(&natsd, "a", "p").await;
    let mut traces = client.subscribe("trace.>").await.unwrap();
    let mut marked = async_nats::HeaderMap::new();
    marked.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    for (trace, expected) in [
        ("msg_trace: trace.one", Some("trace.one")),
        ("trace_dest: { dest: trace.two, sampling: '100%' }", Some("trace.two")),
        ("msg_trace: {}", None),
        ("msg_trace: { dest: trace.three }", Some("trace.three")),
        ("", None),
    ] {
        natsd.reload(&config(trace)).await.unwrap();
        client.publish_with_headers("orders", marked.clone(), "one".into()).await.unwrap();
        client.publish("trace.end", "".into()).await.unwrap();
        let mut event = traces.next().await.unwrap();
        if let Some(expected) = expected {
            assert_eq!(event.subject.as_str(), expected);
            let seen: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            assert_eq!(seen["server"]["tags"][0], "eu");
            assert_eq!(seen["events"][0]["acc"], "A");
            event = traces.next().await.unwrap();
        }
        assert_eq!(event.subject.as_str(), "trace.end", "{trace}");
    }
}

/// Returns a cluster with the program as a member, in place of nats-server.
async fn with_a_process() -> TestCluster {
    let builder = TestCluster::builder().servers(2).with_nats_server(env!("CARGO_BIN_EXE_natsd"));
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_process_is_a_member_of_a_test_cluster() {
    let mut cluster = with_a_process().await;
    assert_eq!(cluster.urls().len(), 3);
    for _ in 0..2 {
        let there = async_nats::connect(cluster.url(2)).await.unwrap();
        assert_eq!(there.server_info().server_name, "n2");
        let mut orders = there.subscribe("orders.>").await.unwrap();
        // On the process too, whose own client it is, and on the others.
        cluster.wait_for_interest("orders.eu").await;
        cluster.client(0).publish("orders.eu", "7 apples".into()).await.unwrap();
        assert_eq!(orders.next().await.unwrap().payload, "7 apples");
        // Interest of the others is known to the process.
        let mut prices = cluster.client(1).subscribe("prices").await.unwrap();
        cluster.wait_for_interest("prices").await;
        there.publish("prices", "2".into()).await.unwrap();
        assert_eq!(prices.next().await.unwrap().payload, "2");
        let url = cluster.url(2);
        cluster.stop(2);
        assert!(async_nats::connect(&url).await.is_err(), "it has ended");
        cluster.wait_connected().await;
        assert_eq!(cluster.urls().len(), 2);
        cluster.restart(2).await.unwrap();
        cluster.wait_connected().await;
        assert_eq!(cluster.url(2), url);
    }
    // A server of the test that restarts connects to the process.
    cluster.restart(0).await.unwrap();
    cluster.wait_connected().await;
}

#[tokio::test]
async fn a_process_ends_with_its_test_cluster() {
    let cluster = with_a_process().await;
    let address = cluster.url(2).trim_start_matches("nats://").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(cluster);
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[tokio::test]
#[should_panic(expected = "its servers can be stopped, not partitioned")]
async fn a_test_cluster_with_a_process_cannot_be_partitioned() {
    with_a_process().await.isolate(2);
}

#[tokio::test]
#[should_panic(expected = "the clock of a nats-server cannot be moved")]
async fn a_test_cluster_with_a_process_has_the_clock_of_the_machine() {
    with_a_process().await.advance(Duration::from_secs(1)).await;
}

#[tokio::test]
#[should_panic(expected = "server 2 does not run in this process")]
async fn a_process_is_no_test_broker() {
    let _ = with_a_process().await.node(2);
}

#[cfg(feature = "streams")]
#[tokio::test]
async fn streams_of_a_configuration_are_served_without_files() {
    let config = "jetstream { store_dir: \"/nowhere\", domain: hub, max_file_store: 1MB }";
    let natsd = TestNatsd::start_with(config).await;
    assert_eq!(natsd.varz().jetstream.config.unwrap().domain, "hub");
    let client = async_nats::connect(natsd.url()).await.unwrap();
    let context = async_nats::jetstream::with_domain(client, "hub");
    let config = async_nats::jetstream::stream::Config {
        name: "ORDERS".into(),
        subjects: vec!["orders".into()],
        ..Default::default()
    };
    let mut orders = context.create_stream(config).await.unwrap();
    context.publish("orders", "one".into()).await.unwrap().await.unwrap();
    natsd.crash().await;
    natsd.restart().await.unwrap();
    assert_eq!(orders.info().await.unwrap().state.messages, 1);
    assert_eq!(natsd.varz().jetstream.stats.unwrap().storage, 39);
}
