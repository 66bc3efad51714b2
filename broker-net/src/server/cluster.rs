//! The methods of a server and its builder for clusters.

use std::net::SocketAddr;

use broker_core::cluster::ClusterOptions;

use super::{Server, ServerBuilder};
use crate::listen::ListenerKind;
use crate::options::ClusterListenerOptions;

impl ServerBuilder {
    /// Makes the server a member of a cluster: it listens for other servers, and connects to those of `options`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use broker_core::cluster::{ClusterOptions, RouteAddress};
    /// use broker_net::{ClusterListenerOptions, Server};
    ///
    /// let (listener, mut options) = (ClusterListenerOptions::default(), ClusterOptions::default());
    /// options.name = Some("shop".to_owned());
    /// let first = Server::builder().cluster(listener.clone(), options.clone()).bind().await?;
    ///
    /// let port = first.cluster_addr().ok_or("no listener")?.port();
    /// options.routes = vec![RouteAddress { host: "127.0.0.1".to_owned(), port, credentials: None }];
    /// let second = Server::builder().cluster(listener, options).bind().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cluster(mut self, listener: ClusterListenerOptions, options: ClusterOptions) -> Self {
        self.options.cluster = Some(listener);
        self.options.broker.cluster = Some(options);
        self
    }
}

impl Server {
    /// Returns the address of the listener for other servers; `None` without a cluster.
    pub fn cluster_addr(&self) -> Option<SocketAddr> {
        Some(self.listener(ListenerKind::Routes)?.address())
    }
}
