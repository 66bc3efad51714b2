//! TLS over a dialled connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection::DialedConnection;
use super::options::DialOptions;
use crate::handshake::tls::{self, TlsClientConfig, TlsClientTransport, TlsTransport};
use crate::transport::Socket;
use crate::{TlsClientError, TlsError};

/// A socket in the clear that can be upgraded.
pub(super) struct Upgrade {
    socket: Arc<Socket<TlsClientTransport<TcpStream>>>,
    config: Arc<TlsClientConfig>,
}

/// Reads and checks the options for a host.
pub(super) fn build(
    options: &DialOptions,
    host: &str,
) -> Result<Option<Arc<TlsClientConfig>>, TlsError> {
    let build = |options| TlsClientConfig::new(options, host).map(Arc::new);
    options.tls.as_ref().map(build).transpose()
}

/// Makes a connection of a stream, encrypted already if TLS comes first.
pub(super) async fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    config: &Arc<TlsClientConfig>,
) -> Result<DialedConnection, TlsClientError> {
    let socket = Arc::new(Socket::new(TlsTransport::new(stream)));
    let upgrade = Upgrade { socket: Arc::clone(&socket) as Arc<_>, config: Arc::clone(config) };
    let mut connection =
        DialedConnection { socket, remote, upgrade: Some(upgrade), security: None };
    if config.handshake_first {
        connection.secure().await?;
    }
    Ok(connection)
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
        let secured = tls::secure(&upgrade.socket, &upgrade.config).await;
        if secured.is_err() {
            // The server closes then, so that nobody waits for more from it.
            let _ = self.socket.transport.shut_down_write();
        }
        self.security = Some(secured?);
        Ok(())
    }
}
