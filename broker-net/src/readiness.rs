//! Whether a server takes connections, for those who watch it.

use tokio::sync::watch;

use crate::server::Phase;

/// Tells whether a [`Server`](crate::Server) takes connections, without keeping it alive.
#[derive(Clone, Debug)]
pub struct Readiness(pub(crate) watch::Receiver<Phase>);

impl Readiness {
    /// Does it take connections now? Not once it drains, is a lame duck, shuts down or was dropped.
    pub fn is_accepting(&self) -> bool {
        self.0.has_changed().is_ok() && *self.0.borrow() == Phase::Serving
    }
}
