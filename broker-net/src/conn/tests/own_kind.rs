//! A kind of session defined only here: the driver serves it as it does clients.

use std::time::Instant;

use broker_core::endpoint::{ByteQueue, ClientEncoder};
use broker_core::session::Received;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The time after which an echo closes.
const LIFETIME: Duration = Duration::from_secs(20);

/// Sends back each line; closes after the line `bye` and after [`LIFETIME`]. Asks for compression, or another level of
/// it, after a line that names the level, and reports it in a line of its own.
struct Echo {
    queue: Arc<ByteQueue>,
    asks: Option<CompressionLevel>,
    closes_at: Instant,
    closing: Option<CloseReason>,
    /// The reason of each call of `depart`.
    ended: Arc<Mutex<Vec<CloseReason>>>,
}

impl Session for Echo {
    type Encoder = ClientEncoder;

    fn id(&self) -> u64 {
        1
    }

    fn byte_queue(&self) -> &Arc<ByteQueue> {
        &self.queue
    }

    fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        _: Option<&bytes::Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        let mut used = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for (name, level) in
            [(b"fast\n", CompressionLevel::Fast), (b"best\n", CompressionLevel::Best)]
        {
            if let Some(at) = input.windows(name.len()).position(|line| line == name) {
                used = at + name.len();
                self.asks = Some(level);
            }
        }
        Broker::append(&self.queue, &input[..used], scratch);
        self.flush(now, scratch);
        if input[..used].ends_with(b"bye\n") {
            self.closing = Some(CloseReason::ClientClosed);
        }
        Received { used, whole: 0 }
    }

    fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = self.queue.drain(now, false, scratch);
    }

    fn wants_compression(&self) -> Option<CompressionLevel> {
        self.asks
    }

    fn handle_compressed(&mut self, now: Instant, scratch: &mut Scratch) {
        let line = format!("{:?}\n", self.asks.take().unwrap());
        Broker::append(&self.queue, line.as_bytes(), scratch);
        self.flush(now, scratch);
    }

    fn closing(&self) -> Option<CloseReason> {
        self.queue.ending().or(self.closing)
    }

    fn next_timeout(&self) -> Instant {
        self.closes_at
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut Scratch) {
        if now >= self.closes_at {
            self.closing = Some(CloseReason::StaleConnection);
        }
    }

    fn depart(&mut self, reason: CloseReason) -> bool {
        self.queue.cut(reason);
        self.ended.lock().unwrap().push(reason);
        false
    }
}

/// Serves an echo over a socket. Also returns the list that records its end.
pub(super) fn echoing(
    socket: impl Transport,
) -> (impl Future<Output = ()> + Send, Arc<Mutex<Vec<CloseReason>>>) {
    echoing_over(Arc::new(Socket::new(socket)))
}

pub(super) fn echoing_over(
    socket: Arc<Socket>,
) -> (impl Future<Output = ()> + Send, Arc<Mutex<Vec<CloseReason>>>) {
    let broker = Broker::new(Options::default(), clock::TokioClock::new());
    let ended = Arc::<Mutex<Vec<CloseReason>>>::default();
    let noted = Arc::clone(&ended);
    let open = move |_, write_handle, _: &mut Scratch| {
        let queue = broker.byte_queue(write_handle);
        let closes_at = clock::now() + LIFETIME;
        Some(Echo { queue, asks: None, closes_at, closing: None, ended: noted })
    };
    let accepted = AcceptedConnection { socket, arrival: Arrival::default(), handshake: None };
    let guard = Arc::new(UnauthenticatedConnections::new(10)).enter();
    let checks = Arc::new(AuthChecks::new());
    (serve_session(Box::new(accepted), open, checks, guard, Arc::default()), ended)
}

#[tokio::test]
async fn any_kind_of_session_is_driven_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (serving, ended) = echoing(socket);
    let serving = tokio::spawn(serving);

    // Unused input is passed again together with the bytes that follow it.
    for (sent, echoed) in [("one\ntw", "one\n"), ("o\nby", "two\n"), ("e\n", "bye\n")] {
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut read = vec![0; echoed.len()];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), echoed);
    }

    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    serving.await.unwrap();
    assert_eq!(*ended.lock().unwrap(), [CloseReason::ClientClosed]);
}

#[tokio::test(start_paused = true)]
async fn any_kind_of_session_has_its_timeouts_and_its_turns() {
    let liar = Liar::new(b"a\nb\n", 4);
    let (serving, ended) = echoing(Arc::clone(&liar));
    let begun = tokio::time::Instant::now();
    drive(&liar, serving).await;
    assert!(begun.elapsed() >= LIFETIME, "{:?}", begun.elapsed());
    assert_eq!(*ended.lock().unwrap(), [CloseReason::StaleConnection]);
}
