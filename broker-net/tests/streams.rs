//! Streams of a server inside a program.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use broker_net::Server;
use futures_util::TryStreamExt;

async fn start(directory: &Path) -> (Server, Context) {
    let server = Server::builder().streams_in(directory).bind().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    (server, jetstream::new(client))
}

async fn consumer(stream: &Stream) -> PullConsumer {
    let config = pull::Config { durable_name: Some("C".into()), ..pull::Config::default() };
    stream.get_or_create_consumer("C", config).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_shutdown_stores_what_consumers_have_acknowledged() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (server, context) = start(directories[0].path()).await;
    let config = Config { name: "S".into(), subjects: vec!["s".into()], ..Config::default() };
    let stream = context.create_stream(config).await.unwrap();
    for _ in 0..3 {
        context.publish("s", "text".into()).await.unwrap().await.unwrap();
    }
    let mut pulling = consumer(&stream).await;
    let batch = pulling.fetch().max_messages(3).messages().await.unwrap();
    let messages: Vec<_> = batch.try_collect().await.unwrap();
    for message in messages {
        // Nobody waits for this to be stored.
        message.ack().await.unwrap();
    }
    assert_eq!(pulling.info().await.unwrap().ack_floor.stream_sequence, 3);
    server.shutdown().await;

    // The server still exists, as in a program that exits now.
    copy(directories[0].path(), directories[1].path());
    let (_again, context) = start(directories[1].path()).await;
    let stream = context.get_stream("S").await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().state.messages, 3);
    let info = consumer(&stream).await.info().await.unwrap().clone();
    assert_eq!(info.ack_floor.stream_sequence, 3);
    drop(server);
}

#[tokio::test]
async fn two_servers_do_not_use_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _) = start(directory.path()).await;
    let error = Server::builder().streams_in(directory.path()).bind().await.unwrap_err();
    assert!(error.to_string().contains("streams"), "{error}");
    drop(server);
    start(directory.path()).await;
}
