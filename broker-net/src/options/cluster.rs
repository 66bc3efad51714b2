//! Options of the listener for other servers of the cluster.

use std::collections::HashSet;

use broker_core::limits::MAX_UNAUTHENTICATED_ROUTES;

use crate::handshake::listener_tls::TlsFault;
use crate::handshake::route_tls::{self, BuiltRouteTls, RouteTls};

/// Options of the listener for routes, and of the connections to the listeners of others. What the cluster decides by
/// is in [`Options::cluster`](broker_core::Options::cluster).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClusterListenerOptions {
    /// The host name or address to listen at. The default is `127.0.0.1`. `cluster.host`.
    pub host: String,
    /// The port to listen at; 0, the default, for any free port. `cluster.port`.
    pub port: u16,
    /// TLS of routes, in both directions; `None`, the default, for none. `cluster.tls`.
    #[cfg(feature = "tls-core")]
    pub tls: Option<RouteTls>,
    /// The number of failed attempts to reach a server for the first time of which one is logged as an error; the very
    /// first is as well. The others are logged for debugging. The default is 3,600. `connect_error_reports`.
    // NATS 2.14: DEFAULT_CONNECT_ERROR_REPORTS.
    pub connect_error_reports: u32,
    /// The same for a server that was connected before. The default is 1. `reconnect_error_reports`.
    // NATS 2.14: DEFAULT_RECONNECT_ERROR_REPORTS.
    pub reconnect_error_reports: u32,
    /// The limit of connections at this port that are no routes yet; beyond it the oldest is closed. The default is 1,024,
    /// each of which holds 16 KiB at most. It cannot change while the server runs.
    pub max_unauthenticated: usize,
}

impl Default for ClusterListenerOptions {
    fn default() -> Self {
        Self {
            host: String::from("127.0.0.1"),
            port: 0,
            #[cfg(feature = "tls-core")]
            tls: None,
            connect_error_reports: 3600,
            reconnect_error_reports: 1,
            max_unauthenticated: MAX_UNAUTHENTICATED_ROUTES,
        }
    }
}

impl ClusterListenerOptions {
    /// Creates options of a listener at `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, ..Self::default() }
    }

    #[cfg(feature = "tls-core")]
    fn tls(&self) -> Option<&RouteTls> {
        self.tls.as_ref()
    }

    #[cfg(not(feature = "tls-core"))]
    fn tls(&self) -> Option<&RouteTls> {
        None
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    /// Returns the public keys of other servers that are accepted, as SHA-256; empty for any.
    pub(crate) fn pinned_keys(&self) -> Result<HashSet<[u8; 32]>, TlsFault> {
        route_tls::pinned_keys(self.tls())
    }

    /// Reads and checks certificates and keys.
    pub(crate) fn build_tls(&self) -> Result<BuiltRouteTls, TlsFault> {
        route_tls::build(self.tls())
    }
}
