//! Faults of the network and of the server.

use std::time::{Duration, Instant};

use async_nats::{ConnectErrorKind, Event};
use broker_net::LameDuck;
use broker_net::testing::{Client, Fault, Subscriber, TestBroker};
use tokio::sync::mpsc;

use crate::{SOON, connect, next};

const LATE: Duration = Duration::from_millis(30);

async fn publish(client: &Client, subject: &str, texts: impl IntoIterator<Item = &'static str>) {
    for text in texts {
        client.publish(subject, text.into()).await.unwrap();
    }
}

fn texts(inbox: &mut Subscriber) -> Vec<String> {
    std::iter::from_fn(|| inbox.try_next())
        .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_is_lost_without_an_error_to_its_publisher() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let mut questions = client.subscribe("questions").await.unwrap();
    let lost = broker.disturb("questions", Fault::lose().once());
    let asking = client.request("questions", "1".into());
    let asked = tokio::time::timeout(LATE, asking).await;
    assert!(asked.is_err(), "neither an answer nor \"no responders\"");
    broker.wait_until("the question is lost", move |_| lost.count() == 1).await;
    client.publish("questions", "2".into()).await.unwrap();
    assert_eq!(next(&mut questions).await.payload, "2");
}

#[tokio::test]
async fn a_message_is_duplicated() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let mut inbox = client.subscribe("x.*").await.unwrap();
    broker.disturb("x.1", Fault::duplicate());
    publish(&client, "x.1", ["a"]).await;
    publish(&client, "x.2", ["b"]).await;
    assert_eq!(texts(&mut inbox), ["a", "a", "b"]);
}

#[tokio::test]
async fn a_delayed_message_is_overtaken() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.disturb("x", Fault::delay(LATE).once());
    let began = Instant::now();
    publish(&client, "x", ["1", "2"]).await;
    assert_eq!(texts(&mut inbox), ["2"]);
    assert_eq!(inbox.next().await.unwrap().payload, "1");
    assert!(began.elapsed() >= LATE);
}

#[tokio::test]
async fn a_broker_with_delayed_messages_is_not_idle() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.disturb("x", Fault::delay(4 * LATE));
    publish(&client, "x", ["1"]).await;
    broker.wait_idle().await;
    assert_eq!(texts(&mut inbox), ["1"]);
}

#[tokio::test]
async fn two_messages_are_reordered() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.disturb("x", Fault::swap().times(2));
    publish(&client, "x", ["1", "2", "3", "4", "5"]).await;
    assert_eq!(texts(&mut inbox), ["2", "1", "4", "3", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_held_back_message_arrives_even_if_nothing_overtakes_it() {
    let broker = TestBroker::start().await;
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    let swapping = broker.disturb("x", Fault::swap());
    publish(&client, "x", ["1"]).await;
    assert_eq!(texts(&mut inbox), [""; 0]);
    assert_eq!(inbox.next().await.unwrap().payload, "1");
    publish(&client, "x", ["2"]).await;
    swapping.end();
    assert_eq!(texts(&mut inbox), ["2"], "held messages arrive when the fault ends");
}

#[tokio::test]
async fn a_fault_affects_the_selected_client_until_it_ends() {
    let broker = TestBroker::start().await;
    let (one, other) = (connect(&broker.url()).await, connect(&broker.url()).await);
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    let id = one.server_info().client_id;
    let lost = broker.disturb("x", Fault::lose().from_connection(id).after(1).times(2));
    let tap = broker.tap("x");
    for (publisher, text) in
        [(&one, "1"), (&other, "2"), (&one, "lost"), (&one, "lost"), (&one, "3"), (&other, "4")]
    {
        publisher.publish("x", text.into()).await.unwrap();
        tap.next().await;
    }
    assert_eq!(texts(&mut inbox), ["1", "2", "3", "4"]);
    assert_eq!(lost.count(), 2);

    broker.disturb("x", Fault::lose());
    publish(&client, "x", ["lost"]).await;
    broker.clear_faults();
    publish(&client, "x", ["5"]).await;
    assert_eq!(texts(&mut inbox), ["5"]);
}

#[tokio::test]
async fn with_one_seed_the_same_messages_are_lost() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let broker = TestBroker::builder().seed(seed).start().await.unwrap();
        let client = broker.client();
        let mut inbox = client.subscribe("x").await.unwrap();
        broker.disturb("x", Fault::lose().with_probability(0.5));
        for number in 0..100 {
            client.publish("x", number.to_string().into()).await.unwrap();
        }
        runs.push(texts(&mut inbox));
    }
    assert!((20..80).contains(&runs[0].len()), "{}", runs[0].len());
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

/// Connects a client whose events can be awaited.
async fn connect_and_hear(url: &str) -> (async_nats::Client, mpsc::UnboundedReceiver<Event>) {
    let (sender, events) = mpsc::unbounded_channel();
    let client = async_nats::ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(5))
        .event_callback(move |event| {
            let _ = sender.send(event);
            std::future::ready(())
        })
        .connect(url)
        .await
        .unwrap();
    (client, events)
}

async fn hear(events: &mut mpsc::UnboundedReceiver<Event>, wanted: impl Fn(&Event) -> bool) {
    let hearing = async {
        while let Some(event) = events.recv().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the client is gone");
    };
    tokio::time::timeout(SOON, hearing).await.expect("the client is notified in time");
}

#[tokio::test]
async fn a_disconnected_client_reconnects_and_resubscribes() {
    let broker = TestBroker::start().await;
    let (client, mut events) = connect_and_hear(&broker.url()).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    client.flush().await.unwrap();
    assert!(broker.cut(client.server_info().client_id));
    hear(&mut events, |event| matches!(event, Event::Disconnected)).await;
    hear(&mut events, |event| matches!(event, Event::Connected)).await;
    broker.wait_for_subscription("x").await;
    broker.client().publish("x", "again".into()).await.unwrap();
    assert_eq!(next(&mut inbox).await.payload, "again");
    assert!(!broker.cut(1_000_000));
}

#[tokio::test]
async fn cut_all_closes_connections_but_no_in_process_client() {
    let broker = TestBroker::start().await;
    let (one, mut one_hears) = connect_and_hear(&broker.url()).await;
    let (other, mut other_hears) = connect_and_hear(&broker.url()).await;
    let local = broker.client();
    let mut inbox = local.subscribe("x").await.unwrap();
    broker.cut_all();
    for events in [&mut one_hears, &mut other_hears] {
        hear(events, |event| matches!(event, Event::Disconnected)).await;
    }
    local.publish("x", "still here".into()).await.unwrap();
    assert_eq!(inbox.next().await.unwrap().payload, "still here");
    drop((one, other));
}

#[tokio::test]
async fn input_of_a_stalled_client_is_read_when_it_resumes() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let tap = broker.tap("x");
    let id = client.server_info().client_id;
    assert!(broker.stall_reads(id));
    client.publish("x", "1".into()).await.unwrap();
    client.flush().await.unwrap();
    broker.wait_idle().await;
    tap.expect_nothing();
    assert!(broker.resume(id));
    assert_eq!(tap.next().await.payload, "1");
    assert!(!broker.stall_reads(1_000_000));
}

#[tokio::test]
async fn a_client_with_stalled_writes_gets_everything_when_they_resume() {
    let broker = TestBroker::start().await;
    let client = connect(&broker.url()).await;
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.wait_for_subscription("x").await;
    let id = client.server_info().client_id;
    assert!(broker.stall_writes(id));
    for _ in 0..100 {
        broker.client().publish("x", "1".into()).await.unwrap();
    }
    assert!(broker.stats().pending_bytes > 100);
    assert!(broker.resume(id));
    for _ in 0..100 {
        assert_eq!(next(&mut inbox).await.payload, "1");
    }
    broker.wait_idle().await;
}

#[tokio::test]
async fn a_client_with_stalled_writes_is_a_slow_consumer() {
    let small = TestBroker::builder().limits(|limits| limits.max_pending_bytes = 10_000);
    let broker = small.start().await.unwrap();
    let (client, mut events) = connect_and_hear(&broker.url()).await;
    let _inbox = client.subscribe("x").await.unwrap();
    broker.wait_for_subscription("x").await;
    broker.stall_writes(client.server_info().client_id);
    for _ in 0..11 {
        broker.client().publish("x", vec![0; 1_000].into()).await.unwrap();
    }
    hear(&mut events, |event| matches!(event, Event::Disconnected)).await;
    assert_eq!(broker.stats().slow_consumers, 1);
    broker.wait_for_subscription("x").await;
}

#[tokio::test]
async fn a_slow_consumer_by_time_needs_no_time() {
    let broker = TestBroker::start().await;
    let (client, mut events) = connect_and_hear(&broker.url()).await;
    let _inbox = client.subscribe("x").await.unwrap();
    broker.wait_for_subscription("x").await;
    broker.stall_writes(client.server_info().client_id);
    broker.client().publish("x", "1".into()).await.unwrap();
    broker.advance(Duration::from_secs(11)).await;
    hear(&mut events, |event| matches!(event, Event::Disconnected)).await;
    assert_eq!(broker.stats().slow_consumers, 1);
}

#[tokio::test]
async fn connections_are_refused_the_requested_number_of_times() {
    let broker = TestBroker::start().await;
    broker.refuse_connections(2);
    for _ in 0..2 {
        assert!(async_nats::connect(broker.url()).await.is_err());
    }
    connect(&broker.url()).await;
    assert_eq!(broker.stats().total_connections, 1);
}

#[tokio::test]
async fn authentications_are_rejected_the_requested_number_of_times() {
    let broker = TestBroker::start().await;
    broker.fail_authentication(1);
    let error = async_nats::connect(broker.url()).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::AuthorizationViolation);
    connect(&broker.url()).await;
}

#[tokio::test]
async fn a_client_receives_injected_errors() {
    let broker = TestBroker::start().await;
    let (client, mut events) = connect_and_hear(&broker.url()).await;
    let id = client.server_info().client_id;
    assert!(broker.send_error(id, "Permissions Violation for Publish to \"x\""));
    hear(&mut events, |event| matches!(event, Event::ServerError(_))).await;
    client.flush().await.unwrap();
    assert!(!broker.send_error(1_000_000, "nobody"));
}

#[tokio::test]
async fn a_client_receives_injected_info() {
    let broker = TestBroker::start().await;
    let (client, mut events) = connect_and_hear(&broker.url()).await;
    let id = client.server_info().client_id;
    assert!(broker.send_info(id, |info| info.ldm = true));
    hear(&mut events, |event| matches!(event, Event::LameDuckMode)).await;
}

#[tokio::test]
async fn lame_duck_mode_closes_all_clients() {
    let broker = TestBroker::start().await;
    let (_client, mut events) = connect_and_hear(&broker.url()).await;
    let plan = LameDuck::new(Duration::from_millis(50), Duration::ZERO);
    tokio::time::timeout(SOON, broker.lame_duck(plan)).await.unwrap();
    hear(&mut events, |event| matches!(event, Event::LameDuckMode)).await;
    hear(&mut events, |event| matches!(event, Event::Disconnected)).await;
}
