//! A peer server in 100 lines: a session in two accounts over the byte queue of a route.

use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant, SystemTime};

use futures_executor::block_on;

use super::accounts::Accounts;
use super::local::{Client, Subscriber};
use crate::auth::{Grant, NoAuth};
use crate::endpoint::{ByteQueue, Endpoint, Kind, RouteEncoder, Run, Scratch, WriteHandle};
use crate::options::Options;
use crate::proto::Publish;
use crate::routing::{Audience, flush_touched};
use crate::shared::Shared;
use crate::sync::{Arc, Mutex};
use crate::transport::TransportInfo;

/// The socket of a peer.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Written {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.lock().write_vectored(pieces)
    }

    fn wake(&self) {}
}

/// The session of a peer.
struct FakePeer {
    accounts: Accounts,
    written: Written,
    scratch: Scratch,
}

impl FakePeer {
    fn connect(shared: &Arc<Shared>, kind: Kind, input: &str) -> Self {
        let ((id, seed), now) = (shared.next_session(), Instant::now());
        let written = Written::default();
        let (socket, queues) = (Box::new(written.clone()), Arc::clone(&shared.queues));
        let (most, wait, memory) = (1 << 20, Duration::MAX, TransportInfo::Memory);
        let queue =
            Arc::new(ByteQueue::new(RouteEncoder::default(), id, socket, most, wait, queues));
        let endpoint = Arc::new(Endpoint::new(id, seed, None, memory, now, queue, kind));
        let accounts = Accounts::new(Arc::clone(shared), endpoint, seed);
        let mut peer = Self { accounts, written, scratch: Scratch::new() };
        peer.receive(input);
        peer
    }

    /// Takes lines: `RS+ account filter [queue weight]`, and `RMSG account subject [queues]`.
    fn receive(&mut self, input: &str) {
        self.scratch.start(Instant::now());
        for line in input.lines() {
            match *line.split(' ').collect::<Vec<_>>() {
                ["RS+", account, ref words @ ..] => self.subscribe(account, words),
                ["RMSG", account, ref words @ ..] => self.publish(account, words),
                _ => panic!("{line}"),
            }
        }
        flush_touched(&mut self.scratch);
    }

    fn subscribe(&mut self, account: &str, words: &[&str]) {
        let queue = words.get(1).map(|queue| queue.as_bytes());
        let weight = words.get(2).map_or(1, |weight| weight.parse().unwrap());
        let texts = (words[0].as_bytes(), queue, &*words.concat().into_bytes());
        self.accounts.subscribe(account, texts, weight, false).unwrap();
    }

    fn publish(&mut self, account: &str, words: &[&str]) {
        let names: &Vec<_> = &words[1..].iter().map(|queue| queue.as_bytes()).collect();
        let (subject, body) = (words[0].as_bytes(), b"hello".as_slice());
        let (reply, sizes) = (b"".as_slice(), b"5".as_slice());
        let message = Publish { subject, reply, header_len: None, body, sizes, tail: None };
        let messages = std::slice::from_ref(&message);
        let run =
            Run { shown: None, subject, messages, shared: None, parsed: None, prefetched: None };
        let audience = Audience::Queues { plain: true, names };
        self.accounts.publish(account, &run, audience, &mut self.scratch).unwrap();
    }

    fn read(&self) -> String {
        String::from_utf8(self.written.0.lock().split_off(0)).unwrap()
    }
}

fn broker() -> (Arc<Shared>, [Client; 2]) {
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(Options::default(), clock, Box::new(NoAuth)));
    let grant = |account| Grant::anonymous().with_account(account);
    let clients = ["A", "B"].map(|account| Client::new(Arc::clone(&shared), grant(account)));
    (shared, clients)
}

#[test]
fn a_peer_gets_one_frame_a_message_with_the_queues_that_it_was_picked_for() {
    let (shared, [a, b]) = broker();
    let wants = "RS+ A orders.*\nRS+ A orders.> q1 9\nRS+ A orders.eu q2 1\nRS+ B >";
    let peer = FakePeer::connect(&shared, Kind::Route, wants);
    block_on(a.publish_with_reply("orders.eu", "answers", "hello".into())).unwrap();
    block_on(b.publish_with_reply("orders.eu", "answers", "hello".into())).unwrap();
    let frames =
        "RMSG A orders.eu + answers q1 q2 5\r\nhello\r\nRMSG B orders.eu answers 5\r\nhello\r\n";
    assert_eq!(peer.read(), frames);
}

#[test]
fn a_message_takes_one_hop_to_the_queues_it_names_and_never_goes_back() {
    let (shared, [a, _]) = broker();
    let wants = "RS+ A orders.*\nRS+ A orders.* q 1";
    let connect = |kind| FakePeer::connect(&shared, kind, wants);
    let [mut route, other, mut leaf] = [Kind::Route, Kind::Route, Kind::Leaf].map(connect);
    let mut plain = block_on(a.subscribe("orders.eu")).unwrap();
    let join = |queue| block_on(a.queue_subscribe("orders.eu", queue)).unwrap();
    let [mut q, mut r] = ["q", "r"].map(join);
    let count = |to: &mut Subscriber| std::iter::from_fn(|| to.try_next()).count();
    route.receive("RMSG A orders.eu\nRMSG A orders.eu r");
    assert_eq!((count(&mut plain), count(&mut q), count(&mut r)), (2, 0, 1));
    assert_eq!((route.read(), other.read()), (String::new(), String::new()));
    assert_eq!(leaf.read(), "RMSG A orders.eu 5\r\nhello\r\n".repeat(2));
    leaf.receive("RMSG A orders.eu q");
    let at_peers = [route.read(), other.read()].map(|read| read.contains(" q 5\r\n"));
    let copies = count(&mut q) + at_peers.iter().filter(|has_q| **has_q).count();
    assert_eq!((count(&mut plain), copies, leaf.read()), (1, 1, String::new()));
}
