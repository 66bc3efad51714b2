//! The session of another server, with arbitrary input in arbitrary chunks before and after a valid handshake, beside the
//! route of a third server.

#![no_main]

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::Secret;
use broker_core::cluster::{ClusterOptions, CompressionMode, RouteDial, RouteDialer};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::proto::route::{RouteLimits, RouteParsed, RouteParser};
use broker_core::session::Session;
use broker_core::session::route::{RouteArrival, RouteSession};
use broker_core::{Broker, Limits, Options};
use futures_executor::block_on;
use libfuzzer_sys::fuzz_target;

/// The longest line of a server, with its verb; and the largest message that the fuzzer can send.
const KEPT_BYTES: usize = (64 << 10) + 8192 + 64;

const CONNECT: &str = "CONNECT {\"echo\":true,\"verbose\":false,\"pedantic\":false,\"user\":\"u\",\"pass\":\"p\",\
     \"tls_required\":false,\"name\":\"ID\",\"headers\":true,\"cluster\":\"C\",\"lnoc\":true}\r\n";
const INFO: &str = "INFO {\"server_id\":\"ID\",\"server_name\":\"ID\",\"version\":\"2.14.5\",\"proto\":1,\
     \"host\":\"10.0.0.9\",\"port\":6222,\"headers\":true,\"max_payload\":1048576,\"cluster\":\"C\",\
     \"compression\":\"off\",\"lnoc\":true,\"lnocu\":true,\"route_pool_size\":3}\r\n";

fuzz_target!(|data: &[u8]| {
    let [how, cuts, begin, said @ ..] = data else { return };
    let mut cluster = ClusterOptions::default();
    cluster.name = Some("C".into());
    if how & 1 == 1 {
        cluster.credentials = Some(("u".into(), Secret::from("p".to_owned())));
    }
    cluster.pool_size = if how & 2 == 2 { None } else { Some(3) };
    cluster.compression.mode =
        if how & 4 == 4 { CompressionMode::Off } else { CompressionMode::Accept };
    let limits = Limits { max_pending_bytes: 1 << 20, ..Limits::default() };
    let trace = how & 8 == 8;
    let options = Options { cluster: Some(cluster), limits, trace, ..Options::default() };
    let mut now = Instant::now();
    let broker = Broker::new(options, (Instant::now, SystemTime::now));
    broker.cluster().unwrap().set_address("10.0.0.1", 6222);
    let dials = Dials::default();
    broker.start_cluster(Box::new(dials.clone()));
    let mut listener = block_on(broker.client().subscribe(">")).unwrap();
    let mut scratch = Scratch::new();

    let mut third = Peer::open(&broker, None, now, &mut scratch);
    third.greet("NTHIRD", now, &mut scratch);
    third.say(b"RS+ $G third.>\r\n", now, &mut scratch);
    assert!(third.session.closing().is_none(), "a valid server is refused");
    let before = broker.stats();

    let dial = (how & 16 == 16).then(|| dials.make(&mut third, now, &mut scratch)).flatten();
    let mut peer = Peer::open(&broker, dial, now, &mut scratch);
    let (early, late) = said.split_at(said.len().min(usize::from(*begin)));
    peer.say(early, now, &mut scratch);
    if how & 32 == 32 {
        peer.greet("NPEER", now, &mut scratch);
    }
    for chunk in late.chunks(1 + usize::from(*cuts)) {
        if peer.session.closing().is_some() {
            break;
        }
        peer.say(chunk, now, &mut scratch);
        if how & 64 == 64 {
            now += Duration::from_millis(100);
            peer.tick(now, &mut scratch);
        }
    }
    peer.session.byte_queue().drain(now, true, &mut scratch);
    assert!(dials.0.1.load(Ordering::Relaxed) <= 1100, "dials without bound");
    drop(peer);
    while listener.try_next().is_some() {}

    // The third server has noticed nothing.
    third.tick(now, &mut scratch);
    third.link.0.lock().unwrap().clear();
    block_on(broker.client().publish("third.x", "hello".into())).unwrap();
    third.session.byte_queue().drain(now, true, &mut scratch);
    assert!(third.session.closing().is_none(), "another route is closed");
    let heard = third.link.0.lock().unwrap().clone();
    let is_told = heard.windows(15).any(|window| window == b"RMSG $G third.x");
    // A member may ask that an account gets a route of its own: its interest on other routes is void until then.
    let asks = asks_for_a_route(said);
    assert!(
        is_told || asks,
        "another route gets no messages: {:?}",
        String::from_utf8_lossy(&heard)
    );
    let after = broker.stats();
    assert_eq!(after.connections, before.connections);
    assert!(after.subscriptions <= before.subscriptions, "interest of a lost server remains");
});

/// Returns true if the input may contain the field `route_acc_add_reqid`, in any case, or with escapes.
fn asks_for_a_route(said: &[u8]) -> bool {
    let said = said.to_ascii_lowercase();
    said.windows(11).any(|window| window == b"acc_add_req")
        || said.windows(2).any(|window| window == b"\\u")
}

/// Counts the orders, and keeps the last.
#[derive(Clone, Default)]
struct Dials(Arc<(Mutex<Option<RouteDial>>, AtomicUsize)>);

impl RouteDialer for Dials {
    fn dial(&self, dial: RouteDial) {
        *self.0.0.lock().unwrap() = Some(dial);
        self.0.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl Dials {
    /// Has the broker order to dial another server, by a report of the third.
    fn make(&self, third: &mut Peer, now: Instant, scratch: &mut Scratch) -> Option<RouteDial> {
        let info =
            INFO.replace("ID", "NPEER").replace("}", ",\"ip\":\"nats-route://10.0.0.9:6222/\"}");
        third.say(info.as_bytes(), now, scratch);
        self.0.0.lock().unwrap().take()
    }
}

#[derive(Clone, Default)]
struct Link(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Link {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

struct Peer {
    session: RouteSession,
    link: Link,
    kept: Vec<u8>,
}

impl Peer {
    fn open(broker: &Broker, dial: Option<RouteDial>, now: Instant, scratch: &mut Scratch) -> Self {
        let link = Link::default();
        let remote = Some("10.0.0.9:50000".parse().unwrap());
        let arrival = match dial {
            Some(dial) => RouteArrival::dialed(dial, remote),
            None => RouteArrival::accepted(remote),
        };
        let session = broker.open_route(arrival, Box::new(link.clone()), now, scratch).unwrap();
        Self { session, link, kept: Vec::new() }
    }

    fn greet(&mut self, id: &str, now: Instant, scratch: &mut Scratch) {
        self.say(CONNECT.replace("ID", id).as_bytes(), now, scratch);
        self.say(INFO.replace("ID", id).as_bytes(), now, scratch);
    }

    fn tick(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.session.has_update() {
            self.session.handle_update(now, scratch);
        }
        if now >= self.session.next_timeout() {
            self.session.handle_timeout(now, scratch);
        }
        while self.session.has_chores() {
            self.session.do_chores(now, scratch);
        }
    }

    /// Gives the session input, in the portions that it takes, and checks what it says.
    fn say(&mut self, mut chunk: &[u8], now: Instant, scratch: &mut Scratch) {
        while !chunk.is_empty() && self.session.closing().is_none() {
            let room = self.session.read_limit().saturating_sub(self.kept.len());
            assert!(room > 0, "it wants more, but takes none");
            let (part, rest) = chunk.split_at(chunk.len().min(room));
            chunk = rest;
            self.kept.extend_from_slice(part);
            self.work(now, scratch);
            if self.session.closing().is_none() {
                assert!(self.kept.len() <= KEPT_BYTES, "{} are kept", self.kept.len());
            }
        }
        self.tick(now, scratch);
        self.session.byte_queue().drain(now, true, scratch);
        self.check();
    }

    fn work(&mut self, now: Instant, scratch: &mut Scratch) {
        loop {
            let received = self.session.receive(now, &self.kept, None, scratch);
            assert!(received.used <= self.kept.len());
            self.kept.drain(..received.used);
            if let Some(check) = self.session.take_check() {
                self.session.handle_checked(check.run(), now, scratch);
                continue;
            }
            if self.session.wants_compression().is_some() {
                self.session.handle_compressed(now, scratch);
                continue;
            }
            self.tick(now, scratch);
            if received.used == 0 || self.kept.is_empty() || self.session.closing().is_some() {
                return;
            }
        }
    }

    /// Checks that the output is valid protocol of servers.
    fn check(&self) {
        let mut parser = RouteParser::default();
        let bytes = self.link.0.lock().unwrap();
        let (limits, mut used) = (RouteLimits::default(), 0);
        // The greeting is INFO or CONNECT, and lines of a route of one account name none.
        while let Ok(RouteParsed::Op { used: len, .. }) =
            parser.parse(&bytes[used..], None, &limits)
        {
            used += len;
        }
    }
}
