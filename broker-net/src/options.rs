//! What a server can be told.

use broker_core::Options;
use broker_core::limits::MAX_UNAUTHENTICATED;

use crate::advertise::Advertise;
use crate::listener;

/// What a server can be told. Take the default, which suits a test, and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The host name or address to listen at. The default is `127.0.0.1`.
    pub host: String,
    /// The port to listen at; 0, the default, for any that is free.
    pub port: u16,
    /// Where clients are told that the server is, if not where it listens. `client_advertise`.
    pub client_advertise: Option<Advertise>,
    /// TLS for those who connect; `None`, the default, for none. `tls`.
    #[cfg(feature = "tls-core")]
    pub tls: Option<crate::TlsOptions>,
    /// Where clients come in by WebSocket; `None`, the default, if nowhere. `websocket`.
    #[cfg(feature = "websocket")]
    pub websocket: Option<crate::WebsocketOptions>,
    /// Where clients come in by a socket in the file system; `None`, the default, if nowhere.
    /// `listen_unix`.
    #[cfg(unix)]
    pub unix: Option<crate::UnixOptions>,
    /// Clients come by a proxy that says whom it connects for, in either version of the PROXY protocol. Only
    /// for a port that nobody else can reach: whoever can, may say what they like. `proxy_protocol`.
    pub proxy_protocol: bool,
    /// How many connections there may be at once that have not shown yet who they are, where they must, or
    /// have not finished a handshake; past it the one that came first is cut. The default is 4,096, each of
    /// which holds 16 KiB at most. What it was at the start holds.
    pub max_unauthenticated: usize,
    /// What the broker behind it is told. The default has a random seed.
    pub broker: Options,
}

impl ServerOptions {
    /// Reads and checks what TLS is made of.
    #[cfg(feature = "tls-core")]
    pub(crate) fn build_tls(
        &self,
    ) -> Result<Option<(crate::TlsOptions, crate::TlsConfig)>, crate::TlsError> {
        let build = |options: &crate::TlsOptions| Ok((options.clone(), options.build()?));
        self.tls.as_ref().map(build).transpose()
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        let broker = Options { seed: listener::random_seed(), ..Options::default() };
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
            proxy_protocol: false,
            max_unauthenticated: MAX_UNAUTHENTICATED,
            broker,
        }
    }
}
