//! The port for routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use broker_core::Broker;
use tokio::net::TcpStream;

use super::socket::{BoundSocket, ListenerGuard};
use super::{BindError, Cause, Change, ListenerHandle, ListenerKind};
use crate::apply::ApplyError;
use crate::handshake::AcceptedConnection;
use crate::handshake::route_tls::RouteSecurity;
use crate::options::ServerOptions;
use crate::tcp_options::TcpOptions;

/// Accepts routes. It is no [`Acceptor`](super::Acceptor): a loop of its own polls it, so that connections that wait
/// there do not delay clients.
pub(crate) struct RouteAcceptor {
    socket: BoundSocket,
    security: Arc<RouteSecurity>,
}

/// The server's handle of the listener for routes.
#[derive(Debug)]
pub(crate) struct RouteListener {
    address: SocketAddr,
    pub(crate) security: Arc<RouteSecurity>,
}

/// Binds the port of the options, if there is one. Puts the chosen port into the options.
pub(crate) async fn bind(
    options: &mut ServerOptions,
) -> Result<Option<(RouteAcceptor, Arc<RouteListener>)>, BindError> {
    let Some(options) = &mut options.cluster else { return Ok(None) };
    let (host, port) = (options.host.clone(), options.port);
    let refuse = |cause| BindError::new(ListenerKind::Routes, host.clone(), port, cause);
    let tls = options.build_tls().map_err(|error| refuse(Cause::Tls(error)))?;
    let socket = BoundSocket::bind(&host, port).await;
    let socket = socket.map_err(|error| refuse(Cause::Listen(error)))?;
    socket.set_options(TcpOptions::ROUTES);
    let address = socket.address();
    options.port = address.port();
    let security = Arc::<RouteSecurity>::default();
    security.set(tls);
    let listener = Arc::new(RouteListener { address, security: Arc::clone(&security) });
    Ok(Some((RouteAcceptor { socket, security }, listener)))
}

impl RouteAcceptor {
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.socket.poll_accept(cx)
    }

    pub(crate) fn admit(&self, stream: TcpStream, remote: SocketAddr) -> AcceptedConnection {
        self.security.accept(stream, remote)
    }

    pub(crate) fn guard(&self) -> ListenerGuard {
        self.socket.guard()
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
