//! Stands in for TLS of a dialer in a build without TLS.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::connection::DialedConnection;
use super::error::DialError;
use super::options::DialOptions;

/// The TLS configuration of a dialer; none in this build.
#[derive(Debug)]
pub(super) struct DialTls;

impl DialTls {
    pub(super) fn build(_: &DialOptions, _: &str) -> Result<Self, DialError> {
        Ok(Self)
    }

    pub(super) async fn admit(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        _: impl FnOnce() -> String,
    ) -> Result<DialedConnection, DialError> {
        Ok(DialedConnection::plain(stream, remote))
    }
}
