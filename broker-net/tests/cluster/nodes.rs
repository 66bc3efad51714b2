//! Servers of a cluster, and what they know of each other.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use broker_core::cluster::{ClusterOptions, RouteAddress};
use broker_net::{ClusterListenerOptions, RouteTls, Server, ServerOptions};
use tokio::time::timeout;

/// Maximum time for a condition: long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Fails a future that takes too long.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("takes too long")
}

/// Returns options of a server with routes to these ports.
pub(crate) fn options(routes: &[u16]) -> ServerOptions {
    let hosts: Vec<_> = routes.iter().map(|port| ("127.0.0.1", *port)).collect();
    options_to(&hosts)
}

/// Returns options of a server with routes to these hosts and ports.
pub(crate) fn options_to(routes: &[(&str, u16)]) -> ServerOptions {
    let address = |(host, port): &(&str, u16)| RouteAddress {
        host: (*host).to_owned(),
        port: *port,
        credentials: None,
    };
    let mut cluster = ClusterOptions::default();
    cluster.name = Some("test".to_owned());
    cluster.routes = routes.iter().map(address).collect();
    let mut options = ServerOptions::default();
    options.broker.cluster = Some(cluster);
    options.cluster = Some(ClusterListenerOptions::default());
    options
}

/// Returns the same options with TLS for routes.
pub(crate) fn with_tls(mut options: ServerOptions, tls: RouteTls) -> ServerOptions {
    if let Some(cluster) = &mut options.cluster {
        cluster.tls = Some(tls);
    }
    options
}

pub(crate) async fn start_with(options: ServerOptions) -> Server {
    Server::builder().options(options).bind().await.unwrap()
}

/// Starts a server with routes to these ports.
pub(crate) async fn start(routes: &[u16]) -> Server {
    start_with(options(routes)).await
}

pub(crate) fn address(server: &Server) -> SocketAddr {
    server.cluster_addr().unwrap()
}

pub(crate) fn port(server: &Server) -> u16 {
    address(server).port()
}

/// Returns the number of other servers that a server is connected to.
pub(crate) fn peers(server: &Server) -> usize {
    let routes = server.broker().cluster().unwrap().routes();
    routes.into_iter().map(|route| route.remote_id).collect::<HashSet<_>>().len()
}

/// Waits until a server is connected to so many others.
pub(crate) async fn has_peers(server: &Server, count: usize) {
    until(&format!("{count} peers"), || peers(server) == count).await;
}

/// Returns a port at which nothing listens: that of a server that has ended.
pub(crate) async fn dead_port() -> u16 {
    let server = start(&[]).await;
    let port = port(&server);
    server.shutdown().await;
    port
}
