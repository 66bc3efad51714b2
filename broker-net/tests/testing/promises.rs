//! The test broker does not affect the rest of its process.

use std::net::TcpStream;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use broker_net::testing::{Decision, TestBroker};
use futures_util::FutureExt;

use crate::{SOON, connect};

/// Runs everything that it could do to a process.
async fn busy() {
    let broker = TestBroker::builder().own_thread().start().await.unwrap();
    let client = connect(&broker.url()).await;
    let tap = broker.tap(">");
    client.publish("x", "1".into()).await.unwrap();
    tap.next().await;
    broker.cut_all();
    broker.restart().await.unwrap();
    broker.stop().await;
    let broker = TestBroker::start().await;
    drop(broker);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_signal_handler_is_installed() {
    let caught = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("SigCgt")).unwrap().to_owned()
    };
    let before = caught();
    busy().await;
    assert_eq!(caught(), before);
}

#[tokio::test]
async fn no_logger_is_installed() {
    busy().await;
    assert!(!tracing::dispatcher::has_been_set());
}

#[tokio::test]
async fn environment_and_working_directory_are_left_alone() {
    let surroundings =
        || (std::env::vars_os().collect::<Vec<_>>(), std::env::current_dir().unwrap());
    let before = surroundings();
    busy().await;
    assert_eq!(surroundings(), before);
}

#[tokio::test]
async fn two_brokers_share_nothing() {
    let (one, other) = (TestBroker::start().await, TestBroker::start().await);
    assert_ne!(one.address(), other.address());
    assert_ne!(one.broker().info().server_id, other.broker().info().server_id);
    let (tap, lines) = (other.tap(">"), other.lines());
    let client = connect(&one.url()).await;
    client.publish("x", "1".into()).await.unwrap();
    client.flush().await.unwrap();
    one.fail_authentication(1);
    connect(&other.url()).await;
    other.wait_for_clients(0).await;
    assert_eq!(one.stats().connections, 1);
    tap.expect_nothing();
    assert!(lines.is_empty());
}

#[tokio::test]
async fn a_dropped_broker_ends_at_once() {
    let broker = TestBroker::start().await;
    let (address, port) = (broker.address(), broker.address().port());
    let client = connect(&broker.url()).await;
    let began = Instant::now();
    drop(broker);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    // The runtime has not run anything yet.
    #[cfg(target_os = "linux")]
    drop(std::net::TcpListener::bind(address).unwrap());
    assert!(TcpStream::connect(address).is_err());
    tokio::task::yield_now().await;
    let again = TestBroker::builder().port(port).start().await.unwrap();
    again.wait_for_clients(1).within(SOON).await;
    drop(client);
}

#[test]
fn a_broker_may_be_dropped_anywhere() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (one, other) =
        runtime.block_on(async { (TestBroker::start().await, TestBroker::start().await) });
    drop(one);
    let tap = other.tap("x");
    drop(runtime);
    drop(other);
    assert!(tap.is_empty());
}

/// Panics on every connection.
struct Trap;

impl broker_net::testing::Authenticator for Trap {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &broker_net::testing::Credentials) -> Decision {
        panic!("a bug of the embedder's own");
    }
}

#[tokio::test]
async fn a_panic_in_code_of_the_test_ends_one_connection_only() {
    let broker = TestBroker::builder().authenticator(Trap).start().await.unwrap();
    let connecting = AssertUnwindSafe(async_nats::connect(broker.url())).catch_unwind();
    assert!(tokio::time::timeout(SOON, connecting).await.unwrap().unwrap().is_err());
    broker.wait_for_clients(0).await;
    TcpStream::connect(broker.address()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_brokers_fit_in_one_process() {
    let mut brokers = Vec::new();
    for at in 0..200 {
        let builder = TestBroker::builder().keep_lines(10);
        // Of both kinds.
        let builder = if at % 10 == 0 { builder.own_thread() } else { builder };
        brokers.push(builder.start().await.unwrap());
    }
    for (at, broker) in brokers.iter().enumerate() {
        let client = connect(&broker.url()).await;
        let tap = broker.tap("x");
        client.publish("x", at.to_string().into()).await.unwrap();
        assert_eq!(tap.next().await.text(), at.to_string());
        tap.expect_nothing();
    }
}
