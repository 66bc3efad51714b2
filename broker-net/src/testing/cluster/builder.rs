//! Options of a cluster of test brokers.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Each, TestBrokerBuilder, TestCluster};
use crate::testing::block_on;
use crate::testing::start_error::StartError;

/// Default number of servers: one can be lost, and two others remain connected.
const SERVERS: usize = 3;

/// Builds a [`TestCluster`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::TestCluster;
///
/// let cluster = TestCluster::builder()
///     .servers(2)
///     .each(|_, broker| broker.user("app", "s3cr3t").limits(|limits| limits.max_payload_bytes = 1 << 10))
///     .start()
///     .await?;
/// let options = async_nats::ConnectOptions::with_user_and_password("app".into(), "s3cr3t".into());
/// let client = options.connect(cluster.urls()).await?;
/// assert_eq!(client.server_info().max_payload, 1 << 10);
/// # Ok(()) }
/// ```
#[must_use = "it is started by `start` or `start_blocking`"]
pub struct TestClusterBuilder {
    servers: usize,
    programs: Vec<PathBuf>,
    each: Each,
    has_own_threads: bool,
}

impl Default for TestClusterBuilder {
    fn default() -> Self {
        Self {
            servers: SERVERS,
            programs: Vec::new(),
            each: Arc::new(|_, broker| broker),
            has_own_threads: false,
        }
    }
}

impl std::fmt::Debug for TestClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("TestClusterBuilder");
        debug.field("servers", &self.servers).field("programs", &self.programs);
        debug.finish_non_exhaustive()
    }
}

impl TestClusterBuilder {
    /// Sets the number of servers of this process; default 3.
    pub fn servers(mut self, count: usize) -> Self {
        self.servers = count;
        self
    }

    /// Changes each server of this process, by its number: users, limits, own threads, and also options of the cluster
    /// except for the routes. Called again when a server restarts.
    ///
    /// With [TLS for routes](crate::ClusterListenerOptions::tls) the servers run its handshake in memory too, and no route is made
    /// unless each accepts the certificate of the other. A certificate must be for `localhost`, as those that `Certificates`
    /// generates with the feature `testing-tls` are.
    pub fn each(
        mut self,
        change: impl Fn(usize, TestBrokerBuilder) -> TestBrokerBuilder + Send + Sync + 'static,
    ) -> Self {
        self.each = Arc::new(change);
        self
    }

    /// Adds a nats-server, as a process that ends with the cluster: for tests of a cluster that mixes it with natsd. May
    /// be called for several; their numbers follow those of the servers of this process.
    ///
    /// `program` is a path, or a name that is looked up in `PATH`. All servers are then connected through ports of
    /// `127.0.0.1`, and can neither be [partitioned](TestCluster::partition) nor have their clocks
    /// [moved](TestCluster::advance). Another program with the flags, log lines and monitoring of nats-server, such as
    /// natsd, can take its place.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use broker_net::testing::{StartError, TestCluster};
    ///
    /// match TestCluster::builder().servers(2).with_nats_server("nats-server").start().await {
    ///     Ok(cluster) => assert_eq!(cluster.urls().len(), 3),
    ///     Err(StartError::NoNatsServer { .. }) => eprintln!("there is no nats-server here"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn with_nats_server(mut self, program: impl Into<PathBuf>) -> Self {
        self.programs.push(program.into());
        self
    }

    /// Starts the servers, `n0`, `n1` and so on, and returns when all of them are connected.
    ///
    /// Outside of a runtime of tokio each server has its own thread.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`].
    ///
    /// # Panics
    ///
    /// Panics if the servers find each other in vain for ten seconds, or there is none of this process.
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, nothing is left running.
    pub async fn start(self) -> Result<TestCluster, StartError> {
        let Self { servers, programs, each, has_own_threads } = self;
        let each: Each = match has_own_threads {
            true => Arc::new(move |number, broker| each(number, broker).own_thread()),
            false => each,
        };
        let own = std::iter::repeat_n(None, servers);
        let mut cluster =
            TestCluster::new(own.chain(programs.into_iter().map(Some)).collect(), each);
        for number in 0..cluster.members.len() {
            cluster.restart(number).await?;
        }
        cluster.wait_connected().await;
        Ok(cluster)
    }

    /// Starts the servers, those of this process on their own threads, and blocks until all are connected: for tests
    /// without a runtime.
    ///
    /// # Errors
    ///
    /// See [`Self::start`].
    ///
    /// # Panics
    ///
    /// See [`Self::start`].
    pub fn start_blocking(mut self) -> Result<TestCluster, StartError> {
        self.has_own_threads = true;
        block_on(self.start())
    }
}
