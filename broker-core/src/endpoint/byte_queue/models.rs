//! Models of the byte queue: publishers append and flush, the connection drains the rest, another thread ends the
//! queue. Run by shuttle under many schedules; a lost wake-up shows as a deadlock.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shuttle::rand::Rng;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::{ByteQueue, ClientEncoder, Drained, WriteHandle};
use crate::endpoint::{Destination, Endpoint, Kind, Queues, Run, Scratch, Subscription};
use crate::error::CloseReason;
use crate::limits::{Limits, SHARED_PAYLOAD_MIN_BYTES};
use crate::proto::Publish;
use crate::sync::{Arc, check_model};
use crate::transport::TransportInfo;

const PUBLISHERS: usize = 2;
const MESSAGES: usize = 4;

/// A socket that takes a random part of each write, and its connection's task.
#[derive(Default)]
struct Socket {
    written: Mutex<Vec<u8>>,
    /// The connection has been woken and has not yet run.
    is_woken: Mutex<bool>,
    woken: Condvar,
    /// Signals that bytes were written or given up.
    progress: Condvar,
}

struct Handle(Arc<Socket>);

impl WriteHandle for Handle {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let all = pieces.iter().map(|piece| &**piece).collect::<Vec<_>>().concat();
        // Full, short or whole, each as likely.
        let taken = match shuttle::rand::thread_rng().gen_range(0..3) {
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            1 => shuttle::rand::thread_rng().gen_range(1..=all.len()),
            _ => all.len(),
        };
        self.0.written.lock().unwrap().extend_from_slice(&all[..taken]);
        self.0.progress.notify_all();
        Ok(taken)
    }

    fn wake(&self) {
        *self.0.is_woken.lock().unwrap() = true;
        self.0.woken.notify_one();
    }
}

/// Runs the connection's task: it drains when woken, and as long as the socket has room again.
fn serve(queue: &ByteQueue, socket: &Socket) {
    let (mut scratch, now) = (Scratch::new(), Instant::now());
    loop {
        let mut is_woken = socket.is_woken.lock().unwrap();
        while !std::mem::take(&mut *is_woken) {
            is_woken = socket.woken.wait(is_woken).unwrap();
        }
        drop(is_woken);
        loop {
            match queue.drain(now, true, &mut scratch) {
                Drained::Blocked => thread::yield_now(),
                Drained::Empty | Drained::Busy => break,
                Drained::Failed(error) => panic!("{error}"),
            }
        }
        if queue.ending().is_some() {
            // Bytes being written or pending are written before the connection ends.
            while !matches!(queue.drain(now, true, &mut scratch), Drained::Empty) {
                thread::yield_now();
            }
            return;
        }
    }
}

/// Returns the size of a publisher's messages: those of the second are shared, not copied.
fn body_bytes(name: char) -> usize {
    if name == 'b' { SHARED_PAYLOAD_MIN_BYTES } else { 2 }
}

/// Returns the size of a message as it is written.
fn frame_bytes(name: char) -> usize {
    let bytes = body_bytes(name);
    format!("MSG s 1 {bytes}\r\n\r\n").len() + bytes
}

/// Publishes messages `x0`, `x1` … one by one or in runs, and flushes as delivery does. Returns the number of
/// messages taken.
fn publish(name: char, subscription: &Subscription) -> usize {
    let (mut scratch, destination) = (Scratch::new(), &subscription.endpoint.destination);
    scratch.start(Instant::now());
    let size = body_bytes(name);
    let body = |number: usize| format!("{name}{number}{}", ".".repeat(size - 2));
    let bodies = Bytes::from((0..MESSAGES).map(body).collect::<String>());
    let shared = (size >= SHARED_PAYLOAD_MIN_BYTES).then_some(&bodies);
    let sizes = size.to_string();
    let message = |body| Publish {
        subject: b"s",
        reply: b"",
        header_len: None,
        body,
        sizes: sizes.as_bytes(),
        tail: None,
    };
    let messages: Vec<Publish<'_>> = bodies.chunks(size).map(message).collect();
    let (mut taken, mut must_flush) = (0, false);
    for messages in messages.chunks(shuttle::rand::thread_rng().gen_range(1..=MESSAGES)) {
        let run =
            Run { shown: None, subject: b"s", messages, shared, parsed: None, prefetched: None };
        let accepted = destination.deliver(subscription, &run, false, &mut scratch);
        taken += accepted.count;
        must_flush |= accepted.must_flush;
        if must_flush && shuttle::rand::thread_rng().r#gen() {
            destination.flush(&mut scratch);
            must_flush = false;
        }
    }
    if must_flush {
        destination.flush(&mut scratch);
    }
    taken
}

/// The event that ends the queue while publishers use it.
#[derive(Clone, Copy)]
enum End {
    /// None: the queue is closed when all is written.
    Late,
    /// The queue finishes: pending bytes are still written.
    Finish,
    Cut,
    /// The queue is too small for the messages.
    Overflow,
    /// The queue is held, and released.
    Hold,
}

fn model(end: End) {
    let queues = Arc::<Queues>::default();
    queues.memory.set_limits(&Limits::default());
    let socket = Arc::new(Socket::default());
    let most = if matches!(end, End::Overflow) { SHARED_PAYLOAD_MIN_BYTES + 24 } else { 1 << 20 };
    let handle = Box::new(Handle(Arc::clone(&socket)));
    let queue = ByteQueue::new(
        ClientEncoder::default(),
        1,
        handle,
        most,
        Duration::from_secs(10),
        Arc::clone(&queues),
    );
    let queue = Arc::new(queue);
    let connection = {
        let (queue, socket) = (Arc::clone(&queue), Arc::clone(&socket));
        thread::spawn(move || serve(&queue, &socket))
    };
    let publishers: Vec<_> = ('a'..)
        .take(PUBLISHERS)
        .map(|name| {
            let destination = Arc::clone(&queue) as Arc<_>;
            let (now, memory) = (Instant::now(), TransportInfo::Memory);
            let endpoint = Endpoint::new(1, 1, None, memory, now, destination, Kind::Client);
            let subscription = Subscription::new(Arc::new(endpoint), b"s", None, b"1", false);
            thread::spawn(move || (name, publish(name, &subscription)))
        })
        .collect();
    match end {
        End::Late | End::Overflow => {}
        End::Finish => queue.finish(CloseReason::ServerShutdown),
        End::Cut => queue.cut(CloseReason::ServerShutdown),
        End::Hold => {
            while !queue.hold() {
                thread::yield_now();
            }
            thread::yield_now();
            queue.release();
            // The session that holds a queue is responsible for draining it.
            Handle(Arc::clone(&socket)).wake();
        }
    }
    let taken: BTreeMap<char, usize> =
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
    let may_lose = matches!(end, End::Cut | End::Overflow);
    if !may_lose {
        // From here on the queue is drained only by tasks that have been woken.
        let total = taken.iter().map(|(name, count)| count * frame_bytes(*name)).sum();
        let mut written = socket.written.lock().unwrap();
        while written.len() < total {
            written = socket.progress.wait(written).unwrap();
        }
    }
    queue.close(CloseReason::ServerShutdown);
    connection.join().unwrap();
    check(&socket.written.lock().unwrap(), &taken, may_lose);
    drop(queue);
    assert_eq!(queues.pending_bytes.load(crate::sync::Ordering::Relaxed), 0);
    assert_eq!(queues.memory.held_bytes(), 0);
}

/// Returns a text without the filler of large messages.
fn shown(text: &str) -> String {
    text.replace('.', "")
}

/// Checks that of each publisher the taken messages are written, each once and in order: all of them, or the first
/// ones if the queue was closed early; then the last may be incomplete.
fn check(written: &[u8], taken: &BTreeMap<char, usize>, may_lose: bool) {
    let text = String::from_utf8_lossy(written);
    let mut seen: BTreeMap<char, usize> = BTreeMap::new();
    // Nothing precedes the first head; the last message may be incomplete.
    for frame in text.split("MSG s 1 ").skip(1) {
        let body = frame.split_once("\r\n").and_then(|(_, body)| body.strip_suffix("\r\n"));
        let Some(body) = body else {
            assert!(may_lose, "{}", shown(&text));
            continue;
        };
        let name = body.chars().next().unwrap();
        assert_eq!(body.len(), body_bytes(name), "{}", shown(&text));
        let count = seen.entry(name).or_default();
        assert_eq!(body.trim_end_matches('.'), format!("{name}{count}"), "{}", shown(&text));
        *count += 1;
    }
    for (name, taken) in taken {
        let seen = seen.get(name).copied().unwrap_or_default();
        assert!(if may_lose { seen <= *taken } else { seen == *taken }, "{name}: {}", shown(&text));
    }
}

#[test]
fn taken_messages_are_written_once_in_order_and_flushed() {
    check_model(|| model(End::Late));
}

#[test]
fn a_finishing_queue_writes_the_messages_it_has_taken() {
    check_model(|| model(End::Finish));
}

#[test]
fn a_queue_that_is_closed_loses_only_its_end() {
    check_model(|| model(End::Cut));
}

#[test]
fn a_queue_that_overflows_is_closed_and_loses_only_its_end() {
    check_model(|| model(End::Overflow));
}

#[test]
fn a_held_queue_writes_the_messages_it_has_taken_when_released() {
    check_model(|| model(End::Hold));
}

/// A client that unsubscribes and then reads `PONG` has read its last message: it may close the connection.
#[test]
fn no_message_follows_the_pong_after_an_unsubscription() {
    check_model(|| {
        let queues = Arc::<Queues>::default();
        queues.memory.set_limits(&Limits::default());
        let socket = Arc::new(Socket::default());
        let handle = Box::new(Handle(Arc::clone(&socket)));
        let patience = Duration::from_secs(10);
        let queue = ByteQueue::new(ClientEncoder::default(), 1, handle, 1 << 20, patience, queues);
        let queue = Arc::new(queue);
        let destination = Arc::clone(&queue) as Arc<_>;
        let (now, memory) = (Instant::now(), TransportInfo::Memory);
        let endpoint = Endpoint::new(1, 1, None, memory, now, destination, Kind::Client);
        let subscription = Subscription::new(Arc::new(endpoint), b"s", None, b"1", false);
        let subscription = Arc::new(subscription);
        let publisher = {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || publish('a', &subscription))
        };
        subscription.end();
        queue.send(&mut Scratch::new(), |out| out.extend_from_slice(b"PONG\r\n"));
        publisher.join().unwrap();
        let mut scratch = Scratch::new();
        while !matches!(queue.drain(now, true, &mut scratch), Drained::Empty) {
            thread::yield_now();
        }
        let written = socket.written.lock().unwrap();
        assert!(written.ends_with(b"PONG\r\n"), "{}", written.escape_ascii());
        queue.close(CloseReason::ServerShutdown);
    });
}
