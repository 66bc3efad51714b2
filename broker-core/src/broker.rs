//! The broker: accounts, sessions, options, and how they hang together.

use std::time::Instant;

use arc_swap::ArcSwap;
use dashmap::DashMap;

use crate::account::{Account, GLOBAL, SYSTEM};
use crate::auth::{Authenticator, Grant, NoAuth};
use crate::error::CloseReason;
use crate::history::History;
use crate::ids;
use crate::limits::Limits;
use crate::outlet::{Link, Work};
use crate::proto::Info;
use crate::proto::info::NATS_VERSION;
use crate::random::Random;
use crate::receiver::Receiver;
use crate::session::client::{Arrival, ClientSession};
use crate::session::local::Client;
use crate::stats::{Stats, Traffic};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::trace::Trace;

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
    sessions: DashMap<u64, Arc<Receiver>>,
    /// How many of them are connections, and count against `max_connections`.
    connections: AtomicUsize,
    connections_ever: AtomicU64,
    next_session: AtomicU64,
    random: Mutex<Random>,
    /// What sessions counted that are gone.
    pub(crate) history: Mutex<History>,
    /// What waits in all outlets together.
    pub(crate) pending_total_bytes: Arc<AtomicUsize>,
    pub(crate) clock: Clock,
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
        let global = Arc::new(Account::new(GLOBAL, random.next_u64()));
        let system = Arc::new(Account::new(SYSTEM, random.next_u64()));
        let accounts = DashMap::new();
        for account in [&global, &system] {
            accounts.insert(Arc::clone(&account.name), Arc::clone(account));
        }
        let shared = Shared {
            options: ArcSwap::from_pointee(options),
            authenticator: ArcSwap::from_pointee(Box::new(authenticator)),
            info: ArcSwap::from_pointee(info),
            accounts,
            sessions: DashMap::new(),
            connections: AtomicUsize::new(0),
            connections_ever: AtomicU64::new(0),
            next_session: AtomicU64::new(1),
            random: Mutex::new(random),
            history: Mutex::default(),
            pending_total_bytes: Arc::default(),
            clock,
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

    /// What it was told.
    pub fn options(&self) -> Options {
        Options::clone(&self.shared.options.load())
    }

    /// Tells it something else. Tracing begins or ends at once. Limits hold from the next time that they
    /// are looked at, but those of control lines, payloads and queues only for connections that come
    /// from now on. What INFO says stays: see [`Self::update_info`].
    pub fn update_options(&self, change: impl Fn(&mut Options)) {
        self.shared.options.rcu(|options| {
            let mut options = Options::clone(options);
            change(&mut options);
            options
        });
        let options = self.shared.options.load();
        for receiver in self.shared.receivers() {
            let trace = || Arc::new(Trace::new(receiver.to_string(), &options));
            receiver.outlet.set_trace(options.trace.then(trace));
        }
    }

    /// An in-process client in the account `$G`, who may do everything.
    pub fn client(&self) -> Client {
        self.client_as(Grant::anonymous())
    }

    /// An in-process client who may do what `grant` says, in the account it says.
    pub fn client_as(&self, grant: Grant) -> Client {
        Client::new(Arc::clone(&self.shared), grant)
    }

    /// Takes in a connection of the wire protocol, whose bytes go out by `link`.
    pub fn open(
        &self,
        arrival: Arrival,
        link: Box<dyn Link>,
        now: Instant,
        work: &mut Work,
    ) -> ClientSession {
        ClientSession::open(Arc::clone(&self.shared), &arrival, link, now, work)
    }

    /// Ends all connections, once what waits for them has left, and the subscriptions of in-process
    /// clients, once it is read. Nothing more is delivered to them.
    pub fn finish_all(&self, reason: CloseReason) {
        for receiver in self.shared.receivers() {
            receiver.outlet.finish(reason);
        }
    }

    /// Cuts a connection. False if there is none of that number.
    pub fn kick(&self, id: u64) -> bool {
        let receiver = self.shared.sessions.get(&id).map(|entry| Arc::clone(&entry));
        receiver.is_some_and(|receiver| {
            receiver.outlet.close(CloseReason::Kicked);
            true
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Counts of the whole broker, added up now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl Shared {
    /// The account of that name, made if there is none: whoever grants access knows the names.
    pub(crate) fn account(&self, name: &Arc<str>) -> Arc<Account> {
        if let Some(account) = self.accounts.get(name) {
            return Arc::clone(&account);
        }
        let seed = self.random.lock().next_u64();
        let account = self.accounts.entry(Arc::clone(name));
        Arc::clone(&account.or_insert_with(|| Arc::new(Account::new(name, seed))))
    }

    /// A number and a seed for a new session.
    pub(crate) fn next_session(&self) -> (u64, u64) {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        (id, self.random.lock().next_u64())
    }

    pub(crate) fn unique_name(&self) -> String {
        ids::unique(&mut self.random.lock())
    }

    /// Takes in a connection, unless there are `max` of them already.
    pub(crate) fn register(&self, receiver: &Arc<Receiver>, max: Option<usize>) -> bool {
        self.connections_ever.fetch_add(1, Ordering::Relaxed);
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        if max.is_some_and(|max| before >= max) {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        self.sessions.insert(receiver.id, Arc::clone(receiver));
        true
    }

    /// Takes in an in-process client.
    pub(crate) fn register_local(&self, receiver: &Arc<Receiver>) {
        self.sessions.insert(receiver.id, Arc::clone(receiver));
    }

    pub(crate) fn unregister_local(&self, receiver: &Receiver) {
        self.depart(receiver);
        self.sessions.remove(&receiver.id);
    }

    /// All that are here now. A copy, so that nothing is locked while something is done to them.
    pub(crate) fn receivers(&self) -> Vec<Arc<Receiver>> {
        self.sessions.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    pub(crate) fn receiver(&self, id: u64) -> Option<Arc<Receiver>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry))
    }

    pub(crate) fn all_accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    pub(crate) fn unregister(&self, receiver: &Receiver) {
        if self.sessions.remove(&receiver.id).is_some() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Cuts the worst of all slow consumers if together they hold more than the broker may.
    pub(crate) fn guard_total(&self, limits: &Limits) {
        let max = limits.max_pending_total_bytes;
        if self.pending_total_bytes.load(Ordering::Relaxed) <= max {
            return;
        }
        let pending = |receiver: &Receiver| receiver.outlet.counts().pending_bytes;
        let worst = self.sessions.iter().max_by_key(|entry| (pending(entry), entry.id));
        if let Some(worst) = worst.map(|entry| Arc::clone(&entry)) {
            tracing::warn!(
                client = %worst,
                "Slow Consumer Detected: all clients together exceed {max} pending bytes, most by this one"
            );
            worst.outlet.close(CloseReason::SlowConsumerPendingBytes);
        }
    }

    fn stats(&self) -> Stats {
        let accounts = self.account_snapshots();
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
            pending_bytes: self.pending_total_bytes.load(Ordering::Relaxed),
            slow_consumers: history.count(CloseReason::is_slow_consumer),
            stale_connections: history.count(|reason| reason == CloseReason::StaleConnection),
        }
    }
}
