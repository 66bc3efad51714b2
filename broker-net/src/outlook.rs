//! What is seen of a server by those who watch it.

use std::sync::Arc;
#[cfg(feature = "tls-core")]
use std::time::SystemTime;

use tokio::sync::watch;

use crate::handshake::Entrance;
#[cfg(feature = "websocket")]
use crate::handshake::websocket::Hatch;
use crate::server::Phase;
use crate::workers::Workers;

/// Looks at a [`Server`](crate::Server), without keeping it alive.
#[derive(Clone)]
pub struct Outlook {
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) workers: Arc<Workers>,
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) entrance: Arc<Entrance>,
    #[cfg(feature = "websocket")]
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) hatch: Option<Arc<Hatch>>,
}

impl std::fmt::Debug for Outlook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlook").field("phase", &*self.phase.borrow()).finish_non_exhaustive()
    }
}

impl Outlook {
    /// Does it take connections now? Not once it drains, is a lame duck, shuts down or was dropped.
    pub fn is_accepting(&self) -> bool {
        self.phase.has_changed().is_ok() && *self.phase.borrow() == Phase::Serving
    }

    /// How many threads were held by a connection when somebody [looked](crate::StallWatch::look) last.
    pub fn stalled_workers(&self) -> usize {
        self.workers.stalled()
    }

    /// How often a thread was found to be.
    pub fn worker_stalls(&self) -> u64 {
        self.workers.stalls()
    }

    /// Until when its certificates hold: the end of the first that ends.
    #[cfg(feature = "tls-core")]
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.entrance.tls.config()?.not_after()
    }

    /// Until when the certificates hold that it shows to those who come by WebSocket.
    #[cfg(all(feature = "tls-core", feature = "websocket"))]
    pub fn websocket_tls_not_after(&self) -> Option<SystemTime> {
        self.hatch.as_ref()?.tls_not_after()
    }
}
