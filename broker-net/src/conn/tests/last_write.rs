//! The end of a connection while a publisher's thread writes to its socket.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use broker_core::endpoint::{ByteQueue, ClientEncoder};
use broker_core::session::Received;

use super::*;

/// Records written bytes. The first write blocks until the test releases it.
struct Held {
    written: Arc<Mutex<Vec<u8>>>,
    begun: Sender<()>,
    go_on: Mutex<Option<Receiver<()>>>,
}

impl Transport for Held {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let waits = self.go_on.lock().unwrap().take();
        if let Some(go_on) = waits {
            self.begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
        let mut written = self.written.lock().unwrap();
        let before = written.len();
        pieces.iter().for_each(|piece| written.extend_from_slice(piece));
        Ok(written.len() - before)
    }

    fn shut_down_write(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A session that is closing as soon as it is open.
struct Stale(Arc<ByteQueue>);

impl Session for Stale {
    type Encoder = ClientEncoder;

    fn id(&self) -> u64 {
        1
    }

    fn byte_queue(&self) -> &Arc<ByteQueue> {
        &self.0
    }

    fn receive(
        &mut self,
        _: Instant,
        _: &[u8],
        _: Option<&bytes::Bytes>,
        _: &mut Scratch,
    ) -> Received {
        Received::default()
    }

    fn flush(&mut self, _: Instant, _: &mut Scratch) {}

    fn closing(&self) -> Option<CloseReason> {
        Some(CloseReason::StaleConnection)
    }

    fn next_timeout(&self) -> Instant {
        clock::now() + Duration::from_secs(60)
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Scratch) {}

    fn depart(&mut self, reason: CloseReason) -> bool {
        self.0.cut(reason);
        false
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_queued_behind_a_write_of_another_thread_leave_before_the_connection_ends() {
    let broker = Broker::new(Options::default(), clock::TokioClock::new());
    let (begun, has_begun) = channel();
    let (release, go_on) = channel();
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let held = Held { written: Arc::clone(&written), begun, go_on: Mutex::new(Some(go_on)) };
    let accepted = AcceptedConnection {
        socket: Arc::new(Socket::new(held)),
        arrival: Arrival::default(),
        handshake: None,
    };
    let publisher = Arc::<Mutex<Option<std::thread::JoinHandle<()>>>>::default();
    let spawned = Arc::clone(&publisher);
    let open = move |_, write_handle, scratch: &mut Scratch| {
        let queue = broker.byte_queue(write_handle);
        Broker::append(&queue, b"first ", scratch);
        let (theirs, now) = (Arc::clone(&queue), clock::now());
        *spawned.lock().unwrap() = Some(std::thread::spawn(move || {
            let _ = theirs.drain(now, false, &mut Scratch::new());
        }));
        has_begun.recv().unwrap();
        Broker::append(&queue, b"second", scratch);
        Some(Stale(queue))
    };
    let guard = Arc::new(UnauthenticatedConnections::new(10)).enter();
    let checks = Arc::new(AuthChecks::new());
    let serving = serve_session(Box::new(accepted), open, checks, guard, Arc::default());
    let mut serving = Box::pin(serving);
    for _ in 0..10 {
        let polled = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "the connection must wait for the write of the publisher");
    }
    release.send(()).unwrap();
    let publisher = publisher.lock().unwrap().take().unwrap();
    publisher.join().unwrap();
    serving.await;
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "first second");
}
