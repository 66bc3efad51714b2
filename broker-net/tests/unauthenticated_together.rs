//! The total cost of unauthenticated connections is bounded: beyond the limit the oldest is closed.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::time::Duration;

use broker_core::auth::Token;
use broker_core::limits::{MAX_UNAUTHENTICATED, UNAUTHENTICATED_BYTES};
use broker_net::{Server, ServerOptions, WebsocketOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: &str = "CONNECT {\"verbose\":false,\"auth_token\":\"s3cr3t\"}\r\nPING\r\n";
const N: usize = 3;

async fn server() -> Server {
    let mut options = ServerOptions::default();
    options.max_unauthenticated = N;
    // The timeout must not close them.
    options.broker.limits.auth_timeout = PATIENCE;
    let mut websocket = WebsocketOptions::default();
    websocket.handshake_timeout = PATIENCE;
    let builder = Server::builder().options(options).websocket(websocket);
    builder.authenticator(Token::new("s3cr3t")).bind().await.unwrap()
}

struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn come(server: &Server) -> Self {
        let mut raw = Self(BufReader::new(TcpStream::connect(server.local_addr()).await.unwrap()));
        assert!(raw.line().await.starts_with("INFO "));
        raw
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time").unwrap();
        line
    }

    async fn log_in(&mut self) {
        self.0.get_mut().write_all(CONNECT.as_bytes()).await.unwrap();
        assert_eq!(self.line().await, "PONG\r\n");
    }

    /// Returns when the connection is closed without an error message.
    async fn is_cut(&mut self) {
        let mut rest = String::new();
        // The connection may be reset.
        let read = timeout(PATIENCE, self.0.read_to_string(&mut rest)).await.expect("an end");
        assert!(read.is_err() || rest.is_empty(), "{rest}");
    }
}

#[test]
fn together_unauthenticated_clients_hold_at_most_64_mib_by_default() {
    assert_eq!(ServerOptions::default().max_unauthenticated, MAX_UNAUTHENTICATED);
    const { assert!(MAX_UNAUTHENTICATED * UNAUTHENTICATED_BYTES <= 64 << 20) };
}

#[tokio::test]
async fn up_to_the_maximum_all_stay_and_beyond_it_the_oldest_is_closed() {
    let server = server().await;
    for count in [N - 1, N] {
        let mut unauthenticated = Vec::new();
        for _ in 0..count {
            unauthenticated.push(Raw::come(&server).await);
        }
        for unauthenticated_guard in &mut unauthenticated {
            unauthenticated_guard.log_in().await;
        }
    }

    let mut unauthenticated = Vec::new();
    for _ in 0..=N {
        unauthenticated.push(Raw::come(&server).await);
    }
    let mut first = unauthenticated.remove(0);
    first.is_cut().await;
    for unauthenticated_guard in &mut unauthenticated {
        unauthenticated_guard.log_in().await;
    }
}

#[tokio::test]
async fn connections_without_a_session_count_too() {
    let server = server().await;
    let mut requesting = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
    requesting.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut local = server.connect();
    let mut info = [0; 5];
    local.read_exact(&mut info).await.unwrap();
    // The kernel picks the next connection to accept arbitrarily, so that more connect than would
    // suffice.
    let mut unauthenticated = Vec::new();
    for _ in 0..2 * N {
        unauthenticated.push(Raw::come(&server).await);
    }
    let read = timeout(PATIENCE, requesting.read(&mut info)).await.expect("an end");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let mut rest = Vec::new();
    timeout(PATIENCE, local.read_to_end(&mut rest)).await.expect("an end").unwrap();
    for unauthenticated_guard in &mut unauthenticated[N..] {
        unauthenticated_guard.log_in().await;
    }
}

#[tokio::test]
async fn authenticated_clients_do_not_count() {
    let server = server().await;
    let mut clients = Vec::new();
    for _ in 0..2 * N {
        let mut client = Raw::come(&server).await;
        client.log_in().await;
        clients.push(client);
    }
    for client in &mut clients {
        client.0.get_mut().write_all(b"PING\r\n").await.unwrap();
        assert_eq!(client.line().await, "PONG\r\n");
    }
}
