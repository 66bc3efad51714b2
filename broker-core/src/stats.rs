//! Totals, as plain structs.

use std::ops::AddAssign;

/// Totals of a broker. Closed connections are included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Connections since the start, refused ones included.
    pub total_connections: u64,
    /// Subscriptions in all accounts.
    pub subscriptions: usize,
    /// Messages from clients, in-process clients included, and from other servers.
    pub in_messages: u64,
    /// Their bytes, headers and payload.
    pub in_bytes: u64,
    /// Messages to clients and to other servers.
    pub out_messages: u64,
    /// Their bytes, headers and payload.
    pub out_bytes: u64,
    /// The part of all these of other servers of the cluster.
    pub routes: Traffic,
    /// Bytes in the queues of clients.
    pub pending_bytes: usize,
    /// Clients closed as slow consumers, and missed deadlines of those that were not closed for it.
    pub slow_consumers: u64,
    /// Other servers that became slow consumers, closed for it or not.
    pub slow_routes: u64,
    /// Clients closed because they did not answer PINGs.
    pub stale_connections: u64,
}

/// Messages and bytes, from the server's side: `in` is what clients send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Messages from clients.
    pub in_messages: u64,
    /// Their bytes, headers and payload.
    pub in_bytes: u64,
    /// Messages to clients.
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

/// Counters of the interest of one account, or of all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct InterestStats {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Subscriptions added since the start.
    pub inserts: u64,
    /// Subscriptions removed since the start.
    pub removes: u64,
    /// Look-ups by sessions: one for each message whose subject differs from the previous one.
    pub look_ups: u64,
    /// Look-ups that a session's cache answered.
    pub cache_hits: u64,
    /// Subjects in the caches of sessions.
    pub cached: usize,
    /// Deliveries that one message to each of those subjects causes, in total.
    pub total_fan_out: usize,
    /// The most deliveries that one message to any of those subjects causes.
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
