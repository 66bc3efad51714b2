//! What is seen of a broker from outside: its connections, accounts and subscriptions at one moment.
//!
//! Everything here is added up, when somebody asks, from what sessions count for themselves. Nothing on
//! the way of a message knows that it is watched.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::auth::Denied;
pub use crate::endpoint::ClientInfo;
use crate::endpoint::{Endpoint, Subscription as Held};
use crate::error::CloseReason;
use crate::interest::Interested;
use crate::security::Security;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, Ordering};

/// How many subscriptions of a closed connection are remembered.
const CLOSED_SUBSCRIPTIONS: usize = 256;

/// A connection of the wire protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Its number, `cid`.
    pub id: u64,
    /// Where it comes from; `None` for one inside of the process.
    pub remote: Option<SocketAddr>,
    /// What brings its bytes: `tcp`, `websocket`, `unix` or `memory`.
    pub transport: &'static str,
    /// How it is secured.
    pub security: Option<Arc<Security>>,
    /// When it came.
    pub since: Instant,
    /// When it last published, subscribed or was delivered something.
    pub last_activity: Instant,
    /// The last round trip that was measured.
    pub rtt: Option<Duration>,
    /// What waits for it, in bytes.
    pub pending_bytes: usize,
    /// What it sent and got.
    pub traffic: Traffic,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// What it says of itself.
    pub client_info: Arc<ClientInfo>,
    /// The account it is in; none before it is let in.
    pub account: Option<Arc<str>>,
}

/// A connection that is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// What it was in the end.
    pub connection: Connection,
    /// When it ended.
    pub at: Instant,
    /// Why.
    pub reason: CloseReason,
    /// Its subscriptions, the first of them if there were many.
    pub subscriptions: Box<[Subscription]>,
}

impl Closed {
    pub(crate) fn len_bytes(&self) -> usize {
        let texts: usize = self.subscriptions.iter().map(Subscription::len_bytes).sum();
        size_of::<Self>()
            + size_of::<ClientInfo>()
            + self.connection.client_info.len_bytes()
            + texts
    }
}

/// A subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Subscription {
    /// What it subscribes to.
    pub filter: Box<str>,
    /// The queue group it is a member of.
    pub queue: Option<Box<str>>,
    /// The client's name for it.
    pub sid: Box<str>,
    /// How many messages it was delivered.
    pub delivered: u64,
    /// Ends after so many.
    pub max: Option<u64>,
    /// The number of the connection.
    pub connection: u64,
    /// The account it is in.
    pub account: Arc<str>,
}

impl Subscription {
    pub(crate) fn of(held: &Held, account: &Arc<str>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let endpoint = &held.endpoint;
        // An in-process client's names are numbers.
        let sid = match <[u8; 8]>::try_from(held.sid()) {
            Ok(number) if !endpoint.kind.is_client_connection() => {
                u64::from_le_bytes(number).to_string().into()
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

    fn len_bytes(&self) -> usize {
        let queue = self.queue.as_ref().map_or(0, |queue| queue.len());
        size_of::<Self>() + self.filter.len() + queue + self.sid.len()
    }
}

/// An account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// Its name.
    pub name: Arc<str>,
    /// It is the system's.
    pub is_system: bool,
    /// Connections that are in it.
    pub connections: usize,
    /// What was sent and got in it, by those who are gone as well.
    pub traffic: Traffic,
    /// Its subscriptions, and how they are asked for.
    pub interest: InterestStats,
    /// Connections that were cut because they did not keep up.
    pub slow_consumers: u64,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum AuthFailure {
    /// Wrong credentials, or none.
    Credentials,
    /// Not over this kind of connection.
    ConnectionKind,
    /// The user is not known any more.
    UserRemoved,
    /// The check could not be made, or not in time.
    Unavailable,
    /// It began with something else than its credentials.
    BeforeConnect,
    /// It took too long.
    Timeout,
}

impl From<Denied> for AuthFailure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Credentials => Self::Credentials,
            Denied::ConnectionKind => Self::ConnectionKind,
            Denied::Unknown => Self::UserRemoved,
            Denied::Unavailable => Self::Unavailable,
        }
    }
}

/// Some subscriptions out of many.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// How many there are in all.
    pub total: usize,
    /// Those asked for.
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
            account: self.membership.load().as_ref().map(|m| Arc::clone(&m.account)),
        }
    }

    /// As it will be remembered. To be called while its subscriptions are still there. `pending_bytes`:
    /// what waited when it was closed.
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
        let Some(membership) = self.membership.load_full() else { return Vec::new() };
        let mut held = self.sids.list(limit);
        held.sort_unstable_by(|a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
        held.iter().map(|one| Subscription::of(one, &membership.account)).collect()
    }
}
