//! Listeners. Each kind is one file: it binds, and accepts connections through an [`Acceptor`]; a reload changes it
//! through a [`ListenerHandle`].

mod bind_error;
mod custom;
mod local;
mod route;
mod socket;
mod tcp;
#[cfg(unix)]
mod unix;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use broker_core::Broker;

use crate::apply::ApplyError;
use crate::authenticators::Authenticators;
use crate::handshake::{AcceptedConnection, BoxFuture};
use crate::options::ServerOptions;
#[cfg(feature = "testing")]
use crate::pipe::LocalTransport;
use crate::reserve::RawConnection;

pub use bind_error::BindError;
pub(crate) use bind_error::Cause;
pub(crate) use custom::CustomListener;
pub use custom::{Carries, Listener};
pub(crate) use local::{LocalAcceptor, LocalSender};
pub(crate) use route::{RouteAcceptor, RouteListener, bind as bind_routes};
pub(crate) use socket::ListenerGuard;
pub use socket::listen_tcp;
pub(crate) use tcp::{ClientsListener, bind as bind_tcp};
#[cfg(unix)]
pub(crate) use unix::bind as bind_unix;

/// The pause after a failed accept; it doubles with each failure.
// NATS 2.14: 10 ms to 1 s.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(10);
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// The kind of a listener of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ListenerKind {
    /// The port for clients.
    Clients,
    /// The port for WebSocket.
    Websocket,
    /// The socket in the file system.
    Unix,
    /// The port for other servers of the cluster.
    Routes,
}

/// Accepts the connections of one listener. Dropping it closes the listener.
pub(crate) trait Acceptor: Send {
    /// Accepts a connection. Its own task reads its first bytes.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;

    /// Accepts a raw connection only to refuse it, because there are no descriptors left. Never ready for listeners
    /// whose connections take none.
    fn poll_accept_raw(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<RawConnection>> {
        Poll::Pending
    }

    /// Returns a guard that closes the listener from elsewhere.
    fn guard(&self) -> Option<ListenerGuard> {
        None
    }
}

/// A connection that was accepted and not admitted yet.
pub(crate) struct Accepted {
    /// Its remote address, for the watch on stalled connections.
    pub(crate) remote: Option<SocketAddr>,
    /// Admits it, once there is room for it.
    pub(crate) admit: Box<dyn FnOnce() -> Admission + Send>,
}

impl Accepted {
    pub(crate) fn new(
        remote: Option<SocketAddr>,
        admit: impl FnOnce() -> Admission + Send + 'static,
    ) -> Self {
        Self { remote, admit: Box::new(admit) }
    }
}

/// The way in which a connection gets its session.
pub(crate) enum Admission {
    /// The session can be opened at once.
    Ready(AcceptedConnection),
    /// The future reads the client's first bytes; it returns `None` if the client is not admitted.
    Pending(BoxFuture<'static, Option<AcceptedConnection>>),
    /// The session can be opened at once; the future carries its bytes.
    Carried(AcceptedConnection, BoxFuture<'static, ()>),
}

/// The part of a listener that the server keeps to reconfigure it and to report on it. Does not keep the broker
/// alive.
pub(crate) trait ListenerHandle: fmt::Debug + Send + Sync {
    fn kind(&self) -> ListenerKind;

    fn address(&self) -> SocketAddr;

    /// Returns the URL for clients on this machine.
    fn url(&self, broker: &Broker) -> String;

    /// Checks the options and fills in the chosen port. The returned change applies them.
    fn prepare(&self, options: &mut ServerOptions, broker: &Broker) -> Result<Change, ApplyError>;

    /// Replaces the authenticator of the listener, if it has one of its own.
    fn set_authenticator(&self, _next: &Authenticators) {}

    /// Returns the earliest expiry of the certificates that the listener presents.
    fn tls_not_after(&self) -> Option<SystemTime>;

    /// Ends the listener's background work.
    fn stop(&self);

    /// Admits a connection within the process as if it had connected to this listener.
    #[cfg(feature = "testing")]
    fn admit_local(&self, transport: LocalTransport, broker: &Broker) -> Admission;
}

/// A prepared change of a listener, which cannot fail.
pub(crate) type Change = Box<dyn FnOnce() + Send>;

/// A bound listener.
pub(crate) struct Bound {
    pub(crate) acceptor: Box<dyn Acceptor>,
    pub(crate) handle: Option<Arc<dyn ListenerHandle>>,
}

/// Returns the URL by which a client on this machine connects to the address.
pub(crate) fn local_url(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("{scheme}://127.0.0.1:{}", address.port());
    }
    format!("{scheme}://{address}")
}

/// The remote address of connections within the process that are treated as if accepted at a port.
#[cfg(feature = "testing")]
const PIPED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
