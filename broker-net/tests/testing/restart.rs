//! A server that restarts, and one that is restarted with other options.

use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::Authenticator;
use broker_net::ApplyError;
use broker_net::testing::{Fault, TestBroker, block_on};

use crate::{connect, next};

#[tokio::test]
async fn clients_reconnect_and_resubscribe_after_a_restart() {
    let broker = TestBroker::builder().server_name("again").start().await.unwrap();
    let url = broker.url();
    let client = connect(&url).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    client.flush().await.unwrap();
    let first_id = broker.broker().info().server_id;

    broker.restart().await.unwrap();
    assert_eq!(broker.url(), url);
    assert_ne!(broker.broker().info().server_id, first_id);
    assert_eq!(broker.broker().info().server_name, "again");
    broker.wait_for_subscription("x").await;
    broker.client().publish("x", "1".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "1");
}

#[tokio::test]
async fn taps_and_faults_outlive_a_restart() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("x");
    broker.disturb("x", Fault::lose());
    broker.restart().await.unwrap();
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    client.publish("x", "1".into()).await.unwrap();
    assert_eq!(tap.next().await.payload, "1");
    assert_eq!(inbox.try_next(), None);
}

#[test]
fn a_broker_on_its_own_thread_restarts_too() {
    let broker = TestBroker::start_blocking();
    let address = broker.address();
    for _ in 0..10 {
        block_on(broker.restart()).unwrap();
        assert_eq!(broker.address(), address);
        std::net::TcpStream::connect(address).unwrap();
    }
}

#[tokio::test]
async fn waiting_continues_through_a_restart() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let waiting = broker.wait_for_clients(2).into_future();
    let meanwhile = async {
        broker.restart().await.unwrap();
        connect(&broker.url()).await
    };
    let ((), _second) = tokio::join!(waiting, meanwhile);
    drop(client);
}

#[tokio::test]
async fn options_change_while_it_serves_and_stay_changed_after_a_restart() {
    let broker = TestBroker::start().await;
    let mut options = broker.options();
    options.broker.limits.max_payload_bytes = 10;
    let users = broker_core::auth::Users::builder()
        .user(broker_net::testing::User::new("a", "pw"))
        .build()
        .unwrap();
    broker.apply(options, Some(Arc::new(users))).await.unwrap();
    for _ in 0..2 {
        assert!(async_nats::connect(broker.url()).await.is_err());
        let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "pw".into());
        let client = options.connect(broker.url()).await.unwrap();
        assert_eq!(client.server_info().max_payload, 10);
        broker.restart().await.unwrap();
    }
    let mut options = broker.options();
    options.host = "0.0.0.0".into();
    let refused = broker.apply(options, None).await;
    assert!(matches!(refused, Err(ApplyError::NotAtRunTime { name: "Host", .. })), "{refused:?}");
}

#[tokio::test]
async fn options_that_take_a_restart_change_by_one() {
    let broker = TestBroker::builder().seed(3).start().await.unwrap();
    let client = connect(&broker.url()).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    let (url, mut options) = (broker.url(), broker.options());
    options.port = 0;
    options.broker.server_name = Some("other".into());
    options.broker.limits.max_pending_bytes = 1 << 21;
    broker.restart_with(options, None).await.unwrap();
    assert_eq!(broker.url(), url);
    broker.wait_for_subscription("x").await;
    assert_eq!(broker.broker().info().server_name, "other");
    assert_eq!(broker.options().broker.limits.max_pending_bytes, 1 << 21);
    broker.client().publish("x", "1".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "1");

    let token: Arc<dyn Authenticator> = Arc::new(broker_core::auth::Token::new("t"));
    broker.restart_with(broker.options(), Some(token.into())).await.unwrap();
    assert!(async_nats::connect(&url).await.is_err());
}

#[tokio::test]
async fn stopping_leaves_nothing() {
    let broker = TestBroker::builder().own_thread().start().await.unwrap();
    let address = broker.address();
    let _client = connect(&broker.url()).await;
    tokio::time::timeout(Duration::from_secs(10), broker.stop()).await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}
