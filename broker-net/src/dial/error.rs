//! Errors of outgoing connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Reasons why an attempt to connect failed. The text suggests a remedy, and shows no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The text is not a host with a port.
    #[error("{0:?} is not HOST:PORT")]
    InvalidServer(String),
    /// The TLS options are invalid.
    #[cfg(feature = "tls-core")]
    #[error("TLS cannot be used")]
    TlsOptions(#[source] crate::TlsError),
    /// The host name is unknown, or no DNS server has answered.
    #[error("cannot resolve {host:?}: check the name, and the DNS of this machine")]
    Resolve {
        /// The name.
        host: String,
        /// The reason.
        source: io::Error,
    },
    /// The host name has no address.
    #[error("{host:?} has no address: check its DNS records")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// No address of the host accepted a connection.
    #[error("cannot connect to {server}: {}", join(attempts))]
    Connect {
        /// The host and port.
        server: String,
        /// The addresses in the order of the attempts.
        attempts: Vec<FailedAttempt>,
    },
    /// The attempt as a whole took too long.
    #[error(
        "cannot connect to {server} within {after:?}: check that it is reachable, or raise `timeout`"
    )]
    Timeout {
        /// The host and port.
        server: String,
        /// The time allowed.
        after: Duration,
    },
    /// The TLS handshake failed.
    #[cfg(feature = "tls-core")]
    #[error("no TLS with {server}")]
    Tls {
        /// The host and port.
        server: String,
        /// The reason.
        source: crate::TlsClientError,
    },
}

/// An address that did not accept a connection.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {error}")]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The address.
    pub address: SocketAddr,
    /// The reason; of kind [`TimedOut`](io::ErrorKind::TimedOut) if it did not answer in time.
    pub error: io::Error,
}

fn join(attempts: &[FailedAttempt]) -> String {
    attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Reasons why [`DialedConnection::read_line`](super::DialedConnection::read_line) returned no line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadLineError {
    /// The connection ended before the end of the line.
    #[error("the server has closed the connection before the end of a line")]
    Closed,
    /// The line is too long.
    #[error("the server has sent a line of more than {limit} bytes: it may speak another protocol")]
    TooLong {
        /// The maximum number of bytes.
        limit: usize,
    },
    /// The connection failed. A TLS alert is among the sources: by it a server reports that it refuses the
    /// certificate of its client.
    #[error("the connection has failed")]
    Io(#[source] io::Error),
}
