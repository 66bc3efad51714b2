//! Events of the server.

use serde_json::{Value, json};

use crate::common::{Server, event, names, next, plain, subscribe};

const CONNECT: &str = "io.nats.server.advisory.v1.client_connect";
const DISCONNECT: &str = "io.nats.server.advisory.v1.client_disconnect";
const CONNECTIONS: &str = "io.nats.server.advisory.v1.account_connections";

#[tokio::test]
async fn connections_are_reported_in_order() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut events = subscribe(&operator, "$SYS.*.*.>").await;
    let client = server.connect("a", "a").await;
    for subject in ["$SYS.SERVER.ACCOUNT.A.CONNS", "$SYS.ACCOUNT.A.SERVER.CONNS"] {
        let (found, conns) = event(&mut events).await;
        assert_eq!(found, subject);
        assert_eq!((&conns["type"], &conns["acc"]), (&json!(CONNECTIONS), &json!("A")));
        assert_eq!((&conns["conns"], &conns["total_conns"]), (&json!(1), &json!(1)));
    }
    let message = next(&mut events).await;
    assert_eq!(&*message.subject, "$SYS.ACCOUNT.A.CONNECT");
    assert_eq!(names(&message.payload), ["type", "id", "timestamp", "server", "client"]);
    let connect: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(connect["type"], CONNECT);
    let seen = &connect["client"];
    let kind = json!(["127.0.0.1", "A", "a", "a test", "A", "Client", "nats"]);
    let shown = ["host", "acc", "user", "name", "name_tag", "kind", "client_type"];
    assert_eq!(Value::from_iter(shown.map(|name| seen[name].clone())), kind);
    assert_eq!(seen["id"], client.server_info().client_id);
    let server_info = &connect["server"];
    assert_eq!((&server_info["name"], &server_info["id"]), (&json!("one"), &json!(server.id())));
    assert_eq!(server_info["tags"], json!(["eu", "rack:7"]));
    assert_eq!(server_info["metadata"], json!({"owner": "ops"}));

    client.publish("out", "four".into()).await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    for _ in 0..2 {
        let (_, conns) = event(&mut events).await;
        assert_eq!((&conns["conns"], &conns["received"]["msgs"]), (&json!(0), &json!(1)));
    }
    let (subject, disconnect) = event(&mut events).await;
    assert_eq!(subject, "$SYS.ACCOUNT.A.DISCONNECT");
    assert_eq!(
        (&disconnect["type"], &disconnect["reason"]),
        (&json!(DISCONNECT), &json!("Client Closed"))
    );
    assert_eq!(disconnect["sent"], json!({"msgs": 1, "bytes": 4}));
    assert!(disconnect["client"]["stop"].is_string() && disconnect["client"]["rtt"].is_u64());
    let sequence = |event: &Value| event["server"]["seq"].as_u64();
    assert!(sequence(&connect) < sequence(&disconnect));
    server.daemon.stop().await;
}

#[tokio::test]
async fn refused_credentials_are_reported_to_operators_and_to_the_account() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut errors = subscribe(&operator, "$SYS.SERVER.*.CLIENT.AUTH.ERR").await;
    let mut ends = subscribe(&operator, "$SYS.ACCOUNT.*.DISCONNECT").await;
    assert!(server.is_refused("a", "wrong").await);
    let (subject, error) = event(&mut errors).await;
    assert_eq!(subject, format!("$SYS.SERVER.{}.CLIENT.AUTH.ERR", server.id()));
    assert_eq!(
        (&error["type"], &error["reason"]),
        (&json!(DISCONNECT), &json!("Authentication Failure"))
    );
    // NATS 2.14: a client without an account belongs to the global one.
    assert_eq!((&error["client"]["user"], &error["client"]["acc"]), (&json!("a"), &json!("$G")));
    let (subject, end) = event(&mut ends).await;
    assert_eq!(
        (&*subject, &end["reason"]),
        ("$SYS.ACCOUNT.$G.DISCONNECT", &json!("Authentication Failure"))
    );
    assert!(!error.to_string().contains("wrong"));
    server.daemon.stop().await;
}

const CALLOUT: &str = r#"
    authorization { auth_callout {
      issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA
      account: A, auth_users: [ a ], allowed_accounts: [ B ]
    } }
"#;

#[tokio::test]
async fn a_denial_of_a_service_is_reported_in_its_account_with_its_reason() {
    let server = Server::start_with(CALLOUT).await;
    let (operator, service) = (server.operator().await, server.connect("a", "a").await);
    let mut all = subscribe(&operator, "$SYS.SERVER.*.CLIENT.AUTH.ERR").await;
    let mut own = subscribe(&service, "$SYS.ACCOUNT.CLIENT.AUTH.ERR").await;
    let mut requests = subscribe(&service, "$SYS.REQ.USER.AUTH").await;
    let answer = async {
        let reply = next(&mut requests).await.reply.unwrap();
        service.publish(reply, "no".into()).await.unwrap();
        service.flush().await.unwrap();
    };
    let (is_refused, ()) = tokio::join!(server.is_refused("x", "wrong"), answer);
    assert!(is_refused);
    let (_, event_of_service) = event(&mut own).await;
    assert_eq!(event_of_service["reason"], "Expected 3 chunks");
    assert_eq!(event_of_service["client"]["acc"], "A");
    assert_eq!(event_of_service["client"]["user"], "x");
    let (_, event_of_operator) = event(&mut all).await;
    assert_eq!(event_of_operator["reason"], "Authentication Failure");
    assert_eq!(event_of_operator["client"]["acc"], "$G");
    server.daemon.stop().await;
}

#[tokio::test]
async fn nobody_publishes_events_or_receives_those_of_another_account() {
    let server = Server::start().await;
    let (operator, client) = (server.operator().await, server.connect("a", "a").await);
    let mut events = subscribe(&operator, "$SYS.>").await;
    let mut elsewhere = subscribe(&client, "$SYS.>").await;
    for subject in ["$SYS.ACCOUNT.A.DISCONNECT", "$SYS.SERVER.X.SHUTDOWN"] {
        operator.publish(subject, "forged".into()).await.unwrap();
    }
    client.publish("$SYS.ACCOUNT.CLIENT.AUTH.ERR", "forged".into()).await.unwrap();
    client.publish("$SYS.mine", "kept".into()).await.unwrap();
    operator.publish("$SYS.mine", "kept".into()).await.unwrap();
    for subscriber in [&mut events, &mut elsewhere] {
        loop {
            let message = next(subscriber).await;
            assert_ne!(message.payload, "forged");
            if message.payload == "kept" {
                break;
            }
        }
    }
    server.daemon.stop().await;
}

#[tokio::test]
async fn statistics_are_published_soon_after_the_start_and_on_request() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut statistics = subscribe(&operator, "$SYS.SERVER.*.STATSZ").await;
    operator.publish("$SYS.REQ.SERVER.PING", "".into()).await.unwrap();
    let message = next(&mut statistics).await;
    assert_eq!(names(&message.payload), ["server", "statsz"]);
    let statsz: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(statsz["statsz"]["connections"], 1);
    assert_eq!(statsz["statsz"]["active_servers"], 1);
    // The next one comes without a request.
    next(&mut statistics).await;
    server.daemon.stop().await;
}

#[tokio::test]
async fn the_end_of_the_server_is_its_last_event() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut ends = subscribe(&operator, "$SYS.SERVER.*.*").await;
    let id = server.id();
    let leaving = async {
        tokio::select! {
            () = server.daemon.lame_duck() => unreachable!("the operator is connected"),
            (subject, info) = async {
                loop {
                    let (subject, value) = event(&mut ends).await;
                    if !subject.ends_with(".STATSZ") {
                        break (subject, value);
                    }
                }
            } => (subject, info),
        }
    };
    let (subject, info) = leaving.await;
    assert_eq!(subject, format!("$SYS.SERVER.{id}.LAMEDUCK"));
    assert_eq!(info["name"], "one");
    server.daemon.stop().await;
    let (subject, info) = loop {
        let (subject, value) = event(&mut ends).await;
        if !subject.ends_with(".STATSZ") {
            break (subject, value);
        }
    };
    assert_eq!(subject, format!("$SYS.SERVER.{id}.SHUTDOWN"));
    assert_eq!(info["id"], id);
}

#[tokio::test]
async fn a_program_subscribes_in_the_process() {
    use broker_core::auth::Grant;

    let daemon = plain().await;
    let client = daemon.broker().client_as(Grant::anonymous().with_account("$SYS"));
    let mut events = client.subscribe("$SYS.ACCOUNT.*.CONNECT").await.unwrap();
    let url = format!("nats://{}", daemon.local_addr());
    let connected = async_nats::connect(url).await.unwrap();
    let message = events.next().await.unwrap();
    assert_eq!(message.subject.as_str(), "$SYS.ACCOUNT.$G.CONNECT");
    let connect: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(connect["client"]["id"], connected.server_info().client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn an_account_of_another_name_receives_the_events() {
    use broker_bin::system::SystemAccount;
    use broker_bin::testing::TestNatsd;
    use broker_core::auth::Grant;

    let config =
        "system_account: OPS, accounts { OPS {}, A { users: [ { user: a, password: a } ] } }";
    let natsd = TestNatsd::start_with(config).await;
    let _system = SystemAccount::start(&natsd.observer()).unwrap();
    assert_eq!(&*natsd.varz().system_account, "OPS");
    let client = natsd.broker().client_as(Grant::anonymous().with_account("OPS"));
    let mut events = client.subscribe("$SYS.ACCOUNT.A.CONNECT").await.unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
    let _connected = options.connect(natsd.url()).await.unwrap();
    assert!(events.next().await.is_some());
}
