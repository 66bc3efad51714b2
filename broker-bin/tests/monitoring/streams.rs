//! Streams and consumers in `/metrics`.

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, Source, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use broker_bin::options::MetricsPrefix;
use broker_bin::{Daemon, Options};
use futures_util::{StreamExt, TryStreamExt};

use crate::common::{get, options};
use crate::metrics::{described, scrape, value};

async fn start_with(options: Options) -> (Daemon, Context, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        server_name: Some("n1".into()),
        jetstream: Some(broker_bin::options::JetStream::default()),
        store_dir: Some(directory.path().into()),
        ..options
    };
    let daemon = Daemon::start(options).await.unwrap();
    let client = async_nats::connect(daemon.local_addr().to_string()).await.unwrap();
    (daemon, jetstream::new(client), directory)
}

async fn stream(context: &Context, config: Config) -> Stream {
    let storage = StorageType::Memory;
    context.create_stream(Config { storage, ..config }).await.unwrap()
}

fn orders() -> Config {
    Config {
        name: "ORDERS".into(),
        subjects: vec!["orders.*".into()],
        max_messages: 100,
        ..Config::default()
    }
}

fn copy_of_orders(name: &str) -> Config {
    let source = Source { name: "ORDERS".into(), ..Source::default() };
    match name {
        "MIRROR" => Config { name: name.into(), mirror: Some(source), ..Config::default() },
        _ => Config { name: name.into(), sources: Some(vec![source]), ..Config::default() },
    }
}

/// A stream with five messages, and a consumer that has acknowledged two of three; with copies of the stream.
async fn fill(context: &Context) {
    let orders = stream(context, orders()).await;
    for number in 0..5 {
        let subject = format!("orders.{}", number % 2);
        context.publish(subject, "hello".into()).await.unwrap().await.unwrap();
    }
    let config = pull::Config {
        durable_name: Some("pull".into()),
        description: Some("takes \"orders\"".into()),
        ..pull::Config::default()
    };
    let consumer: PullConsumer = orders.create_consumer(config).await.unwrap();
    let batch = consumer.fetch().max_messages(3).messages().await.unwrap();
    let messages: Vec<jetstream::Message> = batch.try_collect().await.unwrap();
    for message in &messages[..2] {
        message.double_ack().await.unwrap();
    }
    let config = pull::Config { durable_name: Some("idle".into()), ..pull::Config::default() };
    orders.create_consumer(config).await.unwrap();
    for name in ["MIRROR", "SOURCED"] {
        let mut copy = stream(context, copy_of_orders(name)).await;
        let complete = async {
            while copy.info().await.unwrap().state.messages != 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::common::DEADLINE, complete).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_values_of_streams_and_consumers() {
    let (daemon, context, _directory) = start_with(options()).await;
    fill(&context).await;
    let series = scrape(&daemon).await;
    let is = |name: &str, labels: &str, expected: f64| {
        let found = value(&series, &format!("jetstream_{name}"), labels);
        assert_eq!(found.to_bits(), expected.to_bits(), "{name} {labels}: {found}");
    };
    let jsz = daemon.observer().jsz(&broker_bin::monitor::JszOptions::default()).unwrap();
    is("server_jetstream_disabled", "", 0.0);
    is("server_max_storage", "", jsz.config.max_storage as f64);
    is("server_total_streams", "", 3.0);
    is("server_total_consumers", "", 2.0);
    is("server_total_messages", "", 15.0);
    is("server_total_message_bytes", "", jsz.bytes as f64);
    is("account_memory_used", r#"account="$G""#, jsz.stats.memory as f64);
    is("account_storage_used", r#"account_id="$G""#, 0.0);

    let orders = r#"stream_name="ORDERS",stream_leader="n1",is_stream_leader="true""#;
    is("stream_total_messages", orders, 5.0);
    is("stream_first_seq", orders, 1.0);
    is("stream_last_seq", orders, 5.0);
    is("stream_subject_count", orders, 2.0);
    is("stream_consumer_count", orders, 2.0);
    is("stream_limit_messages", orders, 100.0);
    is("stream_limit_bytes", orders, -1.0);
    is("stream_mirror_lag", r#"stream_name="MIRROR""#, 0.0);
    assert!(value(&series, "jetstream_stream_mirror_active_duration_ns", "") >= 0.0);
    is("stream_source_lag", r#"stream_name="SOURCED""#, 0.0);
    value(&series, "jetstream_stream_source_active_duration_ns", r#"source_name="ORDERS""#);

    let pull = r#"consumer_name="pull",consumer_leader="",is_consumer_leader="true""#;
    is("consumer_delivered_consumer_seq", pull, 3.0);
    is("consumer_delivered_stream_seq", pull, 3.0);
    is("consumer_ack_floor_consumer_seq", pull, 2.0);
    is("consumer_ack_floor_stream_seq", pull, 2.0);
    is("consumer_num_ack_pending", r#"consumer_desc="takes \"orders\"""#, 1.0);
    is("consumer_num_pending", pull, 2.0);
    is("consumer_num_waiting", pull, 0.0);
    is("consumer_num_redelivered", pull, 0.0);
    assert!(value(&series, "jetstream_consumer_last_ack_seconds", pull) >= 0.0);
    assert!(value(&series, "jetstream_consumer_last_delivery_seconds", pull) >= 0.0);
    is("consumer_num_pending", r#"consumer_name="idle""#, 5.0);
    let omitted = |kind| value(&series, "natsd_metrics_omitted", kind).to_bits();
    assert_eq!([omitted("stream"), omitted("consumer")], [0; 2]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_streams_have_the_names_types_and_labels_of_the_exporter() {
    let (daemon, context, _directory) = start_with(options()).await;
    fill(&context).await;
    let body = get(&daemon, "/metrics").await.body;
    let ours = described(&body, |line| line.starts_with("jetstream_"));
    let file = include_str!("exporter_stream_metrics.txt");
    let theirs: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ours, theirs);
    for name in theirs.iter().map(|line| line.split(' ').next().unwrap()) {
        assert_eq!(body.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_streams_follow_the_prefix_of_the_chart() {
    let options = Options { metrics_prefix: MetricsPrefix::Nats, ..options() };
    let (daemon, context, _directory) = start_with(options).await;
    fill(&context).await;
    let series = scrape(&daemon).await;
    for name in ["nats_account_max_memory", "nats_server_total_streams"] {
        value(&series, name, "");
    }
    value(&series, "nats_stream_total_messages", "MIRROR");
    value(&series, "nats_consumer_num_pending", "idle");
    assert!(!series.keys().any(|key| key.starts_with("jetstream_")));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_streams_in_metrics_has_a_limit() {
    let (daemon, context, _directory) = start_with(options()).await;
    let names = (0..1027).map(|number| format!("S{number:04}"));
    let configs = names.map(|name| Config { name, ..Config::default() });
    futures_util::stream::iter(configs)
        .for_each_concurrent(64, |config| async { drop(stream(&context, config).await) })
        .await;
    let last = context.get_stream("S1026").await.unwrap();
    let config = pull::Config { durable_name: Some("c".into()), ..pull::Config::default() };
    last.create_consumer(config).await.unwrap();
    let series = scrape(&daemon).await;
    let count = series.keys().filter(|key| key.starts_with("jetstream_stream_first_seq{")).count();
    assert_eq!(count, 1024);
    let is = |name, labels, expected: f64| {
        assert_eq!(value(&series, name, labels).to_bits(), expected.to_bits(), "{name} {labels}");
    };
    is("jetstream_server_total_streams", "", 1027.0);
    is("natsd_metrics_omitted", "kind=\"stream\"", 3.0);
    is("natsd_metrics_omitted", "kind=\"consumer\"", 1.0);
    is("jetstream_stream_first_seq", "S1023", 0.0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_streams_in_metrics_have_a_limit() {
    let (daemon, context, _directory) = start_with(options()).await;
    let orders = &stream(&context, orders()).await;
    let configs = (0..1000).map(|number| pull::Config {
        durable_name: Some(format!("c{number}")),
        description: Some("x".repeat(4000)),
        ..pull::Config::default()
    });
    futures_util::stream::iter(configs)
        .for_each_concurrent(64, |config| async {
            drop(orders.create_consumer(config).await.unwrap());
        })
        .await;
    let body = get(&daemon, "/metrics").await.body;
    assert!((28 << 20..34 << 20).contains(&body.len()), "{}", body.len());
    let shown = body.matches("\njetstream_consumer_num_pending{").count();
    let omitted = body.lines().find(|line| {
        line.starts_with("natsd_metrics_omitted{") && line.contains("kind=\"consumer\"")
    });
    assert!(shown < 1000, "{shown}");
    assert!(omitted.unwrap().ends_with(&format!(" {}", 1000 - shown)), "{omitted:?} {shown}");
    daemon.stop().await;
}
