//! What is seen of a broker from outside: its connections, accounts and subscriptions at one moment.
//!
//! Everything here is added up, when somebody asks, from what sessions count for themselves. Nothing on
//! the way of a message knows that it is watched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::account::SYSTEM;
use crate::auth::Denied;
use crate::broker::{Broker, Shared};
pub use crate::endpoint::ClientInfo;
use crate::endpoint::{Endpoint, Subscription as Held};
use crate::error::CloseReason;
use crate::history::DepartedTotals;
use crate::interest::Interested;
use crate::security::Security;
use crate::stats::{InterestStats, Stats, Traffic};
use crate::subject::{Subject, SubjectFilter};
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
    fn of(held: &Held, account: &Arc<str>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let endpoint = &held.endpoint;
        // An in-process client's names are numbers.
        let sid = match <[u8; 8]>::try_from(held.sid()) {
            Ok(number) if !endpoint.is_connection => u64::from_le_bytes(number).to_string().into(),
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

impl Broker {
    /// All connections, by their numbers.
    pub fn connections(&self) -> Vec<Connection> {
        let endpoints = self.shared().connections();
        endpoints.iter().map(|endpoint| endpoint.snapshot()).collect()
    }

    /// The connection of that number.
    pub fn connection(&self, id: u64) -> Option<Connection> {
        let endpoint = self.shared().endpoint(id).filter(|endpoint| endpoint.is_connection)?;
        Some(endpoint.snapshot())
    }

    /// The last connections that have ended, the oldest first.
    pub fn closed_connections(&self) -> Vec<Arc<Closed>> {
        let max = self.shared().max_closed();
        self.shared().history.lock().closed(max)
    }

    /// The subscriptions of one connection or in-process client, at most `limit` of them.
    pub fn subscriptions_of(&self, id: u64, limit: usize) -> Vec<Subscription> {
        let Some(endpoint) = self.shared().endpoint(id) else { return Vec::new() };
        endpoint.subscriptions_now(limit)
    }

    /// Subscriptions of everybody, or of one account, or those that would get a message to one subject:
    /// `limit` of them from `offset` on, by the number of the connection and then by name.
    pub fn subscriptions(
        &self,
        account: Option<&str>,
        subject: Option<&Subject>,
        offset: usize,
        limit: usize,
    ) -> Page {
        let mut endpoints = self.shared().endpoints();
        endpoints.sort_unstable_by_key(|endpoint| endpoint.id);
        let mut page = Page::default();
        let end = offset.saturating_add(limit);
        for endpoint in endpoints {
            let Some(membership) = endpoint.membership.load_full() else { continue };
            let name = &membership.account.name;
            if account.is_some_and(|account| *account != **name) {
                continue;
            }
            let first = page.total;
            let count = endpoint.subscriptions.load(Ordering::Relaxed);
            if subject.is_none() && (first + count <= offset || first >= end) {
                page.total += count;
                continue;
            }
            let mut held = endpoint.sids.list(usize::MAX);
            if let Some(subject) = subject {
                held.retain(|one| filter_matches(one, subject));
            }
            page.total += held.len();
            if page.total <= offset || first >= end {
                continue;
            }
            held.sort_unstable_by(|a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
            let from = offset.saturating_sub(first);
            let part = held.iter().skip(from).take(end - first.max(offset));
            page.subscriptions.extend(part.map(|one| Subscription::of(one, name)));
        }
        page
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Vec<Account> {
        self.shared().account_snapshots().into_values().collect()
    }

    /// [`Self::stats`] and [`Self::accounts`] as of one look, for the price of one.
    pub fn stats_and_accounts(&self) -> (Stats, Vec<Account>) {
        let accounts = self.shared().account_snapshots();
        (self.shared().stats_of(&accounts), accounts.into_values().collect())
    }

    /// How many connections have ended, by reason.
    pub fn closed_by_reason(&self) -> Vec<(CloseReason, u64)> {
        self.shared().history.lock().reasons()
    }

    /// How many were not let in, by reason.
    pub fn auth_failures(&self) -> Vec<(AuthFailure, u64)> {
        self.shared().history.lock().auth_failures()
    }
}

fn filter_matches(held: &Held, subject: &Subject) -> bool {
    SubjectFilter::parse(held.filter()).is_ok_and(|filter| filter.matches(subject))
}

impl Shared {
    fn connections(&self) -> Vec<Arc<Endpoint>> {
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.is_connection);
        endpoints.sort_unstable_by_key(|endpoint| endpoint.id);
        endpoints
    }

    /// Every party is counted once, as one who is here or as one who is gone: else a count could go
    /// back, which whoever reads it would take for a restart.
    pub(crate) fn account_snapshots(&self) -> BTreeMap<Arc<str>, Account> {
        let parties: Vec<_> = self
            .endpoints()
            .into_iter()
            .filter_map(|endpoint| Some((endpoint.membership.load_full()?, endpoint)))
            .collect();
        let DepartedTotals { departures, accounts: past } = self.history.lock().departed();
        let mut accounts: BTreeMap<_, _> = self
            .all_accounts()
            .iter()
            .map(|account| {
                let past = past.get(&account.name).copied().unwrap_or_default();
                let mut interest = account.interest.stats();
                interest += past.interest;
                let snapshot = Account {
                    name: Arc::clone(&account.name),
                    is_system: *account.name == *SYSTEM,
                    connections: 0,
                    traffic: past.traffic,
                    interest,
                    slow_consumers: past.slow_consumers,
                };
                (Arc::clone(&account.name), snapshot)
            })
            .collect();
        for (membership, endpoint) in parties {
            if membership.had_ended(departures) {
                continue;
            }
            let Some(account) = accounts.get_mut(&membership.account.name) else { continue };
            account.connections += usize::from(endpoint.is_connection);
            account.traffic += membership.traffic(&endpoint);
            account.interest += membership.look_ups(&endpoint);
        }
        accounts
    }

    /// A party leaves an account, or goes.
    pub(crate) fn depart(&self, endpoint: &Endpoint) {
        let Some(membership) = endpoint.membership.load_full() else { return };
        let traffic = membership.traffic(endpoint);
        let mut interest = membership.look_ups(endpoint);
        // It remembers nothing any more.
        (interest.cached, interest.total_fan_out, interest.max_fan_out) = (0, 0, 0);
        {
            let mut history = self.history.lock();
            membership.end(history.note_departure(&membership.account.name, traffic, interest));
        }
        endpoint.membership.store(None);
    }

    /// A connection is gone.
    pub(crate) fn note_closed(&self, closed: Closed) {
        let max = self.max_closed();
        self.history.lock().note_closed(closed, max);
    }

    fn max_closed(&self) -> usize {
        self.options.load().limits.max_closed_connections
    }
}

impl Endpoint {
    pub(crate) fn snapshot(&self) -> Connection {
        let out = self.byte_queue.counts();
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
            traffic: Traffic::with(self, out),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            client_info: self.client_info.load_full().unwrap_or_default(),
            account: self.membership.load().as_ref().map(|m| Arc::clone(&m.account.name)),
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

    fn subscriptions_now(&self, limit: usize) -> Vec<Subscription> {
        let Some(membership) = self.membership.load_full() else { return Vec::new() };
        let mut held = self.sids.list(limit);
        held.sort_unstable_by(|a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
        held.iter().map(|one| Subscription::of(one, &membership.account.name)).collect()
    }
}
