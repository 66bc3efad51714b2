//! Listeners brought by the embedding program.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_net::{Listener, ListenerKind, Server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// An in-process network that fails now and then.
struct Network {
    arrivals: mpsc::Receiver<io::Result<DuplexStream>>,
    dropped: Arc<AtomicUsize>,
}

impl Listener for Network {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.arrivals.recv().await {
            Some(stream) => Ok((stream?, Some(([192, 0, 2, 7], 7777).into()))),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

type Dial = mpsc::Sender<io::Result<DuplexStream>>;

async fn start() -> (Server, Dial, Arc<AtomicUsize>) {
    let (dial, arrivals) = mpsc::channel(16);
    let dropped = Arc::new(AtomicUsize::new(0));
    let network = Network { arrivals, dropped: Arc::clone(&dropped) };
    let server = Server::builder().listener(network).bind().await.unwrap();
    (server, dial, dropped)
}

async fn connect(dial: &Dial) -> BufReader<DuplexStream> {
    let (near, far) = duplex(1024);
    dial.send(Ok(far)).await.unwrap();
    BufReader::new(near)
}

async fn line(stream: &mut BufReader<DuplexStream>) -> String {
    let mut line = String::new();
    timeout(SOON, stream.read_line(&mut line)).await.expect("in time").unwrap();
    line
}

/// Waits until `is_so` returns true.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, waiting).await.expect("in time");
}

#[tokio::test]
async fn clients_of_an_own_listener_are_ordinary_clients() {
    let (server, dial, _) = start().await;
    let mut stream = connect(&dial).await;
    assert!(line(&mut stream).await.starts_with("INFO {"));
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").await.unwrap();
    assert_eq!(line(&mut stream).await, "PONG\r\n");
    let other = async_nats::connect(server.url()).await.unwrap();
    other.publish("x", "hello".into()).await.unwrap();
    assert_eq!(line(&mut stream).await, "MSG x 1 5\r\n");
    assert_eq!(line(&mut stream).await, "hello\r\n");
    let connections = server.broker().connections();
    assert_eq!(connections[0].remote, Some(([192, 0, 2, 7], 7777).into()));
    assert_eq!(connections[0].transport, "stream");
    drop(stream);
    until(|| server.broker().stats().connections == 1).await;
}

#[tokio::test]
async fn megabytes_go_both_ways() {
    let (server, dial, _) = start().await;
    let stream = connect(&dial).await.into_inner();
    let (reading, mut writing) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        writing.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\n").await.unwrap();
        for _ in 0..100 {
            writing.write_all(b"PUB x 100000\r\n").await.unwrap();
            writing.write_all(&[b'a'; 100_000]).await.unwrap();
            writing.write_all(b"\r\n").await.unwrap();
        }
        writing
    });
    let mut reading = BufReader::new(reading);
    let mut info = String::new();
    reading.read_line(&mut info).await.unwrap();
    let mut message = vec![0; "MSG x 1 100000\r\n".len() + 100_002];
    for _ in 0..100 {
        timeout(SOON, reading.read_exact(&mut message)).await.expect("in time").unwrap();
        assert!(message.starts_with(b"MSG x 1 100000\r\naaa") && message.ends_with(b"a\r\n"));
    }
    sending.await.unwrap();
    assert_eq!(server.broker().stats().in_messages, 100);
}

#[tokio::test]
async fn a_closed_client_receives_the_error_and_the_end() {
    let (server, dial, _) = start().await;
    let mut stream = connect(&dial).await;
    line(&mut stream).await;
    stream.write_all(b"NONSENSE\r\n").await.unwrap();
    let mut rest = String::new();
    timeout(SOON, stream.read_to_string(&mut rest)).await.expect("in time").unwrap();
    assert_eq!(rest, "-ERR 'Unknown Protocol Operation'\r\n");
    until(|| server.broker().stats().connections == 0).await;
}

#[tokio::test]
async fn a_client_of_an_own_listener_that_does_not_read_is_a_slow_consumer() {
    let (dial, arrivals) = mpsc::channel(16);
    let network = Network { arrivals, dropped: Arc::default() };
    let limits = broker_core::Limits { max_pending_bytes: 100_000, ..Default::default() };
    let limits = broker_core::Limits { max_payload_bytes: 10_000, ..limits };
    let server = Server::builder().listener(network).limits(limits).bind().await.unwrap();
    let mut stream = connect(&dial).await;
    line(&mut stream).await;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").await.unwrap();
    assert_eq!(line(&mut stream).await, "PONG\r\n");
    let client = server.client();
    // The queue of the client, the buffers in between, and a little more.
    for _ in 0..30 {
        client.publish("x", vec![0; 10_000].into()).await.unwrap();
    }
    until(|| server.broker().stats().slow_consumers == 1).await;
    until(|| server.broker().stats().connections == 0).await;
}

#[tokio::test]
async fn an_accept_error_does_not_end_the_listener() {
    let (server, dial, _) = start().await;
    dial.send(Err(io::Error::other("the network is down"))).await.unwrap();
    let mut stream = connect(&dial).await;
    assert!(line(&mut stream).await.starts_with("INFO {"));
    drop(server);
}

#[tokio::test]
async fn the_listener_ends_with_its_server() {
    let (server, dial, dropped) = start().await;
    let mut stream = connect(&dial).await;
    line(&mut stream).await;
    timeout(SOON, server.shutdown()).await.expect("in time");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time").unwrap();

    let (server, dial, dropped) = start().await;
    let mut stream = connect(&dial).await;
    line(&mut stream).await;
    drop(server);
    timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time").unwrap();
    until(|| dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_socket_opened_elsewhere_is_served() {
    let socket = StdListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::builder().port(1).tcp_listener(socket).bind().await.unwrap();
    assert_eq!(server.local_addr(), address);
    assert_eq!((server.host(), server.options().port), ("127.0.0.1", address.port()));
    let client = async_nats::connect(format!("nats://{address}")).await.unwrap();
    assert_eq!(client.server_info().port, address.port());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err(), "it is closed at once");
}

#[tokio::test]
async fn an_error_names_the_failed_operation() {
    let taken = StdListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Server::builder().port(port).bind().await.unwrap_err();
    assert_eq!((error.way(), error.port()), (ListenerKind::Clients, port));
    assert_eq!(error.to_string(), format!("cannot listen at 127.0.0.1:{port}"));

    #[cfg(feature = "websocket")]
    {
        let mut options = broker_net::WebsocketOptions::default();
        options.port = port;
        let error = Server::builder().websocket(options).bind().await.unwrap_err();
        assert_eq!((error.way(), error.port()), (ListenerKind::Websocket, port));
    }
    #[cfg(unix)]
    {
        let path = "/nowhere/at/all.sock";
        let unix = broker_net::UnixOptions::new(path);
        let error = Server::builder().unix(unix).bind().await.unwrap_err();
        assert_eq!((error.way(), error.host()), (ListenerKind::Unix, path));
    }
}
