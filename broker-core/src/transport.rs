//! Transports, as far as sessions depend on them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::auth::{Authenticator, ConnectionKind, Credentials, Secret};
use crate::proto::Info;
use crate::sync::Arc;

/// The transport of a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TransportInfo {
    /// TCP, with or without TLS.
    #[default]
    Tcp,
    /// WebSocket.
    Websocket(Arc<Websocket>),
    /// A Unix domain socket.
    Unix,
    /// Memory of the process.
    Memory,
    /// A stream of the embedding program, which is responsible for encryption.
    Stream,
}

/// The level of the compression of a connection to another server: S2, as nats-server compresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CompressionLevel {
    /// Chunks with checksums, and no compression.
    Uncompressed,
    /// The fastest.
    Fast,
    /// Smaller, at about half the speed.
    Better,
    /// The smallest, at about a tenth of the speed.
    Best,
}

/// A WebSocket connection.
#[derive(Clone, Debug, Default)]
pub struct Websocket {
    /// Credentials in cookies, for fields that CONNECT leaves empty.
    pub cookies: Cookies,
    /// The address of the client as a proxy reports it.
    pub forwarded_for: Option<IpAddr>,
    /// The listener that accepted it.
    pub listener: Arc<WebsocketListener>,
}

/// Credentials in cookies; empty fields for none.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    /// The JWT of a user.
    pub jwt: Secret,
    /// The name of a user.
    pub user: String,
    /// A password.
    pub password: Secret,
    /// A token.
    pub token: Secret,
}

/// The options of a WebSocket listener that its connections share.
#[derive(Clone, Default)]
pub struct WebsocketListener {
    /// The host in INFO.
    pub host: String,
    /// The port in INFO.
    pub port: u16,
    /// True if the listener uses TLS.
    pub is_tls: bool,
    /// Other addresses for WebSocket clients, in INFO.
    pub connect_urls: Vec<String>,
    /// The PING interval, if it differs from that of other connections.
    pub ping_interval: Option<Duration>,
    /// The authentication timeout, if it differs from that of other connections.
    pub auth_timeout: Option<Duration>,
    /// The authenticator, if it differs from that of other connections.
    pub authenticator: ListenerAuthenticator,
}

/// The authenticator of a listener. Clones share it: a replacement takes effect for all of them, and reviews
/// connected clients.
#[derive(Clone, Default)]
pub struct ListenerAuthenticator(Arc<ArcSwapOption<Box<dyn Authenticator>>>);

impl ListenerAuthenticator {
    /// Replaces the authenticator; `None` for that of the broker.
    pub fn set(&self, next: Option<Arc<dyn Authenticator>>) {
        self.0.store(next.map(|next| Arc::new(Box::new(next) as Box<_>)));
    }

    fn get(&self) -> Option<Arc<Box<dyn Authenticator>>> {
        self.0.load_full()
    }
}

impl fmt::Debug for ListenerAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnAuthenticator").field(&self.0.load().is_some()).finish()
    }
}

impl fmt::Debug for WebsocketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, is_tls, .. } = self;
        f.debug_struct("WebsocketEntrance")
            .field("host", host)
            .field("port", port)
            .field("is_tls", is_tls)
            .finish_non_exhaustive()
    }
}

impl TransportInfo {
    fn listener(&self) -> Option<&WebsocketListener> {
        match self {
            Self::Websocket(websocket) => Some(&websocket.listener),
            Self::Tcp | Self::Unix | Self::Memory | Self::Stream => None,
        }
    }

    pub(crate) fn authenticator(&self) -> Option<Arc<Box<dyn Authenticator>>> {
        self.listener()?.authenticator.get()
    }

    pub(crate) fn ping_interval(&self) -> Option<Duration> {
        self.listener()?.ping_interval
    }

    pub(crate) fn auth_timeout(&self) -> Option<Duration> {
        self.listener()?.auth_timeout
    }

    /// Returns its name in monitoring.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Websocket(_) => "websocket",
            Self::Unix => "unix",
            Self::Memory => "memory",
            Self::Stream => "stream",
        }
    }

    /// Returns the connection kind that users can be restricted to.
    pub fn kind(&self) -> ConnectionKind {
        match self {
            Self::Tcp | Self::Unix | Self::Stream => ConnectionKind::Standard,
            Self::Websocket(_) => ConnectionKind::Websocket,
            Self::Memory => ConnectionKind::InProcess,
        }
    }

    /// Changes INFO for this transport. `websocket_urls`: the addresses for its clients, if a cluster knows them.
    // NATS 2.14: client.go generateClientInfoJSON.
    pub(crate) fn change_info(&self, info: &mut Info, websocket_urls: Option<&[String]>) {
        match self {
            Self::Tcp => {}
            Self::Websocket(websocket) => {
                let listener = &websocket.listener;
                info.host.clone_from(&listener.host);
                info.port = listener.port;
                info.tls_required = listener.is_tls;
                info.tls_available = listener.is_tls;
                // NATS 2.14: server.go sendLDMToClients.
                let own = if info.ldm { &[][..] } else { &listener.connect_urls[..] };
                info.connect_urls =
                    websocket_urls.filter(|urls| !urls.is_empty()).unwrap_or(own).to_vec();
            }
            Self::Unix | Self::Memory | Self::Stream => {
                info.tls_required = false;
                info.tls_available = false;
                info.tls_verify = false;
            }
        }
    }

    /// Fills empty credentials from the transport.
    // NATS 2.14: client.go processConnect.
    pub(crate) fn complete(&self, credentials: &mut Credentials) {
        let Self::Websocket(websocket) = self else { return };
        let Cookies { jwt, user, password, token } = &websocket.cookies;
        if credentials.user.is_empty() {
            credentials.user.clone_from(user);
        }
        for (shown, cookie) in [
            (&mut credentials.jwt, jwt),
            (&mut credentials.password, password),
            (&mut credentials.token, token),
        ] {
            if shown.is_empty() {
                shown.clone_from(cookie);
            }
        }
    }
}
