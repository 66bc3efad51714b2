//! Streams end to end: async-nats against the program's server.

#![cfg(feature = "streams")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, PushConsumer, pull, push};
use async_nats::jetstream::stream::{Config, Source, StorageType, Stream, SubjectTransform};
use async_nats::jetstream::{self, kv, object_store};
use broker_bin::{Daemon, Options};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;

/// Streams in that directory.
async fn start(directory: &Path) -> (Daemon, jetstream::Context) {
    let mut options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
    options.jetstream = Some(broker_bin::options::JetStream::default());
    options.store_dir = Some(directory.into());
    let daemon = Daemon::start(options).await.unwrap();
    let client = async_nats::connect(daemon.local_addr().to_string()).await.unwrap();
    (daemon, jetstream::new(client))
}

async fn orders(context: &jetstream::Context, storage: StorageType) -> Stream {
    let config = Config {
        name: "ORDERS".into(),
        subjects: vec!["orders.>".into()],
        storage,
        ..Config::default()
    };
    context.create_stream(config).await.unwrap()
}

async fn publish(context: &jetstream::Context, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let ack = context.publish(format!("orders.{number}"), number.to_string().into()).await;
        assert_eq!(ack.unwrap().await.unwrap().sequence, number);
    }
}

async fn fetch(consumer: &PullConsumer, count: usize) -> Vec<jetstream::Message> {
    let batch = consumer.fetch().max_messages(count).messages().await.unwrap();
    batch.try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_store_and_consumers_deliver() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    assert!(daemon.broker().info().jetstream);
    for storage in [StorageType::Memory, StorageType::File] {
        let mut stream = orders(&context, storage).await;
        publish(&context, 1..11).await;
        assert_eq!(stream.info().await.unwrap().state.messages, 10);
        let message = stream.get_raw_message(3).await.unwrap();
        assert_eq!((&*message.subject, &message.payload[..]), ("orders.3", &b"3"[..]));

        let config = pull::Config { durable_name: Some("pull".into()), ..Default::default() };
        let mut pulling: PullConsumer = stream.create_consumer(config).await.unwrap();
        let messages = fetch(&pulling, 4).await;
        for (at, message) in messages.iter().enumerate() {
            assert_eq!(*message.subject, *format!("orders.{}", at + 1));
            message.double_ack().await.unwrap();
        }
        let info = pulling.info().await.unwrap();
        assert_eq!((info.num_pending, info.ack_floor.stream_sequence), (6, 4));

        let config = push::OrderedConfig {
            deliver_subject: context.client().new_inbox(),
            ..Default::default()
        };
        let ordered = stream.create_consumer(config).await.unwrap();
        let messages: Vec<_> =
            ordered.messages().await.unwrap().take(10).try_collect().await.unwrap();
        let subjects: Vec<&str> = messages.iter().map(|message| &*message.subject).collect();
        let expected: Vec<String> = (1..11).map(|number| format!("orders.{number}")).collect();
        assert_eq!(subjects, expected);

        assert_eq!(stream.purge().await.unwrap().purged, 10);
        context.delete_stream("ORDERS").await.unwrap();
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_consumer_delivers_what_is_published_later() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let stream = orders(&context, StorageType::Memory).await;
    let config = push::Config {
        deliver_subject: context.client().new_inbox(),
        ack_policy: AckPolicy::Explicit,
        idle_heartbeat: Duration::from_secs(5),
        flow_control: true,
        ..Default::default()
    };
    let consumer: PushConsumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    publish(&context, 1..4).await;
    for number in 1..4 {
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(*message.payload, *number.to_string().as_bytes());
        message.ack().await.unwrap();
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_or_consumer_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let error = context.publish("nobody", "x".into()).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), jetstream::context::PublishErrorKind::StreamNotFound);
    assert!(context.get_stream("NONE").await.is_err());
    let client = context.client();
    let next = client.request("$JS.API.CONSUMER.MSG.NEXT.S.C", "1".into()).await;
    assert_eq!(next.unwrap_err().kind(), async_nats::RequestErrorKind::NoResponders);
    let direct = client.request("$JS.API.DIRECT.GET.S", "{}".into()).await;
    assert_eq!(direct.unwrap_err().kind(), async_nats::RequestErrorKind::NoResponders);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_and_objects_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let config = kv::Config { bucket: "KEYS".into(), history: 5, ..Default::default() };
    let keys = context.create_key_value(config).await.unwrap();
    let mut watch = keys.watch("a.>").await.unwrap();
    assert_eq!(keys.put("a.b", "1".into()).await.unwrap(), 1);
    assert_eq!(keys.update("a.b", "2".into(), 1).await.unwrap(), 2);
    assert!(keys.update("a.b", "3".into(), 1).await.is_err());
    assert_eq!(keys.get("a.b").await.unwrap().unwrap(), "2");
    for value in ["1", "2"] {
        assert_eq!(watch.next().await.unwrap().unwrap().value, value);
    }
    keys.delete("a.b").await.unwrap();
    assert!(keys.get("a.b").await.unwrap().is_none());
    let history: Vec<_> = keys.history("a.b").await.unwrap().try_collect().await.unwrap();
    assert_eq!(history.len(), 3);

    let config = object_store::Config { bucket: "OBJECTS".into(), ..Default::default() };
    let objects = context.create_object_store(config).await.unwrap();
    let content: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    objects.put("blob", &mut &content[..]).await.unwrap();
    let mut read = Vec::new();
    objects.get("blob").await.unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == content);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_consumers_in_files_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let stream = orders(&context, StorageType::File).await;
    publish(&context, 1..6).await;
    let config = pull::Config { durable_name: Some("pull".into()), ..Default::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
    for message in fetch(&consumer, 2).await {
        message.double_ack().await.unwrap();
    }
    daemon.stop().await;

    let (daemon, context) = start(directory.path()).await;
    let mut stream = context.get_stream("ORDERS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 5);
    let consumer: PullConsumer = stream.get_consumer("pull").await.unwrap();
    let messages = fetch(&consumer, 3).await;
    let subjects: Vec<&str> = messages.iter().map(|message| &*message.subject).collect();
    assert_eq!(subjects, ["orders.3", "orders.4", "orders.5"]);
    publish(&context, 6..8).await;
    context.delete_stream("ORDERS").await.unwrap();
    daemon.stop().await;

    let (daemon, context) = start(directory.path()).await;
    assert!(context.get_stream("ORDERS").await.is_err(), "a deleted stream does not come back");
    daemon.stop().await;
}

#[cfg(feature = "monitoring")]
#[tokio::test(flavor = "multi_thread")]
async fn monitoring_reports_streams_and_consumers() {
    use broker_bin::monitor::{Health, HealthzOptions, JszOptions};

    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let stream = orders(&context, StorageType::File).await;
    publish(&context, 1..4).await;
    let config = pull::Config { durable_name: Some("pull".into()), ..Default::default() };
    stream.create_consumer(config).await.unwrap();

    let observer = daemon.observer();
    let options = JszOptions { consumers: true, ..JszOptions::default() };
    let jsz = observer.jsz(&options).unwrap();
    assert_eq!((jsz.streams, jsz.consumers, jsz.messages, jsz.total), (1, 1, 3, 1));
    assert_eq!((jsz.stats.storage, jsz.stats.accounts), (jsz.bytes, 1));
    let detail = &jsz.account_details[0];
    assert_eq!(detail.id, "$G");
    let [found] = &detail.streams[..] else { panic!("{detail:?}") };
    assert_eq!((&*found.name, found.messages().0, found.sequences()), ("ORDERS", 3, (1, 3)));
    assert!(found.config.is_none());
    let [consumer] = &found.consumers[..] else { panic!("{found:?}") };
    assert_eq!((&*consumer.name, consumer.num_pending), ("pull", 3));
    let named = JszOptions { account: "$G".into(), config: true, ..options };
    let jsz = observer.jsz(&named).unwrap();
    assert!(jsz.account_details[0].streams[0].consumers[0].config.is_some());
    assert_eq!(observer.varz().jetstream.stats.unwrap().accounts, 1);

    let health = |stream: &str, consumer: &str| {
        let (account, stream, consumer) = ("$G".into(), stream.into(), consumer.into());
        let options = HealthzOptions { account, stream, consumer, ..HealthzOptions::default() };
        observer.healthz(&options).health
    };
    assert_eq!([health("", ""), health("ORDERS", "pull")], [Health::Ok; 2]);
    assert_eq!([health("OTHER", ""), health("ORDERS", "x")], [Health::NotFound; 2]);
}

/// Waits until a stream has a last sequence.
async fn reaches(stream: &mut Stream, sequence: u64) {
    let wait = async {
        while stream.info().await.unwrap().state.last_sequence != sequence {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

fn source(name: &str) -> Source {
    Source { name: name.into(), ..Source::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_follow_also_after_a_restart_until_they_are_promoted() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let origin = orders(&context, StorageType::File).await;
    publish(&context, 1..301).await;
    origin.delete_message(7).await.unwrap();
    let mirrors =
        [("MIRROR", "ORDERS", StorageType::File), ("SECOND", "MIRROR", StorageType::File)];
    for (name, of, storage) in mirrors {
        let mirror = Some(source(of));
        let config = Config { name: name.into(), mirror, storage, ..Config::default() };
        reaches(&mut context.create_stream(config).await.unwrap(), 300).await;
    }
    publish(&context, 301..311).await;
    reaches(&mut context.get_stream("SECOND").await.unwrap(), 310).await;
    daemon.stop().await;

    let (daemon, context) = start(directory.path()).await;
    publish(&context, 311..321).await;
    let mut second = context.get_stream("SECOND").await.unwrap();
    reaches(&mut second, 320).await;
    assert_eq!(second.info().await.unwrap().state.messages, 319);
    assert!(second.get_raw_message(7).await.is_err());
    let message = second.get_raw_message(315).await.unwrap();
    assert_eq!((&*message.subject, &message.payload[..]), ("orders.315", &b"315"[..]));
    let info = second.info().await.unwrap().mirror.clone().unwrap();
    assert_eq!((&*info.name, info.lag), ("MIRROR", 0));

    let mut config = second.info().await.unwrap().config.clone();
    (config.mirror, config.subjects) = (None, vec!["mine".into()]);
    context.update_stream(config).await.unwrap();
    publish(&context, 321..322).await;
    reaches(&mut context.get_stream("MIRROR").await.unwrap(), 321).await;
    let ack = context.publish("mine", "x".into()).await.unwrap().await.unwrap();
    assert_eq!((&*ack.stream, ack.sequence), ("SECOND", 321));
    assert!(second.info().await.unwrap().mirror.is_none());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_filtered_and_transformed() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    for (name, subject) in [("A", "a.>"), ("B", "b.>")] {
        let (name, subjects) = (name.into(), vec![subject.into()]);
        let storage = StorageType::Memory;
        let config = Config { name, subjects, storage, ..Config::default() };
        context.create_stream(config).await.unwrap();
    }
    for number in 0..200 {
        for kind in ["a.x", "a.y", "b.x"] {
            let ack = context.publish(format!("{kind}.{number}"), "m".into()).await.unwrap();
            ack.await.unwrap();
        }
    }
    let transform = SubjectTransform { source: "b.x.*".into(), destination: "out.$1".into() };
    let filtered = Source { filter_subject: Some("a.x.*".into()), ..source("A") };
    let transformed = Source { subject_transforms: vec![transform], ..source("B") };
    let config = Config {
        name: "ALL".into(),
        sources: Some(vec![filtered, transformed]),
        storage: StorageType::Memory,
        ..Config::default()
    };
    let mut all = context.create_stream(config).await.unwrap();
    reaches(&mut all, 400).await;
    let message = all.get_last_raw_message_by_subject("out.199").await.unwrap();
    assert_eq!(
        message.headers.get("Nats-Stream-Source").unwrap().as_str(),
        "B 200 b.x.* out.$1 b.x.199"
    );
    assert!(all.get_last_raw_message_by_subject("a.y.1").await.is_err());
    assert!(all.get_last_raw_message_by_subject("a.x.199").await.is_ok());
    assert_eq!(all.info().await.unwrap().sources.len(), 2);
    daemon.stop().await;
}
