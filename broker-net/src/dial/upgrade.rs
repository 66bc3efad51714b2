//! Dialled sockets that can be upgraded to TLS.

use std::sync::Arc;

use broker_core::Security;
use tokio::net::TcpStream;

use crate::TlsClientError;
use crate::handshake::tls::{self, TlsClientConfig, TlsClientTransport};
use crate::transport::Socket;

/// A plaintext socket that can be upgraded.
pub(super) struct Upgrade {
    pub(super) socket: Arc<Socket<TlsClientTransport<TcpStream>>>,
    pub(super) config: Arc<TlsClientConfig>,
}

impl Upgrade {
    /// Runs the handshake, once.
    pub(super) async fn secure(self) -> Result<Security, TlsClientError> {
        tls::secure(&self.socket, &self.config).await
    }
}
