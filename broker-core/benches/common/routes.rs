//! A server with a route to a fake one, whose input is discarded, and the parser of routes alone.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::time::{Instant, SystemTime};

use broker_core::cluster::ClusterOptions;
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::proto::route::{RouteLimits, RouteParsed, RouteParser};
use broker_core::session::Session;
use broker_core::session::client::{Arrival, ClientSession};
use broker_core::session::route::{RouteArrival, RouteSession};
use broker_core::{Broker, Options};

use super::Scenario;
use super::chunk::Chunk;

/// A socket that accepts everything.
struct Sink;

impl WriteHandle for Sink {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";
const GREETING: &[u8] = b"CONNECT {\"name\":\"N1\",\"cluster\":\"c\",\"headers\":true}\r\n\
    INFO {\"server_id\":\"N1\",\"server_name\":\"n1\",\"host\":\"127.0.0.1\",\"port\":1,\"headers\":true,\
    \"max_payload\":1048576,\"cluster\":\"c\",\"lnoc\":true,\"lnocu\":true,\"proto\":1}\r\n";

/// The origin of the messages of a [`Hop`].
enum Way {
    /// From a client to the other server.
    Out,
    /// From the other server to clients.
    In,
}

/// A client, and a route to a server without a pool.
pub(crate) struct Hop {
    broker: Broker,
    scratch: Scratch,
    now: Instant,
    client: ClientSession,
    route: RouteSession,
    chunks: Vec<Chunk>,
    next: usize,
    way: Way,
    sent: usize,
    /// Whatever was counted before the first turn.
    before: u64,
}

impl Hop {
    /// Creates a client that sends these chunks, of whose messages the other server wants each.
    pub(crate) fn out(chunks: Vec<Chunk>, interest: &[u8]) -> Self {
        let mut hop = Self::new(chunks, Way::Out);
        hop.receive_route(interest);
        hop
    }

    /// Creates a client that subscribes, and another server that sends these chunks.
    pub(crate) fn into_client(chunks: Vec<Chunk>, subscribe: &[u8]) -> Self {
        let mut hop = Self::new(chunks, Way::In);
        hop.client.receive(hop.now, subscribe, None, &mut hop.scratch);
        hop
    }

    fn new(chunks: Vec<Chunk>, way: Way) -> Self {
        let mut cluster = ClusterOptions::default();
        (cluster.name, cluster.pool_size) = (Some("c".into()), None);
        let options = Options { cluster: Some(cluster), ..Options::default() };
        let broker = Broker::new(options, (Instant::now, SystemTime::now));
        let (mut scratch, now) = (Scratch::new(), Instant::now());
        let mut client = broker.open(Arrival::default(), Box::new(Sink), now, &mut scratch);
        client.receive(now, CONNECT, None, &mut scratch);
        let arrival = RouteArrival::accepted(None);
        let Some(route) = broker.open_route(arrival, Box::new(Sink), now, &mut scratch) else {
            panic!("the server is in a cluster")
        };
        let (next, sent, before) = (0, 0, 0);
        let mut hop = Self { broker, scratch, now, client, route, chunks, next, way, sent, before };
        hop.receive_route(GREETING);
        hop.before = hop.counted();
        hop
    }

    fn receive_route(&mut self, input: &[u8]) {
        let mut used = self.route.receive(self.now, input, None, &mut self.scratch).used;
        while used < input.len() {
            let rest = &input[used..];
            let more = self.route.receive(self.now, rest, None, &mut self.scratch).used;
            assert!(more > 0, "whole operations");
            used += more;
        }
    }

    fn counted(&self) -> u64 {
        let stats = self.broker.stats();
        stats.in_messages + stats.out_messages
    }
}

impl Scenario for Hop {
    fn turns_in_round(&self) -> usize {
        self.chunks.len()
    }

    fn turn(&mut self) -> usize {
        let chunk = &self.chunks[self.next];
        self.next = (self.next + 1) % self.chunks.len();
        let used = match self.way {
            Way::Out => self.client.receive(self.now, &chunk.bytes, None, &mut self.scratch).used,
            Way::In => self.route.receive(self.now, &chunk.bytes, None, &mut self.scratch).used,
        };
        assert_eq!(used, chunk.bytes.len(), "whole operations");
        self.sent += chunk.operations;
        chunk.operations
    }

    fn account(&self) -> (u64, u64) {
        (2 * self.sent as u64, self.counted() - self.before)
    }
}

/// Reads of a route that are parsed repeatedly.
pub(crate) struct RouteParsing {
    chunks: Vec<Chunk>,
    next: usize,
    expected: usize,
    parsed: usize,
}

impl RouteParsing {
    pub(crate) fn of(chunks: Vec<Chunk>) -> Self {
        Self { chunks, next: 0, expected: 0, parsed: 0 }
    }
}

impl Scenario for RouteParsing {
    fn turns_in_round(&self) -> usize {
        self.chunks.len()
    }

    fn turn(&mut self) -> usize {
        let chunk = &self.chunks[self.next];
        self.next = (self.next + 1) % self.chunks.len();
        let (mut parser, limits) = (RouteParser::default(), RouteLimits::default());
        let mut rest = &*chunk.bytes;
        while let Ok(RouteParsed::Op { op, used }) = parser.parse(rest, None, &limits) {
            black_box(op);
            rest = &rest[used..];
            self.parsed += 1;
        }
        self.expected += chunk.operations;
        chunk.operations
    }

    fn account(&self) -> (u64, u64) {
        (self.expected as u64, self.parsed as u64)
    }
}
