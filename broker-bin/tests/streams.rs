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
async fn an_acknowledgement_that_no_consumer_takes_has_no_responder() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let stream = orders(&context, StorageType::Memory).await;
    let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
    publish(&context, 1..2).await;
    let client = context.client();
    let message = fetch(&consumer, 1).await.remove(0);
    let ack = message.reply.clone().unwrap();
    let answer = client.request(ack, "+ACK".into()).await;
    assert_eq!(answer.unwrap_err().kind(), async_nats::RequestErrorKind::NoResponders);

    let config = pull::Config { durable_name: Some("gone".into()), ..Default::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
    let message = fetch(&consumer, 1).await.remove(0);
    let ack = message.reply.clone().unwrap();
    assert!(client.request(ack.clone(), "+WPI".into()).await.unwrap().status.is_none());
    stream.delete_consumer("gone").await.unwrap();
    let answer = client.request(ack, "+ACK".into()).await;
    assert_eq!(answer.unwrap_err().kind(), async_nats::RequestErrorKind::NoResponders);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_messages_is_told_that_the_server_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let stream = orders(&context, StorageType::Memory).await;
    let config = pull::Config { durable_name: Some("C".into()), ..Default::default() };
    let mut consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
    let client = context.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let request = "{\"batch\":3,\"expires\":600000000000}";
    let next = "$JS.API.CONSUMER.MSG.NEXT.ORDERS.C";
    client.publish_with_reply(next, inbox, request.into()).await.unwrap();
    assert_eq!(consumer.info().await.unwrap().num_waiting, 1);
    daemon.stop().await;
    let answer = answers.next().await.unwrap();
    assert_eq!(answer.status.unwrap().as_u16(), 409);
    assert_eq!(answer.description.unwrap(), "Server Shutdown");
    let headers = answer.headers.unwrap();
    assert_eq!(headers.get("Nats-Pending-Messages").unwrap().as_str(), "3");
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

#[cfg(feature = "monitoring")]
#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_with_streams_is_refused_in_a_cluster() {
    use broker_bin::monitor::{Health, HealthzOptions};
    use broker_bin::options::{Request, load_text};

    let directory = tempfile::tempdir().unwrap();
    let member = async |name: &str, route: i64, jetstream: &str| {
        let routes = if route > 0 { format!("'nats://127.0.0.1:{route}'") } else { String::new() };
        let text = format!(
            "listen: '127.0.0.1:-1', server_name: {name}, store_dir: '{}', jetstream: {jetstream}
             cluster {{ name: C, listen: '127.0.0.1:-1', routes: [{routes}] }}",
            directory.path().join(name).display()
        );
        let loaded = load_text(&text, "natsd.conf", &Request::default()).unwrap();
        Daemon::start(loaded.options).await.unwrap()
    };
    let health = |daemon: &Daemon| {
        let health = daemon.observer().healthz(&HealthzOptions::default());
        (health.health, health.error.unwrap_or_default())
    };
    let holds = async |what: &str, is_true: &dyn Fn() -> bool| {
        let waiting = async {
            while !is_true() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(what);
    };
    let routes = |daemon: &Daemon| daemon.broker().cluster().unwrap().server_count();

    let first = member("first", 0, "enabled").await;
    let port = first.varz().cluster.cluster_port.into();
    let second = member("second", port, "enabled").await;
    for daemon in [&first, &second] {
        holds("conflict", &|| health(daemon).0 == Health::Unavailable).await;
        let error = health(daemon).1;
        assert!(error.starts_with("JetStream is enabled on \""), "{error}");
        assert!(error.contains("\"first\"") && error.contains("\"second\""), "{error}");
        assert_eq!(routes(daemon), 0);
        // A probe of readiness leaves the server where it is.
        let ready = HealthzOptions { server_only: true, ..HealthzOptions::default() };
        assert_eq!(daemon.observer().healthz(&ready).health, Health::Ok);
    }
    drop(second);
    let second = member("second", port, "disabled").await;
    for daemon in [&first, &second] {
        holds("route", &|| routes(daemon) == 1 && health(daemon).0 == Health::Ok).await;
    }
    // The other server serves the API.
    let client = async_nats::connect(second.local_addr().to_string()).await.unwrap();
    let context = jetstream::new(client);
    let is_served = async {
        // The interest in the API follows the route.
        while context.query_account().await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(30), is_served).await.unwrap();
    let stream = orders(&context, StorageType::File).await;
    assert_eq!(stream.cached_info().config.name, "ORDERS");
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
    // Each mirror found its stream at once, whatever the order of recovery: the only error is that of the missing message.
    assert_eq!(context.query_account().await.unwrap().requests.errors, 1);

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

/// Loads a configuration file, with streams in `directory`.
async fn start_file(directory: &Path, text: &str) -> Daemon {
    write_file(directory, text);
    let file = Some(directory.join("natsd.conf"));
    let request = broker_bin::options::Request { file, ..Default::default() };
    Daemon::start_loaded(broker_bin::options::load(&request).unwrap()).await.unwrap()
}

fn write_file(directory: &Path, text: &str) {
    let more = format!("listen: '127.0.0.1:-1'\njetstream {{ store_dir: {directory:?} }}\n");
    std::fs::write(directory.join("natsd.conf"), format!("{more}{text}")).unwrap();
}

/// Sends a request to the API, and returns the code of the error; 0 for none.
async fn code(client: &async_nats::Client, api: &str, payload: &str) -> u64 {
    let answer = client.request(format!("$JS.API.{api}"), payload.to_owned().into()).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    answer["error"]["err_code"].as_u64().unwrap_or(0)
}

const NOT_ENABLED: u64 = 10039;
const STREAM_NOT_FOUND: u64 = 10059;
const NO_STORAGE: u64 = 10047;

#[cfg(all(feature = "jwt", feature = "monitoring"))]
mod operators {
    use broker_bin::monitor::JszOptions;
    use broker_net::testing::{TestAccount, TestOperator, TestUser};

    use super::*;

    /// Replaces the limits of streams.
    fn limit(account: &TestAccount, text: &str) {
        let limits = serde_json::from_str(text).unwrap();
        account.update(|claims| claims.nats.limits.other = limits);
    }

    /// A user whose token alone is enough.
    fn bearer(account: &TestAccount) -> TestUser {
        account.user_with("u", |claims| claims.nats.limits.bearer_token = true)
    }

    async fn connect(daemon: &Daemon, user: &TestUser) -> async_nats::Client {
        let jwt = user.jwt().expose().to_owned();
        let options = async_nats::ConnectOptions::with_auth_callback(move |_| {
            let mut auth = async_nats::Auth::new();
            auth.jwt = Some(jwt.clone());
            async move { Ok(auth) }
        });
        options.connect(daemon.local_addr().to_string()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_claims_of_an_account_limit_its_streams() {
        let (directory, operator) = (tempfile::tempdir().unwrap(), TestOperator::new());
        let (without, with) = (operator.account("WITHOUT"), operator.account("WITH"));
        let tiered = operator.account("TIERED");
        limit(&with, r#"{"disk_storage":1000,"mem_storage":-1,"streams":1,"consumer":-1}"#);
        limit(&tiered, r#"{"tiered_limits":{"R1":{"mem_storage":500,"streams":-1}}}"#);
        let daemon = start_file(directory.path(), &operator.config()).await;

        let client = connect(&daemon, &bearer(&without)).await;
        assert_eq!(code(&client, "INFO", "").await, NOT_ENABLED);
        let stream = |name: &str, storage: &str, bytes: u64| {
            format!(
                r#"{{"name":"{name}","subjects":["{name}"],"storage":"{storage}","max_bytes":{bytes}}}"#
            )
        };
        let client = connect(&daemon, &bearer(&with)).await;
        assert_eq!(code(&client, "INFO", "").await, 0);
        assert_eq!(code(&client, "STREAM.CREATE.S", &stream("S", "file", 1001)).await, 10047);
        assert_eq!(code(&client, "STREAM.CREATE.S", &stream("S", "file", 1000)).await, 0);
        assert_eq!(code(&client, "STREAM.CREATE.T", &stream("T", "memory", 10)).await, 10027);
        let client = connect(&daemon, &bearer(&tiered)).await;
        assert_eq!(code(&client, "STREAM.CREATE.S", &stream("S", "memory", 501)).await, 10028);
        assert_eq!(code(&client, "STREAM.CREATE.S", &stream("S", "memory", 500)).await, 0);
        daemon.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn streams_end_and_begin_again_with_the_claims_of_connected_clients() {
        let (directory, operator) = (tempfile::tempdir().unwrap(), TestOperator::new());
        let account = operator.account("A");
        let (some, none) = (r#"{"disk_storage":-1,"streams":-1,"consumer":-1}"#, "{}");
        let daemon = start_file(directory.path(), &operator.config()).await;
        let client = connect(&daemon, &bearer(&account)).await;
        let context = jetstream::new(client.clone());
        assert_eq!(code(&client, "INFO", "").await, NOT_ENABLED);

        for round in 0..3 {
            limit(&account, some);
            write_file(directory.path(), &operator.config());
            daemon.reload().await.unwrap();
            if round == 0 {
                orders(&context, StorageType::File).await;
            }
            assert_eq!(code(&client, "STREAM.INFO.ORDERS", "").await, 0);
            publish(&context, round * 10 + 1..round * 10 + 11).await;

            limit(&account, none);
            write_file(directory.path(), &operator.config());
            daemon.reload().await.unwrap();
            assert_eq!(code(&client, "STREAM.INFO.ORDERS", "").await, NOT_ENABLED);
        }
        daemon.stop().await;

        // Not served, but kept, until a server starts with other claims.
        limit(&account, some);
        let daemon = start_file(directory.path(), &operator.config()).await;
        let jsz = daemon.observer().jsz(&JszOptions::default()).unwrap();
        assert_eq!((jsz.streams, jsz.messages), (1, 30), "recovered before a client logs in");
        let context = jetstream::new(connect(&daemon, &bearer(&account)).await);
        publish(&context, 31..33).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_which_accounts_have_streams() {
    let directory = tempfile::tempdir().unwrap();
    let text = |a: &str| {
        format!(
            "accounts {{ A {{ {a} users: [{{ user: a, password: a }}] }}
            B {{ jetstream: enabled, users: [{{ user: b, password: b }}] }} }}"
        )
    };
    let daemon = start_file(directory.path(), &text("")).await;
    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
    let client = options.connect(daemon.local_addr().to_string()).await.unwrap();
    assert_eq!(code(&client, "STREAM.INFO.S", "").await, NOT_ENABLED);
    for _ in 0..2 {
        write_file(directory.path(), &text("jetstream: { max_streams: 1 },"));
        daemon.reload().await.unwrap();
        assert_eq!(code(&client, "STREAM.INFO.S", "").await, STREAM_NOT_FOUND);
        write_file(directory.path(), &text(""));
        daemon.reload().await.unwrap();
        assert_eq!(code(&client, "STREAM.INFO.S", "").await, NOT_ENABLED);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_gives_streams_more_room() {
    let directory = tempfile::tempdir().unwrap();
    let limits = |megabytes: u32| {
        let store = directory.path();
        let limits = format!("max_mem: 1MB, max_file: {megabytes}MB, store_dir: {store:?}");
        let text = format!("listen: '127.0.0.1:-1'\njetstream {{ {limits} }}\n");
        std::fs::write(directory.path().join("natsd.conf"), text).unwrap();
    };
    limits(1);
    let file = Some(directory.path().join("natsd.conf"));
    let request = broker_bin::options::Request { file, ..Default::default() };
    let options = broker_bin::options::load(&request).unwrap();
    let daemon = Daemon::start_loaded(options).await.unwrap();
    let client = async_nats::connect(daemon.local_addr().to_string()).await.unwrap();
    let megabyte = |name: &str| format!(r#"{{"name":"{name}","max_bytes":1048576}}"#);
    assert_eq!(code(&client, "STREAM.CREATE.A", &megabyte("A")).await, 0);
    assert_eq!(code(&client, "STREAM.CREATE.B", &megabyte("B")).await, NO_STORAGE);
    limits(2);
    daemon.reload().await.unwrap();
    assert_eq!(code(&client, "STREAM.CREATE.B", &megabyte("B")).await, 0);
    assert_eq!(code(&client, "STREAM.CREATE.C", &megabyte("C")).await, NO_STORAGE);
    limits(1);
    let refusal = daemon.reload().await.unwrap_err().to_string();
    let expected = "config reload not supported for decreasing jetstream max memory and store";
    assert_eq!(refusal, expected);
    daemon.stop().await;
}

/// Requests a backup. Returns the answer, and the chunks, each acknowledged.
async fn backup(
    client: &async_nats::Client,
    request: serde_json::Value,
) -> (serde_json::Value, Vec<u8>) {
    let inbox = client.new_inbox();
    let mut chunks = client.subscribe(inbox.clone()).await.unwrap();
    let mut request = request;
    request["deliver_subject"] = inbox.into();
    let answer = ask(client, "STREAM.SNAPSHOT.ORDERS", &request).await;
    let mut archive = Vec::new();
    while let Some(chunk) = chunks.next().await {
        if chunk.payload.is_empty() {
            let is_good = chunk.status.is_none_or(|status| status.as_u16() == 204);
            assert!(is_good, "{:?} {:?}", chunk.status, chunk.description);
            break;
        }
        archive.extend_from_slice(&chunk.payload);
        if let Some(reply) = chunk.reply {
            client.publish(reply, "".into()).await.unwrap();
        }
    }
    (answer, archive)
}

async fn ask(
    client: &async_nats::Client,
    api: &str,
    request: &serde_json::Value,
) -> serde_json::Value {
    let answer =
        client.request(format!("$JS.API.{api}"), request.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Restores a backup in chunks. Returns the last answer, or the first that is an error.
async fn restore(
    client: &async_nats::Client,
    config: &serde_json::Value,
    archive: &[u8],
) -> serde_json::Value {
    let request = serde_json::json!({ "config": config });
    let answer = ask(client, "STREAM.RESTORE.ORDERS", &request).await;
    if answer["error"].is_object() {
        return answer;
    }
    let subject = answer["deliver_subject"].as_str().unwrap().to_owned();
    for chunk in archive.chunks(700).chain([&[][..]]) {
        let answer = client.request(subject.clone(), chunk.to_vec().into()).await.unwrap();
        if !answer.payload.is_empty() {
            return serde_json::from_slice(&answer.payload).unwrap();
        }
    }
    panic!("the end is not answered");
}

/// Returns the types of advisories until one of a type.
async fn advisories(subscriber: &mut async_nats::Subscriber, last: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != last) {
        let event = subscriber.next().await.unwrap();
        let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(event["stream"], "ORDERS");
        let kind = event["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
        if kind.starts_with("snapshot") || kind.starts_with("restore") {
            assert!(event["client"].is_object(), "{event}");
        }
        kinds.push(kind);
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_with_its_consumers() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let client = context.client();
    let mut events = client.subscribe("$JS.EVENT.ADVISORY.STREAM.>").await.unwrap();
    for storage in [StorageType::Memory, StorageType::File] {
        let stream = orders(&context, storage).await;
        publish(&context, 1..301).await;
        let config = pull::Config { durable_name: Some("pull".into()), ..Default::default() };
        let pulling: PullConsumer = stream.create_consumer(config).await.unwrap();
        for message in &fetch(&pulling, 6).await[..4] {
            message.double_ack().await.unwrap();
        }
        stream.delete_message(7).await.unwrap();
        let info = |client: async_nats::Client| async move {
            let mut stream = ask(&client, "STREAM.INFO.ORDERS", &serde_json::json!({})).await;
            let name = "CONSUMER.INFO.ORDERS.pull";
            let answer = client.request(format!("$JS.API.{name}"), "".into()).await.unwrap();
            let mut consumer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            stream["ts"].take();
            consumer["ts"].take();
            for part in ["delivered", "ack_floor"] {
                consumer[part]["last_active"].take();
            }
            (stream, consumer)
        };
        let before = info(client.clone()).await;
        let request = serde_json::json!({ "chunk_size": 1024, "window_size": 2048, "jsck": true });
        let (answer, archive) = backup(&client, request).await;
        assert!(archive.len() > 4096, "several chunks");
        assert_eq!(answer["state"]["messages"], 299);
        let kinds = advisories(&mut events, "snapshot_complete").await;
        assert_eq!(kinds, ["stream_action", "snapshot_create", "snapshot_complete"]);

        let answer = restore(&client, &before.0["config"], &archive).await;
        assert_eq!(answer["error"]["err_code"], 10130, "{answer}");
        context.delete_stream("ORDERS").await.unwrap();
        let answer = restore(&client, &before.0["config"], &archive).await;
        assert_eq!(answer["type"], "io.nats.jetstream.api.v1.stream_create_response");
        assert_eq!(answer["state"], before.0["state"], "{answer}");
        assert_eq!(info(client.clone()).await, before);
        let kinds = advisories(&mut events, "restore_complete").await;
        assert_eq!(kinds, ["stream_action", "restore_create", "stream_action", "restore_complete"]);
        let messages = fetch(&pulling, 2).await;
        assert_eq!((&*messages[0].subject, &*messages[1].subject), ("orders.8", "orders.9"));
        context.delete_stream("ORDERS").await.unwrap();
        let _deleted = events.next().await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_stream_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    orders(&context, StorageType::File).await;
    publish(&context, 1..51).await;
    let (answer, archive) = backup(&context.client(), serde_json::json!({})).await;
    context.delete_stream("ORDERS").await.unwrap();
    restore(&context.client(), &answer["config"], &archive).await;
    daemon.stop().await;
    let (daemon, context) = start(directory.path()).await;
    let stream = context.get_stream("ORDERS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 50);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_no_good_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let client = context.client();
    orders(&context, StorageType::File).await;
    publish(&context, 1..51).await;
    let (answer, archive) = backup(&client, serde_json::json!({})).await;
    context.delete_stream("ORDERS").await.unwrap();
    let mut damaged = archive.clone();
    damaged[archive.len() / 2] ^= 1;
    for bad in [&archive[..archive.len() - 30], &damaged, b"no archive", b""] {
        let answer = restore(&client, &answer["config"], bad).await;
        assert_eq!(answer["error"]["err_code"], 10062, "{answer}");
        assert!(context.get_stream("ORDERS").await.is_err());
    }
    let left = std::fs::read_dir(directory.path().join("jetstream/natsd/$G")).unwrap().count();
    assert_eq!(left, 0, "no directory of a stream");
    let answer = restore(&client, &answer["config"], &archive).await;
    assert_eq!(answer["state"]["messages"], 50);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_backup() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, context) = start(directory.path()).await;
    let client = context.client();
    orders(&context, StorageType::File).await;
    publish(&context, 1..301).await;
    let mut chunks = client.subscribe("chunks").await.unwrap();
    let request =
        serde_json::json!({ "deliver_subject": "chunks", "chunk_size": 1024, "window_size": 1024 });
    ask(&client, "STREAM.SNAPSHOT.ORDERS", &request).await;
    chunks.next().await.unwrap();
    // The first backup waits for an acknowledgement.
    let second = ask(&client, "STREAM.SNAPSHOT.ORDERS", &request).await;
    assert_eq!(second["error"]["description"], "snapshot failed: snapshot in progress");
    publish(&context, 301..302).await;
    chunks.unsubscribe().await.unwrap();
    while ask(&client, "STREAM.SNAPSHOT.ORDERS", &request).await["error"].is_object() {}
    daemon.stop().await;
}
