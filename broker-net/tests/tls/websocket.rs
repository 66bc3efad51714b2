//! WebSocket over TLS.

use std::time::Duration;

use broker_net::{Server, WebsocketOptions};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::authority::Authority;

const PATIENCE: Duration = Duration::from_secs(20);

async fn server(authority: &Authority) -> Server {
    let mut options = WebsocketOptions::default();
    options.tls = Some(authority.options());
    Server::builder().websocket(options).bind().await.unwrap()
}

#[tokio::test]
async fn an_official_client_comes_by_websocket_over_tls() {
    let authority = Authority::new("us");
    let server = server(&authority).await;
    let url = server.websocket_url().unwrap();
    assert!(url.starts_with("wss://127.0.0.1:"), "{url}");
    let config = authority.client_config(None);
    let options = async_nats::ConnectOptions::new().tls_client_config((*config).clone());
    let client = options.connect(url).await.unwrap();
    assert!(client.server_info().tls_required);
    let mut orders = client.subscribe("orders").await.unwrap();
    let large = "x".repeat(900_000);
    client.publish("orders", large.clone().into()).await.unwrap();
    let message = timeout(PATIENCE, orders.next()).await.unwrap().unwrap();
    assert!(message.payload == large);
    // The other port has none.
    let other = async_nats::connect(server.url()).await.unwrap();
    assert!(!other.server_info().tls_required);
}

#[tokio::test]
async fn half_a_handshake_is_gone_in_two_seconds() {
    let authority = Authority::new("us");
    let server = server(&authority).await;
    for start in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let since = Instant::now();
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(since.elapsed() < Duration::from_millis(3500), "{:?}", since.elapsed());
    }
}
