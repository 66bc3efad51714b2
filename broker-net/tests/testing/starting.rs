//! Starting a broker in one line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use broker_core::SubjectFilter;
use broker_core::account::{AccountConfig, Export, Import};
use broker_net::testing::{
    Authenticator, Credentials, Decision, Grant, Permissions, StartError, TestBroker, User,
    block_on,
};

use crate::{connect, next};

#[tokio::test]
async fn one_line_and_clients_can_connect() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    client.publish("x", "1".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_in_a_runtime_of_several_threads() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let mut inbox = broker.client().subscribe("x").await.unwrap();
    client.publish("x", "1".into()).await.unwrap();
    assert_eq!(inbox.next().await.unwrap().payload, "1");
}

#[tokio::test(start_paused = true)]
async fn a_broker_follows_a_paused_clock() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    client.publish("x", "1".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "1");
    let tap = broker.tap("x");
    // Hours of PINGs in no time.
    tokio::time::sleep(Duration::from_hours(3)).await;
    broker.client().publish("x", "2".into()).await.unwrap();
    assert_eq!(tap.next().await.payload, "2");
    assert_eq!(next(&mut inbox).await.payload, "2");
    broker.wait_for_clients(1).await;
}

#[test]
fn it_starts_without_a_runtime() {
    let broker = TestBroker::start_blocking();
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\n").unwrap();
    block_on(broker.wait_for_subscription("x"));
    block_on(broker.client().publish("x", "hello".into())).unwrap();
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while !seen.ends_with(b"MSG x 1 5\r\nhello\r\n") {
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..len]);
    }
}

#[test]
fn any_executor_can_start_it_and_wait_for_it() {
    block_on(async {
        let broker = TestBroker::start().await;
        let tap = broker.tap(">");
        broker.client().publish("x", "1".into()).await.unwrap();
        assert_eq!(tap.next().await.payload, "1");
        broker.stop().await;
    });
}

#[tokio::test]
async fn on_its_own_thread_it_goes_on_while_the_test_blocks() {
    let broker = TestBroker::builder().own_thread().start().await.unwrap();
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    let mut first = [0; 5];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"INFO ");
}

#[tokio::test]
async fn users_have_their_configured_permissions() {
    let may_read = Permissions::builder().publish_deny([">"]).build().unwrap();
    let broker = TestBroker::builder()
        .server_name("named")
        .user("app", "s3cr3t")
        .add_user(User::new("reader", "pw").permissions(may_read))
        .start()
        .await
        .unwrap();
    let log_in = async |user: &str, password: &str| {
        async_nats::ConnectOptions::with_user_and_password(user.into(), password.into())
            .connect(broker.url())
            .await
    };
    assert!(log_in("app", "wrong").await.is_err());
    let (app, reader) =
        (log_in("app", "s3cr3t").await.unwrap(), log_in("reader", "pw").await.unwrap());
    assert_eq!(app.server_info().server_name, "named");
    let tap = broker.tap("x");
    reader.publish("x", "denied".into()).await.unwrap();
    reader.flush().await.unwrap();
    app.publish("x", "allowed".into()).await.unwrap();
    assert_eq!(tap.next().await.payload, "allowed");
    tap.expect_nothing();
}

#[tokio::test]
async fn a_token_authenticates() {
    let broker = TestBroker::builder().token("t0ken").start().await.unwrap();
    assert!(async_nats::connect(broker.url()).await.is_err());
    let options = async_nats::ConnectOptions::with_token("t0ken".into());
    options.connect(broker.url()).await.unwrap();
}

/// Accepts every client with a name.
struct Named;

impl Authenticator for Named {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        Grant::user(&*credentials.name).into()
    }
}

#[tokio::test]
async fn start_errors_name_their_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = TestBroker::builder().port(port).start().await.unwrap_err();
    let StartError::Bind(error) = error else { panic!("{error:?}") };
    assert_eq!(error.port(), port);

    let twice = TestBroker::builder().user("a", "1").user("a", "2");
    assert!(matches!(twice.start().await, Err(StartError::Users(_))));

    let two = TestBroker::builder().user("a", "1").authenticator(Named);
    assert!(matches!(two.start().await, Err(StartError::TwoAuthenticators)));
}

#[test]
fn start_errors_come_from_its_own_thread_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = TestBroker::builder().port(port).start_blocking().unwrap_err();
    assert!(matches!(error, StartError::Bind(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_without_a_socket_speaks_the_protocol() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("x");
    let mut stream = broker.connect();
    let said = b"CONNECT {}\r\nPUB x 1\r\n1\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, said).await.unwrap();
    assert_eq!(tap.next().await.payload, "1");
    // The tap's connection is an ordinary connection.
    assert!(broker.stall_reads(tap_id(&broker)));
    broker.cut_all();
    broker.wait_for_clients(0).await;
}

fn tap_id(broker: &TestBroker) -> u64 {
    broker.broker().lame_duck_order().others[0]
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn a_websocket_listener_survives_a_restart() {
    let broker = TestBroker::builder().websocket().start().await.unwrap();
    let url = broker.websocket_url().unwrap();
    let client = connect(&url).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.wait_for_subscription("x").await;
    broker.restart().await.unwrap();
    assert_eq!(broker.websocket_url(), Some(url));
    broker.wait_for_subscription("x").await;
    broker.client().publish("x", "1".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "1");
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn websocket_can_have_its_own_authenticator() {
    let page = broker_core::auth::Token::new("page");
    let builder = TestBroker::builder().websocket().token("fleet").websocket_authenticator(page);
    let broker = builder.start().await.unwrap();
    let connecting = async |token: &str, url: String| {
        async_nats::ConnectOptions::with_token(token.to_owned()).connect(url).await.is_ok()
    };
    for _ in 0..2 {
        let websocket = || broker.websocket_url().unwrap();
        assert!(connecting("page", websocket()).await);
        assert!(!connecting("fleet", websocket()).await);
        assert!(connecting("fleet", broker.url()).await);
        broker.fail_authentication(1);
        assert!(!connecting("page", websocket()).await);
        broker.restart().await.unwrap();
    }
}

#[tokio::test]
async fn every_option_of_the_server_can_be_changed() {
    let broker = TestBroker::builder()
        .options(|options| options.broker.no_header_support = true)
        .limits(|limits| limits.max_payload_bytes = 100)
        .start()
        .await
        .unwrap();
    let info = broker.broker().info();
    assert_eq!((info.headers, info.max_payload), (false, 100));
}

#[tokio::test]
async fn accounts_share_what_the_builder_says() {
    let filter = |text: &str| SubjectFilter::parse(text).unwrap();
    let shop = AccountConfig::new("SHOP")
        .with_export(Export::stream(filter("orders.*")))
        .with_export(Export::service(filter("price")));
    let billing = AccountConfig::new("BILLING")
        .with_import(Import::stream("SHOP", filter("orders.*")).with_prefix("shop"))
        .with_import(Import::service("SHOP", filter("price")));
    let broker = TestBroker::builder().account(shop).account(billing).start().await.unwrap();
    let client = |account: &str| broker.client_as(Grant::user("x").with_account(account));
    let (shop, billing) = (client("SHOP"), client("BILLING"));
    let mut orders = billing.subscribe("shop.>").await.unwrap();
    shop.publish("orders.eu", "1".into()).await.unwrap();
    assert_eq!(orders.next().await.unwrap().subject, "shop.orders.eu");
    let unanswered = billing.request("price", "".into()).await;
    assert!(unanswered.is_err(), "nobody offers the service: {unanswered:?}");
}
