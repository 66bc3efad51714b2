//! The methods of a server's builder for WebSocket.

use std::sync::Arc;

use broker_core::auth::Authenticator;

use super::ServerBuilder;

impl ServerBuilder {
    /// Also listens for WebSocket clients.
    #[must_use]
    pub fn websocket(mut self, options: crate::WebsocketOptions) -> Self {
        self.options.websocket = Some(options);
        self
    }

    /// Sets the authenticator of WebSocket clients, if it differs from that of the others.
    #[must_use]
    pub fn websocket_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.websocket_authenticator = Some(Arc::new(authenticator));
        self
    }
}
