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

/// What a session has written.
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
    /// Pairs of nodes between which nothing passes.
    cuts: Vec<(usize, usize)>,
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

impl Mesh {
    /// Starts these servers.
    pub(crate) fn start(all: Vec<Options>) -> Self {
        let mut mesh = Self {
            clock: TestClock::new(),
            nodes: Vec::new(),
            connections: Vec::new(),
            scratch: Scratch::new(),
            cuts: Vec::new(),
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
        let broker = Broker::new(options, self.clock.clone());
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

    /// Moves the clock in small steps, and works in between.
    pub(crate) fn pass(&mut self, time: Duration) {
        let mut left = u64::try_from(time.as_millis()).unwrap();
        while left > 0 {
            let step = left.min(50);
            left -= step;
            self.clock.millis.fetch_add(step, Ordering::Relaxed);
            self.settle();
        }
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

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// Lets nothing pass between two servers.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cuts.push((one.min(other), one.max(other)));
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
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

    /// Makes a connection. Returns false if nobody is there.
    fn connect(&mut self, from: usize, dial: &RouteDial) -> bool {
        if !self.nodes[from].broker.cluster().unwrap().wants(dial) {
            return true;
        }
        let is_it = |node: &usize| {
            let address = address(*node);
            (&*address.host, address.port) == (&*dial.address.host, dial.address.port)
        };
        let Some(to) = (0..self.nodes.len()).find(is_it) else { return false };
        if !self.nodes[to].is_up || self.is_cut(from, to) {
            return false;
        }
        let remote = |node| Some(format!("10.0.0.{node}:50000").parse().unwrap());
        let dialed = RouteArrival::dialed(dial.clone(), remote(to));
        let accepted = RouteArrival::accepted(remote(from));
        let ends = [(from, dialed), (to, accepted)].map(|(node, arrival)| {
            let wire = Wire::default();
            let handle = Box::new(wire.clone());
            let now = self.clock.now();
            let broker = &self.nodes[node].broker;
            let session = broker.open_route(arrival, handle, now, &mut self.scratch);
            End { node, session, wire, kept: Vec::new() }
        });
        self.connections.push(Connection { ends });
        true
    }

    /// Does the work of one end of a connection. Returns false if there was none.
    fn work(&mut self, number: usize, side: usize) -> bool {
        let now = self.clock.now();
        let connection = &mut self.connections[number];
        let nodes = (connection.ends[0].node, connection.ends[1].node);
        let is_cut = self.cuts.contains(&(nodes.0.min(nodes.1), nodes.0.max(nodes.1)));
        let [a, b] = &mut connection.ends;
        let (end, other) = if side == 0 { (a, b) } else { (b, a) };
        let Some(session) = &mut end.session else { return false };
        if let Some(reason) = session.closing() {
            let _ = session.byte_queue().drain(now, true, &mut self.scratch);
            while session.depart(reason) {}
            end.session = None;
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
        let _ = session.byte_queue().drain(now, true, &mut self.scratch);
        if is_cut {
            return has_worked;
        }
        let arrived = std::mem::take(&mut *other.wire.bytes.lock().unwrap());
        if arrived.is_empty() && other.session.is_none() {
            while session.depart(CloseReason::ClientClosed) {}
            end.session = None;
            return true;
        }
        if arrived.is_empty() && (end.kept.is_empty() || !has_worked) {
            return has_worked;
        }
        end.kept.extend_from_slice(&arrived);
        let input = std::mem::take(&mut end.kept);
        let mut at = 0;
        while at < input.len() && session.closing().is_none() {
            let received = session.receive(now, &input[at..], None, &mut self.scratch);
            at += received.used;
            if received.used == 0 {
                break;
            }
        }
        end.kept = input[at..].to_vec();
        true
    }

    /// Ends a server at once: its connections are lost.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.nodes[node].dials.clear();
        self.nodes[node].broker.cluster().unwrap().stop();
        for connection in &mut self.connections {
            for end in &mut connection.ends {
                if end.node == node {
                    end.session = None;
                }
            }
        }
    }

    /// Starts a server again, as another process.
    pub(crate) fn restart(&mut self, node: usize, options: Options) {
        self.nodes[node] = self.node(options, node);
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
