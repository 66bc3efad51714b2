//! After warm-up, a small message causes no allocation.

#![allow(unsafe_code, reason = "an allocator that counts has to be one")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import};
use broker_core::auth::{User, Users};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::ClientSession;
use broker_core::session::client::Arrival;
use broker_core::{Broker, Options, SubjectFilter};

struct CountingAllocator;

thread_local! {
    /// Counted per thread, so that parallel tests do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // An ending thread may allocate after the counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: forwards each call unchanged to the system's allocator; counting touches no memory of the
// caller.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A writer that accepts everything.
struct Sink;

impl WriteHandle for Sink {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

const MESSAGES: u64 = 10_000;
const CHUNK: u64 = 50;

/// Publishes `message` repeatedly to subscribers, each made by an element of `subscribe`, and
/// returns the number of allocations after warm-up.
fn allocations(message: &str, subscribe: &[&str]) -> u64 {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let mut scratch = Scratch::new();
    let now = Instant::now();
    let join = |text: &str, scratch: &mut Scratch| -> ClientSession {
        let mut session = broker.open(Arrival::default(), Box::new(Sink), now, scratch);
        session.receive(now, format!("{}{text}", common::CONNECT).as_bytes(), None, scratch);
        session
    };
    let subscribers: Vec<_> = subscribe.iter().map(|text| join(text, &mut scratch)).collect();
    let mut publisher = join("", &mut scratch);
    let chunk = message.repeat(CHUNK as usize);
    let mut publish = |times: u64| {
        for _ in 0..times {
            let received = publisher.receive(now, chunk.as_bytes(), None, &mut scratch);
            assert_eq!(received.used, chunk.len());
        }
    };
    publish(20);
    let before = ALLOCATIONS.get();
    publish(MESSAGES / CHUNK);
    let cost = ALLOCATIONS.get() - before;
    let delivered = broker.stats().out_messages;
    assert!(delivered >= MESSAGES, "{delivered} messages were delivered");
    drop(subscribers);
    cost
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_message_to_one_subscriber_allocates_nothing() {
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &["SUB a.b 1\r\n"]), 0);
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &["SUB a.* 1\r\n"]), 0);
}

#[test]
fn a_message_with_reply_or_headers_allocates_nothing() {
    assert_eq!(allocations("PUB a.b r.1 5\r\nhello\r\n", &["SUB a.b 1\r\n"]), 0);
    let headers = "HPUB a.b 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n";
    assert_eq!(allocations(headers, &["SUB a.b 1\r\n"]), 0);
    let without =
        "CONNECT {\"verbose\":false,\"headers\":false,\"no_responders\":false}\r\nSUB a.b 1\r\n";
    assert_eq!(allocations(headers, &[without]), 0, "to a receiver that does not know headers");
}

#[test]
fn a_message_to_ten_subscribers_allocates_nothing() {
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &["SUB a.b 1\r\n"; 10]), 0);
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &["SUB a.b 1\r\nSUB > 2\r\n"; 10]), 0);
}

#[test]
fn a_message_to_a_queue_group_allocates_nothing() {
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &["SUB a.b q 1\r\n"; 10]), 0);
    let members = ["SUB a.b q 1\r\n", "SUB a.* q 1\r\n", "SUB > r 1\r\n", "SUB a.b 1\r\n"];
    assert_eq!(allocations("PUB a.b 5\r\nhello\r\n", &members), 0);
}

#[test]
fn messages_to_subjects_in_turn_allocate_nothing() {
    let subjects: String =
        (0..100).map(|number| format!("PUB a.{number} 5\r\nhello\r\n")).collect();
    assert_eq!(allocations(&subjects, &["SUB a.> 1\r\n"]), 0);
}

#[test]
fn a_message_of_some_kib_allocates_nothing() {
    let message = format!("PUB a.b 4000\r\n{}\r\n", "x".repeat(4000));
    assert_eq!(allocations(&message, &["SUB a.b 1\r\n"; 3]), 0);
}

#[test]
fn a_verbose_client_costs_no_allocation_either() {
    let verbose = "CONNECT {\"verbose\":true}\r\n";
    let message = format!("{}PING\r\n", "PUB a.b 5\r\nhello\r\n".repeat(10));
    // Sent before the warm-up: CONNECT itself allocates.
    assert_eq!(allocations(&message, &["SUB a.b 1\r\n", verbose]), 0);
}

/// A writer that keeps what it accepts.
#[derive(Clone)]
struct Recorder(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Recorder {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

#[test]
fn a_request_over_an_import_and_its_response_allocate_nothing() {
    let filter = || SubjectFilter::parse("service").unwrap();
    let accounts = vec![
        AccountConfig::new("A").with_export(Export::service(filter())).into(),
        AccountConfig::new("B").with_import(Import::service("A", filter())).into(),
    ];
    let users = ["A", "B"].map(|name| User::new(name, "").account(name));
    let users = users.into_iter().fold(Users::builder(), |users, user| users.user(user));
    let options = Options { accounts, ..Options::default() };
    let clocks = (Instant::now, SystemTime::now);
    let broker = Broker::with_authenticator(options, clocks, users.build().unwrap());
    let (mut scratch, now) = (Scratch::new(), Instant::now());
    let written = Recorder(Arc::new(Mutex::new(Vec::with_capacity(1 << 20))));
    let mut join = |user: &str, writer: Box<dyn WriteHandle>, subscribe: &str| {
        let mut session = broker.open(Arrival::default(), writer, now, &mut scratch);
        let connect = format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"{user}\",\"pass\":\"\"}}"
        );
        let text = format!("{connect}\r\n{subscribe}\r\n");
        session.receive(now, text.as_bytes(), None, &mut scratch);
        session
    };
    let mut service = join("A", Box::new(written.clone()), "SUB service 1");
    let mut requester = join("B", Box::new(Sink), "SUB _INBOX.* 1");
    let mut responses = Vec::with_capacity(1 << 20);
    let mut ask = |requests: &str| {
        written.0.lock().unwrap().clear();
        requester.receive(now, requests.as_bytes(), None, &mut scratch);
        responses.clear();
        let all = written.0.lock().unwrap();
        let all = std::str::from_utf8(&all).unwrap().split("HMSG service 1 ");
        for request in all.skip(1) {
            let (reply, _) = request.split_once(' ').unwrap();
            for part in ["PUB ", reply, " 2\r\nok\r\n"] {
                responses.extend_from_slice(part.as_bytes());
            }
        }
        service.receive(now, &responses, None, &mut scratch);
    };
    let requests = |count: usize| "PUB service _INBOX.x 5\r\nhello\r\n".repeat(count);
    // More are outstanding at first, so that no table grows later.
    let (many, some) = (requests(4 * CHUNK as usize), requests(CHUNK as usize));
    (0..5).for_each(|_| ask(&many));
    let (delivered, before) = (broker.stats().out_messages, ALLOCATIONS.get());
    (0..MESSAGES / CHUNK).for_each(|_| ask(&some));
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(broker.stats().out_messages - delivered, 2 * MESSAGES);
}
