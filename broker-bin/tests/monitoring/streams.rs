//! Streams and consumers in `/metrics`.

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, Source, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use broker_bin::options::MetricsPrefix;
use broker_bin::{Daemon, Options};
use futures_util::{StreamExt, TryStreamExt};

use crate::common::{ask, get, options};
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

#[tokio::test(flavor = "multi_thread")]
async fn our_own_metrics_of_streams_have_times_counts_and_space() {
    let (daemon, context, _directory) = start_with(options()).await;
    let config = Config { name: "FILES".into(), subjects: vec!["f".into()], ..Config::default() };
    let files = context.create_stream(config).await.unwrap();
    for _ in 0..3 {
        context.publish("f", "hello".into()).await.unwrap().await.unwrap();
    }
    let config = pull::Config { durable_name: Some("c".into()), ..pull::Config::default() };
    let consumer: PullConsumer = files.create_consumer(config).await.unwrap();
    let batch = consumer.fetch().max_messages(2).messages().await.unwrap();
    let messages: Vec<jetstream::Message> = batch.try_collect().await.unwrap();
    for message in &messages {
        message.double_ack().await.unwrap();
    }
    assert!(context.get_stream("NONE").await.is_err());
    let series = scrape(&daemon).await;
    let found = |name: &str, labels| value(&series, &format!("natsd_streams_{name}"), labels);
    let is = |name: &str, labels, expected: f64| {
        assert_eq!(found(name, labels).to_bits(), expected.to_bits(), "{name} {labels}");
    };
    is("publish_to_durable_seconds_count", "", 3.0);
    is("publish_to_durable_seconds_bucket", "le=\"+Inf\"", 3.0);
    is("deliver_to_ack_seconds_count", "", 2.0);
    assert!(found("publish_to_durable_seconds_sum", "") > 0.0);
    is("api_errors_total", "", 1.0);
    assert!(found("api_requests_total", "") >= 3.0);
    for name in ["api_dropped_total", "api_pending", "store_failures_total", "damages_total"] {
        is(name, "", 0.0);
    }
    is("write_failed", "", 0.0);
    is("not_recovered", "", 0.0);
    assert!(found("syncs_total", "") >= 3.0);
    assert!(found("written_bytes_total", "") >= 15.0);
    assert!(found("used_bytes", "storage=\"file\"") >= 15.0);
    is("used_bytes", "storage=\"memory\"", 0.0);
    assert!(found("max_bytes", "storage=\"file\"") > 0.0);
    assert!(found("disk_bytes", "") >= found("disk_free_bytes", ""));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_listed_in_pages_and_messages_only_if_that_is_configured() {
    let (daemon, context, _directory) = start_with(options()).await;
    fill(&context).await;
    let get_json = async |path: &str| -> serde_json::Value {
        serde_json::from_str(&get(&daemon, path).await.body).unwrap()
    };
    let names = |answer: &serde_json::Value| -> Vec<String> {
        let rows = answer["streams"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = get_json("/streamz").await;
    assert_eq!(names(&all), ["MIRROR", "ORDERS", "SOURCED"]);
    assert_eq!((&all["total"], all.get("shows_messages")), (&3.into(), None));
    let orders = &all["streams"][1];
    for (member, expected) in
        [("messages", 5), ("consumers", 2), ("ack_pending", 1), ("last_seq", 5)]
    {
        assert_eq!(orders[member], expected, "{member}");
    }
    assert_eq!((&orders["account"], &orders["storage"]), (&"$G".into(), &"memory".into()));
    assert_eq!(names(&get_json("/streamz?sort=consumers&limit=1").await), ["ORDERS"]);
    assert_eq!(names(&get_json("/streamz?search=OR&offset=1").await), ["ORDERS"]);
    let consumers = get_json("/streamz?acc=$G&stream=ORDERS&limit=1&offset=1").await;
    assert_eq!(
        (&consumers["total"], &consumers["consumers"][0]["name"]),
        (&2.into(), &"pull".into())
    );
    assert_eq!(consumers["consumers"][0]["num_ack_pending"], 1);
    for (path, status) in [
        ("/streamz?sort=x", 400),
        ("/streamz?acc=$G&stream=NONE", 400),
        ("/messagez?acc=$G&stream=ORDERS", 404),
    ] {
        assert_eq!(get(&daemon, path).await.status, status, "{path}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_shown_to_those_with_credentials() {
    let options = Options { http_token: Some("t0k".into()), http_messages: true, ..options() };
    let (daemon, context, _directory) = start_with(options).await;
    fill(&context).await;
    let path = "/messagez?acc=$G&stream=ORDERS&back=1&limit=2";
    assert_eq!(get(&daemon, path).await.status, 401);
    let head = "Host: x\r\nAuthorization: Bearer t0k\r\nConnection: close";
    let answer = ask(&daemon, &format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    let first = &messages[0];
    assert_eq!((&first["seq"], &first["subject"]), (&5.into(), &"orders.0".into()));
    assert_eq!((&first["payload"], &first["payload_bytes"]), (&"hello".into(), &5.into()));
    daemon.stop().await;
}
