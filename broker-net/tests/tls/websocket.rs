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
async fn an_official_client_connects_by_websocket_over_tls() {
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
    // The other port uses no TLS.
    let other = async_nats::connect(server.url()).await.unwrap();
    assert!(!other.server_info().tls_required);
}

/// The request may be split anywhere.
#[tokio::test]
async fn plain_http_is_answered_in_the_words_of_the_reference() {
    let authority = Authority::new("us");
    let server = server(&authority).await;
    // Go: net/http.
    let told = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    for (text, piece, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", 4096, told),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1, told),
        ("HEAD / HTTP/1.1\r\n\r\n", 3, told),
        ("POST / HTTP/1.1\r\n\r\n", 4096, told),
        ("OPTIONS * HTTP/1.1\r\n\r\n", 4096, told),
        ("CONNECT {}\r\n", 4096, ""),
    ] {
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in text.as_bytes().chunks(piece) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let reading = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(reading.is_ok() || expected.is_empty(), "{text}");
        assert_eq!(String::from_utf8(answer).unwrap(), expected, "{text}");
    }
}

#[tokio::test]
async fn an_incomplete_handshake_is_closed_within_two_seconds() {
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
