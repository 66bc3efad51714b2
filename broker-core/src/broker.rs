//! The broker: accounts, sessions, options, and how they hang together.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use arc_swap::ArcSwap;
use dashmap::DashMap;

use crate::account::{Account, GLOBAL, SYSTEM};
use crate::auth::{Authenticator, Grant, NoAuth};
use crate::endpoint::{AckGuard, Applied, Endpoint, Scratch, WriteHandle};
use crate::error::{ClientFault, CloseReason};
use crate::history::History;
use crate::latency::{Latencies, Queues, Times};
use crate::limits::Limits;
use crate::proto::Info;
use crate::proto::info::NATS_VERSION;
use crate::random::Random;
use crate::security::Security;
use crate::session::client::{Arrival, ClientSession};
use crate::session::local::Client;
use crate::stats::{Stats, Traffic};
use crate::subject::SubjectFilter;
use crate::subject_counts::{SubjectCount, SubjectCounters};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::{ids, snapshot};

/// The newest connections past the first `max`.
fn excess(endpoints: &[Arc<Endpoint>], max: Option<usize>) -> HashSet<u64> {
    let is_connected = |endpoint: &&Arc<Endpoint>| endpoint.is_connection;
    let mut ids: Vec<u64> =
        endpoints.iter().filter(is_connected).map(|endpoint| endpoint.id).collect();
    ids.sort_unstable();
    ids.split_off(max.unwrap_or(usize::MAX).min(ids.len())).into_iter().collect()
}

/// What a broker can be told. Take the default and change what you need.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What clients may do.
    pub limits: Limits,
    /// The server's name; its id if `None`.
    pub server_name: Option<String>,
    /// Log what clients say and are told, at level `trace`. Costs far more than the messages
    /// themselves. `trace`.
    pub trace: bool,
    /// Of traced messages show the headers only. `trace_headers`.
    pub trace_headers: bool,
    /// How much of a traced message's payload to show; 0, the default as in NATS 2.14, for all of it.
    /// `max_traced_msg_len`.
    pub max_traced_payload_bytes: usize,
    /// Clients may not use headers. `no_header_support`.
    pub no_header_support: bool,
    /// Count messages whose subjects match these: see [`Broker::counted_subjects`]. At most
    /// [`MAX_COUNTED_SUBJECTS`](crate::limits::MAX_COUNTED_SUBJECTS), further ones are passed over.
    /// What a broker begins with stays.
    pub counted_subjects: Vec<SubjectFilter>,
    /// Where names, picks and hashes come from. The same seed gives the same ones, so take a random
    /// number wherever the broker is not to be replayed: brokers with one seed have one id, and whoever
    /// knows it can choose subjects that collide.
    pub seed: u64,
}

/// Tells the time. The core has no clock of its own.
pub type Clock = fn() -> Instant;

/// A message broker without sockets.
///
/// Cheap to clone; all clones are one broker. It lives as long as any of them, or any session, does.
///
/// ```
/// use broker_core::{Broker, Options};
///
/// let broker = Broker::new(Options::default(), std::time::Instant::now);
/// let client = broker.client();
/// # futures_executor::block_on(async {
/// let mut orders = client.subscribe("orders.*").await?;
/// client.publish("orders.eu", "one".into()).await?;
/// assert_eq!(orders.next().await.unwrap().payload, "one");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What all sessions of a broker share.
pub(crate) struct Shared {
    pub(crate) options: ArcSwap<Options>,
    pub(crate) authenticator: ArcSwap<Box<dyn Authenticator>>,
    pub(crate) info: ArcSwap<Info>,
    accounts: DashMap<Arc<str>, Arc<Account>>,
    sessions: DashMap<u64, Arc<Endpoint>>,
    /// How many of them are connections, and count against `max_connections`.
    connections: AtomicUsize,
    connections_ever: AtomicU64,
    next_session: AtomicU64,
    /// Counts what was changed while sessions are here.
    version: AtomicU64,
    /// One change at a time.
    changing: Mutex<()>,
    random: Mutex<Random>,
    /// What sessions counted that are gone.
    pub(crate) history: Mutex<History>,
    pub(crate) queues: Arc<Queues>,
    /// From a chunk of input to the last of its deliveries.
    pub(crate) flushes: Times,
    pub(crate) counted_subjects: Option<Arc<SubjectCounters>>,
    pub(crate) clock: Clock,
    #[cfg(feature = "testing")]
    pub(crate) seam: Arc<crate::probe::Seam>,
}

impl Broker {
    /// A broker that lets everybody in.
    pub fn new(options: Options, clock: Clock) -> Self {
        Self::with_authenticator(options, clock, NoAuth)
    }

    /// A broker that asks `authenticator` who may come in.
    pub fn with_authenticator(
        options: Options,
        clock: Clock,
        authenticator: impl Authenticator,
    ) -> Self {
        let mut random = Random::new(options.seed);
        let server_id = ids::server_id(&mut random);
        let info = Info {
            server_name: options.server_name.clone().unwrap_or_else(|| server_id.clone()),
            server_id,
            version: NATS_VERSION.into(),
            proto: 1,
            go: concat!("rust-natsd-", env!("CARGO_PKG_VERSION")).into(),
            headers: !options.no_header_support,
            max_payload: options.limits.max_payload_bytes,
            // What 2.14 says whether or not it has streams.
            api_lvl: 4,
            ..Info::default()
        };
        #[cfg(feature = "testing")]
        let seam = Arc::default();
        let accounts = DashMap::new();
        for name in [GLOBAL, SYSTEM] {
            let account = Account::new(name, random.next_u64());
            #[cfg(feature = "testing")]
            let account = account.with_seam(&seam);
            accounts.insert(Arc::clone(&account.name), Arc::new(account));
        }
        let counted_subjects = SubjectCounters::new(&options.counted_subjects);
        let shared = Shared {
            options: ArcSwap::from_pointee(options),
            authenticator: ArcSwap::from_pointee(Box::new(authenticator)),
            info: ArcSwap::from_pointee(info),
            accounts,
            sessions: DashMap::new(),
            connections: AtomicUsize::new(0),
            connections_ever: AtomicU64::new(0),
            next_session: AtomicU64::new(1),
            version: AtomicU64::new(0),
            changing: Mutex::default(),
            random: Mutex::new(random),
            history: Mutex::default(),
            queues: Arc::default(),
            flushes: Times::default(),
            counted_subjects,
            clock,
            #[cfg(feature = "testing")]
            seam,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What the server says of itself.
    pub fn info(&self) -> Info {
        Info::clone(&self.shared.info.load())
    }

    /// Changes what the server says of itself, to all clients that come from now on.
    pub fn update_info(&self, change: impl Fn(&mut Info)) {
        self.shared.info.rcu(|info| {
            let mut info = Info::clone(info);
            change(&mut info);
            info
        });
    }

    /// Must a client show who it is?
    pub fn is_auth_required(&self) -> bool {
        self.shared.authenticator.load().is_required()
    }

    /// What it was told.
    pub fn options(&self) -> Options {
        Options::clone(&self.shared.options.load())
    }

    /// Tells it something else: see [`Self::apply`].
    pub fn update_options(&self, change: impl FnOnce(&mut Options)) -> ChangeReport {
        let change = |options: &mut Options, _: &mut Option<_>| change(options);
        self.shared.apply(change)
    }

    /// Has somebody else decide who may be here, from now on and of those who are here: see
    /// [`Self::apply`].
    pub fn set_authenticator(&self, authenticator: impl Authenticator) -> ChangeReport {
        self.shared.apply(|_, next| *next = Some(Box::new(authenticator)))
    }

    /// Changes what the broker was told, and if there is one also who decides who may be here, for
    /// those who are here as for those who come.
    ///
    /// - Limits on control lines, payloads, PINGs and subscriptions, and tracing, hold at once for
    ///   everybody; limits on queues and headers only for connections that come from now on, as in
    ///   nats-server. Name and seed stay what they were. What INFO says of payloads goes along; nobody
    ///   is sent another INFO.
    /// - If there are more connections than may be, the newest are cut, and told so. (nats-server cuts
    ///   any.)
    /// - The authenticator [reviews](Authenticator::review) every client. Those it denies are cut.
    ///   Those who may do something else now lose the subscriptions that they may not have any more,
    ///   and are told so. The others notice nothing. In-process clients keep what they were given.
    pub fn apply(
        &self,
        options: Options,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> ChangeReport {
        self.shared.apply(|now, next| {
            *now = options;
            *next = authenticator.map(|authenticator| Box::new(authenticator) as Box<_>);
        })
    }

    /// An in-process client in the account `$G`, who may do everything.
    pub fn client(&self) -> Client {
        self.client_as(Grant::anonymous())
    }

    /// An in-process client who may do what `grant` says, in the account it says.
    pub fn client_as(&self, grant: Grant) -> Client {
        Client::new(Arc::clone(&self.shared), grant)
    }

    /// Takes in a connection of the wire protocol, whose bytes go out by `write_handle`.
    pub fn open(
        &self,
        arrival: Arrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> ClientSession {
        ClientSession::open(Arc::clone(&self.shared), arrival, write_handle, now, scratch)
    }

    /// Says that the broker will go: to all clients that can be told, at once or as soon as they can be,
    /// by an INFO with `ldm`, and without further addresses. From now on it is noted who waits for which
    /// answers, for the time when they must [leave](Self::retire).
    pub fn announce_end(&self) -> Applied {
        let _changing = self.shared.changing.lock();
        self.update_info(|info| {
            info.ldm = true;
            info.connect_urls.clear();
        });
        let (ack, applied) = AckGuard::new();
        for endpoint in self.shared.endpoints() {
            if endpoint.control.leave(Some(&ack), |control| control.end = true) {
                endpoint.destination.wake();
            }
        }
        applied
    }

    /// The numbers of all connections, in the order in which they should leave: those first that only
    /// ask, so that those who are asked are there for them. Call [`Self::announce_end`] some time before.
    pub fn lame_duck_order(&self) -> LameDuckOrder {
        let mut order = LameDuckOrder::default();
        for endpoint in self.shared.endpoints() {
            if endpoint.is_connection {
                let is_service = endpoint.is_service.load(Ordering::Relaxed);
                let part = if is_service { &mut order.services } else { &mut order.others };
                part.push(endpoint.id);
            }
        }
        order.others.sort_unstable();
        order.services.sort_unstable();
        order
    }

    /// Has a connection leave as soon as no request is lost by it, or as soon as that has taken too long.
    /// False if there is none of that number.
    pub fn retire(&self, id: u64) -> bool {
        let endpoint = self.shared.sessions.get(&id).map(|entry| Arc::clone(&entry));
        let Some(endpoint) = endpoint else { return false };
        let is_told =
            endpoint.control.leave(None, |control| (control.end, control.leave) = (true, true));
        if is_told {
            endpoint.destination.wake();
        }
        is_told
    }

    /// Ends all connections, once what waits for them has left, and the subscriptions of in-process
    /// clients, once it is read. Nothing more is delivered to them.
    pub fn finish_all(&self, reason: CloseReason) {
        for endpoint in self.shared.endpoints() {
            endpoint.destination.finish(reason);
        }
    }

    /// Cuts a connection. False if there is none of that number.
    pub fn kick(&self, id: u64) -> bool {
        let endpoint = self.shared.sessions.get(&id).map(|entry| Arc::clone(&entry));
        endpoint.is_some_and(|endpoint| {
            endpoint.destination.close(CloseReason::Kicked);
            true
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How a connection is secured. `None` if it is not, or there is none of that number.
    pub fn security(&self, id: u64) -> Option<Arc<Security>> {
        self.shared.sessions.get(&id)?.security.load_full()
    }

    /// Counts of the whole broker, added up now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// What was counted for [the filters](Options::counted_subjects) that it was asked about, in their
    /// order.
    pub fn counted_subjects(&self) -> Vec<SubjectCount> {
        let subjects = self.shared.counted_subjects.as_ref();
        subjects.map(|subjects| subjects.counts()).unwrap_or_default()
    }

    /// How long messages were on their way, since the broker began.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            publish_to_flush: self.shared.flushes.histogram(),
            queue_wait: self.shared.queues.waits.histogram(),
        }
    }
}

/// Who should leave when.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LameDuckOrder {
    /// Those first.
    pub others: Vec<u64>,
    /// Those who may be asked things after them, and once they are gone.
    pub services: Vec<u64>,
}

/// What came of a change.
#[derive(Debug)]
pub struct ChangeReport {
    /// How many connections are cut because there were more than may be now.
    pub excess: usize,
    /// Ready when every connection goes by it.
    pub applied: Applied,
}

impl Shared {
    /// Counts changes: who sees another number than before has missed some.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn apply(
        &self,
        change: impl FnOnce(&mut Options, &mut Option<Box<dyn Authenticator>>),
    ) -> ChangeReport {
        let _changing = self.changing.lock();
        let before = self.options.load_full();
        let mut options = Options::clone(&before);
        let mut authenticator = None;
        change(&mut options, &mut authenticator);
        options.server_name.clone_from(&before.server_name);
        options.seed = before.seed;
        let options = Arc::new(options);
        let has_authenticator = authenticator.is_some();
        self.options.store(Arc::clone(&options));
        if let Some(authenticator) = authenticator {
            self.authenticator.store(Arc::new(authenticator));
        }
        self.info.rcu(|info| Info {
            max_payload: options.limits.max_payload_bytes,
            ..Info::clone(info)
        });
        // Whoever comes in now and has seen the old ones is not among the receivers yet, or will
        // find that it has missed something.
        self.version.fetch_add(1, Ordering::AcqRel);
        let endpoints = self.endpoints();
        let excess = excess(&endpoints, options.limits.max_connections);
        let (ack, applied) = AckGuard::new();
        for endpoint in &endpoints {
            let is_excess = excess.contains(&endpoint.id);
            let is_told = endpoint.control.leave(Some(&ack), |control| {
                control.options = true;
                control.authenticator |= has_authenticator;
                if is_excess {
                    control.fault = Some(ClientFault::MaxConnections);
                }
            });
            if is_told {
                endpoint.destination.wake();
            }
        }
        if !excess.is_empty() {
            tracing::info!("Closed {} connections to fall within max_connections", excess.len());
        }
        ChangeReport { excess: excess.len(), applied }
    }

    /// The account of that name, made if there is none: whoever grants access knows the names.
    pub(crate) fn account(&self, name: &Arc<str>) -> Arc<Account> {
        if let Some(account) = self.accounts.get(name) {
            return Arc::clone(&account);
        }
        let seed = self.random.lock().next_u64();
        let account = self.accounts.entry(Arc::clone(name));
        let make = || {
            let account = Account::new(name, seed);
            #[cfg(feature = "testing")]
            let account = account.with_seam(&self.seam);
            Arc::new(account)
        };
        Arc::clone(&account.or_insert_with(make))
    }

    /// A number and a seed for a new session.
    pub(crate) fn next_session(&self) -> (u64, u64) {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        (id, self.random.lock().next_u64())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn next_seed(&self) -> u64 {
        self.random.lock().next_u64()
    }

    pub(crate) fn unique_name(&self) -> String {
        ids::unique(&mut self.random.lock())
    }

    /// Takes in a connection, unless there are `max` of them already.
    pub(crate) fn register(&self, endpoint: &Arc<Endpoint>, max: Option<usize>) -> bool {
        self.connections_ever.fetch_add(1, Ordering::Relaxed);
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        if max.is_some_and(|max| before >= max) {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        self.sessions.insert(endpoint.id, Arc::clone(endpoint));
        true
    }

    /// Takes in an in-process client.
    pub(crate) fn register_local(&self, endpoint: &Arc<Endpoint>) {
        self.sessions.insert(endpoint.id, Arc::clone(endpoint));
    }

    pub(crate) fn unregister_local(&self, endpoint: &Endpoint) {
        self.depart(endpoint);
        self.sessions.remove(&endpoint.id);
    }

    /// All that are here now. A copy, so that nothing is locked while something is done to them.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.sessions.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    pub(crate) fn endpoint(&self, id: u64) -> Option<Arc<Endpoint>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry))
    }

    pub(crate) fn all_accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    pub(crate) fn unregister(&self, endpoint: &Endpoint) {
        if self.sessions.remove(&endpoint.id).is_some() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Cuts the worst of all slow consumers if together they hold more than the broker may.
    pub(crate) fn guard_total(&self, limits: &Limits) {
        let max = limits.max_pending_total_bytes;
        if self.queues.pending_bytes.load(Ordering::Relaxed) <= max {
            return;
        }
        let pending = |endpoint: &Endpoint| endpoint.destination.counts().pending_bytes;
        let worst = self.sessions.iter().max_by_key(|entry| (pending(entry), entry.id));
        if let Some(worst) = worst.map(|entry| Arc::clone(&entry)) {
            tracing::warn!(
                client = %worst,
                "Slow Consumer Detected: all clients together exceed {max} pending bytes, most by this one"
            );
            worst.destination.close(CloseReason::SlowConsumerPendingBytes);
        }
    }

    fn stats(&self) -> Stats {
        self.stats_of(&self.account_snapshots())
    }

    pub(crate) fn stats_of(&self, accounts: &BTreeMap<Arc<str>, snapshot::Account>) -> Stats {
        let mut traffic = Traffic::default();
        accounts.values().for_each(|account| traffic += account.traffic);
        let history = self.history.lock();
        Stats {
            connections: self.connections.load(Ordering::Relaxed),
            total_connections: self.connections_ever.load(Ordering::Relaxed),
            subscriptions: accounts.values().map(|account| account.interest.subscriptions).sum(),
            in_messages: traffic.in_messages,
            in_bytes: traffic.in_bytes,
            out_messages: traffic.out_messages,
            out_bytes: traffic.out_bytes,
            pending_bytes: self.queues.pending_bytes.load(Ordering::Relaxed),
            slow_consumers: history.count(CloseReason::is_slow_consumer),
            stale_connections: history.count(|reason| reason == CloseReason::StaleConnection),
        }
    }
}
