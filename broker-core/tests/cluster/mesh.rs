//! Servers that are connected in memory. Nothing happens by itself: [`Mesh::settle`] dials, carries bytes and lets
//! sessions work until nothing is left to be done; [`Mesh::pass`] moves the clock.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::cluster::{ClusterOptions, RouteAddress, RouteDial, RouteDialer};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::Session;
use broker_core::session::route::{RouteArrival, RouteSession};
use broker_core::{Broker, Clock, CloseReason, Options};

use super::network::{Network, Pipe};

/// A clock that only the test moves.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Instant,
    millis: Arc<AtomicU64>,
}

impl TestClock {
    fn new() -> Self {
        Self { start: Instant::now(), millis: Arc::default() }
    }

    /// Returns the time since the start.
    pub(crate) fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

/// The orders of one server.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<Vec<RouteDial>>>);

impl RouteDialer for Orders {
    fn dial(&self, dial: RouteDial) {
        self.0.lock().unwrap().push(dial);
    }
}

/// Bytes that a session has written.
#[derive(Clone, Default)]
struct Wire {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_woken: Arc<AtomicBool>,
    /// Takes no bytes.
    is_full: Arc<AtomicBool>,
}

impl WriteHandle for Wire {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = self.bytes.lock().unwrap();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {
        self.is_woken.store(true, Ordering::Relaxed);
    }
}

/// One end of a connection.
struct End {
    node: usize,
    session: Option<RouteSession>,
    wire: Wire,
    /// Bytes under way to the other end.
    pipe: Pipe,
    /// Input that the session has not consumed.
    kept: Vec<u8>,
}

/// A connection of two servers.
struct Connection {
    ends: [End; 2],
}

/// One server.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    orders: Orders,
    /// Orders with the time at which they are due, and the attempts so far.
    dials: VecDeque<(Instant, u32, RouteDial)>,
    is_up: bool,
}

/// See the module.
pub(crate) struct Mesh {
    pub(crate) clock: TestClock,
    pub(crate) nodes: Vec<Node>,
    connections: Vec<Connection>,
    scratch: Scratch,
    pub(crate) network: Network,
    /// The connections that were made.
    pub(crate) connects: u64,
    /// A server that does nothing.
    stopped: Option<usize>,
}

/// Returns the address of a node.
pub(crate) fn address(node: usize) -> RouteAddress {
    RouteAddress { host: format!("10.0.0.{node}"), port: 6222, credentials: None }
}

/// Options of a node of a cluster, which dials these nodes.
pub(crate) fn options(node: usize, dials: &[usize]) -> Options {
    let mut cluster = ClusterOptions::default();
    cluster.name = Some("C".into());
    cluster.routes = dials.iter().map(|node| address(*node)).collect();
    let server_name = Some(format!("n{node}"));
    Options { cluster: Some(cluster), server_name, seed: node as u64 + 1, ..Options::default() }
}

/// The tag of a server that has JetStream.
const JETSTREAM: &str = "jetstream";

/// Returns options of a node with JetStream.
pub(crate) fn with_jetstream(mut options: Options) -> Options {
    options.server_tags.push(JETSTREAM.into());
    options
}

impl Mesh {
    /// Starts these servers.
    pub(crate) fn start(all: Vec<Options>) -> Self {
        Self::start_in(Network::default(), all)
    }

    /// Starts these servers in this network.
    pub(crate) fn start_in(network: Network, all: Vec<Options>) -> Self {
        let mut mesh = Self {
            clock: TestClock::new(),
            nodes: Vec::new(),
            connections: Vec::new(),
            scratch: Scratch::new(),
            network,
            connects: 0,
            stopped: None,
        };
        for options in all {
            let node = mesh.node(options, mesh.nodes.len());
            mesh.nodes.push(node);
        }
        mesh.settle();
        mesh
    }

    /// Starts one more server.
    pub(crate) fn add(&mut self, options: Options) {
        let node = self.node(options, self.nodes.len());
        self.nodes.push(node);
        self.settle();
    }

    /// Starts `count` servers of which each dials all before it.
    pub(crate) fn of(count: usize) -> Self {
        Self::start((0..count).map(|node| options(node, &(0..node).collect::<Vec<_>>())).collect())
    }

    fn node(&self, options: Options, number: usize) -> Node {
        let has_jetstream = options.server_tags.iter().any(|tag| tag == JETSTREAM);
        let broker = Broker::new(options, self.clock.clone());
        broker.update_info(|info| info.jetstream = has_jetstream);
        let cluster = broker.cluster().unwrap();
        let RouteAddress { host, port, .. } = address(number);
        cluster.set_address(&host, port);
        broker.set_client_urls(vec![format!("{host}:4222")], Vec::new());
        let orders = Orders::default();
        broker.start_cluster(Box::new(orders.clone()));
        Node { broker, orders, dials: VecDeque::new(), is_up: true }
    }

    /// Works until nothing is left to be done without the clock.
    pub(crate) fn settle(&mut self) {
        let mut rounds = 0;
        while self.step() {
            rounds += 1;
            assert!(rounds < 100_000, "the servers do not come to rest");
        }
    }

    /// Moves the clock from one event to the next, and works in between.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        self.settle();
        loop {
            let now = self.clock.now();
            let next = self.next_event().map_or(end, |next| next.min(end)).max(now);
            // The clock has milliseconds.
            let step = u64::try_from((next - now).as_micros().div_ceil(1000)).unwrap();
            self.clock.millis.fetch_add(step.max(1), Ordering::Relaxed);
            self.settle();
            if self.clock.now() >= end {
                return;
            }
        }
    }

    /// Returns the time of the next event that the clock brings.
    fn next_event(&self) -> Option<Instant> {
        let dials = self.nodes.iter().flat_map(|node| node.dials.iter().map(|(due, ..)| *due));
        let ends = self.connections.iter().flat_map(|connection| {
            let [a, b] = &connection.ends;
            [(a, b), (b, a)].into_iter().flat_map(|(end, other)| {
                let session = end.session.as_ref();
                let is_cut = self.network.is_cut(end.node, other.node);
                let arrives = end.pipe.next().filter(|_| other.session.is_some() && !is_cut);
                let session = session.filter(|_| self.stopped != Some(end.node));
                session.map(RouteSession::next_timeout).into_iter().chain(arrives)
            })
        });
        dials.chain(ends).min()
    }

    /// Does one round. Returns false if there was nothing to do.
    pub(crate) fn step(&mut self) -> bool {
        let dialed = self.dial();
        let mut has_worked = dialed;
        for number in 0..self.connections.len() {
            for side in 0..2 {
                has_worked |= self.work(number, side);
            }
        }
        self.connections
            .retain(|connection| connection.ends.iter().any(|end| end.session.is_some()));
        has_worked
    }

    /// Lets nothing pass between two servers.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.network.cut(one, other);
        self.network.cut(other, one);
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&mut self) {
        self.network.heal();
    }

    /// Stops a server as SIGSTOP does: it reads nothing, so that no connection to it takes bytes.
    pub(crate) fn stop(&mut self, node: usize) {
        self.stopped = Some(node);
        self.fill(node, true);
    }

    /// Lets connections to a server take no bytes, or bytes again.
    pub(crate) fn fill(&self, node: usize, is_full: bool) {
        for Connection { ends: [a, b] } in &self.connections {
            for (end, other) in [(a, b), (b, a)] {
                if other.node == node {
                    end.wire.is_full.store(is_full, Ordering::Relaxed);
                }
            }
        }
    }

    /// Loses connections of two servers, as a firewall that resets them does.
    pub(crate) fn reset(&mut self, one: usize, other: usize, mut is_lost: impl FnMut() -> bool) {
        let now = self.clock.now();
        for connection in &mut self.connections {
            let nodes = [connection.ends[0].node, connection.ends[1].node];
            if (nodes == [one, other] || nodes == [other, one]) && is_lost() {
                for end in &mut connection.ends {
                    end.pipe = Pipe::default();
                    end.pipe.finish(now);
                    if let Some(mut session) = end.session.take() {
                        while session.depart(CloseReason::ReadError) {}
                    }
                }
            }
        }
    }

    /// Returns a function that tells whether a server has written this text to another one. It sees what [`Self::step`] has not
    /// carried yet.
    pub(crate) fn written(
        &self,
        from: usize,
        to: usize,
        text: &'static str,
    ) -> impl Fn() -> bool + Send + Sync + use<> {
        let ends = self.connections.iter().flat_map(|Connection { ends: [a, b] }| [(a, b), (b, a)]);
        let ends = ends.filter(|(end, other)| (end.node, other.node) == (from, to));
        let wires: Vec<Wire> = ends.map(|(end, _)| end.wire.clone()).collect();
        move || {
            wires.iter().any(|wire| {
                wire.bytes.lock().unwrap().windows(text.len()).any(|part| part == text.as_bytes())
            })
        }
    }

    fn dial(&mut self) -> bool {
        let now = self.clock.now();
        let mut has_dialed = false;
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            for dial in std::mem::take(&mut *node.orders.0.lock().unwrap()) {
                node.dials.push_back((now + dial.delay, 0, dial));
            }
            for _ in 0..node.dials.len() {
                let Some((due, attempts, dial)) = self.nodes[number].dials.pop_front() else {
                    break;
                };
                if due > now {
                    self.nodes[number].dials.push_back((due, attempts, dial));
                    continue;
                }
                has_dialed = true;
                if !self.connect(number, &dial) {
                    let is_over = dial.retries.is_some_and(|retries| attempts >= retries);
                    if !is_over {
                        let later = now + Duration::from_secs(1);
                        self.nodes[number].dials.push_back((later, attempts + 1, dial));
                    }
                }
            }
        }
        has_dialed
    }

    /// Makes a connection. Returns false if there is no listener.
    fn connect(&mut self, from: usize, dial: &RouteDial) -> bool {
        if dial.is_configured && !self.nodes[from].broker.cluster().unwrap().wants(dial) {
            return true;
        }
        let is_it = |node: &usize| {
            let address = address(*node);
            (&*address.host, address.port) == (&*dial.address.host, dial.address.port)
        };
        let Some(to) = (0..self.nodes.len()).find(is_it) else { return false };
        let is_cut = self.network.is_cut(from, to) || self.network.is_cut(to, from);
        if !self.nodes[to].is_up || is_cut {
            return false;
        }
        self.connects += 1;
        let remote = |node| Some(format!("10.0.0.{node}:50000").parse().unwrap());
        let dialed = RouteArrival::dialed(dial.clone(), remote(to));
        let accepted = RouteArrival::accepted(remote(from));
        let ends = [(from, dialed), (to, accepted)].map(|(node, arrival)| {
            let wire = Wire::default();
            let handle = Box::new(wire.clone());
            let now = self.clock.now();
            let broker = &self.nodes[node].broker;
            let session = broker.open_route(arrival, handle, now, &mut self.scratch);
            End { node, session, wire, pipe: Pipe::default(), kept: Vec::new() }
        });
        self.connections.push(Connection { ends });
        true
    }

    /// Does the work of one end of a connection. Returns false if there was none.
    fn work(&mut self, number: usize, side: usize) -> bool {
        let now = self.clock.now();
        let [a, b] = &mut self.connections[number].ends;
        let (end, other) = if side == 0 { (a, b) } else { (b, a) };
        let Some(session) = end.session.as_mut().filter(|_| self.stopped != Some(end.node)) else {
            return false;
        };
        let due = now + self.network.delay(end.node, other.node);
        if let Some(reason) = session.closing() {
            let _ = session.byte_queue().drain(now, true, &mut self.scratch);
            while session.depart(reason) {}
            end.session = None;
            end.pipe.send(std::mem::take(&mut *end.wire.bytes.lock().unwrap()), due);
            end.pipe.finish(due);
            return true;
        }
        let mut has_worked = end.wire.is_woken.swap(false, Ordering::Relaxed);
        if session.has_update() {
            session.handle_update(now, &mut self.scratch);
            has_worked = true;
        }
        if now >= session.next_timeout() {
            session.handle_timeout(now, &mut self.scratch);
            has_worked = true;
        }
        if session.has_chores() {
            session.do_chores(now, &mut self.scratch);
            has_worked = true;
        }
        let is_cut = self.network.is_cut(other.node, end.node);
        let arrived = if is_cut { Vec::new() } else { other.pipe.arrived(now) };
        if arrived.is_empty() && !is_cut && other.pipe.is_over(now) {
            while session.depart(CloseReason::ClientClosed) {}
            end.session = None;
            end.pipe.finish(due);
            return true;
        }
        if !arrived.is_empty() || (has_worked && !end.kept.is_empty()) {
            has_worked = true;
            self.network.bytes += arrived.len() as u64;
            self.network.infos += infos(&arrived);
            feed(session, &mut end.kept, &arrived, now, &mut self.network, &mut self.scratch);
        }
        if has_worked {
            let _ = session.byte_queue().drain(now, true, &mut self.scratch);
        }
        let written = std::mem::take(&mut *end.wire.bytes.lock().unwrap());
        if !written.is_empty() {
            end.pipe.send(written, due);
            has_worked = true;
        }
        has_worked
    }

    /// Ends a server at once: its connections are lost.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.nodes[node].dials.clear();
        self.nodes[node].broker.cluster().unwrap().stop();
        let now = self.clock.now();
        for connection in &mut self.connections {
            for end in connection.ends.iter_mut().filter(|end| end.node == node) {
                end.session = None;
                end.pipe.finish(now);
            }
        }
    }

    /// Starts a server again, as another process.
    pub(crate) fn restart(&mut self, node: usize, options: Options) {
        self.nodes[node] = self.node(options, node);
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].is_up
    }

    /// Returns the number of connections.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Returns the number of routes of a server.
    pub(crate) fn routes(&self, node: usize) -> usize {
        self.nodes[node].broker.cluster().unwrap().routes().len()
    }

    /// Returns the number of other servers that a server is connected to.
    pub(crate) fn peers(&self, node: usize) -> usize {
        self.nodes[node].broker.cluster().unwrap().server_count()
    }
}

/// Returns the number of INFO lines in the output of a server that ends with a line.
fn infos(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"INFO {")).count() as u64
}

/// Gives a session what has arrived, in pieces.
fn feed(
    session: &mut RouteSession,
    kept: &mut Vec<u8>,
    arrived: &[u8],
    now: Instant,
    network: &mut Network,
    scratch: &mut Scratch,
) {
    let mut rest = arrived;
    loop {
        let (piece, behind) = rest.split_at(network.piece(rest.len()).min(rest.len()));
        rest = behind;
        kept.extend_from_slice(piece);
        // As the driver of a connection: what a session leaves is passed again after chores, or with more bytes.
        loop {
            let used = session.receive(now, kept, None, scratch).used;
            kept.drain(..used);
            if kept.is_empty() || !session.has_chores() || session.closing().is_some() {
                break;
            }
            session.do_chores(now, scratch);
        }
        if rest.is_empty() || session.closing().is_some() {
            return;
        }
    }
}
