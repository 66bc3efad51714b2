//! The port for clients.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use broker_core::Broker;
use tokio::net::TcpStream;

use super::socket::{BoundSocket, ListenerGuard};
use super::{
    Accepted, Acceptor, Admission, BindError, Cause, Change, ListenerHandle, ListenerKind,
};
use crate::apply::ApplyError;
use crate::handshake::ListenerConfig;
use crate::handshake::listener_tls::{self, BuiltTls};
use crate::options::ServerOptions;
use crate::proxy;
use crate::reserve::RawConnection;

/// Maximum time for a proxy to send its header.
// NATS 2.14: 5 seconds.
const PROXY_HEADER: Duration = Duration::from_secs(2);

struct TcpAcceptor {
    socket: BoundSocket,
    config: Arc<ListenerConfig>,
}

/// The server's handle of the listener for clients.
#[derive(Debug)]
pub(crate) struct ClientsListener {
    address: SocketAddr,
    pub(crate) config: Arc<ListenerConfig>,
}

/// Binds the port of the options, or adopts a socket that listens already. Puts the chosen port into the options.
pub(crate) async fn bind(
    options: &mut ServerOptions,
    socket: Option<StdListener>,
    tls: BuiltTls,
    broker: &Broker,
) -> Result<(Box<dyn Acceptor>, Arc<ClientsListener>), BindError> {
    let socket = match socket {
        Some(socket) => BoundSocket::adopt(socket),
        None => BoundSocket::bind(&options.host, options.port).await,
    };
    let socket = socket.map_err(|error| BindError::of_clients(options, Cause::Listen(error)))?;
    let address = socket.address();
    options.port = address.port();
    let config = Arc::new(ListenerConfig::default());
    config.set_proxy_protocol(options.proxy_protocol);
    listener_tls::set(&config, Some(broker), tls);
    let acceptor = Box::new(TcpAcceptor { socket, config: Arc::clone(&config) });
    Ok((acceptor, Arc::new(ClientsListener { address, config })))
}

impl Acceptor for TcpAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, remote) = ready!(self.socket.poll_accept(cx))?;
        let config = Arc::clone(&self.config);
        Poll::Ready(Ok(Accepted::new(Some(remote), move || admit(config, stream, remote))))
    }

    fn poll_accept_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<RawConnection>> {
        self.socket
            .poll_accept(cx)
            .map_ok(|(stream, _)| RawConnection::tcp(stream, RawConnection::FULL))
    }

    fn guard(&self) -> Option<ListenerGuard> {
        Some(self.socket.guard())
    }
}

fn admit(config: Arc<ListenerConfig>, stream: TcpStream, remote: SocketAddr) -> Admission {
    if !config.proxy_protocol() {
        return Admission::Ready(config.admit(stream, remote));
    }
    Admission::Pending(Box::pin(async move {
        match proxy::read(&stream, PROXY_HEADER).await {
            Ok(source) => Some(config.admit(stream, source.unwrap_or(remote))),
            Err(error) => {
                tracing::warn!("Error reading PROXY protocol header from {remote}: {error}");
                None
            }
        }
    }))
}

impl ListenerHandle for ClientsListener {
    fn kind(&self) -> ListenerKind {
        ListenerKind::Clients
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(&self, broker: &Broker) -> String {
        let scheme = if broker.info().tls_required { "tls" } else { "nats" };
        super::local_url(scheme, self.address)
    }

    fn prepare(&self, options: &mut ServerOptions, broker: &Broker) -> Result<Change, ApplyError> {
        let tls = options.build_tls()?;
        options.port = self.address.port();
        let proxy_protocol = options.proxy_protocol;
        let (config, broker) = (Arc::clone(&self.config), broker.clone());
        Ok(Box::new(move || {
            listener_tls::set(&config, Some(&broker), tls);
            config.set_proxy_protocol(proxy_protocol);
        }))
    }

    fn tls_not_after(&self) -> Option<SystemTime> {
        self.config.tls.not_after()
    }

    fn stop(&self) {
        self.config.tls.stop_tending();
    }

    #[cfg(feature = "testing")]
    fn admit_local(&self, transport: crate::pipe::LocalTransport, _: &Broker) -> Admission {
        Admission::Ready(self.config.admit(transport, super::PIPED))
    }
}
