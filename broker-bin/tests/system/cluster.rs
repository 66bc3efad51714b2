//! The system account and the monitoring data of a cluster.

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use broker_bin::Daemon;
use broker_bin::monitor::{RoutezOptions, SubscriptionLists};
use broker_bin::options::{Request, load_text};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::common::{event, subscribe};

/// Long enough for a busy machine; reached only if a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

const ACCOUNTS: &str = r#"
    accounts {
      $SYS { users: [ { user: sys, password: s } ] }
      A { limits { max_connections: 3 }, users: [ { user: a, password: a } ] }
    }
"#;

/// Starts a member of the cluster, which connects to `seed`.
async fn start(name: &str, seed: Option<&Daemon>, more: &str) -> Daemon {
    let seed = seed.map(|seed| format!("'nats://127.0.0.1:{}'", seed.varz().cluster.cluster_port));
    let text = format!(
        "listen: '127.0.0.1:-1', server_name: {name}, {ACCOUNTS}
         cluster {{ name: C, listen: '127.0.0.1:-1', routes: [{}], {more} }}",
        seed.unwrap_or_default()
    );
    let loaded = load_text(&text, "natsd.conf", &Request::default()).unwrap();
    Daemon::start(loaded.options).await.unwrap()
}

/// Starts three servers, and waits until each knows both others.
async fn three() -> [Daemon; 3] {
    let one = start("one", None, "").await;
    let two = start("two", Some(&one), "").await;
    let three = start("three", Some(&one), "").await;
    let all = [one, two, three];
    let operator = connect(&all[0], "sys", "s").await;
    let mut events = subscribe(&operator, "$SYS.SERVER.*.STATSZ").await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 3 || seen.values().any(|servers| *servers != 3) {
        let (_, statsz) = event(&mut events).await;
        let name = statsz["server"]["name"].as_str().unwrap().to_owned();
        assert_eq!(statsz["server"]["cluster"], "C");
        seen.insert(name, statsz["statsz"]["active_servers"].as_u64().unwrap());
    }
    all
}

async fn connect(daemon: &Daemon, user: &str, password: &str) -> Client {
    let options = ConnectOptions::with_user_and_password(user.into(), password.into());
    options.connect(format!("nats://{}", daemon.local_addr())).await.unwrap()
}

async fn can_connect(daemon: &Daemon) -> bool {
    let options = ConnectOptions::with_user_and_password("a".into(), "a".into());
    options.connect(format!("nats://{}", daemon.local_addr())).await.is_ok()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}

/// Asks all servers, and returns their answers until there are three.
async fn ask_all(client: &Client, subject: &str) -> Vec<Value> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    let mut found = Vec::new();
    while found.len() < 3 {
        let answer = tokio::time::timeout(DEADLINE, answers.next()).await.unwrap().unwrap();
        found.push(serde_json::from_slice(&answer.payload).unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_answers_once_and_only_for_itself() {
    let all = three().await;
    let operator = connect(&all[1], "sys", "s").await;
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ"] {
        let mut names: Vec<_> = ask_all(&operator, subject)
            .await
            .iter()
            .map(|answer| answer["server"]["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["one", "three", "two"], "{subject}");
    }
    for daemon in &all {
        let info = daemon.broker().info();
        let subject = format!("$SYS.REQ.SERVER.{}.IDZ", info.server_id);
        let answer = operator.request(subject, "".into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["name"], json!(info.server_name));
    }
    for daemon in all {
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_accounts_hold_for_the_whole_cluster() {
    let all = three().await;
    let mut clients = Vec::new();
    for daemon in &all {
        clients.push(connect(daemon, "a", "a").await);
    }
    let known = |daemon: &Daemon| daemon.broker().remote_servers_of("A");
    until(|| all.iter().all(|daemon| known(daemon) == 2)).await;
    for daemon in &all {
        assert!(!can_connect(daemon).await, "three connections are the limit");
    }
    // The members of a server that has ended count no more.
    let [one, two, three] = all;
    drop(clients);
    three.stop().await;
    until(|| known(&one) == 0 && known(&two) == 0).await;
    assert!(can_connect(&one).await);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sees_its_connections_on_all_servers() {
    let all = three().await;
    let mut clients = Vec::new();
    for daemon in &all {
        clients.push(connect(daemon, "a", "a").await);
    }
    let mut found = Vec::new();
    for answer in ask_all(&clients[1], "$SYS.REQ.SERVER.PING.CONNZ").await {
        assert_eq!(answer["data"]["connections"].as_array().unwrap().len(), 1, "{answer}");
        found.push(answer["server"]["name"].as_str().unwrap().to_owned());
    }
    found.sort_unstable();
    assert_eq!(found, ["one", "three", "two"]);
    for daemon in all {
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_counted_on_all_servers() {
    let all = three().await;
    let mut subscriptions = Vec::new();
    let mut operators = Vec::new();
    for daemon in &all {
        let operator = connect(daemon, "sys", "s").await;
        subscriptions.push(subscribe(&operator, "seen").await);
        operators.push(operator);
    }
    until(|| all.iter().all(|daemon| daemon.broker().remote_servers_of("$SYS") == 2)).await;
    let answer = operators[2].request("$SYS.DEBUG.SUBSCRIBERS", "seen".into()).await.unwrap();
    assert_eq!(answer.payload, "3");
    for daemon in all {
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_lists_routes_and_their_subscriptions() {
    let one = start("one", None, "pool_size: 2, permissions { import: 'a.>' }").await;
    let more = "pool_size: 2, authorization { user: u, password: s3cret }";
    let two = start("two", Some(&one), more).await;
    let client = connect(&two, "a", "a").await;
    let _subscriber = subscribe(&client, "a.b").await;
    let lists = |subscriptions| one.observer().routez(&RoutezOptions { subscriptions });
    let has_it = |subject: &str| {
        let routes = lists(SubscriptionLists::Subjects).routes;
        routes.iter().any(|route| route.subscriptions_list.iter().any(|one| **one == *subject))
    };
    until(|| has_it("a.b")).await;
    // Two of the pool, and that of the system account.
    until(|| one.varz().routes == 3 && two.varz().routes == 3).await;
    assert_eq!((one.varz().remotes, two.varz().remotes), (1, 1));

    let shown = serde_json::to_value(lists(SubscriptionLists::Detail)).unwrap();
    assert_eq!(shown["import"], json!({"allow": ["a.>"]}));
    assert_eq!(shown["num_routes"], 3);
    let routes = shown["routes"].as_array().unwrap();
    let system = routes.iter().find(|route| route["account"] == "$SYS").unwrap();
    assert_eq!(system["remote_name"], "two");
    assert_eq!((&system["did_solicit"], &system["ip"]), (&json!(false), &json!("127.0.0.1")));
    assert_eq!(system["remote_id"], json!(two.broker().info().server_id));
    let details = routes.iter().filter_map(|route| route["subscriptions_list_detail"].as_array());
    let detail = details.flatten().find(|one| one["subject"] == "a.b").unwrap();
    assert_eq!(detail["sid"], "A a.b");

    let two_seen = serde_json::to_value(two.observer().routez(&RoutezOptions::default())).unwrap();
    let first = &two_seen["routes"][0];
    assert_eq!((&first["did_solicit"], &first["is_configured"]), (&json!(true), &json!(true)));
    assert_eq!(first["import"], json!({"allow": ["a.>"]}));
    let cluster = serde_json::to_value(two.varz().cluster).unwrap();
    let port = one.varz().cluster.cluster_port;
    assert_eq!(
        cluster,
        json!({
            "name": "C", "addr": "127.0.0.1", "cluster_port": two.varz().cluster.cluster_port,
            "auth_timeout": 2.0, "urls": [format!("127.0.0.1:{port}")], "tls_timeout": 2.0, "pool_size": 2,
        })
    );
    let text = two.observer().metrics_text(broker_bin::options::MetricsPrefix::Gnatsd);
    for name in [
        "natsd_cluster_servers",
        "natsd_route_rtt_seconds",
        "natsd_route_pending_bytes",
        "natsd_routes_closed_total",
        "natsd_route_reconnects_total",
        "gnatsd_routez_route_info",
        "gnatsd_routez_route_rtt_seconds",
        "gnatsd_routez_route_out_bytes",
        "gnatsd_varz_cluster_pool_size",
    ] {
        assert!(text.contains(&format!("{name}{{")), "{name} in {text}");
    }
    assert!(!text.contains("s3cret"));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_and_removes_routes() {
    let (one, two) = (start("one", None, "").await, start("two", None, "").await);
    assert_eq!((one.varz().remotes, two.varz().remotes), (0, 0));
    let before = (*two.options()).clone();
    let mut with_route = before.clone();
    let url = format!("nats://127.0.0.1:{}", one.varz().cluster.cluster_port);
    with_route.cluster.routes = vec![url.as_str().into()];
    let changes = two.apply(with_route.clone()).await.unwrap().changes;
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["Reloaded: cluster routes"]
    );
    until(|| two.varz().routes == 4 && one.varz().routes == 4).await;
    assert_eq!(two.varz().cluster.urls, [url.trim_start_matches("nats://")]);

    let mut with_pool = with_route.clone();
    with_pool.cluster.pool_size = 1;
    with_pool.cluster.accounts = vec!["NOBODY".into()];
    let error = two.apply(with_pool.clone()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "unable to add account \"NOBODY\" to the list of dedicated routes: account missing"
    );
    with_pool.cluster.accounts.clear();
    with_pool.cluster.no_advertise = true;
    let changes = two.apply(with_pool.clone()).await.unwrap().changes;
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Reloaded: cluster"]);
    until(|| {
        two.varz().routes >= 2 && two.observer().routez(&RoutezOptions::default()).routes.len() < 5
    })
    .await;

    let mut without = with_pool;
    without.cluster.routes.clear();
    two.apply(without).await.unwrap();
    until(|| two.varz().remotes == 0 && one.varz().remotes == 0).await;
    one.stop().await;
    two.stop().await;
}
