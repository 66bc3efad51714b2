//! The authenticators of a server.

use std::fmt;
use std::sync::Arc;

use broker_core::auth::Authenticator;

/// The authenticators of a server's listeners.
#[derive(Clone)]
pub struct Authenticators {
    /// The authenticator of all clients.
    pub all: Arc<dyn Authenticator>,
    /// The authenticator of WebSocket clients; `None` to keep the current one.
    pub websocket: Option<Arc<dyn Authenticator>>,
}

impl fmt::Debug for Authenticators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticators").finish_non_exhaustive()
    }
}

impl From<Arc<dyn Authenticator>> for Authenticators {
    fn from(all: Arc<dyn Authenticator>) -> Self {
        Self { all, websocket: None }
    }
}
