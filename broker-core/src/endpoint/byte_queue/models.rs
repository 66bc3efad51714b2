//! Models of the byte queue: publishers append and flush, the connection drains what they leave, somebody ends
//! it. Run by shuttle under many schedules; a wake-up that is lost shows as a deadlock.

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

/// A socket that takes as much as it likes, and its connection's task.
#[derive(Default)]
struct Socket {
    written: Mutex<Vec<u8>>,
    /// The connection has been woken, and has not looked since.
    is_woken: Mutex<bool>,
    woken: Condvar,
    /// Something was written, or given up.
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

/// What the connection's task does: it looks when it is woken, and as long as the socket has room again.
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
            // What is being written, or waits, leaves before the connection ends.
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

/// Publishes messages `x0`, `x1` … one by one or in runs, and flushes as delivery does. Returns the number of those
/// that were taken.
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
        let run = Run { subject: b"s", messages, shared, parsed: None, prefetched: None };
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

/// What becomes of the queue while publishers are at it.
#[derive(Clone, Copy)]
enum End {
    /// Nothing: it is closed when all is written.
    Late,
    /// What waits may leave.
    Finish,
    Cut,
    /// It is too small.
    Overflow,
    /// It is held, and released.
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
            // The session that holds a queue looks after it.
            Handle(Arc::clone(&socket)).wake();
        }
    }
    let taken: BTreeMap<char, usize> =
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
    let may_lose = matches!(end, End::Cut | End::Overflow);
    if !may_lose {
        // Nobody looks after the queue any more but who has been woken.
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

/// Returns a text without what fills large messages.
fn shown(text: &str) -> String {
    text.replace('.', "")
}

/// Of each publisher the messages that were taken have left, each once and in order: all of them, or the first
/// ones if the queue was cut, when the last may be a part.
fn check(written: &[u8], taken: &BTreeMap<char, usize>, may_lose: bool) {
    let text = String::from_utf8_lossy(written);
    let mut seen: BTreeMap<char, usize> = BTreeMap::new();
    // Before the first head there is nothing; the last message may be a part.
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
fn what_is_taken_leaves_once_in_order_and_is_flushed_by_somebody() {
    check_model(|| model(End::Late));
}

#[test]
fn what_a_finishing_queue_has_taken_leaves() {
    check_model(|| model(End::Finish));
}

#[test]
fn a_queue_that_is_cut_loses_its_end_only() {
    check_model(|| model(End::Cut));
}

#[test]
fn a_queue_that_overflows_is_cut_and_loses_its_end_only() {
    check_model(|| model(End::Overflow));
}

#[test]
fn what_a_held_queue_has_taken_leaves_when_it_is_released() {
    check_model(|| model(End::Hold));
}
