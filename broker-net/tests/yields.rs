//! No input of a client keeps the server from serving others.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Token};
use broker_net::websocket::Deflate;
use broker_net::{Server, ServerBuilder, WebsocketOptions};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n\r\n";

/// A server on a single thread: a connection that occupies it blocks everything.
struct Lone {
    server: Server,
    runtime: Option<Runtime>,
}

impl Lone {
    fn start(builder: ServerBuilder) -> Self {
        Self::start_with(builder, |_| ())
    }

    fn start_with(
        builder: ServerBuilder,
        configure: impl FnOnce(&mut tokio::runtime::Builder),
    ) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        configure(&mut runtime);
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let mut websocket = WebsocketOptions::default();
        websocket.compression = true;
        let server = runtime.block_on(builder.websocket(websocket).bind()).unwrap();
        Self { server, runtime: Some(runtime) }
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        // A blocked thread must not be waited for: the test has failed then.
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the input ends with `end`.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the server answers");
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn is_served(client: &mut TcpStream) {
    client.write_all(b"PING\r\n").unwrap();
    read_until(client, b"PONG\r\n");
}

/// Connects a client and waits until it is served.
fn new_client(server: &Server) -> TcpStream {
    let mut client = connect(server.local_addr());
    client.write_all(b"CONNECT {\"auth_token\":\"t\",\"verbose\":false}\r\n").unwrap();
    is_served(&mut client);
    client
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn compressed(text: &[u8]) -> Vec<u8> {
    frame(0xc2, Deflate::new().message([text].into_iter(), 15))
}

/// WebSocket input that ends the session while the client stays connected.
fn ends() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> =
        (0..30_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bad_verb = [frame(0x82, b"FOO\r\n"), frame(0x82, &[b'x'; 9000])].concat();
    let behind = [frame(0x88, b"\x03\xe8"), frame(0x82, &[b'x'; 20_000])].concat();
    vec![
        ("a compressed frame that is corrupt", b"\xc2\x81\0\0\0\0\xff".to_vec()),
        ("one that inflates beyond its limit", compressed(&vec![0; 10 << 20])),
        ("one that is too long for an unauthenticated client", compressed(&noise)),
        ("compressed text with a bad verb", compressed(&[&b"FOO "[..], &[b'x'; 30_000]].concat())),
        ("data, a close frame and more behind a bad verb", [bad_verb, behind].concat()),
        ("a close frame and more", [frame(0x88, b""), frame(0x82, &[b'x'; 20_000])].concat()),
        ("a frame that is none", b"\x83\x80\0\0\0\0more".to_vec()),
    ]
}

#[test]
fn a_closed_client_that_keeps_sending_does_not_block_others() {
    for is_closed in [false, true] {
        let builder = Server::builder();
        let lone =
            Lone::start(if is_closed { builder.authenticator(Token::new("t")) } else { builder });
        let mut client = new_client(&lone.server);
        let mut cut = Vec::new();
        for (what, bytes) in ends() {
            let mut other = connect(lone.server.websocket_addr().unwrap());
            other.write_all(UPGRADE.as_bytes()).unwrap();
            read_until(&mut other, b"\r\n\r\n");
            other.write_all(&bytes).unwrap();
            // The server has closed the connection: the client sees the end and does not disconnect
            // itself.
            let mut said = Vec::new();
            other.read_to_end(&mut said).unwrap_or_else(|error| panic!("{what}: {error}"));
            cut.push(other);
            for _ in 0..3 {
                is_served(&mut client);
            }
            new_client(&lone.server);
        }
    }
}

/// Blocks for as long as a test likes.
struct Blocks {
    began: Sender<()>,
    may_end: Mutex<Receiver<()>>,
}

impl Authenticator for Blocks {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        self.began.send(()).unwrap();
        self.may_end.lock().unwrap().recv().unwrap();
        Denied::Unavailable.into()
    }
}

#[test]
fn a_connection_that_blocks_its_thread_is_detected_and_named() {
    let (began, has_begun) = channel();
    let (end, may_end) = channel();
    let blocks = Blocks { began, may_end: Mutex::new(may_end) };
    let lone = Lone::start(Server::builder().authenticator(blocks));
    let mut watch = lone.server.stall_watch(Duration::from_secs(1));
    let status = lone.server.status();
    let mut client = connect(lone.server.local_addr());
    let info = read_until(&mut client, b"\r\n");
    let id = info.split_once("\"client_id\":").unwrap().1.split(',').next().unwrap();
    client.write_all(b"CONNECT {\"user\":\"a\",\"pass\":\"b\"}\r\n").unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let now = Instant::now();
    assert_eq!(watch.look(now), []);
    let found = watch.look(now + Duration::from_secs(1));
    let [stall] = &*found else { panic!("{found:?}") };
    assert_eq!(stall.connection, Some(id.parse().unwrap()));
    assert_eq!(stall.remote, Some(client.local_addr().unwrap()));
    assert_eq!(stall.to_string(), format!("{} - cid:{id}", client.local_addr().unwrap()));
    assert!(!stall.is_over);
    assert_eq!((status.stalled_workers(), status.worker_stalls()), (1, 1));
    end.send(()).unwrap();
    // The connection is closed within the turn, so that the turn ends a moment after the client
    // sees it.
    client.read_to_end(&mut Vec::new()).unwrap();
    let begin = Instant::now();
    let over = loop {
        let over = watch.look(now + Duration::from_secs(2));
        if !over.is_empty() || begin.elapsed() > PATIENCE {
            break over;
        }
        std::thread::yield_now();
    };
    assert!(matches!(&*over, [stall] if stall.is_over), "{over:?}");
    assert_eq!((status.stalled_workers(), status.worker_stalls()), (0, 1));
}

/// Sends messages as fast as the server reads them, until the test is over.
fn flood(mut client: TcpStream, is_over: &AtomicBool) {
    let message = [&b"PUB x 256\r\n"[..], &[b'x'; 256], b"\r\n"].concat();
    let many = message.repeat(4_000);
    while !is_over.load(Ordering::Relaxed) && client.write_all(&many).is_ok() {}
}

/// Here tokio never looks by itself, as long as there is input.
#[test]
fn clients_that_flood_do_not_keep_the_thread_from_looking_for_input_of_others() {
    let lone = Lone::start_with(Server::builder(), |runtime| {
        runtime.event_interval(1 << 30);
    });
    let mut client = new_client(&lone.server);
    let flooders = [(); 3].map(|()| new_client(&lone.server));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for flooder in flooders {
            threads.spawn(|| flood(flooder, &is_over));
        }
        let served = std::panic::catch_unwind(AssertUnwindSafe(|| {
            (0..20).for_each(|_| is_served(&mut client));
        }));
        is_over.store(true, Ordering::Relaxed);
        assert!(served.is_ok());
    });
}
