//! The authenticators of a server.

use std::fmt;
use std::sync::Arc;

use broker_core::auth::Authenticator;

/// Who decides who may come in.
#[derive(Clone)]
pub struct Authenticators {
    /// Of all, however they come.
    pub all: Arc<dyn Authenticator>,
    /// Of those who come by WebSocket; `None`: who decided it before.
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
