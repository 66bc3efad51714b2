//! The part of a server's builder that takes the feature `websocket`.

use std::sync::Arc;

use broker_core::auth::Authenticator;

use super::ServerBuilder;

impl ServerBuilder {
    /// Listens for WebSocket, too.
    #[must_use]
    pub fn websocket(mut self, options: crate::WebsocketOptions) -> Self {
        self.options.websocket = Some(options);
        self
    }

    /// The authenticator of clients by WebSocket, if it differs from that of the others.
    #[must_use]
    pub fn websocket_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.websocket_authenticator = Some(Arc::new(authenticator));
        self
    }
}
