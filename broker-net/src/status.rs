//! The status of a server, for monitoring.

use std::sync::Arc;
#[cfg(feature = "tls-core")]
use std::time::SystemTime;

use tokio::sync::watch;

use crate::handshake::ListenerConfig;
#[cfg(feature = "websocket")]
use crate::handshake::websocket::WebsocketAcceptor;
use crate::phase::Phase;
use crate::workers::Workers;

/// Observes a [`Server`](crate::Server) without keeping it alive.
#[derive(Clone)]
pub struct ServerStatus {
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) workers: Arc<Workers>,
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) listener_config: Arc<ListenerConfig>,
    #[cfg(feature = "websocket")]
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) websocket_acceptor: Option<Arc<WebsocketAcceptor>>,
}

impl std::fmt::Debug for ServerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerStatus").field("phase", &*self.phase.borrow()).finish_non_exhaustive()
    }
}

impl ServerStatus {
    /// Returns true while it accepts connections: not while it drains or shuts down, in lame duck mode,
    /// or after it was dropped.
    pub fn is_accepting(&self) -> bool {
        self.phase.has_changed().is_ok() && *self.phase.borrow() == Phase::Serving
    }

    /// Returns the number of threads that a connection held at the last
    /// [look](crate::StallWatch::look).
    pub fn stalled_workers(&self) -> usize {
        self.workers.stalled()
    }

    /// Returns how many times a connection was found to hold its thread, since the start.
    pub fn worker_stalls(&self) -> u64 {
        self.workers.stalls()
    }

    /// Returns the earliest expiry of its certificates.
    #[cfg(feature = "tls-core")]
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.listener_config.tls.config()?.not_after()
    }

    /// Returns the earliest expiry of the certificates of its WebSocket listener.
    #[cfg(all(feature = "tls-core", feature = "websocket"))]
    pub fn websocket_tls_not_after(&self) -> Option<SystemTime> {
        self.websocket_acceptor.as_ref()?.tls_not_after()
    }
}
