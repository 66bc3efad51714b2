//! Drives whole connections by hand over a transport that claims to be ready and is not, and counts the calls of each
//! turn: a loop that trusts it would never return.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use broker_core::Options;
use broker_core::session::client::Arrival;

use super::*;
use crate::transport::{Transport, false_readiness};
use crate::unauthenticated::UnauthenticatedConnections;

#[cfg(all(feature = "compression", feature = "testing"))]
mod compressed;
#[cfg(feature = "testing")]
mod last_write;
#[cfg(feature = "testing")]
mod own_kind;

/// Maximum calls of the transport in one turn. No turn does more than read a few chunks and write the results, and
/// each layer makes a few failed attempts at most.
const CALLS_A_TURN: usize = 200;

/// Always ready. Returns the input that a test put in and takes `room` bytes; after that every call would block.
#[derive(Default)]
struct Liar {
    calls: AtomicUsize,
    input: Mutex<Vec<u8>>,
    room: Mutex<usize>,
    taken: Mutex<Vec<u8>>,
}

impl Liar {
    fn new(input: &[u8], room: usize) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::default(),
            input: Mutex::new(input.to_vec()),
            room: Mutex::new(room),
            taken: Mutex::default(),
        })
    }

    fn note_call(&self) {
        let calls = self.calls.fetch_add(1, Relaxed);
        assert!(calls < CALLS_A_TURN, "a turn loops without progress");
    }
}

impl Transport for Arc<Liar> {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_call();
        Poll::Ready(Ok(()))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_call();
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.note_call();
        let mut input = self.input.lock().unwrap();
        let len = input.len().min(room.len());
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        room[..len].copy_from_slice(&input[..len]);
        input.drain(..len);
        Ok(len)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.note_call();
        let mut room = self.room.lock().unwrap();
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let len = bytes.len().min(*room);
        *room -= len;
        self.taken.lock().unwrap().extend_from_slice(&bytes[..len]);
        if len == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    fn shut_down_write(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Polls a future every tenth of a second until it is ready, for a minute at most.
async fn drive<F: Future>(liar: &Liar, future: F) -> F::Output {
    let mut future = Box::pin(future);
    for _ in 0..600 {
        liar.calls.store(0, Relaxed);
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return output;
        }
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    panic!("the connection did not apply its time limits");
}

fn serving(accepted: AcceptedConnection) -> impl Future<Output = ()> {
    let broker = Broker::new(Options::default(), clock::TokioClock::new());
    let unauthenticated_guard = Arc::new(UnauthenticatedConnections::new(10)).enter();
    serve(
        Box::new(accepted),
        broker,
        Arc::new(AuthChecks::new()),
        unauthenticated_guard,
        Arc::default(),
    )
}

fn bare(liar: &Arc<Liar>) -> AcceptedConnection {
    let socket: Arc<Socket> = Arc::new(Socket::new(Arc::clone(liar)));
    AcceptedConnection { socket, arrival: Arrival::default(), handshake: None }
}

const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[tokio::test(start_paused = true)]
async fn a_connection_yields_although_its_transport_claims_to_be_ready() {
    for input in
        ["", "PING\r\n", "FOO\r\n", "CONNECT {}\r\nSUB > 1\r\nPUB a 4\r\nxxxx\r\nPING\r\nFOO\r\n"]
    {
        for room in [0, 100, 1 << 20] {
            let liar = Liar::new(input.as_bytes(), room);
            let before = false_readiness();
            let begun = tokio::time::Instant::now();
            let is_over =
                tokio::time::timeout(Duration::from_secs(30), drive(&liar, serving(bare(&liar))));
            // Either outcome is valid, as long as the task yielded.
            let is_over = is_over.await.is_ok();
            assert!(is_over || begun.elapsed() >= Duration::from_secs(30));
            assert!(is_over || (room > 0 && !input.ends_with("FOO\r\n")), "{input:?} {room}");
            assert!(false_readiness() > before, "the transport was never falsely ready");
        }
    }
}

#[cfg(feature = "websocket")]
mod websocket {
    use super::*;
    use crate::WebsocketOptions;
    use crate::handshake::websocket::WebsocketAdmission;

    const UPGRADE: &[u8] =
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn websocket_acceptor() -> WebsocketAdmission {
        let options = WebsocketOptions { compression: true, ..WebsocketOptions::default() };
        WebsocketAdmission::new(&options, NOBODY, None)
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_http_request_yields() {
        for (input, room) in [(&b""[..], 0), (&UPGRADE[..40], 0), (UPGRADE, 0), (b"x\r\n\r\n", 10)]
        {
            let liar = Liar::new(input, room);
            let admitted =
                drive(&liar, websocket_acceptor().admit(Arc::clone(&liar), NOBODY, 1000)).await;
            assert!(admitted.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_websocket_yields_although_its_transport_claims_to_be_ready() {
        for frames in [
            &b"\xc2\x81\0\0\0\0\xff"[..],
            b"\xc2\x81\0\0\0\0\xff\x82\x80\0\0\0\0",
            b"\x82\x85\0\0\0\0FOO\r\n\x88\x80\0\0\0\0\x82\x84\0\0\0\0more",
            b"\x88\x80\0\0\0\0\x82\x84\0\0\0\0more",
            b"\x83\x80\0\0\0\0",
        ] {
            for room in [0, 300, 1 << 20] {
                let liar = Liar::new(UPGRADE, 1 << 20);
                let accepted =
                    drive(&liar, websocket_acceptor().admit(Arc::clone(&liar), NOBODY, 1000)).await;
                liar.input.lock().unwrap().extend_from_slice(frames);
                *liar.room.lock().unwrap() = room;
                drive(&liar, serving(accepted.unwrap())).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_do_not_hold_the_thread() {
        let liar = Liar::new(UPGRADE, 1 << 20);
        let accepted = drive(&liar, websocket_acceptor().admit(Arc::clone(&liar), NOBODY, 1000))
            .await
            .unwrap();
        let mut serving = Box::pin(serving(accepted));
        let mut turns = 0;
        loop {
            liar.calls.store(0, Relaxed);
            // The connection never decodes more than one read before it yields.
            *liar.input.lock().unwrap() = b"\x8a\x82\0\0\0\0xx".repeat(1 << 17);
            assert!(poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await.is_pending());
            turns += 1;
            if turns == 20 {
                return;
            }
        }
    }
}

#[cfg(feature = "testing-tls")]
mod tls {
    use super::*;
    use crate::handshake::{ListenerConfig, tls};
    use crate::testing::Certificates;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_handshake_yields_although_its_transport_claims_to_be_ready() {
        let options = Certificates::new().unwrap().server().unwrap();
        let config = Arc::new(options.build().unwrap());
        for (input, room) in [
            (&b""[..], 1 << 20),
            (b"\x16\x03\x01\x02\x00\x01", 1 << 20),
            (b"\x16\x03\x01\x00\x02\x01\x00", 400),
            (b"\x16\x03\x01\x00\x02\x01\x00", 1 << 20),
            (b"PING\r\n", 1 << 20),
        ] {
            let liar = Liar::new(input, room);
            let listener_config = Arc::new(ListenerConfig::default());
            let accepted = tls::admit(
                &listener_config,
                Arc::clone(&liar),
                Arrival::default(),
                Arc::clone(&config),
            );
            drive(&liar, serving(accepted)).await;
        }
    }
}

fn future_bytes<F>(
    _: impl FnOnce(
        Box<AcceptedConnection>,
        Broker,
        Arc<AuthChecks>,
        UnauthenticatedGuard,
        Arc<Workers>,
    ) -> F,
) -> usize {
    size_of::<F>()
}

#[test]
fn the_future_of_a_connection_is_small() {
    // 1.75 KiB with every feature.
    let bytes = future_bytes(serve);
    assert!(bytes <= 1792, "{bytes} bytes: a value may be held across an await");
}
