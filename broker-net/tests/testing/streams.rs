//! Streams of a test broker: its clock, crashes, and faults of the disk.

use std::io::ErrorKind;
use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use broker_net::testing::{Client, TestBroker, TestCluster, TestDisk};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::connect;

const HOUR: Duration = Duration::from_hours(1);

/// Connects, and creates a stream of `orders.*`.
async fn orders(broker: &TestBroker, config: Config) -> (Context, Stream) {
    let context = jetstream::new(connect(&broker.url()).await);
    let subjects = vec!["orders.*".to_owned()];
    let config = Config { name: "ORDERS".to_owned(), subjects, ..config };
    let stream = context.create_stream(config).await.unwrap();
    (context, stream)
}

async fn publish(context: &Context, text: &'static str) -> Result<u64, String> {
    let sent =
        context.publish("orders.eu", text.into()).await.map_err(|error| error.to_string())?;
    sent.await.map(|ack| ack.sequence).map_err(|error| error.to_string())
}

async fn count(stream: &mut Stream) -> u64 {
    stream.info().await.unwrap().state.messages
}

/// Sends a request to the API, and returns the answer without an error.
async fn api(client: &Client, subject: &str, request: &Value) -> Value {
    let subject = format!("$JS.API.{subject}");
    let answer = client.request(&*subject, request.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}

async fn create(client: &Client, more: &Value) {
    let mut config = json!({"name": "S", "subjects": ["s.>"]});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api(client, "STREAM.CREATE.S", &config).await;
}

/// Publishes with header fields, and returns the acknowledgement.
async fn publish_with(client: &Client, subject: &str, fields: &[(&str, &str)]) -> Value {
    let mut headers = broker_net::testing::HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, *value);
    }
    let answer = client.request_with_headers(subject, headers, "text".into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

#[tokio::test]
async fn messages_expire_when_the_clock_is_advanced() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let config = Config { max_age: HOUR, ..Config::default() };
    let (context, mut stream) = orders(&broker, config).await;
    publish(&context, "7 apples").await.unwrap();
    broker.advance(HOUR / 2).await;
    assert_eq!(count(&mut stream).await, 1);
    broker.advance(HOUR / 2 + Duration::from_secs(1)).await;
    assert_eq!(count(&mut stream).await, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_expire_while_a_test_with_paused_time_sleeps() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let config = Config { max_age: HOUR, ..Config::default() };
    let (context, mut stream) = orders(&broker, config).await;
    publish(&context, "7 apples").await.unwrap();
    tokio::time::sleep(HOUR + Duration::from_secs(1)).await;
    assert_eq!(count(&mut stream).await, 0);
}

#[tokio::test]
async fn a_message_is_delivered_again_when_the_time_to_acknowledge_it_is_over() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let (context, stream) = orders(&broker, Config::default()).await;
    let config = pull::Config { ack_wait: HOUR, ..pull::Config::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
    publish(&context, "7 apples").await.unwrap();
    for delivered in 1..4 {
        let batch = consumer.fetch().max_messages(1).messages().await.unwrap();
        let messages: Vec<_> = batch.try_collect().await.unwrap();
        assert_eq!(messages[0].info().unwrap().delivered, delivered);
        broker.advance(HOUR + Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn requests_for_messages_see_the_clock_of_the_broker() {
    // The client's clock does not move: what it sees is what the server does.
    let broker = TestBroker::builder().streams().own_thread().start().await.unwrap();
    let client = broker.client();
    create(&client, &json!({})).await;
    let config =
        json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    api(&client, "CONSUMER.DURABLE.CREATE.S.C", &config).await;
    let mut inbox = client.subscribe("inbox").await.unwrap();
    let request =
        json!({"batch": 1, "expires": 60_000_000_000_u64, "idle_heartbeat": 20_000_000_000_u64});
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.C";
    client.publish_with_reply(next, "inbox", request.to_string().into()).await.unwrap();
    let mut status = async |advanced| {
        broker.advance(Duration::from_secs(advanced)).await;
        inbox.next().await.unwrap().headers.unwrap().status()
    };
    assert_eq!(status(21).await, Some(100), "a heartbeat");
    let mut last = status(40).await;
    while last == Some(100) {
        last = status(0).await;
    }
    assert_eq!(last, Some(408), "the request has expired");
}

#[tokio::test(start_paused = true)]
async fn a_push_consumer_is_active_from_the_subscription_on() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let client = broker.client();
    create(&client, &json!({})).await;
    let config = json!({"durable_name": "C", "deliver_subject": "to.me", "ack_policy": "none"});
    let request = json!({"stream_name": "S", "config": config});
    api(&client, "CONSUMER.DURABLE.CREATE.S.C", &request).await;
    publish_with(&client, "s.1", &[]).await;
    let is_bound = async || {
        let info = api(&client, "CONSUMER.INFO.S.C", &json!({})).await;
        info["push_bound"].as_bool() == Some(true)
    };
    // One who listens to everything takes no messages.
    let _listener = client.subscribe("to.*").await.unwrap();
    assert!(!is_bound().await);
    // Time passes only when nothing is left to do.
    let began = tokio::time::Instant::now();
    let mut inbox = client.subscribe("to.me").await.unwrap();
    assert_eq!(inbox.next().await.unwrap().subject.as_str(), "s.1");
    assert!(is_bound().await);
    drop(inbox);
    publish_with(&client, "s.2", &[]).await;
    assert!(!is_bound().await);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn lifetimes_and_schedules_of_messages_follow_the_clock_of_the_broker() {
    let broker = TestBroker::builder().streams().own_thread().start().await.unwrap();
    let client = broker.client();
    create(&client, &json!({"allow_msg_ttl": true, "allow_msg_schedules": true})).await;
    broker.advance(HOUR).await;
    publish_with(&client, "s.short", &[("Nats-TTL", "10s")]).await;
    let fields = [("Nats-Schedule", "@every 1h"), ("Nats-Schedule-Target", "s.target")];
    let ack = publish_with(&client, "s.schedule", &fields).await;
    assert_eq!(ack["seq"], 2, "{ack}");
    let info = async || {
        let info = api(&client, "STREAM.INFO.S", &json!({"subjects_filter": ">"})).await;
        info["state"]["subjects"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(info().await, ["s.schedule", "s.short"]);
    broker.advance(Duration::from_secs(11)).await;
    assert_eq!(info().await, ["s.schedule"]);
    broker.advance(HOUR).await;
    assert_eq!(info().await, ["s.schedule", "s.target"]);
}

#[tokio::test]
async fn what_was_acknowledged_survives_crashes() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let (context, mut stream) = orders(&broker, Config::default()).await;
    for number in 1..20 {
        assert_eq!(publish(&context, "7 apples").await, Ok(number));
        broker.crash().await;
        broker.restart().await.unwrap();
        assert_eq!(count(&mut stream).await, number);
    }
    broker.disk().stop(3);
    while publish(&context, "never acknowledged").await.is_ok() {}
    broker.crash().await;
    broker.restart().await.unwrap();
    assert!(count(&mut stream).await >= 19);
}

#[tokio::test]
async fn a_disk_that_lies_about_syncs_loses_what_was_acknowledged() {
    let broker = TestBroker::builder().streams().seed(1).start().await.unwrap();
    let (context, mut stream) = orders(&broker, Config::default()).await;
    publish(&context, "7 apples").await.unwrap();
    broker.disk().lose_syncs(true);
    for _ in 0..50 {
        publish(&context, "8 pears").await.unwrap();
    }
    broker.disk().lose_syncs(false);
    broker.crash().await;
    broker.restart().await.unwrap();
    assert!((1..51).contains(&count(&mut stream).await));
}

#[tokio::test]
async fn a_full_disk_refuses_messages_until_it_has_room() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let (context, mut stream) = orders(&broker, Config::default()).await;
    broker.disk().set_capacity(broker.disk().used_bytes());
    let mut acknowledged = 0;
    loop {
        let sent = context.publish("orders.eu", vec![0; 10_000].into()).await.unwrap();
        match sent.await {
            Ok(_) => acknowledged += 1,
            Err(_) => break,
        }
    }
    assert!(acknowledged < 100);
    broker.disk().set_capacity(u64::MAX);
    // The stream tries once a second.
    broker.advance(Duration::from_secs(2)).await;
    publish(&context, "7 apples").await.unwrap();
    assert!(count(&mut stream).await > acknowledged);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_stream_until_a_restart() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let (context, mut stream) = orders(&broker, Config::default()).await;
    publish(&context, "7 apples").await.unwrap();
    broker.disk().fail(0, ErrorKind::Other);
    while publish(&context, "8 pears").await.is_ok() {}
    broker.restart().await.unwrap();
    assert!(count(&mut stream).await >= 1);
    publish(&context, "9 plums").await.unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_and_other_messages_are_served() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let (context, stream) = orders(&broker, Config::default()).await;
    for text in ["7 apples", "8 pears", "9 plums"] {
        publish(&context, text).await.unwrap();
    }
    assert!(!broker.disk().damage(b"10 melons"));
    assert!(broker.disk().damage(b"8 pears"));
    broker.restart().await.unwrap();
    assert!(stream.get_raw_message(2).await.is_err());
    assert_eq!(stream.get_raw_message(3).await.unwrap().payload, "9 plums");
}

#[tokio::test]
async fn streams_in_a_directory_or_on_a_disk_outlive_their_broker() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::new(1);
    for on_disk in [true, false] {
        let builder = || match on_disk {
            true => TestBroker::builder().streams_on(&disk),
            false => TestBroker::builder().streams_in(directory.path()),
        };
        let broker = builder().start().await.unwrap();
        let (context, _) = orders(&broker, Config::default()).await;
        publish(&context, "7 apples").await.unwrap();
        assert!(builder().start().await.is_err(), "another broker uses it");
        broker.crash().await;
        broker.restart().await.unwrap();
        publish(&context, "8 pears").await.unwrap();
        drop(broker);
        let broker = builder().start().await.unwrap();
        let (_, mut stream) = orders(&broker, Config::default()).await;
        assert_eq!(count(&mut stream).await, 2);
        broker.stop().await;
    }
}

#[tokio::test]
async fn a_member_of_a_cluster_serves_streams_to_all() {
    let cluster = TestCluster::builder()
        .servers(2)
        .each(|number, broker| if number == 0 { broker.streams() } else { broker })
        .start()
        .await
        .unwrap();
    cluster.wait_for_interest("$JS.API.STREAM.CREATE.ORDERS").await;
    let (context, mut stream) = orders(cluster.node(1), Config::default()).await;
    cluster.wait_for_interest("orders.eu").await;
    publish(&context, "7 apples").await.unwrap();
    assert_eq!(count(&mut stream).await, 1);
    assert_eq!(
        cluster.node(0).with_streams(|streams| streams.options().domain.clone()),
        Some(String::new())
    );
    assert!(cluster.node(1).with_streams(|_| ()).is_none());
}

/// Makes a backup. Returns the configuration and the bytes.
async fn back_up(client: &Client) -> (Value, Vec<u8>) {
    let mut chunks = client.subscribe("chunks").await.unwrap();
    let request = json!({"deliver_subject": "chunks"});
    let answer = api(client, "STREAM.SNAPSHOT.S", &request).await;
    let mut bytes = Vec::new();
    loop {
        let chunk = chunks.next().await.unwrap();
        if chunk.payload.is_empty() {
            return (answer["config"].clone(), bytes);
        }
        bytes.extend_from_slice(&chunk.payload);
        if let Some(reply) = chunk.reply {
            client.publish(reply, "".into()).await.unwrap();
        }
    }
}

/// Sends chunks of a backup to a server that restores it. Returns the last answer.
async fn restore(client: &Client, config: &Value, chunks: &[&[u8]]) -> Vec<u8> {
    let answer = api(client, "STREAM.RESTORE.S", &json!({ "config": config })).await;
    let subject = answer["deliver_subject"].as_str().unwrap();
    let mut last = Vec::new();
    for chunk in chunks {
        last = client.request(subject, chunk.to_vec().into()).await.unwrap().payload.to_vec();
    }
    last
}

#[tokio::test]
async fn a_restored_stream_survives_a_crash_and_a_half_restored_one_does_not() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let client = broker.client();
    create(&client, &json!({})).await;
    for _ in 0..3 {
        publish_with(&client, "s.1", &[]).await;
    }
    let (config, bytes) = back_up(&client).await;
    api(&client, "STREAM.DELETE.S", &json!({})).await;

    // The first chunk is answered once it was read.
    restore(&client, &config, &[&bytes[..10], &bytes[10..20]]).await;
    broker.crash().await;
    broker.restart().await.unwrap();
    let client = broker.client();
    assert_eq!(api(&client, "STREAM.NAMES", &json!({})).await["total"], 0);

    let answer = restore(&client, &config, &[&bytes[..], b""]).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["state"]["messages"], 3, "{answer}");
    broker.crash().await;
    broker.restart().await.unwrap();
    let info = api(&broker.client(), "STREAM.INFO.S", &json!({})).await;
    assert_eq!(info["state"]["messages"], 3);
}

#[tokio::test]
async fn a_backup_that_waits_for_its_client_ends_with_the_server() {
    let broker = TestBroker::builder().streams().start().await.unwrap();
    let client = broker.client();
    create(&client, &json!({})).await;
    // It does not become shorter by compression.
    let noise =
        (0..20_000_u32).map(|at| (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 24) as u8);
    client.request("s.1", noise.collect::<Vec<_>>().into()).await.unwrap();
    let mut chunks = client.subscribe("chunks").await.unwrap();
    let request = json!({"deliver_subject": "chunks", "chunk_size": 1024, "window_size": 1024});
    api(&client, "STREAM.SNAPSHOT.S", &request).await;
    chunks.next().await.unwrap();
    // Until it has ended, the disk is in use.
    broker.restart().await.unwrap();
    let info = api(&broker.client(), "STREAM.INFO.S", &json!({})).await;
    assert_eq!(info["state"]["messages"], 1);
}
