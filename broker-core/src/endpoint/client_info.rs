//! Client metadata, and the time that an endpoint spends in an account.

use crate::endpoint::Endpoint;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, AtomicU64, Ordering};

/// Client metadata from CONNECT: name, language, version, user. Holds no secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The name of the client.
    pub name: Box<str>,
    /// The language of its library.
    pub lang: Box<str>,
    /// The version of its library.
    pub version: Box<str>,
    /// The user as monitoring shows it: a name or a public key; `[REDACTED]` for a token.
    pub user: Option<Arc<str>>,
}

/// The membership of an endpoint in one account, from authentication until it leaves.
pub(crate) struct AccountMembership {
    /// The account's name.
    pub(crate) account: Arc<str>,
    /// The traffic of the endpoint before.
    before: Traffic,
    before_look_ups: InterestStats,
    /// The number of its departure, counted from 1; 0 for a current member. Totals use it to count each
    /// member once.
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

    /// Returns the traffic since the membership began.
    pub(crate) fn traffic(&self, endpoint: &Endpoint) -> Traffic {
        endpoint.traffic().since(self.before)
    }

    /// Returns the counters of the match cache since the membership began.
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

    /// Returns true if it is among the first `departures`.
    pub(crate) fn had_ended(&self, departures: u64) -> bool {
        let departure = self.departure.load(Ordering::Acquire);
        (1..=departures).contains(&departure)
    }
}
