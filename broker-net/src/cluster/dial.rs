//! Connects to another server: repeatedly if it is configured, else as often as the order says.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use broker_core::cluster::{Cluster, RouteAddress, RouteDial};

use super::attempt::{NotConnected, connect_to, within};
use super::pauses::Pauses;
use crate::clock;
use crate::handshake::AcceptedConnection;
use crate::handshake::route_tls::RouteSecurity;
use crate::interfaces;
use crate::network::NetworkPort;
use crate::options::ClusterListenerOptions;

/// The values that all connections to other servers are made with.
#[derive(Debug)]
pub(crate) struct DialConfig {
    security: Arc<RouteSecurity>,
    /// The network that carries the connections; `None` for TCP.
    network: Option<NetworkPort>,
    /// The port of this server's own listener, or the advertised one.
    own_port: u16,
    own: OnceLock<HashSet<SocketAddr>>,
    connect_error_reports: AtomicU32,
    reconnect_error_reports: AtomicU32,
}

impl DialConfig {
    pub(crate) fn new(
        security: Arc<RouteSecurity>,
        own_port: u16,
        network: Option<NetworkPort>,
    ) -> Self {
        Self {
            security,
            network,
            own_port,
            own: OnceLock::new(),
            connect_error_reports: AtomicU32::new(1),
            reconnect_error_reports: AtomicU32::new(1),
        }
    }

    /// Sets which failed attempts are logged as errors.
    pub(crate) fn set_reports(&self, options: &ClusterListenerOptions) {
        self.connect_error_reports.store(options.connect_error_reports, Ordering::Relaxed);
        self.reconnect_error_reports.store(options.reconnect_error_reports, Ordering::Relaxed);
    }

    /// Returns the addresses at which this server would reach itself.
    // NATS 2.14: route.go startRouteAcceptLoop, routesToSelf.
    fn own(&self) -> &HashSet<SocketAddr> {
        let with_port = |ip| SocketAddr::new(ip, self.own_port);
        self.own.get_or_init(|| interfaces::addresses().into_iter().map(with_port).collect())
    }

    /// Returns true if a failed attempt is logged as an error.
    // NATS 2.14: server.go shouldReportConnectErr.
    fn is_reported(&self, is_first: bool, attempts: u32) -> bool {
        let every =
            if is_first { &self.connect_error_reports } else { &self.reconnect_error_reports };
        attempts == 1 || attempts.is_multiple_of(every.load(Ordering::Relaxed).max(1))
    }
}

/// Makes a connection. Returns `None` if it gives up.
// NATS 2.14: route.go connectToRoute.
pub(super) async fn dial(
    order: &RouteDial,
    cluster: &Cluster,
    config: &DialConfig,
) -> Option<AcceptedConnection> {
    tokio::time::sleep(order.delay).await;
    let mut pauses = Pauses::new(order.has_backoff);
    let mut attempts = 0;
    while is_wanted(order, cluster) {
        let began = clock::now();
        let why = match connect(order, config, attempts > 0).await {
            Ok(_) if order.is_configured && !cluster.wants(order) => return None,
            Ok(connection) => return Some(connection),
            Err(NotConnected::Own) => return None,
            Err(NotConnected::Failed(why)) => why,
        };
        attempts += 1;
        if config.is_reported(order.is_first, attempts) {
            tracing::error!("Error trying to connect to route (attempt {attempts}): {why}");
        } else {
            tracing::debug!("Error trying to connect to route (attempt {attempts}): {why}");
        }
        if order.retries.is_some_and(|retries| attempts > retries) {
            return None;
        }
        let took = clock::now().saturating_duration_since(began);
        tokio::time::sleep(pauses.pause(took)).await;
    }
    None
}

async fn connect(
    order: &RouteDial,
    config: &DialConfig,
    is_lost: bool,
) -> Result<AcceptedConnection, NotConnected> {
    if let Some(network) = &config.network {
        return within(network.dial(order, &config.security), &order.address).await;
    }
    let (stream, remote) = connect_to(&order.address, config.own(), is_lost).await?;
    Ok(config.security.dialed(stream, remote, order))
}

/// Returns false if a configured route is not one any more.
fn is_wanted(order: &RouteDial, cluster: &Cluster) -> bool {
    if !order.is_configured || cluster.wants(order) {
        return true;
    }
    let url = redacted(&order.address);
    let mut of_server = order.clone();
    of_server.account = None;
    match &order.account {
        Some(account) if cluster.wants(&of_server) => tracing::debug!(
            "Not attempting to connect to route {url:?} for account {account:?}, no longer a per-account route"
        ),
        _ => tracing::debug!(
            "Not attempting to connect to explicit route {url:?}, no longer part of configured routes"
        ),
    }
    false
}

/// Returns the URL of a server, without the password.
// Go: net/url URL.Redacted.
fn redacted(address: &RouteAddress) -> String {
    match &address.credentials {
        Some((user, _)) => format!("nats-route://{user}:xxxxx@{address}"),
        None => format!("nats-route://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_and_every_so_many_are_errors() {
        let config = DialConfig::new(Arc::default(), 1, None);
        let mut options = ClusterListenerOptions::default();
        (options.connect_error_reports, options.reconnect_error_reports) = (3, 2);
        config.set_reports(&options);
        let reported = |is_first| -> Vec<u32> {
            (1..8).filter(|attempts| config.is_reported(is_first, *attempts)).collect()
        };
        assert_eq!(reported(true), [1, 3, 6]);
        assert_eq!(reported(false), [1, 2, 4, 6]);
        options.reconnect_error_reports = 0;
        config.set_reports(&options);
        assert_eq!(reported(false), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn no_password_is_logged() {
        let credentials = Some(("ann".to_owned(), "hunter2".into()));
        let address = RouteAddress { host: "::1".to_owned(), port: 6222, credentials };
        assert_eq!(redacted(&address), "nats-route://ann:xxxxx@[::1]:6222");
    }
}
