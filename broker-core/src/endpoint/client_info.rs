//! What is known of a party beside what it sends and gets.

use crate::endpoint::Endpoint;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, AtomicU64, Ordering};

/// What a party says of itself, and who it is by that. No secret is in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// What it calls itself.
    pub name: Box<str>,
    /// The language of its library.
    pub lang: Box<str>,
    /// The version of its library.
    pub version: Box<str>,
    /// The user it came as, as monitoring shows it: a name or a public key; `[REDACTED]` for a token.
    pub user: Option<Arc<str>>,
}

impl ClientInfo {
    /// How much memory it takes.
    pub(crate) fn len_bytes(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| user.len());
        self.name.len() + self.lang.len() + self.version.len() + user
    }
}

/// A party's time in one account.
pub(crate) struct AccountMembership {
    /// The account's name.
    pub(crate) account: Arc<str>,
    /// What the party had sent and got before.
    before: Traffic,
    before_look_ups: InterestStats,
    /// As which one it left, counted from 1; 0 while it is there. Who adds up what is and what was must
    /// count each party once.
    departure: AtomicU64,
}

impl AccountMembership {
    pub(crate) fn begin(account: Arc<str>, endpoint: &Endpoint) -> Self {
        Self {
            account,
            before: endpoint.traffic(),
            before_look_ups: endpoint.look_ups(),
            departure: AtomicU64::new(0),
        }
    }

    /// What was sent and got in this time.
    pub(crate) fn traffic(&self, endpoint: &Endpoint) -> Traffic {
        endpoint.traffic().since(self.before)
    }

    /// How often it was asked for a subject in this time, and what is remembered of the answers.
    pub(crate) fn look_ups(&self, endpoint: &Endpoint) -> InterestStats {
        let (now, before) = (endpoint.look_ups(), self.before_look_ups);
        InterestStats {
            look_ups: now.look_ups.saturating_sub(before.look_ups),
            cache_hits: now.cache_hits.saturating_sub(before.cache_hits),
            ..now
        }
    }

    pub(crate) fn end(&self, departure: u64) {
        self.departure.store(departure, Ordering::Release);
    }

    /// Was it among the first `departures` that left?
    pub(crate) fn had_ended(&self, departures: u64) -> bool {
        let departure = self.departure.load(Ordering::Acquire);
        (1..=departures).contains(&departure)
    }
}
