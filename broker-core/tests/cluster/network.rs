//! The network between servers: delays, cuts, and bytes that arrive in pieces.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A generator of random numbers (splitmix64), so that a seed replays.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Returns true `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The rules for traffic between servers.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Directions in which nothing passes: from, to.
    cuts: Vec<(usize, usize)>,
    /// The time that bytes take in a direction.
    delays: Vec<((usize, usize), Duration)>,
    /// Cuts what arrives into pieces of random length; whole if absent.
    pub(crate) pieces: Option<Dice>,
    /// The bytes that have passed.
    pub(crate) bytes: u64,
    /// The INFO lines among them.
    pub(crate) infos: u64,
}

impl Network {
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(crate) fn has_cuts(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Lets nothing pass in one direction.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.push((from, to));
    }

    /// Lets everything pass in all directions.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Returns a network in which everything takes a random time up to `limit`, and arrives in pieces.
    pub(crate) fn random(dice: &mut Dice, nodes: usize, limit: usize) -> Self {
        let mut network = Self { pieces: Some(Dice::new(dice.roll())), ..Self::default() };
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            network.set_delay(from, to, Duration::from_millis(dice.below(limit) as u64));
        }
        network
    }

    pub(crate) fn set_delay(&mut self, from: usize, to: usize, delay: Duration) {
        self.delays.retain(|(pair, _)| *pair != (from, to));
        self.delays.push(((from, to), delay));
    }

    pub(crate) fn delay(&self, from: usize, to: usize) -> Duration {
        let found = self.delays.iter().find(|(pair, _)| *pair == (from, to));
        found.map_or(Duration::ZERO, |(_, delay)| *delay)
    }

    /// Returns the length of the next piece of `length` bytes.
    pub(crate) fn piece(&mut self, length: usize) -> usize {
        let Some(dice) = &mut self.pieces else { return length };
        let limit = match dice.below(3) {
            0 => 8,
            1 => 128,
            _ => 65_536,
        };
        (1 + dice.below(limit)).min(length)
    }
}

/// The bytes under way from one end of a connection to the other.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    flight: VecDeque<(Instant, Vec<u8>)>,
    last_due: Option<Instant>,
    /// The time at which the end of the stream arrives.
    end: Option<Instant>,
}

impl Pipe {
    pub(crate) fn send(&mut self, bytes: Vec<u8>, due: Instant) {
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        self.flight.push_back((due, bytes));
    }

    /// Ends the stream behind what is under way.
    pub(crate) fn finish(&mut self, due: Instant) {
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.end.get_or_insert(due);
    }

    /// Returns what has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) -> Vec<u8> {
        let mut arrived = Vec::new();
        while let Some((due, bytes)) = self.flight.front_mut().filter(|(due, _)| *due <= now) {
            let _ = due;
            arrived.append(bytes);
            self.flight.pop_front();
        }
        arrived
    }

    /// Returns true if all has arrived, and the end of the stream.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.flight.is_empty() && self.end.is_some_and(|due| due <= now)
    }

    /// Returns the time at which more arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.flight.front().map(|(due, _)| *due).or(self.end)
    }
}
