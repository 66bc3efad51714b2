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

/// The TLS configuration of a dialer; `None` if its options do not set one.
#[derive(Debug)]
pub(super) struct DialTls(Option<Arc<TlsClientConfig>>);

impl DialTls {
    /// Reads and checks the options for a host.
    pub(super) fn build(options: &DialOptions, host: &str) -> Result<Self, DialError> {
        let build = |options| TlsClientConfig::new(options, host).map(Arc::new);
        options.tls.as_ref().map(build).transpose().map(Self).map_err(DialError::TlsOptions)
    }

    /// Makes a connection from a stream; runs the TLS handshake first if TLS comes first. `server` is for errors.
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
    /// Upgrades to TLS a connection in the clear that was dialled with options for TLS: after INFO, for instance.
    ///
    /// # Errors
    ///
    /// [`TlsClientError`]. The connection is unusable then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the connection is unusable: close it.
    pub async fn secure(&mut self) -> Result<(), TlsClientError> {
        let upgrade = self.upgrade.take().ok_or(TlsClientError::NotOffered)?;
        let secured = upgrade.secure().await;
        if secured.is_err() {
            // Makes the server close, so that no read waits for more from it.
            let _ = self.socket.transport.shut_down_write();
        }
        self.security = Some(secured?);
        Ok(())
    }
}
