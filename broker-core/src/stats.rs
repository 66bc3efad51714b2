//! Counters, and the plain structs that show them.

use std::ops::AddAssign;

/// The broker at one moment. Counts go on from those of connections that are gone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections of the wire protocol, now.
    pub connections: usize,
    /// Connections ever, those that were refused too.
    pub total_connections: u64,
    /// Subscriptions in all accounts.
    pub subscriptions: usize,
    /// Messages from clients, in-process ones too.
    pub in_messages: u64,
    /// Their bytes, headers and payload.
    pub in_bytes: u64,
    /// Messages to clients.
    pub out_messages: u64,
    /// Their bytes, headers and payload.
    pub out_bytes: u64,
    /// What waits to be read by clients, in bytes.
    pub pending_bytes: usize,
    /// Clients that were cut because they did not keep up.
    pub slow_consumers: u64,
    /// Clients that were cut because they did not answer.
    pub stale_connections: u64,
}

/// Messages and bytes, as the server sees them: in is what parties send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Messages from parties.
    pub in_messages: u64,
    /// Their bytes, headers and payload.
    pub in_bytes: u64,
    /// Messages to parties.
    pub out_messages: u64,
    /// Their bytes, headers and payload.
    pub out_bytes: u64,
}

impl Traffic {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            in_messages: self.in_messages.saturating_sub(before.in_messages),
            in_bytes: self.in_bytes.saturating_sub(before.in_bytes),
            out_messages: self.out_messages.saturating_sub(before.out_messages),
            out_bytes: self.out_bytes.saturating_sub(before.out_bytes),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.in_messages += other.in_messages;
        self.in_bytes += other.in_bytes;
        self.out_messages += other.out_messages;
        self.out_bytes += other.out_bytes;
    }
}

/// The interest of one account, or of all, and how it is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct InterestStats {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Subscriptions ever made.
    pub inserts: u64,
    /// Subscriptions ever ended.
    pub removes: u64,
    /// How often sessions looked a subject up: for each message to another subject than the one before.
    pub look_ups: u64,
    /// How often a session remembered the answer.
    pub cache_hits: u64,
    /// How many answers sessions remember.
    pub cached: usize,
    /// How many deliveries one message to each of those subjects would cause, together.
    pub total_fan_out: usize,
    /// The most that one message to any of those subjects has caused, of the sessions that are here.
    pub max_fan_out: usize,
}

impl AddAssign for InterestStats {
    fn add_assign(&mut self, other: Self) {
        self.subscriptions += other.subscriptions;
        self.inserts += other.inserts;
        self.removes += other.removes;
        self.look_ups += other.look_ups;
        self.cache_hits += other.cache_hits;
        self.cached += other.cached;
        self.total_fan_out += other.total_fan_out;
        self.max_fan_out = self.max_fan_out.max(other.max_fan_out);
    }
}
