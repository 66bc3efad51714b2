//! What brings a client's bytes, as far as it makes a difference to its session.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::auth::{Authenticator, ConnectionKind, Credentials, Secret};
use crate::proto::Info;
use crate::sync::Arc;

/// What brings a client's bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TransportInfo {
    /// TCP, with TLS or without.
    #[default]
    Tcp,
    /// Frames of WebSocket.
    Websocket(Arc<Websocket>),
    /// A socket in the file system.
    Unix,
    /// The process's own memory.
    Memory,
    /// Something that the broker knows nothing of: a program that embeds it has brought it. Whether it is
    /// encrypted is its own affair.
    Stream,
}

/// A client that came by WebSocket.
#[derive(Clone, Debug, Default)]
pub struct Websocket {
    /// What its cookies show, for what CONNECT does not.
    pub cookies: Cookies,
    /// Whom a proxy says that it connects for.
    pub forwarded_for: Option<IpAddr>,
    /// Where it came in.
    pub listener: Arc<WebsocketListener>,
}

/// Credentials in cookies, empty where there are none.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    /// A user's JWT.
    pub jwt: Secret,
    /// A user's name.
    pub user: String,
    /// A password.
    pub password: Secret,
    /// A token.
    pub token: Secret,
}

/// What all have in common that come by one listener for WebSocket.
#[derive(Clone, Default)]
pub struct WebsocketListener {
    /// What INFO calls the server's host.
    pub host: String,
    /// What INFO calls its port.
    pub port: u16,
    /// Are the frames within TLS?
    pub is_tls: bool,
    /// Where else such a client can connect to.
    pub connect_urls: Vec<String>,
    /// How often such a client is asked whether it is there, if not as often as others.
    pub ping_interval: Option<Duration>,
    /// How long it may take to show who it is, if not as long as others.
    pub auth_timeout: Option<Duration>,
    /// Who decides who may come in, if not who decides for others.
    pub authenticator: ListenerAuthenticator,
}

/// Who decides in place of who decides for others, if anybody does. Clones are one: what is set holds
/// for the next decision, also of those who are here.
#[derive(Clone, Default)]
pub struct ListenerAuthenticator(Arc<ArcSwapOption<Box<dyn Authenticator>>>);

impl ListenerAuthenticator {
    /// From now on it is this one; `None`: who decides for others.
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

    /// As monitoring calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Websocket(_) => "websocket",
            Self::Unix => "unix",
            Self::Memory => "memory",
            Self::Stream => "stream",
        }
    }

    /// What users can be bound to.
    pub fn kind(&self) -> ConnectionKind {
        match self {
            Self::Tcp | Self::Unix | Self::Stream => ConnectionKind::Standard,
            Self::Websocket(_) => ConnectionKind::Websocket,
            Self::Memory => ConnectionKind::InProcess,
        }
    }

    /// What INFO says otherwise to who comes this way.
    // NATS 2.14: client.go generateClientInfoJSON.
    pub(crate) fn change_info(&self, info: &mut Info) {
        match self {
            Self::Tcp => {}
            Self::Websocket(websocket) => {
                let listener = &websocket.listener;
                info.host.clone_from(&listener.host);
                info.port = listener.port;
                info.tls_required = listener.is_tls;
                info.tls_available = listener.is_tls;
                if info.ldm {
                    info.connect_urls.clear();
                } else {
                    info.connect_urls.clone_from(&listener.connect_urls);
                }
            }
            Self::Unix | Self::Memory | Self::Stream => {
                info.tls_required = false;
                info.tls_available = false;
                info.tls_verify = false;
            }
        }
    }

    /// What the client has shown by what brought it counts where CONNECT says nothing.
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
