//! Somebody who looks at a running server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use broker_core::Broker;
use broker_net::ServerStatus;

use super::process::Process;
use super::time::{Moment, Now, Wall};
use super::websocketz::WebsocketVarz;
use crate::options::Options;

/// All are off unless they are switched on.
// NATS 2.14: feature_flags.go.
const FEATURE_FLAGS: [&str; 2] = ["js_ack_fc_v2", "js_raft_delete_range"];

/// What monitoring shows that the broker does not know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// The host that clients' connections are listened for at, as it was asked for.
    pub host: String,
    /// The port they are listened for at.
    pub port: u16,
    /// The host of the monitoring endpoints, as it was asked for.
    pub http_host: String,
    /// Their port, over HTTP; 0 for none.
    pub http_port: u16,
    /// Their port, over HTTPS; 0 for none.
    pub https_port: u16,
    /// What their paths begin with.
    pub http_base_path: String,
    /// How long a TLS handshake may take, in seconds.
    pub tls_timeout: f64,
    /// When the configuration was last read; the start, if `None`.
    pub config_load_time: Option<Moment>,
    /// The digest of the configuration file; empty if there is none.
    pub config_digest: String,
    /// Clients over WebSocket; the default if there can be none.
    pub websocket: WebsocketVarz,
    /// Words that describe this server.
    pub tags: Vec<String>,
    /// Facts that describe this server.
    pub metadata: BTreeMap<String, String>,
    /// New behaviour of nats-server by name, and whether the configuration switches it on.
    pub feature_flags: BTreeMap<String, bool>,
}

/// The flags of nats-server with the values that the configuration gives them.
fn feature_flags(set: &BTreeMap<String, bool>) -> BTreeMap<String, bool> {
    let value = |name: &&str| set.get(*name).copied().unwrap_or_default();
    FEATURE_FLAGS.iter().map(|name| ((*name).to_owned(), value(name))).collect()
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
            config_load_time: None,
            config_digest: String::new(),
            websocket: WebsocketVarz::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            feature_flags: feature_flags(&BTreeMap::new()),
        }
    }
}

/// Looks at a running server, with or without HTTP.
///
/// Cheap to clone; all clones are one. Every method is named like the endpoint whose answer it returns.
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
    facts: ArcSwap<Facts>,
    started: Instant,
    wall: Wall,
    process: Process,
    /// How often each endpoint was asked.
    requests: Mutex<BTreeMap<&'static str, u64>>,
    reloads: Mutex<Reloads>,
}

/// What came of reloads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reloads {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// True if the last one took effect, and how long it took.
    pub(super) last: Option<(bool, Duration)>,
}

impl Observer {
    /// Looks at a server that has just started.
    pub fn of(server: &broker_net::Server) -> Self {
        let (host, port) = (server.host().to_owned(), server.local_addr().port());
        Self::new(host, port, server.broker().clone(), server.status())
    }

    /// Looks at a test broker that has just started, or restarted: then it is another server.
    ///
    /// # Panics
    ///
    /// While the broker restarts.
    #[cfg(feature = "testing")]
    pub fn of_test(broker: &broker_net::testing::TestBroker) -> Self {
        let (host, port) = (broker.options().host, broker.address().port());
        Self::new(host, port, broker.broker(), broker.status())
    }

    fn new(host: String, port: u16, broker: Broker, outlook: ServerStatus) -> Self {
        let facts = Facts { host, port, ..Facts::default() };
        let seen = Seen {
            broker,
            outlook,
            facts: ArcSwap::from_pointee(facts),
            started: Instant::now(),
            wall: Wall::new(),
            process: Process::new(),
            requests: Mutex::default(),
            reloads: Mutex::default(),
        };
        Self { seen: Arc::new(seen) }
    }

    /// Changes what is shown beside what the broker knows.
    pub fn update_facts(&self, change: impl Fn(&mut Facts)) {
        self.seen.facts.rcu(|facts| {
            let mut facts = Facts::clone(facts);
            change(&mut facts);
            facts
        });
    }

    /// The configuration was read, and is this now.
    pub(crate) fn follow(&self, options: &Options, digest: Option<&str>) {
        let now = Moment(SystemTime::now());
        self.update_facts(|facts| {
            facts.tags.clone_from(&options.server_tags);
            facts.metadata.clone_from(&options.server_metadata);
            facts.feature_flags = feature_flags(&options.feature_flags);
            facts.config_load_time = Some(now);
            if let Some(tls) = &options.tls {
                facts.tls_timeout = tls.timeout.as_secs_f64();
            }
            if let Some(digest) = digest {
                digest.clone_into(&mut facts.config_digest);
            }
        });
    }

    /// Counts a request for an endpoint.
    #[cfg(feature = "monitoring")]
    pub(super) fn note_request(&self, path: &'static str) {
        let mut requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(path).or_default() += 1;
    }

    pub(super) fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration was read again, or was to be.
    pub fn note_reload(&self, was_successful: bool, took: Duration) {
        let mut reloads = self.seen.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if was_successful { &mut reloads.succeeded } else { &mut reloads.failed };
        *count += 1;
        reloads.last = Some((was_successful, took));
    }

    pub(super) fn reloads(&self) -> Reloads {
        *self.seen.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.seen.broker
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        self.seen.facts.load_full()
    }

    pub(super) fn is_accepting(&self) -> bool {
        self.seen.outlook.is_accepting()
    }

    /// The number of threads that a connection held at the last look, and the count of all such stalls.
    pub(super) fn stalls(&self) -> (usize, u64) {
        (self.seen.outlook.stalled_workers(), self.seen.outlook.worker_stalls())
    }

    pub(super) fn tls_not_after(&self) -> Option<Moment> {
        self.seen.outlook.tls_not_after().map(Moment)
    }

    pub(super) fn websocket_tls_not_after(&self) -> Option<Moment> {
        self.seen.outlook.websocket_tls_not_after().map(Moment)
    }

    pub(super) fn started(&self) -> Instant {
        self.seen.started
    }

    pub(super) fn process(&self) -> &Process {
        &self.seen.process
    }

    pub(super) fn now(&self) -> Now {
        self.seen.wall.now()
    }

    pub(crate) fn server_id(&self) -> String {
        self.broker().info().server_id
    }

    pub(super) fn server_name(&self) -> String {
        self.broker().info().server_name
    }
}
