//! Arbitrary input on complete connections of every kind, beside a client that must be served.

#![no_main]

#[path = "connection/orders.rs"]
mod orders;

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broker_core::Limits;
use broker_core::auth::Token;
use broker_net::testing::{Certificates, false_readiness};
use broker_net::websocket::Deflate;
use broker_net::{Listener, ListenerKind, LocalStream, Server, WebsocketOptions};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpSocket, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{advance, sleep};
use tokio_rustls::TlsConnector;

use crate::orders::{Order, Orders};

/// Cannot be guessed.
const TOKEN: &str = "7f1d0c4e-a token that cannot be guessed";

/// Maximum number of scheduling turns until a request is answered.
const TURNS_TO_ANSWER: usize = 64;

/// Maximum number of scheduling turns until all tasks are idle: available input is read in few
/// turns, and idle tasks get none.
const TURNS_TO_REST: usize = 400;

/// The number of turns without a turn of the servers' tasks after which these are idle. In each turn all tasks that
/// were woken in the last one run.
const QUIET_TURNS: usize = 3;

fuzz_target!(|data: &[u8]| {
    let [stack, cuts, said @ ..] = data else { return };
    let (stack, cuts, said) = (*stack, usize::from(*cuts), said.to_vec());
    WORLD.with_borrow_mut(|world| {
        let mut servers = world.servers.take().expect("the servers of the last input");
        // A task: the future of `block_on` is woken by a system call for each turn. It counts its own turns.
        let playing = world.runtime.spawn(unconstrained(async move {
            servers.play(stack, cuts, &said).await;
            servers
        }));
        world.servers = Some(world.runtime.block_on(playing).expect("no panic"));
    });
});

// Bytes changed at random seldom make a line, a frame or a sensible order of things.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if size >= 8 && seed % 2 == 0 {
        fuzzer_mutate(data, size, max_size)
    } else {
        orders::write(&mut data[..max_size], size, seed / 2)
    }
});

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// A single thread, and a clock that moves only when all tasks are idle.
struct World {
    runtime: Runtime,
    /// Lent to the task that plays an input.
    servers: Option<Box<Servers>>,
}

struct Servers {
    /// Accepts all clients without TLS.
    open: Neighbour,
    /// Requires a token, and TLS on its ports.
    closed: Neighbour,
    /// Requires the PROXY protocol.
    proxied: Neighbour,
    own: mpsc::Sender<DuplexStream>,
    tls: TlsConnector,
    _folder: tempfile::TempDir,
    unix: std::path::PathBuf,
}

/// A server, and a client of it that must be served regardless of the others.
struct Neighbour {
    server: Server,
    stream: LocalStream,
    subject: &'static str,
    count: u64,
}

/// In-process streams.
struct Network(mpsc::Receiver<DuplexStream>);

impl Listener for Network {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, None)),
            None => std::future::pending().await,
        }
    }
}

impl World {
    fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        let servers = runtime.block_on(Servers::start());
        Self { runtime, servers: Some(Box::new(servers)) }
    }
}

impl Servers {
    async fn start() -> Self {
        let limits = Limits {
            max_control_line_bytes: 512,
            max_payload_bytes: 60_000,
            max_pending_bytes: 200_000,
            max_subscriptions: Some(20),
            // Other servers' neighbours are idle while one plays, and must not be pinged.
            ping_interval: Duration::from_secs(365 * 86_400),
            ..Limits::default()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let unix = folder.path().join("socket");
        let certificates = Certificates::new().expect("certificates");
        let offered = certificates.server().expect("certificates");
        let (own, network) = mpsc::channel(1);
        let mut websocket = WebsocketOptions::default();
        websocket.compression = true;
        let open = Server::builder()
            .limits(limits.clone())
            .websocket(websocket.clone())
            .unix(broker_net::UnixOptions::new(&unix))
            .listener(Network(network));
        websocket.tls = Some(offered.clone());
        let closed = Server::builder()
            .limits(limits.clone())
            .authenticator(Token::new(TOKEN))
            .websocket(websocket)
            .tls(offered);
        let mut options = broker_net::ServerOptions::default();
        options.proxy_protocol = true;
        options.broker.limits = limits;
        let proxied = Server::builder().options(options);
        let client = certificates.client_config().expect("certificates");
        Self {
            open: Neighbour::move_in(open.bind().await.expect("a port"), "h.5rK0vX2m").await,
            closed: Neighbour::move_in(closed.bind().await.expect("a port"), "h.q8TzE1dW").await,
            proxied: Neighbour::move_in(proxied.bind().await.expect("a port"), "h.Yw3nB7uJ").await,
            own,
            tls: TlsConnector::from(Arc::new(client)),
            _folder: folder,
            unix,
        }
    }

    /// One client follows the orders in `said`, and stays connected until the checks are done.
    async fn play(&mut self, stack: u8, cuts: usize, said: &[u8]) {
        let before = false_readiness();
        let Some((mut client, at)) = self.connect(stack).await else { return };
        let neighbour = match at {
            At::Open => &mut self.open,
            At::Closed => &mut self.closed,
            At::Proxied => &mut self.proxied,
        };
        let mut orders = Orders::new(said);
        while let Some(order) = orders.next(client.framing.is_some()) {
            if client.heed(order, cuts).await.is_err() {
                break;
            }
            neighbour.is_served().await;
        }
        neighbour.comes_to_rest().await;
        // Past lingering and the authentication timeout.
        for pause in [300, 2500] {
            // Not `sleep`, which would stop at each second for the tasks of all servers.
            advance(Duration::from_millis(pause)).await;
            neighbour.is_served().await;
            neighbour.comes_to_rest().await;
        }
        drop(client);
        // After this even a connection that is drained, or that was not read, is closed: one deadline may follow
        // another.
        for _ in 0..4 {
            advance(Duration::from_secs(4)).await;
            neighbour.comes_to_rest().await;
        }
        neighbour.is_served().await;
        let stats = neighbour.server.broker().stats();
        assert_eq!((stats.connections, stats.subscriptions), (1, 1), "a connection remains");
        assert_eq!(false_readiness(), before, "something was ready, and was not");
    }

    async fn connect(&self, stack: u8) -> Option<(Client, At)> {
        use At::{Closed, Open, Proxied};
        let server = |at| match at {
            Open => &self.open.server,
            Closed => &self.closed.server,
            Proxied => &self.proxied.server,
        };
        let piped = |at, way| -> Box<dyn Stream> { Box::new(server(at).connect_by(way)) };
        let framed = |compressed| Frames { is_offered: compressed, deflate: None };
        let (stream, framing, at): (Box<dyn Stream>, Option<Frames>, At) = match stack {
            0..=15 => (Box::new(self.open.server.connect()), None, Open),
            16..=31 => {
                let (near, far) = duplex(4096);
                self.own.send(far).await.ok()?;
                (Box::new(near), None, Open)
            }
            32..=79 => (piped(Open, ListenerKind::Websocket), Some(framed(false)), Open),
            80..=143 => (piped(Open, ListenerKind::Websocket), Some(framed(true)), Open),
            144..=159 => (piped(Open, ListenerKind::Websocket), None, Open),
            160..=175 => (piped(Closed, ListenerKind::Clients), None, Closed),
            176..=191 => (piped(Closed, ListenerKind::Websocket), None, Closed),
            192..=207 => (self.secured(ListenerKind::Clients).await?, None, Closed),
            208..=215 => (self.secured(ListenerKind::Websocket).await?, None, Closed),
            216..=223 => {
                (self.secured(ListenerKind::Websocket).await?, Some(framed(false)), Closed)
            }
            224..=239 => (self.secured(ListenerKind::Websocket).await?, Some(framed(true)), Closed),
            240..=243 => (Box::new(UnixStream::connect(&self.unix).await.ok()?), None, Open),
            244..=247 => (tcp(self.open.server.local_addr()).await?, None, Open),
            248..=249 => (tcp(self.open.server.websocket_addr()?).await?, Some(framed(true)), Open),
            250..=255 => (tcp(self.proxied.server.local_addr()).await?, None, Proxied),
        };
        let mut client = Client { stream, framing };
        client.upgrade().await?;
        if (250..=252).contains(&stack) {
            let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 4222\r\n";
            client.send(header, 0).await.ok()?;
        }
        Some((client, at))
    }

    /// Performs a successful TLS handshake.
    async fn secured(&self, way: ListenerKind) -> Option<Box<dyn Stream>> {
        let mut stream = self.closed.server.connect_by(way);
        if way == ListenerKind::Clients {
            // INFO precedes TLS.
            until(&mut stream, b"\r\n").await?;
        }
        let name = ServerName::try_from("localhost").ok()?;
        Some(Box::new(self.tls.connect(name, stream).await.ok()?))
    }
}

/// Connects a system socket. Closing it leaves no port in TIME_WAIT.
async fn tcp(address: SocketAddr) -> Option<Box<dyn Stream>> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_zero_linger().ok()?;
    Some(Box::new(socket.connect(address).await.ok()?))
}

#[derive(Clone, Copy)]
enum At {
    Open,
    Closed,
    Proxied,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Polls once: what is not ready is not waited for.
fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns available input; empty if there is none, `None` at the end.
fn read_now(stream: &mut (impl Stream + ?Sized)) -> Option<Vec<u8>> {
    let mut bytes = [MaybeUninit::uninit(); 16 << 10];
    let mut room = ReadBuf::uninit(&mut bytes);
    match now(|cx| Pin::new(stream).poll_read(cx, &mut room)) {
        Poll::Pending => Some(Vec::new()),
        Poll::Ready(Ok(())) if !room.filled().is_empty() => Some(room.filled().to_vec()),
        Poll::Ready(_) => None,
    }
}

/// Reads up to and including these bytes, which must arrive.
async fn until(stream: &mut (impl Stream + ?Sized), end: &[u8]) -> Option<()> {
    let mut read = Vec::new();
    for _ in 0..TURNS_TO_ANSWER {
        read.extend(read_now(stream)?);
        if read.windows(end.len()).any(|bytes| bytes == end) {
            return Some(());
        }
        yield_now().await;
    }
    panic!("no client is accepted");
}

impl Neighbour {
    async fn move_in(server: Server, subject: &'static str) -> Self {
        let stream = server.connect();
        let mut neighbour = Self { server, stream, subject, count: 0 };
        until(&mut neighbour.stream, b"\r\n").await.expect("INFO");
        let hello = format!(
            "CONNECT {{\"auth_token\":\"{TOKEN}\",\"verbose\":false}}\r\nSUB {subject} 1\r\n"
        );
        neighbour.stream.write_all(hello.as_bytes()).await.expect("it is served");
        neighbour.is_served().await;
        neighbour
    }

    /// Checks that a request is answered within few turns, and that the client receives nothing
    /// else.
    async fn is_served(&mut self) {
        self.count += 1;
        let Self { stream, subject, count, .. } = self;
        let text = count.to_string();
        let said = format!("PUB {subject} {}\r\n{text}\r\nPING\r\n", text.len());
        let expected = format!("MSG {subject} 1 {}\r\n{text}\r\nPONG\r\n", text.len());
        write_now(stream, said.as_bytes());
        let mut received = String::new();
        for _ in 0..TURNS_TO_ANSWER {
            let read = read_now(stream).expect("it is not cut");
            received.push_str(std::str::from_utf8(&read).expect("text"));
            // The server sends PINGs.
            if let Some(at) = received.find("PING\r\n") {
                received.replace_range(at..at + 6, "");
                write_now(stream, b"PONG\r\n");
            }
            if received.len() >= expected.len() {
                assert_eq!(received, expected, "it receives foreign output");
                return;
            }
            yield_now().await;
        }
        panic!("it is not served: {received:?}");
    }

    /// Checks that idle tasks get no turns.
    async fn comes_to_rest(&mut self) {
        let mut quiet = 0;
        let mut turns = self.server.turns();
        for _ in 0..TURNS_TO_REST {
            yield_now().await;
            let now = self.server.turns();
            quiet = if now == turns { quiet + 1 } else { 0 };
            if quiet == QUIET_TURNS {
                return;
            }
            turns = now;
        }
        panic!("an idle task gets turns");
    }
}

/// Writes without waiting; there is room.
fn write_now(stream: &mut LocalStream, bytes: &[u8]) {
    let written = now(|cx| Pin::new(stream).poll_write(cx, bytes));
    assert!(matches!(written, Poll::Ready(Ok(len)) if len == bytes.len()), "{written:?}");
}

struct Frames {
    is_offered: bool,
    /// Takes long to make: made for the first message.
    deflate: Option<Deflate>,
}

struct Client {
    stream: Box<dyn Stream>,
    framing: Option<Frames>,
}

impl Client {
    /// Upgrades to WebSocket, if the listener requires it.
    async fn upgrade(&mut self) -> Option<()> {
        let Some(framing) = &self.framing else { return Some(()) };
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
            client_no_context_takeover\r\n";
        let request = format!(
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
            if framing.is_offered { offer } else { "" }
        );
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()?;
        until(&mut *self.stream, b"\r\n\r\n").await
    }

    async fn heed(&mut self, order: Order, cuts: usize) -> io::Result<()> {
        let bytes = match order {
            Order::Send(bytes) => bytes,
            Order::Frame(first, payload) => frame(first, &payload),
            Order::Compressed(text) => match &mut self.framing {
                Some(framing) => frame(
                    0xc2,
                    &framing
                        .deflate
                        .get_or_insert_with(Deflate::new)
                        .message([&*text].into_iter(), 15)
                        .to_vec(),
                ),
                None => text,
            },
            Order::Yield => {
                yield_now().await;
                return Ok(());
            }
            Order::Read => {
                // Stays connected after the server's end.
                let _ = read_now(&mut *self.stream);
                return Ok(());
            }
            Order::Wait(time) => {
                sleep(time).await;
                return Ok(());
            }
            Order::HalfClose => return self.stream.shutdown().await,
        };
        self.send(&bytes, cuts).await
    }

    /// Sends in pieces of `cuts` bytes (or in one) what the server accepts; the rest is dropped, as
    /// if the client stopped in the middle.
    async fn send(&mut self, bytes: &[u8], cuts: usize) -> io::Result<()> {
        let size = if cuts == 0 { bytes.len() } else { cuts.max(bytes.len() / 64) };
        let mut turns = 0;
        for mut piece in bytes.chunks(size.max(1)) {
            while !piece.is_empty() {
                match now(|cx| Pin::new(&mut *self.stream).poll_write(cx, piece)) {
                    Poll::Ready(Ok(len)) => piece = &piece[len..],
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending if turns == TURNS_TO_ANSWER => return Ok(()),
                    Poll::Pending => {
                        turns += 1;
                        yield_now().await;
                    }
                }
            }
            let _ = now(|cx| Pin::new(&mut *self.stream).poll_flush(cx));
            if cuts > 0 {
                yield_now().await;
            }
        }
        Ok(())
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
