//! Handshakes: everything between accepting a connection and the first input of its session.
//!
//! All of it runs on the connection's own task, never on the accept task, and each step has a deadline and a bound on
//! the bytes it holds.

#[cfg(not(feature = "tls-core"))]
pub(crate) mod no_route_tls;
#[cfg(not(feature = "tls-core"))]
pub(crate) mod no_tls;
#[cfg(feature = "tls-core")]
pub(crate) mod route_tls;
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
pub(crate) use no_route_tls as route_tls;
#[cfg(not(feature = "tls-core"))]
pub(crate) use no_tls as listener_tls;
#[cfg(feature = "tls-core")]
pub(crate) use tls::listener as listener_tls;

use crate::transport::{Socket, Transport};

/// The configuration that the connections of a listener share.
#[derive(Debug, Default)]
pub(crate) struct ListenerConfig {
    pub(crate) tls: listener_tls::TlsAdmission,
    /// Connections begin with a PROXY header.
    proxy_protocol: AtomicBool,
}

impl ListenerConfig {
    pub(crate) fn proxy_protocol(&self) -> bool {
        self.proxy_protocol.load(Ordering::Relaxed)
    }

    pub(crate) fn set_proxy_protocol(&self, proxy_protocol: bool) {
        self.proxy_protocol.store(proxy_protocol, Ordering::Relaxed);
    }

    /// Turns a stream into a connection that a session can be opened for.
    pub(crate) fn admit(
        self: &Arc<Self>,
        stream: impl Transport,
        remote: SocketAddr,
    ) -> AcceptedConnection {
        let arrival = Arrival { remote: Some(canonical(remote)), ..Arrival::default() };
        listener_tls::admit(self, stream, arrival)
    }
}

/// Converts an IPv4 address mapped into IPv6, as a socket that serves both families reports it.
fn canonical(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

/// A connection for which a session can be opened.
pub(crate) struct AcceptedConnection {
    pub(crate) socket: Arc<Socket>,
    pub(crate) arrival: Arrival,
    /// The handshake before the first input of the session.
    pub(crate) handshake: Option<Box<dyn Handshake>>,
}

impl AcceptedConnection {
    /// Creates a connection that needs no handshake.
    pub(crate) fn new(stream: impl Transport, arrival: Arrival) -> Self {
        Self { socket: Arc::new(Socket::new(stream)), arrival, handshake: None }
    }
}

/// The futures of a [`Handshake`].
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A handshake that runs while the session is already open.
pub(crate) trait Handshake: Send {
    /// Returns true if the client begins before INFO was sent; false if it waits for INFO.
    fn client_begins(&mut self) -> BoxFuture<'_, bool>;

    /// Runs the handshake. Returns `None` if the connection stays in the clear.
    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>>;
}

/// A handshake that was complete before the session was opened.
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
