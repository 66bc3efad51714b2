//! Sessions without sockets: bytes in, bytes out.

use std::io::{self, IoSlice};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::broker::Broker;
use crate::limits::Limits;
use crate::options::Options;

/// A link that writes to memory, and can be blocked.
#[derive(Clone, Default)]
struct Memory(Arc<crate::sync::Mutex<Written>>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    room: Option<usize>,
    wakes: usize,
}

impl WriteHandle for Memory {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.0.lock();
        let mut count = 0;
        for piece in pieces {
            let take = written.room.map_or(piece.len(), |room| room.min(piece.len()));
            written.bytes.extend_from_slice(&piece[..take]);
            written.room = written.room.map(|room| room - take);
            count += take;
        }
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn wake(&self) {
        self.0.lock().wakes += 1;
    }
}

struct Party {
    session: ClientSession,
    write_handle: Memory,
    kept: Vec<u8>,
}

impl Party {
    fn send(&mut self, bytes: &[u8], now: Instant, scratch: &mut Scratch) {
        self.kept.extend_from_slice(bytes);
        let received = self.session.receive(now, &self.kept, None, scratch);
        self.kept.drain(..received.used);
    }

    fn read(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.write_handle.0.lock().bytes)).unwrap()
    }
}

struct World {
    broker: Broker,
    now: Instant,
    scratch: Scratch,
}

impl World {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let broker =
            Broker::new(Options { limits, ..Options::default() }, (Instant::now, SystemTime::now));
        Self { broker, now, scratch: Scratch::new() }
    }

    /// Connects a client that is not verbose, and reads INFO.
    fn join(&mut self) -> Party {
        let write_handle = Memory::default();
        let session = self.broker.open(
            Arrival::default(),
            Box::new(write_handle.clone()),
            self.now,
            &mut self.scratch,
        );
        let mut party = Party { session, write_handle, kept: Vec::new() };
        self.send(&mut party, "CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        assert!(party.read().starts_with("INFO {"));
        party
    }

    fn send(&mut self, party: &mut Party, text: &str) {
        party.send(text.as_bytes(), self.now, &mut self.scratch);
    }
}

#[test]
fn hello_world() {
    let mut world = World::new(Limits::default());
    let (mut a, mut b) = (world.join(), world.join());
    world.send(&mut a, "SUB greetings 1\r\n");
    world.send(&mut b, "PUB greetings 5\r\nhello\r\nPUB greetings answers 2\r\nhi\r\n");
    assert_eq!(a.read(), "MSG greetings 1 5\r\nhello\r\nMSG greetings 1 answers 2\r\nhi\r\n");
    assert_eq!(b.read(), "");
}

#[test]
fn two_subscriptions_of_one_client_see_the_messages_in_turn() {
    let mut world = World::new(Limits::default());
    let (mut a, mut b) = (world.join(), world.join());
    world.send(&mut a, "SUB x 1\r\nSUB > 2\r\n");
    world.send(&mut b, "PUB x 1\r\n1\r\nPUB x 1\r\n2\r\n");
    let sids: Vec<String> = a
        .read()
        .lines()
        .filter(|line| line.starts_with("MSG"))
        .map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(sids, ["1", "2", "1", "2"]);
}

#[test]
fn a_queue_group_delivers_each_message_to_exactly_one_live_member() {
    let mut world = World::new(Limits::default());
    let mut members: Vec<Party> = (0..5).map(|_| world.join()).collect();
    let mut publisher = world.join();
    for member in &mut members {
        world.send(member, "SUB jobs.* workers 1\r\n");
    }
    for round in 0..20 {
        if round % 4 == 3 {
            drop(members.pop());
        }
        world.send(&mut publisher, &"PUB jobs.x 1\r\n.\r\n".repeat(100));
        let counts: Vec<usize> =
            members.iter().map(|member| member.read().matches("MSG").count()).collect();
        let expected = if members.is_empty() { 0 } else { 100 };
        assert_eq!(counts.iter().sum::<usize>(), expected, "{counts:?}");
        if counts.len() > 1 {
            assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        }
    }
}

#[test]
fn a_full_member_is_skipped_while_another_has_room() {
    let mut world = World::new(Limits { max_pending_bytes: 1000, ..Limits::default() });
    let (mut stuck, mut free, mut publisher) = (world.join(), world.join(), world.join());
    stuck.write_handle.0.lock().room = Some(0);
    for member in [&mut stuck, &mut free] {
        world.send(member, "SUB jobs workers 1\r\n");
    }
    for _ in 0..100 {
        world.send(&mut publisher, &format!("PUB jobs 100\r\n{}\r\n", "x".repeat(100)));
    }
    let got = free.read().matches("MSG").count();
    assert!(
        (91..100).contains(&got),
        "all messages but those that the stalled member has room for: {got}"
    );
    assert_eq!(stuck.session.closing(), None, "no connection was closed");
    drop(free);
    for _ in 0..10 {
        world.send(&mut publisher, &format!("PUB jobs 100\r\n{}\r\n", "x".repeat(100)));
    }
    assert_eq!(stuck.session.closing(), Some(CloseReason::SlowConsumerPendingBytes));
}

#[test]
fn a_client_that_does_not_read_is_closed_after_the_deadline() {
    let mut world = World::new(Limits::default());
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.0.lock().room = Some(10);
    world.send(&mut publisher, "PUB x 5\r\nhello\r\n");
    assert_eq!(slow.write_handle.0.lock().wakes, 1, "the connection writes the rest itself");
    let deadline = slow.session.byte_queue().write_deadline().unwrap();
    assert_eq!(deadline, world.now + Limits::default().write_deadline);
    slow.session.handle_timeout(deadline - Duration::from_millis(1), &mut world.scratch);
    assert_eq!(slow.session.closing(), None);
    slow.session.handle_timeout(deadline, &mut world.scratch);
    assert_eq!(slow.session.closing(), Some(CloseReason::SlowConsumerWriteDeadline));
    drop(slow);
    assert_eq!(world.broker.stats().slow_consumers, 1);
}

#[test]
fn blocked_messages_are_written_in_order_when_there_is_room() {
    let mut world = World::new(Limits::default());
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.0.lock().room = Some(7);
    let mut expected = String::new();
    for number in 0..5000 {
        world.send(&mut publisher, &format!("PUB x 4\r\n{number:04}\r\n"));
        expected.push_str(&format!("MSG x 1 4\r\n{number:04}\r\n"));
    }
    assert!(world.broker.stats().pending_bytes > 80_000);
    let mut seen = slow.read();
    for room in [1, 100, 10_000, 1_000_000] {
        slow.write_handle.0.lock().room = Some(room);
        slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
        seen.push_str(&slow.read());
    }
    assert_eq!(seen, expected);
    assert_eq!(world.broker.stats().pending_bytes, 0);
    assert_eq!(slow.session.byte_queue().write_deadline(), None);
}

#[test]
fn all_queues_together_are_bounded_and_the_fullest_is_closed() {
    let limits = Limits { max_pending_total_bytes: 300_000, ..Limits::default() };
    let mut world = World::new(limits);
    let (mut worse, mut bad, mut publisher) = (world.join(), world.join(), world.join());
    world.send(&mut worse, "SUB a 1\r\nSUB b 2\r\n");
    world.send(&mut bad, "SUB a 1\r\n");
    for party in [&worse, &bad] {
        party.write_handle.0.lock().room = Some(0);
    }
    let payload = "x".repeat(50_000);
    for subject in ["a", "b", "a", "a", "b"] {
        world.send(&mut publisher, &format!("PUB {subject} 50000\r\n{payload}\r\n"));
    }
    assert_eq!(worse.session.closing(), Some(CloseReason::SlowConsumerPendingBytes));
    assert_eq!(bad.session.closing(), None);
    assert!(world.broker.stats().pending_bytes <= 300_000);
}

#[test]
fn a_subscription_for_one_message_frees_its_memory() {
    let mut world = World::new(Limits::default());
    let (mut a, mut b) = (world.join(), world.join());
    for number in 0..10_000 {
        world.send(&mut a, &format!("SUB in.{number} {number}\r\nUNSUB {number} 1\r\n"));
        world.send(&mut b, &format!("PUB in.{number} 0\r\n\r\nPUB in.{number} 0\r\n\r\n"));
        assert_eq!(a.read(), format!("MSG in.{number} {number} 0\r\n\r\n"));
    }
    assert_eq!(world.broker.stats().subscriptions, 0);
    assert!(a.session.endpoint.sids.len() < 200, "ended subscriptions accumulate");
}

#[test]
fn a_client_that_disconnects_ends_its_subscriptions() {
    let mut world = World::new(Limits::default());
    let mut a = world.join();
    for number in 0..2000 {
        world.send(&mut a, &format!("SUB x.{number} {number}\r\n"));
    }
    assert_eq!(world.broker.stats().subscriptions, 2000);
    drop(a);
    let stats = world.broker.stats();
    assert_eq!((stats.subscriptions, stats.connections, stats.total_connections), (0, 0, 1));
}

#[test]
fn large_payloads_are_shared_and_arrive_whole() {
    let mut world = World::new(Limits::default());
    let (mut a, mut b, mut publisher) = (world.join(), world.join(), world.join());
    for party in [&mut a, &mut b] {
        world.send(party, "SUB big 1\r\n");
    }
    let payload = "y".repeat(100_000);
    let input = Bytes::from(format!("PUB big r 100000\r\n{payload}\r\n"));
    let received = publisher.session.receive(world.now, &input, Some(&input), &mut world.scratch);
    assert_eq!(received.used, input.len());
    for party in [&a, &b] {
        assert_eq!(party.read(), format!("MSG big 1 r 100000\r\n{payload}\r\n"));
    }
}

#[test]
fn a_client_must_authenticate_before_it_gets_an_account() {
    let broker = Broker::with_authenticator(
        Options::default(),
        (Instant::now, SystemTime::now),
        crate::auth::Token::new("t"),
    );
    let now = Instant::now();
    let mut world = World { broker, now, scratch: Scratch::new() };
    let write_handle = Memory::default();
    let mut unauthenticated = world.broker.open(
        Arrival::default(),
        Box::new(write_handle.clone()),
        now,
        &mut world.scratch,
    );
    assert!(unauthenticated.read_limit() <= 16 << 10);
    unauthenticated.receive(now, b"SUB > 1\r\n", None, &mut world.scratch);
    assert_eq!(unauthenticated.closing(), Some(CloseReason::AuthenticationViolation));
    assert_eq!(world.broker.stats().subscriptions, 0);
    let mut silent =
        world.broker.open(Arrival::default(), Box::new(write_handle), now, &mut world.scratch);
    assert_eq!(silent.next_timeout(), now + Limits::default().auth_timeout);
    silent.handle_timeout(silent.next_timeout(), &mut world.scratch);
    assert_eq!(silent.closing(), Some(CloseReason::AuthenticationTimeout));
}
