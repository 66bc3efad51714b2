//! Inspecting the broker, and waiting for expected events.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use broker_net::testing::{Grant, TestBroker};
use futures_util::FutureExt;

use crate::{A_MOMENT, SOON, connect};

/// Returns the text of the panic.
async fn complaint<T>(waiting: impl IntoFuture<Output = T>) -> String {
    let panic = AssertUnwindSafe(waiting.into_future()).catch_unwind().await;
    let Err(panic) = panic else { panic!("it did not panic") };
    *panic.downcast::<String>().unwrap()
}

#[tokio::test]
async fn a_tap_records_messages_of_all_publishers() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("orders.>");
    let client = connect(&broker.url()).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Trace", "7");
    client.publish_with_headers("orders.eu", headers, "one".into()).await.unwrap();
    client.publish_with_reply("orders.us", "answers", "two".into()).await.unwrap();
    client.publish("elsewhere", "three".into()).await.unwrap();
    let mut taken = tap.expect(2).await;
    broker.client().publish("orders.in.process", "four".into()).await.unwrap();
    broker
        .client_as(Grant::anonymous().with_account("B"))
        .publish("orders.b", "five".into())
        .await
        .unwrap();

    taken.extend(tap.expect(2).await);
    let subjects: Vec<&str> = taken.iter().map(|message| &*message.subject).collect();
    assert_eq!(subjects, ["orders.eu", "orders.us", "orders.in.process", "orders.b"]);
    assert_eq!(taken[0].headers.as_ref().unwrap().get("Trace"), Some("7"));
    assert_eq!(taken[1].reply.as_deref(), Some("answers"));
    assert_eq!((taken[0].from, taken[2].text().as_str()), (client.server_info().client_id, "four"));
    assert_eq!((&*taken[2].account, &*taken[3].account), ("$G", "B"));
    tap.expect_nothing();
}

#[tokio::test]
async fn a_tap_is_no_responder() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("questions");
    let client = connect(&broker.url()).await;
    let error = client.request("questions", "".into()).await.unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
    assert_eq!(tap.len(), 1);
}

#[tokio::test]
async fn expect_takes_the_expected_message_and_leaves_the_rest() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("x");
    for text in ["1", "2", "3"] {
        broker.client().publish("x", text.into()).await.unwrap();
    }
    assert_eq!(tap.expect(2).await[1].text(), "2");
    assert_eq!(tap.messages().len(), 1);
    assert_eq!(tap.take()[0].text(), "3");
    assert!(tap.is_empty());
}

#[tokio::test]
async fn a_missing_message_is_reported_with_the_received_ones() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("orders.>");
    broker.client().publish("orders.eu", "one".into()).await.unwrap();
    let complaint = complaint(tap.expect(2).within(A_MOMENT)).await;
    assert!(
        complaint.starts_with("2 messages to orders.> were expected, 1 came:\n"),
        "{complaint}"
    );
    assert!(complaint.contains("orders.eu  -      \"one\" (3 bytes)"), "{complaint}");
    assert!(complaint.contains("within 50ms, asked for at "), "{complaint}");
    assert!(complaint.contains("looking.rs:"), "{complaint}");
}

#[tokio::test]
#[should_panic(expected = "nothing to x was expected, 1 came:")]
async fn an_unexpected_message_is_reported() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("x");
    broker.client().publish("x", "one".into()).await.unwrap();
    tap.expect_nothing();
}

#[tokio::test]
async fn publishing_can_wait_for_a_subscription() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let subscribing = async {
        tokio::task::yield_now().await;
        client.subscribe("orders.*").await.unwrap()
    };
    // Three ways to name it: the filter, a covered filter, a literal subject.
    let waiting = async {
        broker.wait_for_subscription("orders.*").await;
        broker.wait_for_subscription("orders.eu").await;
    };
    let (_orders, ()) = tokio::join!(subscribing, waiting);
    let in_vain = complaint(broker.wait_for_subscription("orders.>").within(A_MOMENT)).await;
    let told = "a subscription to orders.> was expected, none of 1 matches";
    assert!(in_vain.starts_with(told), "{in_vain}");
}

#[tokio::test]
async fn connects_and_disconnects_can_be_awaited() {
    let broker = TestBroker::start().await;
    let (one, two) = (connect(&broker.url()).await, connect(&broker.url()).await);
    broker.wait_for_clients(2).within(SOON).await;
    drop(one);
    broker.wait_for_clients(1).await;
    drop(two);
    broker.wait_for_clients(0).await;
    let in_vain = complaint(broker.wait_for_clients(1).within(A_MOMENT)).await;
    assert!(in_vain.starts_with("1 connections were expected, there are 0"), "{in_vain}");
}

#[tokio::test]
async fn the_broker_is_idle_when_no_message_is_in_flight() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let tap = broker.tap("x");
    let publishing = tokio::spawn(async move {
        for _ in 0..10 {
            client.publish("x", "".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        client
    });
    broker.wait_idle().await;
    assert_eq!(tap.len(), 10);
    publishing.await.unwrap();
}

#[tokio::test]
async fn any_condition_can_be_awaited() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let publishing = async {
        tokio::task::yield_now().await;
        client.publish("x", "".into()).await.unwrap();
    };
    let counted = |broker: &broker_core::Broker| broker.stats().in_messages == 1;
    let waiting = broker.wait_until("a message is counted", counted).into_future();
    tokio::join!(waiting, publishing);
    let complaint = complaint(broker.wait_until("pigs fly", |_| false).within(A_MOMENT)).await;
    assert!(complaint.starts_with("it was expected that pigs fly, but: Broker {"), "{complaint}");
}

#[tokio::test]
async fn waiting_can_be_cancelled() {
    let broker = TestBroker::start().await;
    let waiting = tokio::time::timeout(A_MOMENT, broker.wait_for_clients(1).into_future());
    assert!(waiting.await.is_err());
    let _client = connect(&broker.url()).await;
    broker.wait_for_clients(1).await;
}

#[tokio::test]
async fn a_tap_outlives_its_broker() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("x");
    broker.client().publish("x", "1".into()).await.unwrap();
    broker.stop().await;
    assert_eq!(tap.next().await.payload, "1");
    let in_vain = complaint(tap.next()).await;
    assert!(in_vain.starts_with("a message to x was expected, none came"), "{in_vain}");
}

#[tokio::test]
async fn the_recorded_protocol_can_be_read() {
    let broker = TestBroker::builder().keep_lines(3).start().await.unwrap();
    let client = connect(&broker.url()).await;
    client.publish("orders.eu", "one".into()).await.unwrap();
    client.flush().await.unwrap();
    broker.client().publish("in.process", "".into()).await.unwrap();
    let lines = broker.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].ends_with("<<- [PING]"), "{lines:?}");
    assert!(lines[1].ends_with("->> [PONG]"), "{lines:?}");
    assert!(lines[2].ends_with("<<- [PUB in.process 0]"), "{lines:?}");

    let silent = TestBroker::builder().keep_lines(0).start().await.unwrap();
    connect(&silent.url()).await;
    assert_eq!(silent.lines(), [""; 0]);
}
