//! A cluster of test brokers.

use std::net::SocketAddr;
use std::time::Duration;

use broker_core::cluster::{ClusterOptions, RouteAddress};
use broker_core::{Client, Subject};

use super::broker::TestBroker;
use super::start_error::StartError;
use crate::clock;
use crate::options::ClusterListenerOptions;

/// The maximum time for servers to find each other, and for interest to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Several brokers of one cluster, connected by NATS's route protocol. They run in the runtime of their caller, at free
/// ports of `127.0.0.1`. Dropping it ends them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::TestCluster;
/// use futures_util::StreamExt;
///
/// let mut cluster = TestCluster::start(3).await; // all of them are connected
/// let near = async_nats::connect(cluster.node(0).url()).await?;
/// let far = async_nats::connect(cluster.node(2).url()).await?;
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
#[derive(Debug)]
pub struct TestCluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// `None` while it is stopped.
    broker: Option<TestBroker>,
    /// The addresses for clients and for other servers.
    addresses: Option<(SocketAddr, SocketAddr)>,
}

impl TestCluster {
    /// Starts `count` servers, `n0`, `n1` and so on, and returns when all of them are connected.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime of tokio, and if a server does not start or finds another one in vain for ten seconds.
    pub async fn start(count: usize) -> Self {
        let mut cluster = Self { nodes: Vec::new() };
        for number in 0..count {
            let name = format!("n{number}");
            cluster.nodes.push(Node { name, broker: None, addresses: None });
            let started = cluster.restart(number).await;
            started.unwrap_or_else(|error| panic!("server {number} does not start: {error}"));
        }
        cluster.wait_connected().await;
        cluster
    }

    /// Returns a server.
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number, or it is stopped.
    pub fn node(&self, number: usize) -> &TestBroker {
        let broker = self.nodes.get(number).and_then(|node| node.broker.as_ref());
        broker.unwrap_or_else(|| panic!("server {number} does not run"))
    }

    /// Returns the URLs of the servers that run, for clients that choose one themselves.
    pub fn urls(&self) -> Vec<String> {
        self.running().map(TestBroker::url).collect()
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
        self.nodes[number].broker = None;
    }

    /// Starts a stopped server again, at the same ports and with another id, as a new process would. It connects to all
    /// others that run.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Panics
    ///
    /// Panics if there is none of that number.
    pub async fn restart(&mut self, number: usize) -> Result<(), StartError> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != number);
        let running = others.filter(|(_, node)| node.broker.is_some());
        let routes = running.filter_map(|(_, node)| node.addresses).map(|(_, route)| {
            RouteAddress { host: route.ip().to_string(), port: route.port(), credentials: None }
        });
        let mut cluster = ClusterOptions::default();
        cluster.name = Some("test".to_owned());
        cluster.routes = routes.collect();
        let node = &self.nodes[number];
        let mut listener = ClusterListenerOptions::default();
        if let Some((_, route)) = node.addresses {
            listener.port = route.port();
        }
        let (name, client_port) =
            (node.name.clone(), node.addresses.map(|(client, _)| client.port()));
        let broker = TestBroker::builder()
            .server_name(name)
            .options(|options| {
                options.port = client_port.unwrap_or(0);
                options.cluster = Some(listener);
                options.broker.cluster = Some(cluster);
            })
            .start()
            .await?;
        let node = &mut self.nodes[number];
        node.addresses = broker.cluster_address().map(|route| (broker.address(), route));
        node.broker = Some(broker);
        Ok(())
    }

    /// Returns when all servers that run are connected to each other, and to no other ones.
    ///
    /// # Panics
    ///
    /// Panics if that takes more than ten seconds.
    pub async fn wait_connected(&self) {
        let others = self.running().count().saturating_sub(1);
        self.wait("all servers to be connected", |broker| {
            let cluster = broker.broker().cluster().cloned();
            cluster.is_none_or(|cluster| {
                let routes = cluster.routes().len();
                cluster.server_count() == others && routes == others * ROUTES
            })
        })
        .await;
    }

    /// Returns when each server that runs would pass on a message to `subject` in the account `$G`: a subscription here or
    /// on another server matches it.
    ///
    /// # Panics
    ///
    /// Panics if `subject` is not valid, or if it takes more than ten seconds.
    pub async fn wait_for_interest(&self, subject: &str) {
        let parsed = Subject::parse(subject);
        let parsed = parsed.unwrap_or_else(|error| panic!("{subject:?} is no subject: {error}"));
        let what = format!("interest in {subject}");
        self.wait(&what, |broker| broker.broker().has_receivers("$G", &parsed)).await;
    }

    fn running(&self) -> impl Iterator<Item = &TestBroker> {
        self.nodes.iter().filter_map(|node| node.broker.as_ref())
    }

    async fn wait(&self, what: &str, is_so: impl Fn(&TestBroker) -> bool) {
        let deadline = clock::now() + PATIENCE;
        while !self.running().all(&is_so) {
            assert!(clock::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The routes between two servers: those of the pool, and that of the system account.
const ROUTES: usize = 4;
