//! What is seen of a server by those who watch it.

use std::sync::Arc;
#[cfg(feature = "tls-core")]
use std::time::SystemTime;

use tokio::sync::watch;

use crate::handshake::ListenerConfig;
#[cfg(feature = "websocket")]
use crate::handshake::websocket::WebsocketAcceptor;
use crate::phase::Phase;

/// Looks at a [`Server`](crate::Server), without keeping it alive.
#[derive(Clone)]
pub struct ServerStatus {
    pub(crate) phase: watch::Receiver<Phase>,
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) listener_config: Arc<ListenerConfig>,
    #[cfg(feature = "websocket")]
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "it has only TLS to show"))]
    pub(crate) websocket_acceptor: Option<Arc<WebsocketAcceptor>>,
}

impl std::fmt::Debug for ServerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlook").field("phase", &*self.phase.borrow()).finish_non_exhaustive()
    }
}

impl ServerStatus {
    /// Does it take connections now? Not once it drains, is a lame duck, shuts down or was dropped.
    pub fn is_accepting(&self) -> bool {
        self.phase.has_changed().is_ok() && *self.phase.borrow() == Phase::Serving
    }

    /// Until when its certificates hold: the end of the first that ends.
    #[cfg(feature = "tls-core")]
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.listener_config.tls.config()?.not_after()
    }

    /// Until when the certificates hold that it shows to those who come by WebSocket.
    #[cfg(all(feature = "tls-core", feature = "websocket"))]
    pub fn websocket_tls_not_after(&self) -> Option<SystemTime> {
        self.websocket_acceptor.as_ref()?.tls_not_after()
    }
}
