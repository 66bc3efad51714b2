//! The end of a connection to another server.

use super::RouteSession;
use crate::endpoint::Destination;
use crate::error::CloseReason;

impl RouteSession {
    /// Ends a slice of the session. Returns false when nothing is left.
    pub(super) fn depart_by_slice(&mut self, reason: CloseReason) -> bool {
        if !self.has_departed {
            self.has_departed = true;
            let reason = self.byte_queue.ending().or(self.closing).unwrap_or(reason);
            self.closing = Some(reason);
            self.endpoint.control.close();
            Destination::close(&*self.byte_queue, reason);
            crate::session::slow::log_end(&self.endpoint, &self.byte_queue, reason);
            tracing::info!(client = %self.endpoint, "Router connection closed: {reason}");
            self.byte_queue.abandon(reason);
            self.accounts.leave_all();
            self.shared.unregister_route(&self.endpoint);
            self.shared.note_route_closed(reason, self.byte_queue.is_slow());
            self.cluster.handle_lost(self.endpoint.id, &*self.shared);
        }
        self.accounts.step()
    }
}

/// The task of the connection was aborted.
impl Drop for RouteSession {
    fn drop(&mut self) {
        while self.depart_by_slice(CloseReason::ServerShutdown) {}
    }
}
