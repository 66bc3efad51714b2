//! The messages with a time to live of their own, by time.

use std::collections::BTreeSet;

use super::fields::{Fields, Ttl};
use super::publish::NEVER;
use crate::config::{StreamConfig, Time};

/// Returns when a message that another server has stored at `time` expires by its own time to live; `Time(0)` for never.
// NATS 2.14: filestore.go recoverTTLState.
#[inline]
pub fn expiry_of(config: &StreamConfig, headers: &[u8], time: Time) -> Time {
    if !config.allow_message_ttl || headers.is_empty() {
        return Time::default();
    }
    match Fields::read(headers).ttl() {
        Ok(Ttl::Seconds(seconds)) => time.plus(seconds.saturating_mul(1_000_000_000)),
        Ok(Ttl::Never) => NEVER,
        Ok(Ttl::None) | Err(_) => Time::default(),
    }
}

/// The messages with a time to live of their own, by time.
#[derive(Debug, Default)]
pub(super) struct Expiries(BTreeSet<(Time, u64)>);

impl Expiries {
    /// Adds a message, if it expires by itself.
    pub(super) fn insert(&mut self, sequence: u64, expires: Time) {
        if expires != Time::default() && expires != NEVER {
            self.0.insert((expires, sequence));
        }
    }

    /// Forgets a message.
    pub(super) fn remove(&mut self, sequence: u64, expires: Time) {
        if !self.0.is_empty() {
            self.0.remove(&(expires, sequence));
        }
    }

    /// Forgets all messages before a sequence.
    pub(super) fn remove_before(&mut self, sequence: u64) {
        self.0.retain(|(_, other)| *other >= sequence);
    }

    /// Returns true without messages.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns when the next message expires.
    pub(super) fn first(&self) -> Option<Time> {
        self.0.first().map(|(time, _)| *time)
    }

    /// Takes at most `max` messages that have expired, by sequence.
    // NATS 2.14: memstore.go expireMsgs sorts by sequence, because of the markers.
    pub(super) fn take_expired(&mut self, now: Time, max: usize) -> Vec<u64> {
        let mut expired = Vec::new();
        while expired.len() < max && self.first().is_some_and(|first| first <= now) {
            expired.extend(self.0.pop_first().map(|(_, sequence)| sequence));
        }
        expired.sort_unstable();
        expired
    }
}
