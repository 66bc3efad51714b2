//! The port for routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use broker_core::Broker;

use super::socket::{BoundSocket, ListenerGuard};
use super::{BindError, Cause, Change, ListenerHandle, ListenerKind};
use crate::apply::ApplyError;
use crate::handshake::AcceptedConnection;
use crate::handshake::route_tls::RouteSecurity;
use crate::network::{NetworkListener, NetworkPort};
use crate::options::ServerOptions;
use crate::tcp_options::TcpOptions;

/// Accepts routes. It is no [`Acceptor`](super::Acceptor): a loop of its own polls it, so that connections that wait
/// there do not delay clients.
pub(crate) struct RouteAcceptor {
    source: Source,
    security: Arc<RouteSecurity>,
}

/// The listener of routes.
enum Source {
    Port(BoundSocket),
    Network(NetworkListener),
}

/// The server's handle of the listener for routes.
#[derive(Debug)]
pub(crate) struct RouteListener {
    address: SocketAddr,
    pub(crate) security: Arc<RouteSecurity>,
}

/// Binds the port of the options, if there is one; with a place in a network, listens there instead. Puts the chosen
/// address into the options.
pub(crate) async fn bind(
    options: &mut ServerOptions,
    network: Option<&NetworkPort>,
) -> Result<Option<(RouteAcceptor, Arc<RouteListener>)>, BindError> {
    let Some(options) = &mut options.cluster else { return Ok(None) };
    let (host, port) = (options.host.clone(), options.port);
    let refuse = |cause| BindError::new(ListenerKind::Routes, host.clone(), port, cause);
    let tls = options.build_tls().map_err(|error| refuse(Cause::Tls(error)))?;
    let (source, address) = if let Some(network) = network {
        let address = network.address();
        options.host = address.ip().to_string();
        (Source::Network(network.listen()), address)
    } else {
        let socket = BoundSocket::bind(&host, port).await;
        let socket = socket.map_err(|error| refuse(Cause::Listen(error)))?;
        socket.set_options(TcpOptions::ROUTES);
        let address = socket.address();
        (Source::Port(socket), address)
    };
    options.port = address.port();
    let security = Arc::<RouteSecurity>::default();
    security.set(tls);
    let listener = Arc::new(RouteListener { address, security: Arc::clone(&security) });
    Ok(Some((RouteAcceptor { source, security }, listener)))
}

impl RouteAcceptor {
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AcceptedConnection>> {
        let security = &self.security;
        match &mut self.source {
            Source::Port(socket) => {
                let (stream, remote) = ready!(socket.poll_accept(cx))?;
                Poll::Ready(Ok(security.accept(stream, remote)))
            }
            Source::Network(listener) => listener.poll_accept(cx, security).map(Ok),
        }
    }

    /// Returns a guard that closes the port from elsewhere. A network needs none.
    pub(crate) fn guard(&self) -> Option<ListenerGuard> {
        match &self.source {
            Source::Port(socket) => Some(socket.guard()),
            Source::Network(_) => None,
        }
    }
}

impl ListenerHandle for RouteListener {
    fn kind(&self) -> ListenerKind {
        ListenerKind::Routes
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(&self, _: &Broker) -> String {
        super::local_url("nats-route", self.address)
    }

    fn prepare(&self, options: &mut ServerOptions, broker: &Broker) -> Result<Change, ApplyError> {
        // Without them the change was refused before.
        let Some(options) = &mut options.cluster else { return Ok(Box::new(|| ())) };
        let (tls, keys) = (options.build_tls()?, options.pinned_keys()?);
        options.port = self.address.port();
        let security = Arc::clone(&self.security);
        let cluster = broker.cluster().cloned();
        Ok(Box::new(move || {
            security.set(tls);
            if let Some(cluster) = cluster {
                cluster.close_unpinned(&keys);
            }
        }))
    }

    fn tls_not_after(&self) -> Option<SystemTime> {
        self.security.not_after()
    }

    fn stop(&self) {
        self.security.stop_tending();
    }

    #[cfg(feature = "testing")]
    fn admit_local(&self, transport: crate::pipe::LocalTransport, _: &Broker) -> super::Admission {
        super::Admission::Ready(self.security.accept(transport, super::PIPED))
    }
}
