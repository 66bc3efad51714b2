//! State shared by all sessions of one broker: accounts, endpoints, options, counters.

mod accounts;
mod changes;
mod cluster;
mod questions;
mod sharing;
mod totals;

pub use changes::ChangeReport;
pub(crate) use questions::OpenQuestion;
pub use questions::QuestionStats;
use questions::Questions;
use sharing::Sharing;

use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;

use crate::account::{Account, AccountConfig, Context, GLOBAL, Registry, RemoteLatency, SYSTEM};
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::endpoint::{Endpoint, InfoWave, Kind, LocalQueues, Queues, Scratch};
use crate::error::CloseReason;
use crate::history::History;
use crate::ids;
use crate::latency::Times;
use crate::limits::Limits;
use crate::options::Options;
use crate::proto::Info;
use crate::proto::info::NATS_VERSION;
use crate::random::Random;
use crate::routing::{expire_responses, flush_touched};
use crate::server_info::ServerInfo;
use crate::sort::sort_by_key;
use crate::subject_counts::SubjectCounters;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::system::{SystemEvent, SystemListener};
use crate::transport::TransportInfo;

/// State that all sessions of a broker share.
pub(crate) struct Shared {
    pub(crate) options: ArcSwap<Options>,
    pub(crate) authenticator: ArcSwap<Box<dyn Authenticator>>,
    pub(crate) info: ArcSwap<Info>,
    accounts: Registry,
    sharing: Mutex<Sharing>,
    /// The name of the system account.
    pub(crate) system_account: Arc<str>,
    /// Periodic work: see [`Broker::do_periodic`](crate::Broker::do_periodic).
    pub(crate) periodic: ArcSwapOption<Box<dyn Fn() + Send + Sync>>,
    /// The program's part of the system account.
    pub(crate) system: ArcSwapOption<Box<dyn SystemListener>>,
    /// The server's part in a cluster.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// The addresses for WebSocket clients, if the cluster knows them.
    pub(crate) websocket_urls: ArcSwapOption<Vec<String>>,
    /// The clients that are not told of the newest change of INFO yet.
    info_wave: ArcSwapOption<InfoWave>,
    sessions: DashMap<u64, Arc<Endpoint>>,
    /// The number of client connections among them, which `max_connections` limits.
    connections: AtomicUsize,
    connections_ever: AtomicU64,
    next_session: AtomicU64,
    /// The number of events that were described by [`Self::server_info`].
    events: AtomicU64,
    /// Counts changes of options and authenticator.
    version: AtomicU64,
    /// Held during a change, so that changes are made one at a time.
    pub(crate) changing: Mutex<()>,
    random: Mutex<Random>,
    /// Counters of closed sessions.
    pub(crate) history: Mutex<History>,
    pub(crate) queues: Arc<Queues>,
    /// Times from a read to the end of the flush that followed.
    pub(crate) flushes: Times,
    questions: Arc<Questions>,
    pub(crate) counted_subjects: Option<Arc<SubjectCounters>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) context: Arc<Context>,
    #[cfg(feature = "testing")]
    pub(crate) seam: Arc<crate::probe::Seam>,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        clock: Arc<dyn Clock>,
        authenticator: Box<dyn Authenticator>,
    ) -> Self {
        let mut random = Random::new(options.seed);
        let generated = ids::server_id(&mut random);
        let server_id = options.server_id.clone().unwrap_or(generated);
        let info = Info {
            server_name: options.server_name.clone().unwrap_or_else(|| server_id.clone()),
            server_id,
            version: NATS_VERSION.into(),
            proto: 1,
            go: concat!("rust-natsd-", env!("CARGO_PKG_VERSION")).into(),
            headers: !options.no_header_support,
            max_payload: options.limits.max_payload_bytes,
            xkey: options.xkey.clone().unwrap_or_default(),
            // NATS 2.14 sends it with and without streams.
            api_lvl: 4,
            ..Info::default()
        };
        #[cfg(feature = "testing")]
        let seam = Arc::default();
        let counted_subjects = SubjectCounters::new(&options.counted_subjects);
        let queues = Arc::<Queues>::default();
        queues.memory.set_limits(&options.limits);
        let configured = options.accounts.clone();
        let system_account = options.system_account.clone().unwrap_or_else(|| SYSTEM.into());
        let internal = |kind| {
            let (memory, queues) = (TransportInfo::Memory, Arc::new(LocalQueues::default()));
            Arc::new(Endpoint::new(0, 0, None, memory, clock.now(), queues, kind))
        };
        let cluster = cluster::of(&options, &info, &system_account, &mut random);
        let mut info = info;
        let cluster_name =
            cluster.as_ref().map(|cluster| cluster.name()).or_else(|| options.cluster_name.clone());
        info.cluster = cluster_name.clone().unwrap_or_default();
        let context = Arc::new(Context {
            clock: Arc::clone(&clock),
            server_name: info.server_name.as_str().into(),
            cluster: ArcSwapOption::from_pointee(cluster_name),
            imports: internal(Kind::Account),
            responses: internal(Kind::System),
            exporters: Mutex::default(),
            remote: RemoteLatency::new(&info.server_name),
        });
        let shared = Self {
            options: ArcSwap::from_pointee(options),
            authenticator: ArcSwap::from_pointee(authenticator),
            info: ArcSwap::from_pointee(info),
            accounts: Registry::default(),
            sharing: Mutex::default(),
            system_account,
            periodic: ArcSwapOption::empty(),
            system: ArcSwapOption::empty(),
            cluster,
            websocket_urls: ArcSwapOption::empty(),
            info_wave: ArcSwapOption::empty(),
            sessions: DashMap::new(),
            connections: AtomicUsize::new(0),
            connections_ever: AtomicU64::new(0),
            next_session: AtomicU64::new(1),
            events: AtomicU64::new(0),
            version: AtomicU64::new(0),
            changing: Mutex::default(),
            random: Mutex::new(random),
            history: Mutex::default(),
            queues,
            flushes: Times::default(),
            questions: Arc::default(),
            counted_subjects,
            clock,
            context,
            #[cfg(feature = "testing")]
            seam,
        };
        shared.account(&GLOBAL.into());
        shared.account(&shared.system_account);
        shared.configure_accounts(&[], &configured);
        shared.share_all(&[], &configured);
        shared
    }

    /// Makes these the configured accounts. Returns those that are removed.
    fn configure_accounts(
        &self,
        before: &[Arc<AccountConfig>],
        now: &[Arc<AccountConfig>],
    ) -> Vec<Arc<Account>> {
        // Accounts that exist without configuration.
        let always_there = [GLOBAL, &self.system_account];
        self.accounts.configure(before, now, &always_there, |name| self.make_account(name))
    }

    /// Makes an account. The cluster sees it before any session can enter it.
    fn make_account(&self, name: &str) -> Arc<Account> {
        let account = Account::new(name, self.next_seed())
            .with_system(*name == *self.system_account)
            .with_context(&self.context);
        #[cfg(feature = "testing")]
        let account = account.with_seam(&self.seam);
        let account = Arc::new(account);
        if let Some(cluster) = &self.cluster {
            cluster.adopt(&account);
        }
        account
    }

    /// Returns the account of that name, and creates it if it does not exist: authenticators name accounts.
    pub(crate) fn account(&self, name: &Arc<str>) -> Arc<Account> {
        self.accounts.get_or_add(name, || self.make_account(name))
    }

    /// Ends requests to services of other accounts that were not answered in time.
    pub(crate) fn expire_responses(&self, now: Instant) {
        let exporters: Vec<_> = self.context.exporters.lock().clone();
        if exporters.is_empty() {
            return;
        }
        let mut random = Random::new(self.random.lock().next_u64());
        let mut scratch = Scratch::new();
        scratch.start(now);
        for account in exporters.iter().filter_map(|account| account.upgrade()) {
            expire_responses(&account, &mut random, &mut scratch);
        }
        flush_touched(&mut scratch);
    }

    /// Returns the id and the seed of a new session.
    pub(crate) fn next_session(&self) -> (u64, u64) {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        (id, self.random.lock().next_u64())
    }

    /// Describes the server for the next event.
    pub(crate) fn server_info(&self) -> ServerInfo {
        let (info, options) = (self.info.load(), self.options.load());
        ServerInfo {
            name: info.server_name.clone(),
            host: info.host.clone(),
            id: info.server_id.clone(),
            cluster: info.cluster.clone(),
            domain: info.domain.clone(),
            version: info.version.clone(),
            tags: options.server_tags.clone(),
            metadata: options.server_metadata.clone(),
            feature_flags: options.server_feature_flags.clone(),
            jetstream: info.jetstream,
            flags: 0,
            seq: self.events.fetch_add(1, Ordering::Relaxed) + 1,
            time: self.clock.wall(),
        }
    }

    /// Returns a seed for a use of randomness.
    pub(crate) fn next_seed(&self) -> u64 {
        self.random.lock().next_u64()
    }

    pub(crate) fn unique_name(&self) -> String {
        ids::unique(&mut self.random.lock())
    }

    /// Registers a connection. Returns false if there are `max` of them already.
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

    /// Registers an in-process client.
    pub(crate) fn register_local(&self, endpoint: &Arc<Endpoint>) {
        self.sessions.insert(endpoint.id, Arc::clone(endpoint));
    }

    pub(crate) fn unregister_local(&self, endpoint: &Endpoint) {
        self.depart(endpoint);
        self.sessions.remove(&endpoint.id);
    }

    /// Unregisters a connection to another server.
    pub(crate) fn unregister_route(&self, endpoint: &Endpoint) {
        self.sessions.remove(&endpoint.id);
    }

    /// Returns all endpoints ordered by id, so that nothing depends on the order of hashes. Returns a copy, so that no
    /// lock is held while the caller uses them.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut all: Vec<(u64, Arc<Endpoint>)> =
            self.sessions.iter().map(|entry| (*entry.key(), Arc::clone(&entry))).collect();
        sort_by_key(&mut all, |(id, _)| *id);
        all.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    /// Returns the account of that name, if there is one.
    pub(crate) fn known_account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name)
    }

    /// Reports an event to the program, if it listens.
    #[inline]
    pub(crate) fn notice<'a>(&self, event: impl FnOnce() -> SystemEvent<'a>) {
        if let Some(listener) = &*self.system.load() {
            listener.notice(event());
        }
    }

    pub(crate) fn endpoint(&self, id: u64) -> Option<Arc<Endpoint>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// Returns all accounts ordered by name, including removed ones.
    pub(crate) fn all_accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.all()
    }

    pub(crate) fn unregister(&self, endpoint: &Endpoint) {
        if self.sessions.remove(&endpoint.id).is_some() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Closes the endpoint that holds most memory if all together exceed the limit of the broker. Among very
    /// many endpoints that hold about as much, only some are compared.
    pub(crate) fn guard_total(&self, limits: &Limits) {
        let memory = &self.queues.memory;
        let excess = memory.excess_bytes();
        if excess == 0 {
            return;
        }
        memory.free_spare(excess);
        let max = limits.max_pending_total_bytes;
        if memory.held_bytes() <= max {
            return;
        }
        let held = |endpoint: &Endpoint| endpoint.destination.counts().held_bytes;
        // One queue after the other: no lock is held across two of them.
        let longest = self.queues.backlogs.longest().into_iter();
        let worst = longest
            .filter_map(|id| self.endpoint(id))
            .max_by_key(|endpoint| (held(endpoint), endpoint.id));
        if let Some(worst) = worst {
            tracing::warn!(
                client = %worst,
                "Slow Consumer Detected: all clients together exceed {max} bytes of memory, most by this one"
            );
            worst.destination.close(CloseReason::SlowConsumerPendingBytes);
        }
    }
}
