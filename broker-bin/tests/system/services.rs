//! Services of the server for every account.

use async_nats::{ConnectOptions, RequestErrorKind};
use broker_bin::Daemon;
use broker_bin::options::{Request, load_text};
use broker_core::auth::jwt::{ExportType, Import};
use broker_net::testing::TestOperator;
use serde_json::json;

use crate::common::{Server, ask, plain};

#[tokio::test]
async fn a_user_learns_who_it_is_and_what_it_may_do() {
    let server = Server::start().await;
    let client = server.connect("a", "a").await;
    let info = ask(&client, "$SYS.REQ.USER.INFO", "").await;
    assert_eq!(info["data"], json!({"user": "a", "account": "A", "account_name": "A"}));
    let limited = server.connect("limited", "l").await;
    let info = ask(&limited, "$SYS.REQ.USER.INFO", "").await;
    assert_eq!(
        info["data"]["permissions"],
        json!({
            "publish": {"allow": ["$SYS.REQ.USER.INFO", "out"], "deny": ["bar"]},
            "subscribe": {"allow": ["_INBOX.>", "x q"]},
            "responses": {"max": 3, "ttl": 60_000_000_000_i64},
        })
    );
    let operator = server.operator().await;
    let info = ask(&operator, "$SYS.REQ.USER.INFO", "").await;
    assert_eq!(info["data"], json!({"user": "sys", "account": "$SYS", "account_name": "$SYS"}));
    server.daemon.stop().await;
}

#[tokio::test]
async fn an_account_sees_its_own_connections_and_traffic_only() {
    let server = Server::start().await;
    let (a, _b) = (server.connect("a", "a").await, server.connect("b", "b").await);
    for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
        for options in ["", r#"{"acc": "B"}"#] {
            let found = ask(&a, subject, options).await;
            let connections = found["data"]["connections"].as_array().unwrap();
            assert_eq!(connections.len(), 1, "{subject}");
            assert_eq!(connections[0]["name"], "a test");
        }
    }
    let found = ask(&a, "$SYS.REQ.ACCOUNT.PING.STATZ", r#"{"accounts": ["B"]}"#).await;
    let accounts = found["data"]["account_statz"].as_array().unwrap();
    assert_eq!((accounts.len(), &accounts[0]["acc"]), (1, &json!("A")));
    server.daemon.stop().await;
}

#[tokio::test]
async fn other_requests_are_for_the_system_account_only() {
    let server = Server::start().await;
    let client = server.connect("a", "a").await;
    let id = server.id();
    for subject in [
        "$SYS.REQ.SERVER.PING".to_owned(),
        "$SYS.REQ.SERVER.PING.VARZ".to_owned(),
        "$SYS.REQ.ACCOUNT.A.CONNZ".to_owned(),
        "$SYS.DEBUG.SUBSCRIBERS".to_owned(),
        format!("$SYS.REQ.SERVER.{id}.KICK"),
        format!("$SYS.REQ.SERVER.{id}.RELOAD"),
    ] {
        let answer = client.request(subject.clone(), "".into()).await;
        assert_eq!(answer.unwrap_err().kind(), RequestErrorKind::NoResponders, "{subject}");
    }
    server.daemon.stop().await;
}

#[tokio::test]
async fn an_account_costs_no_subscription() {
    let daemon = plain().await;
    let before = daemon.varz().subscriptions;
    let url = format!("nats://{}", daemon.local_addr());
    let client = async_nats::connect(url).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(daemon.varz().subscriptions, before);
    let info = ask(&client, "$SYS.REQ.USER.INFO", "").await;
    assert_eq!(info["data"], json!({"user": "", "account": "$G", "account_name": "$G"}));
    daemon.stop().await;
}

/// The exports of the system account, which another account may request and subscribe to.
#[tokio::test]
async fn an_account_imports_a_request_and_events() {
    use broker_bin::system::SystemAccount;
    use broker_bin::testing::TestNatsd;
    use futures_util::StreamExt as _;

    let config = r#"accounts {
      $SYS { exports: [ { service: "$SYS.REQ.SERVER.PING.IDZ" }, { stream: "$SYS.ACCOUNT.*.CONNECT" } ] }
      A {
        users: [ { user: a, password: a } ]
        imports: [
          { service: { account: "$SYS", subject: "$SYS.REQ.SERVER.PING.IDZ" }, to: who }
          { stream: { account: "$SYS", subject: "$SYS.ACCOUNT.*.CONNECT" }, to: "came.$1" }
        ]
      }
    }"#;
    let natsd = TestNatsd::start_with(config).await;
    let _system = SystemAccount::start(&natsd.observer()).unwrap();
    let connect = async || {
        let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
        options.connect(natsd.url()).await.unwrap()
    };
    let client = connect().await;
    let info = ask(&client, "who", "").await;
    assert_eq!(info["id"], natsd.broker().info().server_id);
    let mut events = client.subscribe("came.*").await.unwrap();
    client.flush().await.unwrap();
    ask(&client, "who", "").await;
    let _other = connect().await;
    let event = events.next().await.unwrap();
    assert_eq!(&*event.subject, "came.A");
}

#[tokio::test]
async fn a_server_without_a_system_account_answers_nothing() {
    use broker_bin::{Daemon, Options};

    let options = Options {
        host: "127.0.0.1".into(),
        port: 0,
        no_system_account: true,
        ..Options::default()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let client = async_nats::connect(format!("nats://{}", daemon.local_addr())).await.unwrap();
    let answer = client.request("$SYS.REQ.USER.INFO", "".into()).await;
    assert_eq!(answer.unwrap_err().kind(), RequestErrorKind::NoResponders);
    daemon.stop().await;
}

// NATS 2.14: events.go addSystemAccountExports.
#[tokio::test]
async fn claims_may_import_what_the_system_account_exports_without_claims_of_it() {
    let operator = TestOperator::new();
    let (system, other) = (operator.account("SYS"), operator.account("OTHER"));
    let import = |of: &str, local: &str| {
        let subject = format!("$SYS.REQ.ACCOUNT.{of}.CONNZ");
        let mut import = Import::new(ExportType::Service, system.public_key(), subject);
        import.local_subject = local.into();
        import
    };
    let account = operator.account_with("A", |claims| {
        let own = claims.subject.clone();
        claims.nats.imports =
            vec![import(&own, "my.connz"), import(&other.public_key(), "other.connz")];
    });
    let config = format!(
        "{}\nsystem_account: {}\nlisten: '127.0.0.1:-1'",
        operator.config(),
        system.public_key()
    );
    let loaded = load_text(&config, "test", &Request::default()).unwrap();
    let daemon = Daemon::start_loaded(loaded).await.unwrap();
    let options = ConnectOptions::with_credentials(&account.user("u").creds()).unwrap();
    let client = options.connect(format!("nats://{}", daemon.local_addr())).await.unwrap();
    let answer = ask(&client, "my.connz", "").await;
    assert_eq!(answer["data"]["num_connections"], 1);
    let refused = client.request("other.connz", "".into()).await;
    assert!(refused.unwrap_err().to_string().contains("no responders"));
    daemon.stop().await;
}
