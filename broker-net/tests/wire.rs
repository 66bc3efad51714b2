//! Behaviour that needs a socket: arbitrary boundaries of reads, last messages, limits of
//! unauthenticated clients.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::time::Duration;

use broker_core::Limits;
use broker_core::auth::Token;
use broker_net::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn connect(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    assert!(read_line(&mut stream).await.starts_with("INFO {"));
    stream
}

async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(timeout(SOON, stream.read_u8()).await.expect("in time").unwrap());
    }
    String::from_utf8(line).unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    timeout(SOON, reading).await.expect("the server closes in time").unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_control_line_longer_than_the_read_buffer_is_read() {
    let limits = Limits { max_control_line_bytes: 300_000, ..Limits::default() };
    let server = Server::builder().limits(limits).bind().await.unwrap();
    let mut stream = connect(&server).await;
    let name = "n".repeat(200_000);
    let connect = format!("CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\nPING\r\n");
    for piece in connect.as_bytes().chunks(30_000) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
}

/// The session leaves most of a large input to later turns, the more so as subscriptions must end
/// first.
#[tokio::test]
async fn a_large_input_is_handled_completely_in_turns() {
    let server = Server::builder().bind().await.unwrap();
    let mut stream = connect(&server).await;
    let subscribe = |prefix: &str| -> String {
        (0..20_000).map(|number| format!("SUB {prefix}.{number} {number}\r\n")).collect()
    };
    let connect = "CONNECT {\"verbose\":false}\r\n";
    let input = format!("{connect}{}{connect}{}PING\r\n", subscribe("old"), subscribe("new"));
    stream.write_all(input.as_bytes()).await.unwrap();
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
    assert_eq!(server.broker().stats().subscriptions, 20_000);
    let publish = "PUB old.7 1\r\no\r\nPUB new.19999 1\r\nn\r\n";
    stream.write_all(publish.as_bytes()).await.unwrap();
    // The first PONG is followed by an INFO.
    while !read_line(&mut stream).await.starts_with("MSG new.19999 19999 1") {}
}

#[tokio::test]
async fn a_client_that_leaves_ends_all_of_its_subscriptions() {
    let server = Server::builder().bind().await.unwrap();
    let mut stream = connect(&server).await;
    let mut input = String::from("CONNECT {\"verbose\":false}\r\n");
    input.extend((0..20_000).map(|number| format!("SUB x.{number}.* {number}\r\n")));
    stream.write_all(format!("{input}PING\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
    drop(stream);
    let has_ended = async {
        while server.broker().stats().subscriptions > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, has_ended).await.expect("in time");
    assert_eq!(server.broker().stats().connections, 0);
}

#[tokio::test]
async fn a_client_that_keeps_sending_receives_the_error() {
    let server = Server::builder().bind().await.unwrap();
    let mut stream = connect(&server).await;
    stream.write_all(b"NONSENSE\r\n").await.unwrap();
    // Unread input at close resets the connection, and the last messages are lost.
    let _ = stream.write_all(&vec![b'x'; 200_000]).await;
    assert_eq!(read_to_end(&mut stream).await, "-ERR 'Unknown Protocol Operation'\r\n");
}

#[tokio::test]
async fn a_miscounted_large_payload_is_reported_before_the_next_byte() {
    let server = Server::builder().bind().await.unwrap();
    let mut stream = connect(&server).await;
    let connect = "CONNECT {\"verbose\":false}\r\n";
    let message = format!("{connect}PUB x 200000\r\n{}", "p".repeat(200_001));
    stream.write_all(message.as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "-ERR 'Unknown Protocol Operation'\r\n");
}

#[tokio::test]
async fn a_connection_beyond_the_maximum_gets_an_error() {
    let limits = Limits { max_connections: Some(1), ..Limits::default() };
    let server = Server::builder().limits(limits).bind().await.unwrap();
    let first = connect(&server).await;
    let mut second = connect(&server).await;
    assert_eq!(read_to_end(&mut second).await, "-ERR 'maximum connections exceeded'\r\n");
    drop(first);
    timeout(SOON, async {
        loop {
            let mut third = connect(&server).await;
            third.write_all(b"PING\r\n").await.unwrap();
            if read_line(&mut third).await == "PONG\r\n" {
                break;
            }
        }
    })
    .await
    .expect("the place of the one that left is free");
}

#[tokio::test]
async fn a_silent_unauthenticated_client_is_closed() {
    let limits = Limits { auth_timeout: Duration::from_millis(50), ..Limits::default() };
    let server =
        Server::builder().limits(limits).authenticator(Token::new("t")).bind().await.unwrap();
    let mut stream = connect(&server).await;
    assert_eq!(read_to_end(&mut stream).await, "-ERR 'Authentication Timeout'\r\n");
}

#[tokio::test]
async fn operations_after_connect_wait_for_a_slow_check() {
    let hash = "$2a$04$kXTHrw8ZOWZRkxrYNiGNUOQYbyqTRVhl0IIX0NgSyGLbHSVF/Jl4O";
    let server = Server::builder().authenticator(SlowCheck(hash.into())).bind().await.unwrap();
    let mut stream = connect(&server).await;
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPUB x 2\r\nhi\r\nPI")
        .await
        .unwrap();
    assert_eq!(read_line(&mut stream).await, "MSG x 1 2\r\n");
    assert_eq!(read_line(&mut stream).await, "hi\r\n");
    stream.write_all(b"NG\r\n").await.unwrap();
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
}

#[tokio::test]
async fn a_failed_slow_check_ends_the_connection_at_once() {
    let limits = Limits { auth_timeout: Duration::from_secs(60), ..Limits::default() };
    let hash = Token::new("$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW");
    let server = Server::builder().limits(limits).authenticator(hash).bind().await.unwrap();
    let mut stream = connect(&server).await;
    stream.write_all(b"CONNECT {\"auth_token\":\"wrong\"}\r\n").await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(read_to_end(&mut stream).await, "-ERR 'Authorization Violation'\r\n");
    // The first PING would come after 2 seconds, and would find the connection closed.
    assert!(began.elapsed() < Duration::from_secs(2), "only a timer ended it");
}

struct SlowCheck(String);

impl broker_core::auth::Authenticator for SlowCheck {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(
        &self,
        _credentials: &broker_core::auth::Credentials,
    ) -> broker_core::auth::Decision {
        let name = self.0.clone();
        broker_core::auth::Decision::compute(move || Ok(broker_core::auth::Grant::user(name)))
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_without_affecting_others() {
    let limits = Limits {
        max_pending_bytes: 1 << 20,
        write_deadline: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::builder().limits(limits).bind().await.unwrap();
    let mut stuck = connect(&server).await;
    stuck.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").await.unwrap();
    assert_eq!(read_line(&mut stuck).await, "PONG\r\n");
    let local = server.client();
    let mut healthy = local.subscribe("x").await.unwrap();
    let payload = bytes::Bytes::from(vec![b'p'; 100_000]);
    let mut sent = 0;
    timeout(SOON, async {
        while server.broker().stats().slow_consumers == 0 {
            local.publish("x", payload.clone()).await.unwrap();
            sent += 1;
            assert_eq!(healthy.next().await.unwrap().payload.len(), 100_000);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is cut in time");
    assert!(sent > 10);
}

#[tokio::test]
async fn draining_lets_clients_read_queued_messages() {
    let server = Server::builder().bind().await.unwrap();
    let mut stream = connect(&server).await;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").await.unwrap();
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
    let local = server.client();
    for _ in 0..50 {
        local.publish("x", vec![b'p'; 1 << 20].into()).await.unwrap();
    }
    let reading = tokio::spawn(async move { read_to_end(&mut stream).await });
    server.drain().await;
    server.shutdown().await;
    assert_eq!(reading.await.unwrap().matches("MSG x").count(), 50);
    assert!(TcpStream::connect(server.local_addr()).await.is_err(), "the port is free");
}

#[tokio::test]
async fn publishers_do_not_keep_the_sockets_of_ended_connections() {
    let server = Server::builder().bind().await.unwrap();
    let local = server.client();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let info = read_line(&mut stream).await;
    let (_, id) = info.split_once("\"client_id\":").unwrap();
    let id = id.split(',').next().unwrap().parse().unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").await.unwrap();
    assert_eq!(read_line(&mut stream).await, "PONG\r\n");
    local.publish("x", "remembered".into()).await.unwrap();
    assert!(server.broker().kick(id));
    assert!(read_to_end(&mut stream).await.starts_with("MSG x 1 10"));
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let server = Server::builder().bind().await.unwrap();
    let port = server.local_addr().port();
    let error = Server::builder().port(port).bind().await.unwrap_err();
    assert_eq!((error.host(), error.port()), ("127.0.0.1", port));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("in use"), "{source}");
}

/// A dual-stack socket reports IPv4 addresses as IPv4-mapped IPv6.
#[tokio::test]
async fn an_ipv4_client_is_labelled_with_its_ipv4_address() {
    let server = Server::builder().host("0.0.0.0").bind().await.unwrap();
    let address = ("127.0.0.1", server.local_addr().port());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let info = read_line(&mut stream).await;
    assert!(info.contains("\"client_ip\":\"127.0.0.1\""), "{info}");
}
