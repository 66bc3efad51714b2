//! Options of outgoing connections.

use std::time::Duration;

use super::backoff::Backoff;
use crate::tcp_options::TcpOptions;

/// Options of a [`Dialer`](super::Dialer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialOptions {
    /// Maximum time for one address to answer. The default is a second.
    // NATS 2.14: DEFAULT_ROUTE_DIAL.
    pub connect_timeout: Duration,
    /// Maximum time for one attempt in all: it resolves the name, tries its addresses one after the other, and sets
    /// up TLS if that comes first. The default is 10 seconds.
    pub timeout: Duration,
    /// Options of the socket.
    pub tcp: TcpOptions,
    /// TLS; `None`, the default, for none.
    #[cfg(feature = "tls-core")]
    pub tls: Option<crate::TlsClientOptions>,
    /// The pauses of [`Dialer::next`](super::Dialer::next).
    pub backoff: Backoff,
    /// The seed of the order in which addresses are tried; by default a random one.
    pub seed: u64,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            tcp: TcpOptions::default(),
            #[cfg(feature = "tls-core")]
            tls: None,
            backoff: Backoff::default(),
            seed: crate::random::random_seed(),
        }
    }
}
