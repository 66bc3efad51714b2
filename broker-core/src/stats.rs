//! Counters, and the plain structs that show them.

use crate::receiver::Receiver;
use crate::sync::Ordering;

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
}

impl Stats {
    pub(crate) fn add(&mut self, receiver: &Receiver) {
        let out = receiver.outlet.counts();
        self.in_messages += receiver.in_messages.load(Ordering::Relaxed);
        self.in_bytes += receiver.in_bytes.load(Ordering::Relaxed);
        self.out_messages += out.messages;
        self.out_bytes += out.bytes;
    }
}
