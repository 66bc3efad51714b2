//! A server of a test cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use broker_core::auth::Secret;
use broker_core::cluster::{ClusterOptions, RouteAddress};

use super::nats_server::{NatsServer, Ports};
use super::{CLUSTER, Each, TestBroker};
use crate::network::NetworkPort;
use crate::options::ClusterListenerOptions;
use crate::testing::start_error::StartError;

/// A server, whether it runs or not.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: usize,
    name: String,
    /// The program; `None` for a server of this process.
    pub(super) program: Option<PathBuf>,
    running: Running,
    /// The state that it keeps when it restarts. The port for routes is 0 if they are in memory.
    ports: Option<Ports>,
    url: Option<String>,
}

#[derive(Debug)]
enum Running {
    Not,
    Broker(Box<TestBroker>),
    Process(Arc<NatsServer>),
}

impl Member {
    pub(super) fn new(number: usize, program: Option<PathBuf>) -> Self {
        let name = format!("n{number}");
        Self { number, name, program, running: Running::Not, ports: None, url: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn runs(&self) -> bool {
        !matches!(self.running, Running::Not)
    }

    pub(super) fn broker(&self) -> Option<&TestBroker> {
        match &self.running {
            Running::Broker(broker) => Some(broker),
            _ => None,
        }
    }

    pub(super) fn process(&self) -> Option<&Arc<NatsServer>> {
        match &self.running {
            Running::Process(process) => Some(process),
            _ => None,
        }
    }

    /// Returns the URL for clients, also while it is stopped.
    pub(super) fn url(&self) -> Option<String> {
        self.url.clone()
    }

    /// Returns the address of its port for routes.
    pub(super) fn route_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], self.ports?.route)))
    }

    pub(super) fn stop(&mut self) {
        self.running = Running::Not;
    }

    /// Starts it, with routes to these addresses; with its place in a network, if that carries the routes.
    pub(super) async fn start(
        &mut self,
        network: Option<NetworkPort>,
        routes: Vec<SocketAddr>,
        each: &Each,
    ) -> Result<(), StartError> {
        match self.program.clone() {
            Some(program) => {
                let process = NatsServer::start(program, &self.name, self.ports, &routes).await?;
                self.ports = Some(process.ports());
                self.url = Some(format!("nats://127.0.0.1:{}", process.ports().client));
                self.running = Running::Process(Arc::new(process));
            }
            None => self.start_broker(network, routes, each).await?,
        }
        Ok(())
    }

    async fn start_broker(
        &mut self,
        network: Option<NetworkPort>,
        routes: Vec<SocketAddr>,
        each: &Each,
    ) -> Result<(), StartError> {
        let mut builder = TestBroker::builder().server_name(&*self.name).options(|options| {
            let mut cluster = ClusterOptions::default();
            cluster.name = Some(CLUSTER.to_owned());
            options.cluster = Some(ClusterListenerOptions::default());
            options.broker.cluster = Some(cluster);
        });
        builder = each(self.number, builder);
        let ports = self.ports;
        builder = builder.options(|options| {
            let cluster = options.broker.cluster.get_or_insert_default();
            let credentials = &cluster.credentials;
            let with_credentials = routes.iter().map(|at| route_to(*at, credentials.as_ref()));
            cluster.routes = with_credentials.collect();
            if let Some(ports) = ports {
                options.port = ports.client;
                options.cluster.get_or_insert_default().port = ports.route;
            }
        });
        if let Some(network) = network {
            builder = builder.network(network);
        }
        let broker = builder.start().await?;
        let route = broker.options().cluster.map_or(0, |cluster| cluster.port);
        self.ports = Some(Ports { client: broker.address().port(), route, monitor: 0 });
        self.url = Some(broker.url());
        self.running = Running::Broker(Box::new(broker));
        Ok(())
    }
}

fn route_to(address: SocketAddr, credentials: Option<&(String, Secret)>) -> RouteAddress {
    RouteAddress {
        host: address.ip().to_string(),
        port: address.port(),
        credentials: credentials.cloned(),
    }
}
