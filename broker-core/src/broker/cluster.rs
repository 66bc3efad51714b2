//! The server's part in a cluster.

use std::time::Instant;

use super::Broker;
use crate::cluster::{Cluster, RouteDialer};
use crate::endpoint::{Scratch, WriteHandle};
use crate::session::route::{RouteArrival, RouteSession};
use crate::sync::Arc;

impl Broker {
    /// Returns the server's part in a cluster; `None` if [`Options::cluster`](crate::Options::cluster) was `None` when the
    /// broker was made.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.shared.cluster.as_ref()
    }

    /// Opens the session of a connection to another server. It is `None` without a cluster.
    pub fn open_route(
        &self,
        arrival: RouteArrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> Option<RouteSession> {
        let cluster = Arc::clone(self.cluster()?);
        let shared = Arc::clone(&self.shared);
        Some(RouteSession::open(shared, cluster, arrival, write_handle, now, scratch))
    }

    /// Begins to connect to the configured servers, by `dialer`. Call it when clients can connect. A second call has no
    /// effect.
    pub fn start_cluster(&self, dialer: Box<dyn RouteDialer>) {
        if let Some(cluster) = self.cluster() {
            cluster.start(dialer, &*self.shared);
        }
    }

    /// Returns why servers of the cluster are not connected to each other though they should be: several have JetStream,
    /// and streams are not replicated. One text for each pair of such servers; empty without a conflict.
    pub fn jetstream_conflicts(&self) -> Vec<String> {
        let now = self.shared.clock.now();
        self.cluster().map_or_else(Vec::new, |cluster| cluster.conflicts(now))
    }

    /// Sets the addresses of this server's listeners for clients and for WebSocket, which the other servers tell their
    /// clients, and INFO once another server has told its own.
    pub fn set_client_urls(&self, urls: Vec<String>, websocket_urls: Vec<String>) {
        if let Some(cluster) = self.cluster() {
            cluster.set_client_urls(urls, websocket_urls, &*self.shared);
        }
    }
}
