//! Options of a server.

mod cluster;

use broker_core::Options;
use broker_core::limits::MAX_UNAUTHENTICATED;

use crate::advertise::Advertise;
use crate::handshake::listener_tls::{self, BuiltTls, TlsFault};
use crate::random::random_seed;

pub use cluster::ClusterListenerOptions;

/// Options of a server. The defaults suit a test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The host name or address to listen at; of a name with several addresses, the first of IPv4, else the
    /// first. The default is `127.0.0.1`.
    pub host: String,
    /// The port to listen at; 0, the default, for any free port.
    pub port: u16,
    /// The address that INFO advertises to clients, if it differs from that of the listener. `client_advertise`.
    pub client_advertise: Option<Advertise>,
    /// TLS for clients; `None`, the default, for none. `tls`.
    #[cfg(feature = "tls-core")]
    pub tls: Option<crate::TlsOptions>,
    /// The WebSocket listener; `None`, the default, for none. `websocket`.
    #[cfg(feature = "websocket")]
    pub websocket: Option<crate::WebsocketOptions>,
    /// The listener on a Unix domain socket; `None`, the default, for none. `listen_unix`.
    #[cfg(unix)]
    pub unix: Option<UnixOptions>,
    /// The listener for other servers of the cluster; `None`, the default, for a server by itself. With it or
    /// [`Options::cluster`] the server is a member of a cluster, and the other one has its defaults.
    pub cluster: Option<ClusterListenerOptions>,
    /// Expects a PROXY header of either version before each connection. Use it only for a port that only the proxy can
    /// reach: every other client could claim any address. `proxy_protocol`.
    pub proxy_protocol: bool,
    /// The limit of connections that have not authenticated, where they must, or not completed a
    /// handshake; beyond it the oldest is closed. The default is 4,096, each of which holds 16 KiB at
    /// most. It cannot change while the server runs.
    pub max_unauthenticated: usize,
    /// Options of the broker. The default has a random seed.
    pub broker: Options,
}

impl ServerOptions {
    /// Reads and checks certificates and keys.
    #[cfg(feature = "tls-core")]
    pub(crate) fn build_tls(&self) -> Result<BuiltTls, TlsFault> {
        listener_tls::build(self.tls.as_ref())
    }

    #[cfg(not(feature = "tls-core"))]
    pub(crate) fn build_tls(&self) -> Result<BuiltTls, TlsFault> {
        listener_tls::build(None)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        let broker = Options { seed: random_seed(), ..Options::default() };
        Self {
            host: String::from("127.0.0.1"),
            port: 0,
            client_advertise: None,
            #[cfg(feature = "tls-core")]
            tls: None,
            #[cfg(feature = "websocket")]
            websocket: None,
            #[cfg(unix)]
            unix: None,
            cluster: None,
            proxy_protocol: false,
            max_unauthenticated: MAX_UNAUTHENTICATED,
            broker,
        }
    }
}

/// A listener on a Unix domain socket. `listen_unix`; NATS 2.14 has none.
#[cfg(unix)]
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnixOptions {
    /// The path of the socket. A socket without a listener at this path is replaced.
    pub path: std::path::PathBuf,
    /// The permissions of the file: users that may write to it may connect. The default is `0o600`, the
    /// user of the process.
    pub mode: u32,
    /// The file's owner, by number; by default the user of the process.
    pub owner: Option<u32>,
    /// The file's group, by number; by default that of the process.
    pub group: Option<u32>,
}

#[cfg(unix)]
impl UnixOptions {
    /// Creates options for a socket that only the user of the process can use.
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o600, owner: None, group: None }
    }
}
