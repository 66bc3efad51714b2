//! A cluster of test brokers.

mod builder;
mod member;
mod monitor;
mod nats_server;
mod sight;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_core::{Client, Subject};

use super::broker::TestBroker;
use super::builder::TestBrokerBuilder;
use super::start_error::StartError;
use super::wait::Wait;
use crate::network::Network;
use member::Member;
use sight::Sight;

pub use builder::TestClusterBuilder;

/// The name of the cluster.
const CLUSTER: &str = "test";

/// The steps in which the clocks of a cluster move, and the most of them: between two, the servers answer each other. Four
/// PINGs without an answer end a route.
const STEP: Duration = Duration::from_secs(1);
const STEPS: u32 = 64;

/// Turns of all servers between two steps: a request of one, the answer of another one, and what that causes.
const ROUNDS: u32 = 3;

/// Sets what the test broker of this number has beside its part in the cluster.
type Each = Arc<dyn Fn(usize, TestBrokerBuilder) -> TestBrokerBuilder + Send + Sync>;

/// Several brokers of one cluster, connected by NATS's route protocol. Clients have a port of each at `127.0.0.1`; the
/// connections between the servers are in memory, so that a test can [partition](Self::partition) them. Dropping it
/// ends the servers.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::TestCluster;
/// use futures_util::StreamExt;
///
/// let mut cluster = TestCluster::start(3).await; // all of them are connected
/// let near = async_nats::connect(cluster.url(0)).await?;
/// let far = async_nats::connect(cluster.url(2)).await?;
///
/// let mut orders = far.subscribe("orders.*").await?;
/// cluster.wait_for_interest("orders.eu").await; // on every server
/// near.publish("orders.eu", "7 apples".into()).await?;
/// assert_eq!(orders.next().await.ok_or("closed")?.payload, "7 apples");
///
/// cluster.stop(1);
/// cluster.wait_connected().await; // the other two have noticed
/// cluster.restart(1).await?; // at the same ports
/// cluster.wait_connected().await;
/// # Ok(()) }
/// ```
pub struct TestCluster {
    network: Network,
    members: Vec<Member>,
    each: Each,
}

impl std::fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestCluster").field("members", &self.members).finish_non_exhaustive()
    }
}

impl TestCluster {
    /// Starts `count` servers, `n0`, `n1` and so on, and returns when all of them are connected.
    ///
    /// # Panics
    ///
    /// Panics if a server does not start or finds another one in vain for ten seconds.
    /// [`TestClusterBuilder::start`] returns an error instead.
    pub async fn start(count: usize) -> Self {
        let starting = Self::builder().servers(count).start().await;
        starting.unwrap_or_else(|error| panic!("{}", super::builder::chain(&error)))
    }

    /// Returns a builder, for servers with users or other options, and for a cluster with nats-server.
    pub fn builder() -> TestClusterBuilder {
        TestClusterBuilder::default()
    }

    /// `programs`: the program of each server; `None` for one of this process.
    fn new(programs: Vec<Option<PathBuf>>, each: Each) -> Self {
        let network = Network::default();
        let members =
            programs.into_iter().enumerate().map(|(number, program)| Member::new(number, program));
        Self { members: members.collect(), network, each }
    }

    /// Returns a server.
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number, it is stopped, or it is a [nats-server](TestClusterBuilder::with_nats_server).
    pub fn node(&self, number: usize) -> &TestBroker {
        let broker = self.members.get(number).and_then(Member::broker);
        broker.unwrap_or_else(|| panic!("server {number} does not run in this process"))
    }

    /// Returns the URL of a server for clients. It stays the same after a [restart](Self::restart).
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number, or it has never started.
    pub fn url(&self, number: usize) -> String {
        let url = self.members.get(number).and_then(Member::url);
        url.unwrap_or_else(|| panic!("there is no server {number}"))
    }

    /// Returns the URLs of the servers that run, for clients that choose one themselves.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().filter(|member| member.runs()).filter_map(Member::url).collect()
    }

    /// Returns an in-process client of a server, with all permissions in the account `$G`.
    ///
    /// # Panics
    ///
    /// As [`Self::node`].
    pub fn client(&self, number: usize) -> Client {
        self.node(number).client()
    }

    /// Ends a server at once, as if its process were killed: its connections are lost.
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number.
    pub fn stop(&mut self, number: usize) {
        self.members[number].stop();
    }

    /// Starts a stopped server again, at the same ports and with another id, as a new process would; one that runs is
    /// stopped first. It connects to all others that run and that it can reach.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the server is stopped then.
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number.
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, the server is stopped.
    pub async fn restart(&mut self, number: usize) -> Result<(), StartError> {
        self.stop(number);
        let is_in_memory = !self.has_processes();
        let others = self.members.iter().filter(|other| other.runs());
        let routes = others.filter_map(|other| match is_in_memory {
            true => Some(self.network.port(other.number).address()),
            false => other.route_address(),
        });
        let routes = routes.collect();
        let network = is_in_memory.then(|| self.network.port(number));
        self.members[number].start(network, routes, &self.each).await
    }

    /// Loses everything that servers of `some` and of `others` send each other, until [`Self::heal`]: no server is
    /// told, connections stay open without traffic, and attempts to connect have no answer.
    ///
    /// Servers notice a silent one by their PINGs, within ten seconds of their clock: [`Self::advance`] it, or
    /// [`cut`](Self::cut) the connections. A partition that ends before loses nothing, as with TCP: what was sent
    /// arrives then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use broker_net::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(3).await;
    /// let mut orders = cluster.client(2).subscribe("orders").await?;
    /// cluster.wait_for_interest("orders").await;
    ///
    /// cluster.partition(&[0, 1], &[2]);
    /// cluster.advance(Duration::from_secs(10)).await; // takes no time
    /// cluster.wait_connected().await; // each with those that it can reach
    /// let alone = cluster.client(0).request("orders", "7 apples".into()).await;
    /// assert!(alone.unwrap_err().to_string().contains("no responders"));
    ///
    /// cluster.heal();
    /// cluster.advance(Duration::from_secs(2)).await; // they try again every second
    /// cluster.wait_connected().await;
    /// cluster.wait_for_interest("orders").await;
    /// cluster.client(0).publish("orders", "8 apples".into()).await?;
    /// assert_eq!(orders.next().await.unwrap().payload, "8 apples");
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if there is no server of a number, or a nats-server in the cluster: its connections are not in memory.
    #[track_caller]
    pub fn partition(&self, some: &[usize], others: &[usize]) {
        for (one, other) in self.pairs(some, others) {
            self.network.set_partitioned(one, other, true);
        }
    }

    /// [Partitions](Self::partition) a server from all others.
    ///
    /// # Panics
    ///
    /// As [`Self::partition`].
    #[track_caller]
    pub fn isolate(&self, number: usize) {
        let others: Vec<usize> = (0..self.members.len()).filter(|other| *other != number).collect();
        self.partition(&[number], &others);
    }

    /// Ends all partitions. Servers that have noticed one connect again within a second or two of their clock.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// Resets the connections between servers of `some` and of `others`: both sides notice it at once, and connect again
    /// unless they are [partitioned](Self::partition).
    ///
    /// # Panics
    ///
    /// As [`Self::partition`].
    #[track_caller]
    pub fn cut(&self, some: &[usize], others: &[usize]) {
        for (one, other) in self.pairs(some, others) {
            self.network.reset(one, other);
        }
    }

    #[track_caller]
    fn pairs(&self, some: &[usize], others: &[usize]) -> Vec<(usize, usize)> {
        assert!(
            !self.has_processes(),
            "a cluster with a nats-server is connected through ports: its servers can be stopped, not partitioned"
        );
        if let Some(number) =
            some.iter().chain(others).find(|number| **number >= self.members.len())
        {
            panic!("there is no server {number}");
        }
        let pairs = some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
        pairs.filter(|(one, other)| one != other).collect()
    }

    /// Moves the clocks of all servers, and with them all timers: PINGs, deadlines, attempts to connect. Takes no time. It
    /// does so in steps, between which the servers answer each other, so that no connection becomes stale but those of a
    /// [partition](Self::partition).
    ///
    /// Servers that run in the runtime of their caller share its clock, which it moves, also for the code under test. To move that of one server, start
    /// the cluster with servers on [own threads](TestBrokerBuilder::own_thread), and use [`TestBroker::advance`]:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use broker_net::testing::TestCluster;
    ///
    /// let builder = TestCluster::builder().servers(2).each(|_, broker| broker.own_thread());
    /// let cluster = builder.start().await?;
    /// cluster.node(1).advance(Duration::from_secs(60)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`TestBroker::advance`], and if there is a nats-server in the cluster: its clock is the machine's.
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, some clocks may have moved, by a part of the time.
    pub async fn advance(&self, by: Duration) {
        assert!(!self.has_processes(), "the clock of a nats-server cannot be moved");
        let step = (by / STEPS).max(STEP);
        let mut left = by;
        while !left.is_zero() {
            let now = left.min(step);
            self.move_clocks(now).await;
            for _ in 0..ROUNDS {
                for broker in self.brokers() {
                    broker.run_tasks().await;
                }
            }
            left -= now;
        }
    }

    async fn move_clocks(&self, by: Duration) {
        let (own, shared): (Vec<_>, Vec<_>) =
            self.brokers().partition(|broker| broker.has_own_thread());
        for broker in own {
            broker.advance(by).await;
        }
        if let Some(first) = shared.first() {
            let kits = shared.iter().map(|broker| Arc::clone(broker.kit()));
            first.move_clock(by, kits.collect()).await;
        }
    }

    /// Waits until all servers that run are connected to each other, as far as they are not
    /// [partitioned](Self::partition), and to no other ones.
    ///
    /// # Panics
    ///
    /// Panics if no server runs in this process; and when awaited, if the time is up.
    #[track_caller]
    pub fn wait_connected(&self) -> Wait<()> {
        let sight = self.sight();
        let told = sight.clone();
        Wait::new(
            self.first().kit(),
            move |_| sight.not_connected().is_none().then_some(()),
            move |_| match told.not_connected() {
                Some(what) => format!("all servers were expected to be connected, but {what}"),
                None => "all servers were connected too late".to_owned(),
            },
        )
    }

    /// Waits until each server that runs would pass on a message to `subject` in the account `$G`: a subscription here or
    /// on another server matches it.
    ///
    /// # Panics
    ///
    /// Panics if `subject` is not valid, or no server runs in this process; and when awaited, if the time is up.
    #[track_caller]
    pub fn wait_for_interest(&self, subject: &str) -> Wait<()> {
        let parsed = Subject::parse(subject);
        let parsed = parsed.unwrap_or_else(|error| panic!("{subject:?} is no subject: {error}"));
        let sight = self.sight();
        let (told, told_subject) = (sight.clone(), parsed.clone());
        Wait::new(
            self.first().kit(),
            move |_| sight.without_interest(&parsed).is_none().then_some(()),
            move |_| {
                let lacking = told.without_interest(&told_subject).unwrap_or_default();
                format!("interest in {} was expected, {lacking} has none", told_subject.as_str())
            },
        )
    }

    fn sight(&self) -> Sight {
        Sight::new(&self.members, &self.network)
    }

    #[track_caller]
    fn first(&self) -> &TestBroker {
        self.brokers().next().unwrap_or_else(|| panic!("no server runs in this process"))
    }

    fn brokers(&self) -> impl Iterator<Item = &TestBroker> {
        self.members.iter().filter_map(Member::broker)
    }

    fn has_processes(&self) -> bool {
        self.members.iter().any(|member| member.program.is_some())
    }
}
