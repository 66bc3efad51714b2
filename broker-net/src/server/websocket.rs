//! What the builder of a server has with WebSocket only.

use std::sync::Arc;

use broker_core::auth::Authenticator;

use super::ServerBuilder;

impl ServerBuilder {
    /// Has clients come in by WebSocket, too.
    #[must_use]
    pub fn websocket(mut self, options: crate::WebsocketOptions) -> Self {
        self.options.websocket = Some(options);
        self
    }

    /// Who may come in by WebSocket, if others decide that than for the rest.
    #[must_use]
    pub fn websocket_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.websocket_authenticator = Some(Arc::new(authenticator));
        self
    }
}
