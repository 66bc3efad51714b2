//! What comes between a connection's arrival and the first byte that its session listens to.
//!
//! All of it runs on the connection's own task, never on the one that accepts, and each step has a
//! deadline and a bound on the bytes it holds.

#[cfg(not(feature = "tls-core"))]
pub(crate) mod no_tls;
#[cfg(feature = "tls-core")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_core::session::client::Arrival;
use broker_core::{ClientFault, Security};

#[cfg(not(feature = "tls-core"))]
pub(crate) use no_tls as listener_tls;
#[cfg(feature = "tls-core")]
pub(crate) use tls::listener as listener_tls;

use crate::transport::{Socket, Transport};

/// What a listener's connections have to pass.
#[derive(Debug, Default)]
pub(crate) struct ListenerConfig {
    pub(crate) tls: listener_tls::TlsAdmission,
    /// Connections come by a proxy, which says whom it connects for.
    proxy_protocol: AtomicBool,
}

impl ListenerConfig {
    pub(crate) fn proxy_protocol(&self) -> bool {
        self.proxy_protocol.load(Ordering::Relaxed)
    }

    pub(crate) fn set_proxy_protocol(&self, proxy_protocol: bool) {
        self.proxy_protocol.store(proxy_protocol, Ordering::Relaxed);
    }

    /// Makes of a stream what a session can be opened for.
    pub(crate) fn admit(
        self: &Arc<Self>,
        stream: impl Transport,
        remote: SocketAddr,
    ) -> AcceptedConnection {
        let arrival = Arrival { remote: Some(canonical(remote)), ..Arrival::default() };
        listener_tls::admit(self, stream, arrival)
    }
}

/// Where a socket serves both families, addresses of the older come in the clothes of the newer.
fn canonical(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

/// A connection for which a session can be opened.
pub(crate) struct AcceptedConnection {
    pub(crate) socket: Arc<Socket>,
    pub(crate) arrival: Arrival,
    /// What has to come about before the session listens.
    pub(crate) handshake: Option<Box<dyn Handshake>>,
}

impl AcceptedConnection {
    /// One that needs no handshake.
    pub(crate) fn new(stream: impl Transport, arrival: Arrival) -> Self {
        Self { socket: Arc::new(Socket::new(stream)), arrival, handshake: None }
    }
}

/// What [`Handshake`]s take some time for.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What two sides have to agree upon while there is a session already.
pub(crate) trait Handshake: Send {
    /// Does the client begin by itself? Asked only if INFO has not been sent. If not, it waits for it.
    fn client_begins(&mut self) -> BoxFuture<'_, bool>;

    /// Agrees, or does not. `None`: upon going on in the clear.
    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>>;
}

/// What was agreed upon before there was a session.
pub(crate) struct Agreed(pub(crate) Option<Security>);

impl Handshake for Agreed {
    fn client_begins(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>> {
        let security = self.0.take();
        Box::pin(async { Ok(security) })
    }
}
