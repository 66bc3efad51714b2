//! Hostile and broken clients: they are closed in time, cost little, and do not affect others.

use std::time::{Duration, Instant};

use broker_net::{Server, TlsVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::authority::Authority;
use crate::client::{Raw, Tls, in_time};

/// Timeout of handshakes.
const TIMEOUT: Duration = Duration::from_millis(300);

async fn start(authority: &Authority, timeout: Duration) -> Server {
    let mut options = authority.options();
    options.timeout = timeout;
    Server::builder().tls(options).bind().await.unwrap()
}

/// Returns a client's first bytes.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(authority.client_config(None), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

async fn say_and_wait(server: &Server, bytes: Vec<u8>) {
    let mut raw = Raw::connect(server).await;
    raw.line().await;
    // The server may close the connection before all is written.
    let _ = raw.stream.get_mut().write_all(&bytes).await;
    let mut rest = Vec::new();
    let _ = in_time(raw.stream.read_to_end(&mut rest)).await;
}

async fn all_are_gone_but_one_can_come(server: &Server, authority: &Authority) {
    let waiting = async {
        while server.broker().stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(waiting).await;
    Tls::join(server, authority.client_config(None)).await.ping().await;
}

#[tokio::test]
async fn an_incomplete_client_hello_is_closed_after_the_timeout() {
    let authority = Authority::new("ca");
    let server = start(&authority, TIMEOUT).await;
    let hello = hello(&authority);
    let mut all = tokio::task::JoinSet::new();
    let server = std::sync::Arc::new(server);
    for end in (1..=hello.len()).step_by(hello.len() / 40) {
        let (server, half_close) = (server.clone(), hello[..end].to_vec());
        all.spawn(async move { say_and_wait(&server, half_close).await });
    }
    all.join_all().await;
    all_are_gone_but_one_can_come(&server, &authority).await;
}

#[tokio::test]
async fn a_damaged_client_hello_does_no_harm() {
    let authority = Authority::new("ca");
    let server = std::sync::Arc::new(start(&authority, TIMEOUT).await);
    let hello = hello(&authority);
    let mut all = tokio::task::JoinSet::new();
    for at in (0..hello.len()).step_by(hello.len() / 60) {
        let mut damaged = hello.clone();
        damaged[at] ^= 0xff;
        let server = server.clone();
        all.spawn(async move { say_and_wait(&server, damaged).await });
    }
    all.join_all().await;
    all_are_gone_but_one_can_come(&server, &authority).await;
}

#[tokio::test]
async fn oversized_records_are_refused() {
    let authority = Authority::new("ca");
    let server = start(&authority, Duration::from_secs(60)).await;
    for head in [b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x48\x01", b"\x16\x03\x03\x00\x00"] {
        let begin = Instant::now();
        say_and_wait(&server, [&head[..], &[1; 6000]].concat()).await;
        assert!(begin.elapsed() < Duration::from_secs(30), "{head:?}");
    }
    all_are_gone_but_one_can_come(&server, &authority).await;
}

/// Each key update requests one in return, which the client does not read.
#[tokio::test]
async fn endless_key_updates_close_the_connection_or_cost_nothing() {
    let authority = Authority::new("ca");
    let server = start(&authority, Duration::from_secs(60)).await;
    let mut other = Tls::join(&server, authority.client_config(None)).await;
    let tls = Tls::join(&server, authority.client_config_of(&TLS13)).await;
    let (mut socket, mut keys) = tls.stream.into_inner().into_inner();
    let mut sealed = Vec::new();
    for _ in 0..20_000 {
        keys.refresh_traffic_keys().unwrap();
        while keys.wants_write() {
            keys.write_tls(&mut sealed).unwrap();
        }
    }
    let writing = async {
        // Unless it closes the connection, the server must read everything, despite unsent output.
        let _ = socket.write_all(&sealed).await;
    };
    in_time(writing).await;
    other.ping().await;
    drop(socket);
    other.ping().await;
}

#[tokio::test]
async fn with_a_minimum_of_1_3_version_1_2_is_refused() {
    let authority = Authority::new("ca");
    let mut options = authority.options();
    options.min_version = TlsVersion::V1_3;
    let server = Server::builder().tls(options).bind().await.unwrap();
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    assert!(raw.upgrade(authority.client_config_of(&TLS12)).await.is_err());
    Tls::join(&server, authority.client_config_of(&TLS13)).await.ping().await;
}
