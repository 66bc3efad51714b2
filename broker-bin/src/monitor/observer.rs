//! Collects monitoring data of a running server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use broker_core::Broker;
use broker_net::ServerStatus;

use super::clusterz::ClusterVarz;
#[cfg(feature = "streams")]
use super::jetstream_facts::JetStreamFacts;
use super::operator_facts::OperatorFacts;
use super::process::Process;
use super::system_counters::SystemCounters;
use super::time::{Moment, Now, Wall};
use super::websocketz::WebsocketVarz;
use crate::options::{Options, feature_flags};

/// Monitoring data that the broker does not have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// The configured host of the client listener.
    pub host: String,
    /// The port of the client listener.
    pub port: u16,
    /// The configured host of the monitoring listener.
    pub http_host: String,
    /// The HTTP port; 0 for none.
    pub http_port: u16,
    /// The HTTPS port; 0 for none.
    pub https_port: u16,
    /// The prefix of monitoring paths.
    pub http_base_path: String,
    /// The timeout of TLS handshakes, in seconds.
    pub tls_timeout: f64,
    /// The treatment of clients that exceed `write_deadline`; empty for the default.
    pub write_timeout: String,
    /// The time of the last configuration load; the start if `None`.
    pub config_load_time: Option<Moment>,
    /// The digest of the configuration file; empty if there is none.
    pub config_digest: String,
    /// The WebSocket listener; the default without one.
    pub websocket: WebsocketVarz,
    /// The cluster; the default without one.
    pub cluster: ClusterVarz,
    /// Options of JetStream that only monitoring shows.
    #[cfg(feature = "streams")]
    pub jetstream: JetStreamFacts,
    /// Tags of this server.
    pub tags: Vec<String>,
    /// Metadata of this server.
    pub metadata: BTreeMap<String, String>,
    /// nats-server's feature flags as configured.
    pub feature_flags: BTreeMap<String, bool>,
    /// The server answers requests in its system account.
    pub answers_requests: bool,
    /// The trusted operators and their accounts.
    pub operators: OperatorFacts,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 0,
            http_host: String::new(),
            http_port: 0,
            https_port: 0,
            http_base_path: String::new(),
            tls_timeout: 2.0,
            write_timeout: String::new(),
            config_load_time: None,
            config_digest: String::new(),
            websocket: WebsocketVarz::default(),
            cluster: ClusterVarz::default(),
            #[cfg(feature = "streams")]
            jetstream: JetStreamFacts::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            feature_flags: feature_flags(&BTreeMap::new()),
            answers_requests: false,
            operators: OperatorFacts::default(),
        }
    }
}

/// Gives access to the monitoring data of a running server, with or without HTTP.
///
/// Cheap to clone; clones share their state. Each method is named after the endpoint whose answer
/// it returns.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use broker_bin::monitor::{ConnzOptions, Observer};
///
/// let server = broker_net::Server::builder().bind().await.unwrap();
/// let observer = Observer::of(&server);
/// assert_eq!(observer.varz().connections, 0);
/// assert!(observer.connz(&ConnzOptions::default())?.connections.is_empty());
/// # Ok::<(), broker_bin::monitor::BadRequest>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Observer {
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    broker: Broker,
    outlook: ServerStatus,
    /// `None` without streams.
    #[cfg(feature = "streams")]
    streams: Option<broker_streams::service::Viewer>,
    facts: ArcSwap<Facts>,
    started: Instant,
    wall: Wall,
    process: Process,
    /// The number of requests per endpoint.
    requests: Mutex<BTreeMap<&'static str, u64>>,
    reloads: Mutex<Reloads>,
    system: SystemCounters,
}

/// Statistics of reloads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reloads {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Success and duration of the last reload.
    pub(super) last: Option<(bool, Duration)>,
}

impl Observer {
    /// Observes a server that has just started.
    pub fn of(server: &broker_net::Server) -> Self {
        let (host, port) = (server.host().to_owned(), server.local_addr().port());
        let seen = Self::seen(host, port, server.broker().clone(), server.status());
        #[cfg(feature = "streams")]
        let seen = Seen { streams: server.streams().map(|streams| streams.viewer()), ..seen };
        Self { seen: Arc::new(seen) }
    }

    /// Observes a test broker that has just started or restarted. After a restart it is another
    /// server, which needs a new observer.
    ///
    /// # Panics
    ///
    /// Panics while the broker restarts.
    #[cfg(feature = "testing")]
    pub fn of_test(broker: &broker_net::testing::TestBroker) -> Self {
        let (host, port) = (broker.options().host, broker.address().port());
        let seen = Self::seen(host, port, broker.broker(), broker.status());
        #[cfg(feature = "streams")]
        let seen = Seen { streams: broker.with_streams(|streams| streams.viewer()), ..seen };
        Self { seen: Arc::new(seen) }
    }

    fn seen(host: String, port: u16, broker: Broker, outlook: ServerStatus) -> Seen {
        let facts = Facts { host, port, ..Facts::default() };
        Seen {
            broker,
            outlook,
            #[cfg(feature = "streams")]
            streams: None,
            facts: ArcSwap::from_pointee(facts),
            started: Instant::now(),
            wall: Wall::new(),
            process: Process::new(),
            requests: Mutex::default(),
            reloads: Mutex::default(),
            system: SystemCounters::default(),
        }
    }

    /// Changes the data that the broker does not have.
    pub fn update_facts(&self, change: impl Fn(&mut Facts)) {
        self.seen.facts.rcu(|facts| {
            let mut facts = Facts::clone(facts);
            change(&mut facts);
            facts
        });
    }

    /// Records the loaded configuration.
    pub(crate) fn follow(&self, options: &Options, digest: Option<&str>) {
        let now = Moment(SystemTime::now());
        self.update_facts(|facts| {
            facts.tags.clone_from(&options.server_tags);
            facts.metadata.clone_from(&options.server_metadata);
            facts.feature_flags = feature_flags(&options.feature_flags);
            facts.cluster = ClusterVarz::of(&options.cluster, facts.cluster.cluster_port);
            #[cfg(feature = "streams")]
            {
                facts.jetstream = JetStreamFacts::of(options);
            }
            facts.write_timeout = options.write_timeout.replace("default", "");
            facts.config_load_time = Some(now);
            if let Some(tls) = &options.tls {
                facts.tls_timeout = tls.timeout.as_secs_f64();
            }
            if let Some(digest) = digest {
                digest.clone_into(&mut facts.config_digest);
            }
        });
    }

    /// Counts a request to an endpoint.
    #[cfg(feature = "monitoring")]
    pub(super) fn note_request(&self, path: &'static str) {
        let mut requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(path).or_default() += 1;
    }

    pub(super) fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the outcome of a reload.
    pub fn note_reload(&self, was_successful: bool, took: Duration) {
        let mut reloads = self.seen.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if was_successful { &mut reloads.succeeded } else { &mut reloads.failed };
        *count += 1;
        reloads.last = Some((was_successful, took));
    }

    pub(super) fn reloads(&self) -> Reloads {
        *self.seen.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counters of the system account.
    pub(crate) fn system_counters(&self) -> &SystemCounters {
        &self.seen.system
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.seen.broker
    }

    /// Returns a reader of the state of streams; `None` without.
    #[cfg(feature = "streams")]
    pub(super) fn streams(&self) -> Option<&broker_streams::service::Viewer> {
        self.seen.streams.as_ref()
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.seen.facts.load_full()
    }

    pub(super) fn is_accepting(&self) -> bool {
        self.seen.outlook.is_accepting()
    }

    /// Returns the number of threads blocked by a connection at the last check, and the count of
    /// all such stalls.
    pub(super) fn stalls(&self) -> (usize, u64) {
        (self.seen.outlook.stalled_workers(), self.seen.outlook.worker_stalls())
    }

    pub(super) fn tls_not_after(&self) -> Option<Moment> {
        self.seen.outlook.tls_not_after().map(Moment)
    }

    pub(super) fn websocket_tls_not_after(&self) -> Option<Moment> {
        self.seen.outlook.websocket_tls_not_after().map(Moment)
    }

    pub(super) fn cluster_tls_not_after(&self) -> Option<Moment> {
        self.seen.outlook.cluster_tls_not_after().map(Moment)
    }

    pub(super) fn started(&self) -> Instant {
        self.seen.started
    }

    pub(super) fn process(&self) -> &Process {
        &self.seen.process
    }

    pub(crate) fn now(&self) -> Now {
        self.seen.wall.now()
    }

    pub(crate) fn server_id(&self) -> String {
        self.broker().info().server_id
    }

    pub(super) fn server_name(&self) -> String {
        self.broker().info().server_name
    }
}
