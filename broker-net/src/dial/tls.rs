//! TLS over a dialled connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection::DialedConnection;
use super::error::DialError;
use super::options::DialOptions;
use super::upgrade::Upgrade;
use crate::TlsClientError;
use crate::handshake::tls::{TlsClientConfig, TlsTransport};
use crate::transport::Socket;

/// TLS of a dialer, if its options ask for it.
#[derive(Debug)]
pub(super) struct DialTls(Option<Arc<TlsClientConfig>>);

impl DialTls {
    /// Reads and checks the options for a host.
    pub(super) fn build(options: &DialOptions, host: &str) -> Result<Self, DialError> {
        let build = |options| TlsClientConfig::new(options, host).map(Arc::new);
        options.tls.as_ref().map(build).transpose().map(Self).map_err(DialError::TlsOptions)
    }

    /// Makes a connection of a stream, encrypted already if TLS comes first. `server` is for errors.
    pub(super) async fn admit(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        server: impl FnOnce() -> String,
    ) -> Result<DialedConnection, DialError> {
        let Some(config) = &self.0 else { return Ok(DialedConnection::plain(stream, remote)) };
        let socket = Arc::new(Socket::new(TlsTransport::new(stream)));
        let upgrade = Upgrade { socket: Arc::clone(&socket), config: Arc::clone(config) };
        let mut connection =
            DialedConnection { socket, remote, upgrade: Some(upgrade), security: None };
        if config.handshake_first {
            let secured = connection.secure().await;
            secured.map_err(|source| DialError::Tls { server: server(), source })?;
        }
        Ok(connection)
    }
}

impl DialedConnection {
    /// Upgrades to TLS a connection that was dialled with options for it, and is in the clear: after INFO, say.
    ///
    /// # Errors
    ///
    /// [`TlsClientError`]. The connection is of no use then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the connection is of no use: close it.
    pub async fn secure(&mut self) -> Result<(), TlsClientError> {
        let upgrade = self.upgrade.take().ok_or(TlsClientError::NotOffered)?;
        let secured = upgrade.secure().await;
        if secured.is_err() {
            // The server closes then, so that no read waits for more from it.
            let _ = self.socket.transport.shut_down_write();
        }
        self.security = Some(secured?);
        Ok(())
    }
}
