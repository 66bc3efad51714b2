//! The cost of a connection that never authenticates, for each listener: at most 16 KiB, and for a
//! limited time.

#![cfg(unix)]
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_core::auth::Token;
use broker_core::limits::UNAUTHENTICATED_BYTES;
use broker_net::testing::Certificates;
use broker_net::{Server, ServerOptions, WebsocketOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

struct Counting;

/// Bytes allocated in the process. This file has a single test.
static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards each call unchanged to the system's allocator; counting touches no memory of the
// caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        HELD.fetch_add(new_size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Number of concurrent connections; memory of threads and tables is shared among them.
const CONNECTIONS: usize = 200;

/// Two seconds to authenticate, and a quarter to read the error.
const GONE_AFTER: Duration = Duration::from_millis(3500);

const PATIENCE: Duration = Duration::from_secs(20);

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n";

#[derive(Clone, Copy, Debug)]
enum ListenerKind {
    Tcp,
    Websocket,
    Unix,
    Memory,
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(server: &Server, way: ListenerKind) -> Box<dyn Stream> {
    match way {
        ListenerKind::Tcp => Box::new(TcpStream::connect(server.local_addr()).await.unwrap()),
        ListenerKind::Websocket => {
            let address = server.websocket_addr().unwrap();
            Box::new(TcpStream::connect(address).await.unwrap())
        }
        ListenerKind::Unix => {
            let path = server.options().unix.unwrap().path;
            Box::new(UnixStream::connect(path).await.unwrap())
        }
        ListenerKind::Memory => Box::new(server.connect()),
    }
}

#[tokio::test]
async fn an_unauthenticated_client_costs_at_most_16_kib_for_a_limited_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut websocket = WebsocketOptions::default();
    websocket.compression = true;
    let mut options = ServerOptions::default();
    options.proxy_protocol = true;
    let server = Server::builder()
        .options(options)
        .websocket(websocket)
        .unix(broker_net::UnixOptions::new(folder.path().join("s")))
        .authenticator(Token::new("s3cr3t"))
        .bind()
        .await
        .unwrap();

    let certificates = Certificates::new().unwrap();
    let tls = certificates.server_that_verifies().unwrap();
    let mut websocket = WebsocketOptions::default();
    websocket.tls = Some(tls.clone());
    let builder = Server::builder().tls(tls).websocket(websocket);
    let secured = builder.authenticator(Token::new("s3cr3t")).bind().await.unwrap();

    // Nearly the maximum input of an unauthenticated client, complete or not.
    let half_connect = format!("CONNECT {{\"name\":\"{}", "x".repeat(4000));
    let half_request = format!("{UPGRADE}X: {}", "x".repeat(7900));
    let upgraded = |frames: &[u8]| [UPGRADE.as_bytes(), b"\r\n", frames].concat();
    let half_frame = {
        let mut frame = b"\x02\xff\0\0\0\0\0\x10\0\0\0\0\0\0".to_vec();
        frame.extend_from_slice(half_connect.as_bytes());
        frame
    };
    let half_compressed = [&b"\x42\xfe\x0f\xff\0\0\0\0"[..], &[0x55; 4000]].concat();
    // An incomplete ClientHello, which may be long.
    let half_hello = {
        let mut hello = b"\x16\x03\x01\x1f\xf0\x01\0\x1f\xec\x03\x03".to_vec();
        hello.resize(8000, 0x55);
        hello
    };
    // Refused as soon as it begins: none of it is kept while the client reads the error.
    let refused_publish = [b"PUB a 990000\r\n", &[b'x'; 60_000][..]].concat();
    let refused_connect = [b"CONNECT {\"name\":\"", &[b'x'; 60_000][..]].concat();
    let frame = |payload: &[u8]| {
        let mut frame = b"\x82\xff".to_vec();
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        [&frame, &[0; 4][..], payload].concat()
    };
    for (server, way, said, more) in [
        (&server, ListenerKind::Unix, refused_publish.clone(), None),
        (&server, ListenerKind::Unix, refused_connect.clone(), None),
        (&server, ListenerKind::Memory, refused_publish.clone(), None),
        (&server, ListenerKind::Websocket, upgraded(b""), Some(frame(&refused_publish))),
        (&server, ListenerKind::Websocket, upgraded(b""), Some(frame(&refused_connect))),
        (&server, ListenerKind::Tcp, b"PROXY TCP4 192.0.2.1".to_vec(), None),
        (
            &server,
            ListenerKind::Tcp,
            [b"PROXY UNKNOWN\r\n", half_connect.as_bytes()].concat(),
            None,
        ),
        (&server, ListenerKind::Unix, half_connect.clone().into_bytes(), None),
        (&server, ListenerKind::Memory, half_connect.clone().into_bytes(), None),
        (&server, ListenerKind::Websocket, half_request.into_bytes(), None),
        (&server, ListenerKind::Websocket, upgraded(b""), Some(half_frame)),
        (&server, ListenerKind::Websocket, upgraded(b""), Some(half_compressed)),
        (&secured, ListenerKind::Tcp, half_hello.clone(), None),
        (&secured, ListenerKind::Websocket, half_hello, None),
    ] {
        // Lets threads allocate their buffers, and tables grow.
        drop(open(server, way, &said, more.as_deref()).await);
        let gone = async {
            while server.broker().stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("closed connections remain");
        settle().await;
        let before = HELD.load(Ordering::Relaxed);
        let since = Instant::now();
        let mut streams = open(server, way, &said, more.as_deref()).await;
        let each = HELD.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS;
        assert!(each <= UNAUTHENTICATED_BYTES, "{each} bytes for each by {way:?}");
        for stream in &mut streams {
            let mut rest = Vec::new();
            // Some receive an error, some are reset.
            let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it must end");
        }
        assert!(since.elapsed() < GONE_AFTER, "{:?} by {way:?}", since.elapsed());
    }
}

/// Opens connections that send `said`, as far as the server accepts them, and waits until the
/// server has read it.
async fn open(
    server: &Server,
    way: ListenerKind,
    said: &[u8],
    more: Option<&[u8]>,
) -> Vec<Box<dyn Stream>> {
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = connect(server, way).await;
        stream.write_all(said).await.unwrap();
        if let Some(more) = more {
            let mut answer = [0; 16];
            timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
            stream.write_all(more).await.unwrap();
        }
        streams.push(stream);
    }
    settle().await;
    streams
}

/// Runs all tasks until only timers are left.
async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}
