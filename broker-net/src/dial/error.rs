//! Errors of outgoing connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Reasons why an attempt to connect failed. It says what to do, and shows no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The text is no host with a port.
    #[error("{0:?} is not HOST:PORT")]
    InvalidServer(String),
    /// The options of TLS cannot be used.
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
    /// No address of the host has accepted a connection.
    #[error("cannot connect to {server}: {}", join(attempts))]
    Connect {
        /// The host and port.
        server: String,
        /// The addresses in the order in which they were tried.
        attempts: Vec<FailedAttempt>,
    },
    /// The attempt took too long as a whole.
    #[error(
        "cannot connect to {server} within {after:?}: check that it is reachable, or raise `timeout`"
    )]
    Timeout {
        /// The host and port.
        server: String,
        /// The time that it was allowed.
        after: Duration,
    },
    /// The handshake of TLS has failed.
    #[cfg(feature = "tls-core")]
    #[error("no TLS with {server}")]
    Tls {
        /// The host and port.
        server: String,
        /// The reason.
        source: crate::TlsClientError,
    },
}

/// An address that has not accepted a connection.
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
        /// The number of bytes that were allowed.
        limit: usize,
    },
    /// The connection has failed. An alert of TLS is among the sources: a server that refuses the certificate of its
    /// client says so here.
    #[error("the connection has failed")]
    Io(#[source] io::Error),
}
