//! Snapshots of connections, accounts and subscriptions, for monitoring.
//!
//! Sessions keep their own counters; a snapshot adds them up on request. The path of a message does not
//! depend on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::auth::Denied;
pub use crate::endpoint::ClientInfo;
use crate::endpoint::{Endpoint, Subscription as Held};
use crate::error::CloseReason;
use crate::interest::Interested;
use crate::security::Security;
use crate::sort::sort_by;
use crate::stats::{InterestStats, Traffic};
use crate::subject::Mapping;
use crate::sync::{Arc, Ordering};

/// The number of subscriptions that are kept of a closed connection.
const CLOSED_SUBSCRIPTIONS: usize = 256;

/// A connection of the wire protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The connection id, `cid`.
    pub id: u64,
    /// The remote address; `None` for a connection inside the process.
    pub remote: Option<SocketAddr>,
    /// The transport: `tcp`, `websocket`, `unix`, `memory` or `stream`.
    pub transport: &'static str,
    /// The TLS parameters.
    pub security: Option<Arc<Security>>,
    /// The time of arrival.
    pub since: Instant,
    /// The time when it last published, subscribed or received a message.
    pub last_activity: Instant,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// The bytes in its queue.
    pub pending_bytes: usize,
    /// The messages and bytes sent and received.
    pub traffic: Traffic,
    /// The number of its subscriptions.
    pub subscriptions: usize,
    /// Client metadata from CONNECT.
    pub client_info: Arc<ClientInfo>,
    /// The account; `None` before authentication.
    pub account: Option<Arc<str>>,
}

/// A closed connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// The connection as it was at the end.
    pub connection: Connection,
    /// The time of the close.
    pub at: Instant,
    /// The reason of the close.
    pub reason: CloseReason,
    /// Its subscriptions, at most 256 of them.
    pub subscriptions: Box<[Subscription]>,
}

/// A subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Subscription {
    /// The filter.
    pub filter: Box<str>,
    /// The queue group.
    pub queue: Option<Box<str>>,
    /// The sid, which the client chose.
    pub sid: Box<str>,
    /// The number of messages delivered.
    pub delivered: u64,
    /// The number of messages after which it ends.
    pub max: Option<u64>,
    /// The connection id.
    pub connection: u64,
    /// The account.
    pub account: Arc<str>,
}

impl Subscription {
    pub(crate) fn of(held: &Held, account: &Arc<str>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let endpoint = &held.endpoint;
        // The sid of an in-process client is a number, in the lower half.
        let sid = match <[u8; 8]>::try_from(held.sid()) {
            Ok(number) if endpoint.kind.has_numbered_sids() => {
                (u64::from_le_bytes(number) as u32).to_string().into()
            }
            // NATS 2.14: route.go keyFromSubWithOrigin.
            _ if endpoint.kind.is_peer() => {
                let words = [Some(account.as_bytes()), Some(held.filter()), held.queue()];
                let words: Vec<&[u8]> = words.into_iter().flatten().collect();
                text(&words.join(&b' '))
            }
            _ => text(held.sid()),
        };
        Self {
            filter: text(held.filter()),
            queue: held.queue().map(text),
            sid,
            delivered: held.delivered(),
            max: held.max(),
            connection: endpoint.id,
            account: Arc::clone(account),
        }
    }
}

/// An account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// Its name.
    pub name: Arc<str>,
    /// True for the system account.
    pub is_system: bool,
    /// The number of connections.
    pub connections: usize,
    /// The messages and bytes sent and received, closed connections included.
    pub traffic: Traffic,
    /// The part of it of other servers of the cluster.
    pub route_traffic: Traffic,
    /// The counters of its interest.
    pub interest: InterestStats,
    /// The number of connections closed as slow consumers.
    pub slow_consumers: u64,
    /// The number of reply permissions (`allow_responses`) that were removed because a client had more than
    /// [`REPLY_PERMISSIONS_BYTES`](crate::limits::REPLY_PERMISSIONS_BYTES) of them.
    pub lost_reply_permissions: u64,
    /// The number of its exports.
    pub exports: usize,
    /// The number of its imports.
    pub imports: usize,
    /// Its mappings.
    pub mappings: Arc<[Mapping]>,
}

/// Reasons of failed authentications.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum AuthFailure {
    /// Wrong credentials, or none.
    Credentials,
    /// A kind of connection that the user may not use.
    ConnectionKind,
    /// The user was removed.
    UserRemoved,
    /// The check could not be made in time.
    Unavailable,
    /// The first operation was not CONNECT.
    BeforeConnect,
    /// The client did not authenticate in time.
    Timeout,
}

impl From<Denied> for AuthFailure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Credentials
            | Denied::ProxyRequired
            | Denied::ProxyNotTrusted
            | Denied::Refused(_)
            | Denied::Source
            | Denied::TimeOfDay
            | Denied::Revoked
            | Denied::SignerRemoved => Self::Credentials,
            Denied::ConnectionKind => Self::ConnectionKind,
            Denied::Unknown => Self::UserRemoved,
            Denied::Unavailable => Self::Unavailable,
        }
    }
}

/// One page of a list of subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The length of the whole list.
    pub total: usize,
    /// The subscriptions of the page.
    pub subscriptions: Vec<Subscription>,
}

impl Endpoint {
    pub(crate) fn snapshot(&self) -> Connection {
        let out = self.destination.counts();
        let rtt = self.rtt_nanos.load(Ordering::Relaxed);
        Connection {
            id: self.id,
            remote: self.remote,
            transport: self.transport.name(),
            security: self.security.load_full(),
            since: self.since,
            last_activity: out.last.max(out.last_activity).unwrap_or(self.since),
            rtt: (rtt > 0).then(|| Duration::from_nanos(rtt)),
            pending_bytes: out.pending_bytes,
            traffic: self.traffic_with(out),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            client_info: self.client_info.load_full().unwrap_or_default(),
            account: self.membership.load().as_ref().map(|m| Arc::clone(m.account())),
        }
    }

    /// Returns the record of a closed connection. Called before its subscriptions end. `pending_bytes`:
    /// the length of its queue when it was closed.
    pub(crate) fn last_snapshot(
        &self,
        at: Instant,
        reason: CloseReason,
        pending_bytes: usize,
    ) -> Closed {
        let subscriptions = self.subscriptions_now(CLOSED_SUBSCRIPTIONS).into();
        let connection = Connection { pending_bytes, ..self.snapshot() };
        Closed { connection, at, reason, subscriptions }
    }

    pub(crate) fn subscriptions_now(&self, limit: usize) -> Vec<Subscription> {
        let mut shown = Vec::new();
        // Another server has interest in several accounts.
        for membership in self.memberships() {
            let mut held = membership.sids(self).list(limit - shown.len());
            sort_by(&mut held, |a, b| order_of(a).cmp(&order_of(b)));
            shown.extend(held.iter().map(|one| Subscription::of(one, membership.account())));
        }
        shown
    }
}

/// Orders numbers by their value, and what has no number by what it is interest in.
fn order_of(held: &Held) -> (usize, &[u8], &[u8], Option<&[u8]>) {
    (held.sid().len(), held.sid(), held.filter(), held.queue())
}
