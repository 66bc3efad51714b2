//! Options of a listener for WebSocket.

use std::time::Duration;

use crate::advertise::Advertise;
use crate::handshake::listener_tls::{self, BuiltTls, TlsFault, TlsOptions};
use crate::websocket::{AllowedOrigins, CookieNames, ExtraHeaders};

/// Options of a listener for WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WebsocketOptions {
    /// The host name or address to listen at. The default is `127.0.0.1`. `host`.
    pub host: String,
    /// The port to listen at; 0, the default, for any free port. `port`.
    pub port: u16,
    /// TLS beneath the frames; `None`, the default, for none. `tls`.
    #[cfg(feature = "tls-core")]
    pub tls: Option<crate::TlsOptions>,
    /// Requires pages to come from the host that they connect to. `same_origin`.
    pub same_origin: bool,
    /// Requires pages to come from one of these origins, if there are any. `allowed_origins`.
    pub allowed_origins: AllowedOrigins,
    /// Maximum time until the WebSocket is open. The default is 2 seconds. `handshake_timeout`.
    // NATS 2.14: no limit.
    pub handshake_timeout: Duration,
    /// Compresses messages for clients that offer it. `compression`.
    pub compression: bool,
    /// The names of cookies that may hold credentials. `jwt_cookie`, `user_cookie` and so on.
    pub cookies: CookieNames,
    /// Further header lines of the answer that accepts a client. `headers`.
    pub headers: ExtraHeaders,
    /// The PING interval, if it differs from that of other clients. `ping_interval`.
    pub ping_interval: Option<Duration>,
    /// The authentication timeout, if it differs from that of other clients. `authorization.timeout`.
    pub auth_timeout: Option<Duration>,
    /// The address for clients of a cluster, in place of that of the listener. `advertise`.
    pub advertise: Option<Advertise>,
    /// Other addresses for WebSocket clients: `connect_urls` of their INFO.
    pub connect_urls: Vec<String>,
}

impl Default for WebsocketOptions {
    fn default() -> Self {
        Self {
            host: String::from("127.0.0.1"),
            port: 0,
            #[cfg(feature = "tls-core")]
            tls: None,
            same_origin: false,
            allowed_origins: AllowedOrigins::default(),
            handshake_timeout: Duration::from_secs(2),
            compression: false,
            cookies: CookieNames::default(),
            headers: ExtraHeaders::default(),
            ping_interval: None,
            auth_timeout: None,
            advertise: None,
            connect_urls: Vec::new(),
        }
    }
}

impl WebsocketOptions {
    #[cfg(feature = "tls-core")]
    fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    #[cfg(not(feature = "tls-core"))]
    fn tls(&self) -> Option<&TlsOptions> {
        None
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    /// Reads and checks certificates and keys.
    pub(crate) fn build_tls(&self) -> Result<BuiltTls, TlsFault> {
        listener_tls::build(self.tls())
    }

    /// Returns the same options without TLS.
    pub(crate) fn in_the_clear(&self) -> Self {
        Self {
            #[cfg(feature = "tls-core")]
            tls: None,
            ..self.clone()
        }
    }
}
