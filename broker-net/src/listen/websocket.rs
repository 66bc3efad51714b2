//! The port for WebSocket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use broker_core::Broker;
use broker_core::auth::Authenticator;

use super::socket::{BoundSocket, ListenerGuard};
use super::{
    Accepted, Acceptor, Admission, BindError, Bound, Cause, Change, ListenerHandle, ListenerKind,
};
use crate::apply::ApplyError;
use crate::authenticators::Authenticators;
use crate::handshake::websocket::WebsocketAdmission;
use crate::options::ServerOptions;
use crate::reserve::RawConnection;
use crate::transport::Transport;

/// The answer to a client that cannot be served. Within TLS it cannot be sent.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

struct WebsocketAcceptor {
    socket: BoundSocket,
    admission: Arc<WebsocketAdmission>,
    broker: Broker,
}

/// The server's handle of the listener for WebSocket.
#[derive(Debug)]
struct WebsocketListener(Arc<WebsocketAdmission>);

/// Binds the port of the options, if there is one. Puts the chosen port into the options.
pub(crate) async fn bind(
    options: &mut ServerOptions,
    authenticator: Option<Arc<dyn Authenticator>>,
    broker: &Broker,
) -> Result<Option<Bound>, BindError> {
    let Some(options) = &mut options.websocket else { return Ok(None) };
    let (host, port) = (options.host.clone(), options.port);
    let refuse = |cause| BindError::new(ListenerKind::Websocket, host.clone(), port, cause);
    let tls = options.build_tls().map_err(|error| refuse(Cause::Tls(error)))?;
    let socket = BoundSocket::bind(&host, port).await;
    let socket = socket.map_err(|error| refuse(Cause::Listen(error)))?;
    options.port = socket.address().port();
    let admission = Arc::new(WebsocketAdmission::new(options, socket.address(), authenticator));
    admission.set_tls(tls);
    let handle = Arc::new(WebsocketListener(Arc::clone(&admission)));
    let acceptor = WebsocketAcceptor { socket, admission, broker: broker.clone() };
    Ok(Some(Bound { acceptor: Box::new(acceptor), handle: Some(handle) }))
}

impl Acceptor for WebsocketAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, remote) = ready!(self.socket.poll_accept(cx))?;
        let (admission, broker) = (Arc::clone(&self.admission), self.broker.clone());
        let admit = move || admit(admission, stream, remote, &broker);
        Poll::Ready(Ok(Accepted::new(Some(remote), admit)))
    }

    fn poll_accept_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<RawConnection>> {
        let last_words = if self.admission.is_tls() { b"" } else { FULL };
        self.socket.poll_accept(cx).map_ok(|(stream, _)| RawConnection::tcp(stream, last_words))
    }

    fn guard(&self) -> Option<ListenerGuard> {
        Some(self.socket.guard())
    }
}

fn admit(
    admission: Arc<WebsocketAdmission>,
    stream: impl Transport,
    remote: SocketAddr,
    broker: &Broker,
) -> Admission {
    let max_payload_bytes = broker.options().limits.max_payload_bytes;
    let admitting = async move { admission.admit(stream, remote, max_payload_bytes).await };
    Admission::Pending(Box::pin(admitting))
}

impl ListenerHandle for WebsocketListener {
    fn kind(&self) -> ListenerKind {
        ListenerKind::Websocket
    }

    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn url(&self, _: &Broker) -> String {
        let scheme = if self.0.is_tls() { "wss" } else { "ws" };
        super::local_url(scheme, self.0.address())
    }

    fn prepare(&self, options: &mut ServerOptions, _: &Broker) -> Result<Change, ApplyError> {
        // Without them the change was refused before.
        let Some(options) = &mut options.websocket else { return Ok(Box::new(|| ())) };
        let tls = options.build_tls()?;
        options.port = self.0.address().port();
        let admission = Arc::clone(&self.0);
        Ok(Box::new(move || admission.set_tls(tls)))
    }

    fn set_authenticator(&self, next: &Authenticators) {
        if let Some(next) = &next.websocket {
            self.0.set_authenticator(Arc::clone(next));
        }
    }

    fn tls_not_after(&self) -> Option<SystemTime> {
        self.0.tls_not_after()
    }

    fn stop(&self) {
        self.0.stop_tending();
    }

    #[cfg(feature = "testing")]
    fn admit_local(&self, transport: crate::pipe::LocalTransport, broker: &Broker) -> Admission {
        admit(Arc::clone(&self.0), transport, super::PIPED, broker)
    }
}
