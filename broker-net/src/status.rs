//! The status of a server, for monitoring.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::listen::{ListenerHandle, ListenerKind};
use crate::phase::Phase;
use crate::workers::Workers;

/// Observes a [`Server`](crate::Server) without keeping it alive.
#[derive(Clone)]
pub struct ServerStatus {
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) listeners: Vec<Arc<dyn ListenerHandle>>,
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

    /// Returns the number of stalled threads at the last [look](crate::StallWatch::look).
    pub fn stalled_workers(&self) -> usize {
        self.workers.stalled()
    }

    /// Returns the number of stalls detected since the start.
    pub fn worker_stalls(&self) -> u64 {
        self.workers.stalls()
    }

    /// Returns the earliest expiry of its certificates; `None` without TLS.
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.not_after(ListenerKind::Clients)
    }

    /// Returns the earliest expiry of the certificates of its WebSocket listener; `None` without one, or without TLS.
    pub fn websocket_tls_not_after(&self) -> Option<SystemTime> {
        self.not_after(ListenerKind::Websocket)
    }

    /// Returns the earliest expiry of the certificates of its routes; `None` without a cluster, or without TLS.
    pub fn cluster_tls_not_after(&self) -> Option<SystemTime> {
        self.not_after(ListenerKind::Routes)
    }

    fn not_after(&self, kind: ListenerKind) -> Option<SystemTime> {
        self.listeners.iter().find(|listener| listener.kind() == kind)?.tls_not_after()
    }
}
