//! Servers that find each other over a simulated network. Whatever the order in which their messages arrive, and whatever is
//! lost with connections that are closed, all of them are connected in the end. `SEEDS=N` runs more schedules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::*;
use crate::random::Random;

/// The time of the simulation, in microseconds.
type Time = u64;

const SECOND: Time = 1_000_000;

/// The time after which all servers must be connected: several collisions in a row.
const PATIENCE: Time = 20 * SECOND;

/// A message between two servers.
#[derive(Debug)]
enum Line {
    Connect(Box<RouteConnect>),
    Info(Box<RouteInfo>),
    Ping,
    Pong,
    /// The other side has closed the connection.
    End,
}

#[derive(Debug)]
enum Event {
    Attempt(usize, Box<RouteDial>),
    Connected(usize, Box<RouteDial>),
    Accepted(RouteId),
    Line(RouteId, Line),
}

/// One side of a connection. The id of the other side differs in its last bit.
#[derive(Debug)]
struct Side {
    server: usize,
    /// Lines that have not arrived are lost.
    is_reset: bool,
    /// The arrival of the last line at this side.
    last: Time,
}

struct World {
    now: Time,
    random: Random,
    /// The longest way of a message.
    latency: usize,
    servers: Vec<Topology>,
    sides: BTreeMap<RouteId, Side>,
    events: BinaryHeap<Reverse<(Time, u64)>>,
    scheduled: BTreeMap<u64, Event>,
    next: u64,
}

impl World {
    fn new(seed: u64, latency: usize) -> Self {
        Self {
            now: 0,
            random: Random::new(seed),
            latency,
            servers: Vec::new(),
            sides: BTreeMap::new(),
            events: BinaryHeap::new(),
            scheduled: BTreeMap::new(),
            next: 2,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 2;
        self.next
    }

    fn schedule(&mut self, at: Time, event: Event) {
        let number = self.number();
        self.events.push(Reverse((at, number)));
        self.scheduled.insert(number, event);
    }

    fn latency(&mut self) -> Time {
        1 + self.random.below(self.latency) as Time
    }

    /// Starts a server with routes to others.
    fn start(&mut self, routes: &[usize], mode: CompressionMode) {
        let number = self.servers.len();
        let mut options = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
        options.compression.mode = mode;
        options.routes = routes.iter().map(|other| at(*other)).collect();
        let id = format!("{:016x}", self.random.next_u64());
        let own = RouteInfo {
            server_id: id,
            server_name: format!("n{number}"),
            cluster: "C".into(),
            ..RouteInfo::default()
        };
        let mut topology = Topology::new(Arc::new(options), own, &Arc::from("$SYS"));
        let RouteAddress { host, port, .. } = at(number);
        topology.set_address(&host, port);
        let effects = topology.start();
        self.servers.push(topology);
        self.act(number, effects);
    }

    fn act(&mut self, server: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial(dial) => {
                    let delay = u64::try_from(dial.delay.as_micros()).unwrap();
                    self.schedule(self.now + delay, Event::Attempt(server, Box::new(dial)));
                }
                Effect::Send(id, info) => self.send(id, Line::Info(info)),
                Effect::Close(id, _) => self.close(id),
                _ => {}
            }
        }
    }

    /// Sends a line from this side of a connection to the other one.
    fn send(&mut self, from: RouteId, line: Line) {
        let due = self.now + self.latency();
        // The other side may have ended.
        let Some(other) = self.sides.get_mut(&(from ^ 1)) else { return };
        other.last = due.max(other.last + 1);
        let due = other.last;
        self.schedule(due, Event::Line(from ^ 1, line));
    }

    fn close(&mut self, id: RouteId) {
        if !self.sides.contains_key(&id) {
            return;
        }
        // Lines under way may be lost with the connection.
        let loses = self.random.below(2) == 0;
        if let Some(other) = self.sides.get_mut(&(id ^ 1)).filter(|_| loses) {
            other.is_reset = true;
        }
        self.send(id, Line::End);
        let Some(side) = self.sides.remove(&id) else { return };
        let jitter = self.random.next_u64();
        let effects = self.servers[side.server].handle_lost(id, jitter);
        self.act(side.server, effects);
    }

    /// Handles the next event.
    fn step(&mut self) {
        let Some(Reverse((now, number))) = self.events.pop() else { return };
        self.now = now;
        match self.scheduled.remove(&number).unwrap() {
            Event::Attempt(server, dial) => {
                if !dial.is_configured || self.servers[server].wants(&dial) {
                    let due = self.now + self.latency();
                    self.schedule(due, Event::Connected(server, dial));
                }
            }
            Event::Connected(server, dial) => {
                if dial.is_configured && !self.servers[server].wants(&dial) {
                    return;
                }
                let other = dial.address.port as usize;
                if other >= self.servers.len() {
                    return self.schedule(self.now + SECOND, Event::Attempt(server, dial));
                }
                let id = self.number();
                for (id, server) in [(id, server), (id ^ 1, other)] {
                    self.sides.insert(id, Side { server, is_reset: false, last: self.now });
                }
                let topology = &mut self.servers[server];
                topology.open(id, Record::dialed(&dial, Some(ip(other))));
                let connect = topology.connect(id);
                let info =
                    (!topology.delays_info(id)).then(|| topology.opening_info(id, String::new()));
                self.send(id, Line::Connect(Box::new(connect)));
                if let Some(info) = info {
                    self.send(id, Line::Info(Box::new(info)));
                }
                self.schedule(self.now, Event::Accepted(id ^ 1));
            }
            Event::Accepted(id) => {
                let server = self.sides[&id].server;
                let from = self.sides.get(&(id ^ 1)).map_or(0, |side| side.server);
                self.servers[server].open(id, Record::accepted(Some(ip(from))));
                let info = self.servers[server].opening_info(id, String::new());
                self.send(id, Line::Info(Box::new(info)));
            }
            Event::Line(id, line) => self.receive(id, line),
        }
    }

    fn receive(&mut self, id: RouteId, line: Line) {
        let Some(side) = self.sides.get(&id) else { return };
        if side.is_reset && !matches!(line, Line::End) {
            return;
        }
        let server = side.server;
        match line {
            Line::Connect(connect) => {
                let effects = self.servers[server].handle_connect(id, &connect).unwrap();
                self.act(server, effects);
            }
            Line::Info(info) => {
                let (joined, effects) = self.servers[server].handle_info(id, *info, String::new());
                self.act(server, effects);
                match joined {
                    Joined::Noted => {}
                    Joined::Registered(place) => {
                        if let Some(info) = place.info {
                            self.send(id, Line::Info(info));
                        }
                        if place.pings {
                            self.send(id, Line::Ping);
                        }
                    }
                    Joined::Refused(_) => self.close(id),
                }
            }
            Line::Ping => self.send(id, Line::Pong),
            Line::Pong => {
                let effect = self.servers[server].handle_pong(id);
                self.act(server, effect.into_iter().collect());
            }
            Line::End => self.close(id),
        }
    }

    fn run_until(&mut self, end: Time) {
        while self.events.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Returns what is missing until all servers are connected.
    fn missing(&self) -> Option<String> {
        for (number, server) in self.servers.iter().enumerate() {
            for (other_number, other) in
                self.servers.iter().enumerate().filter(|(it, _)| *it != number)
            {
                let places = |of: &Topology, to: &Topology| {
                    let routes = of.routes().filter(|(_, it)| it.remote_id == to.own.server_id);
                    routes.map(|(id, it)| (id, it.account.clone(), it.index)).collect::<Vec<_>>()
                };
                let (here, there) = (places(server, other), places(other, server));
                let mut mirrored: Vec<_> = there
                    .into_iter()
                    .map(|(id, account, index)| (id ^ 1, account, index))
                    .collect();
                mirrored.sort();
                if here.len() != 4 || here != mirrored {
                    return Some(format!("{number} to {other_number}: {here:?}, {mirrored:?}"));
                }
            }
        }
        None
    }
}

fn at(number: usize) -> RouteAddress {
    RouteAddress { host: ip(number).to_string(), port: number as u16, credentials: None }
}

fn ip(number: usize) -> std::net::IpAddr {
    std::net::IpAddr::from([10, 0, 0, number as u8])
}

/// A cluster: the routes that each server has configured.
const CLUSTERS: [(&str, &[&[usize]]); 4] = [
    ("each with those before it", &[&[], &[0], &[0, 1]]),
    ("two with each other", &[&[1], &[0]]),
    ("all with all others", &[&[1, 2], &[0, 2], &[0, 1]]),
    ("all with the first", &[&[], &[0], &[0], &[0]]),
];

#[test]
fn servers_find_each_other_under_any_schedule() {
    let seeds = std::env::var("SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    for (name, cluster) in CLUSTERS {
        for mode in [CompressionMode::Off, CompressionMode::Accept] {
            for latency in [1_000, 20_000, 100_000, 400_000] {
                for seed in 0..seeds {
                    let mut world = World::new(seed, latency);
                    for routes in cluster {
                        world.start(routes, mode);
                        let until_next = if seed % 2 == 0 { 1 } else { 300_000 };
                        let until = world.now + world.random.below(until_next) as Time;
                        world.run_until(until);
                    }
                    world.run_until(world.now + PATIENCE);
                    let missing = world.missing();
                    assert!(
                        missing.is_none(),
                        "{name} {mode:?} {latency} us, seed {seed}: {missing:?}"
                    );
                }
            }
        }
    }
}
