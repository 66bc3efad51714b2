//! The handshake of WebSocket: TLS if the listener has it, then one HTTP request.

mod options;
#[cfg(feature = "tls-core")]
mod plain_http;
#[cfg(feature = "tls-core")]
mod secure;

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_core::auth::Authenticator;
use broker_core::session::client::Arrival;
#[cfg(feature = "tls-core")]
use broker_core::session::client::HandshakeOrder;
use broker_core::transport::{ListenerAuthenticator, TransportInfo, Websocket, WebsocketListener};
use tokio::task::coop::consume_budget;

pub use options::WebsocketOptions;

use super::listener_tls::{self, BuiltTls};
use super::{AcceptedConnection, ListenerConfig, canonical};
#[cfg(feature = "tls-core")]
use super::{Agreed, Handshake};
use crate::transport::{Socket, Transport, poll_io, with_buffers};
use crate::websocket::{
    self, Client, ExtraHeaders, HEAD_BYTES, Refusal, Rules, WebSocketTransport,
};

/// Maximum time for a refused client to read the reason.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 64 << 10;

/// The configuration that the connections of a WebSocket listener share.
pub(crate) struct WebsocketAdmission {
    rules: Rules,
    headers: ExtraHeaders,
    timeout: Duration,
    address: SocketAddr,
    listener_config: Arc<WebsocketListener>,
    /// The authenticator of the listener.
    authenticator: ListenerAuthenticator,
    /// TLS of this listener.
    below: Arc<ListenerConfig>,
}

impl WebsocketAdmission {
    /// `address` is the bound one.
    pub(crate) fn new(
        options: &WebsocketOptions,
        address: SocketAddr,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Self {
        let is_tls = options.is_tls();
        let own = ListenerAuthenticator::default();
        own.set(authenticator);
        let listener_config = WebsocketListener {
            host: options.host.clone(),
            port: address.port(),
            is_tls,
            connect_urls: options.connect_urls.clone(),
            ping_interval: options.ping_interval,
            auth_timeout: options.auth_timeout,
            authenticator: own.clone(),
        };
        Self {
            rules: Rules {
                same_origin: options.same_origin,
                allowed_origins: options.allowed_origins.clone(),
                compression: options.compression,
                is_tls,
                cookies: options.cookies.clone(),
            },
            headers: options.headers.clone(),
            timeout: options.handshake_timeout,
            address,
            listener_config: Arc::new(listener_config),
            authenticator: own,
            below: Arc::default(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns true if its clients must use TLS: a reload does not change that.
    pub(crate) fn is_tls(&self) -> bool {
        self.listener_config.is_tls
    }

    /// Sets the configuration of TLS for later connections.
    pub(crate) fn set_tls(&self, next: BuiltTls) {
        listener_tls::set(&self.below, None, next);
    }

    /// Returns the earliest expiry of its certificates.
    pub(crate) fn tls_not_after(&self) -> Option<SystemTime> {
        self.below.tls.not_after()
    }

    pub(crate) fn stop_tending(&self) {
        self.below.tls.stop_tending();
    }

    /// Replaces the authenticator.
    pub(crate) fn set_authenticator(&self, next: Arc<dyn Authenticator>) {
        self.authenticator.set(Some(next));
    }

    /// Turns a stream into a connection that a session can be opened for; `None` if the handshake fails.
    pub(crate) async fn admit(
        &self,
        stream: impl Transport,
        remote: SocketAddr,
        max_payload_bytes: usize,
    ) -> Option<AcceptedConnection> {
        let remote = canonical(remote);
        match self.try_admit(stream, remote, max_payload_bytes).await {
            Ok(accepted) => return Some(accepted),
            Err(Failure::Refused(refusal)) => log(remote, &refusal),
            Err(Failure::Insecure) => {}
            Err(Failure::Io(error)) => tracing::debug!("{remote} - {error}"),
        }
        None
    }

    async fn try_admit(
        &self,
        stream: impl Transport,
        remote: SocketAddr,
        max_payload_bytes: usize,
    ) -> Result<AcceptedConnection, Failure> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut arrival = Arrival { remote: Some(remote), ..Arrival::default() };
        #[cfg(feature = "tls-core")]
        if let Some(config) = self.below.tls.config() {
            arrival.is_mapped = config.maps();
            let securing = secure::secure(&self.below, stream, config, remote, deadline);
            let (socket, security) = securing.await.ok_or(Failure::Insecure)?;
            let upgrading = self.upgrade_until(deadline, socket, max_payload_bytes);
            let (socket, websocket) = upgrading.await?;
            arrival.handshake = HandshakeOrder::BeforeInfo;
            arrival.transport = TransportInfo::Websocket(Arc::new(websocket));
            let handshake: Box<dyn Handshake> = Box::new(Agreed(Some(security)));
            return Ok(AcceptedConnection { socket, arrival, handshake: Some(handshake) });
        }
        let (socket, websocket) = self.upgrade_until(deadline, stream, max_payload_bytes).await?;
        arrival.transport = TransportInfo::Websocket(Arc::new(websocket));
        Ok(AcceptedConnection { socket, arrival, handshake: None })
    }

    async fn upgrade_until<T: Transport>(
        &self,
        deadline: tokio::time::Instant,
        lower: T,
        max_payload_bytes: usize,
    ) -> Result<(Arc<Socket>, Websocket), Failure> {
        let upgrading = self.upgrade(lower, max_payload_bytes);
        let upgraded = tokio::time::timeout_at(deadline, upgrading).await;
        upgraded.unwrap_or(Err(Failure::Refused(Refusal::Timeout)))
    }

    /// Reads the request, and answers it.
    async fn upgrade<T: Transport>(
        &self,
        lower: T,
        max_payload_bytes: usize,
    ) -> Result<(Arc<Socket>, Websocket), Failure> {
        let client = match self.read_request(&lower).await? {
            Ok(client) => client,
            Err(refusal) => {
                write_all(&lower, &websocket::refuse(&refusal)).await?;
                let socket: Arc<Socket> = Arc::new(Socket::new(lower));
                socket.linger(LINGER, LINGER_BYTES).await;
                return Err(Failure::Refused(refusal));
            }
        };
        write_all(&lower, &websocket::accept(&client, &self.headers)).await?;
        let socket = Socket::new(WebSocketTransport::new(lower, &client, max_payload_bytes));
        let websocket = Websocket {
            cookies: client.cookies,
            forwarded_for: client.forwarded_for,
            listener: Arc::clone(&self.listener_config),
        };
        Ok((Arc::new(socket), websocket))
    }

    async fn read_request(&self, lower: &impl Transport) -> io::Result<Result<Client, Refusal>> {
        let mut head = Vec::new();
        loop {
            read_some(lower, &mut head).await?;
            match websocket::parse(&head, &self.rules) {
                Ok(None) => {}
                // NATS 2.14: a client may send nothing before it has the answer.
                Ok(Some(parsed)) if parsed.used < head.len() => return Ok(Err(Refusal::Early)),
                Ok(Some(parsed)) => return Ok(Ok(parsed.client)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }
}

/// Appends input, up to the size of the largest request.
async fn read_some(lower: &impl Transport, head: &mut Vec<u8>) -> io::Result<()> {
    let room = HEAD_BYTES.saturating_sub(head.len());
    // Through the thread's buffer: most requests arrive in one piece.
    let mut read = || {
        with_buffers(|buffers| {
            let room = &mut buffers.read[..room];
            let len = lower.try_read(room)?;
            head.reserve_exact(len);
            head.extend_from_slice(&room[..len]);
            Ok::<_, io::Error>(len)
        })
    };
    let len = poll_fn(|cx| poll_io(cx, |cx| lower.poll_read_ready(cx), &mut read)).await?;
    consume_budget().await;
    if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

async fn write_all(lower: &impl Transport, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let write = || lower.try_write(&[IoSlice::new(bytes)]);
        let len = poll_fn(|cx| poll_io(cx, |cx| lower.poll_write_ready(cx), write)).await?;
        if len == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[len..];
        consume_budget().await;
    }
    poll_fn(|cx| lower.poll_unsent(cx)).await;
    Ok(())
}

/// Reasons why a handshake failed.
enum Failure {
    Refused(Refusal),
    /// TLS failed, and the reason was logged.
    #[cfg_attr(not(feature = "tls-core"), expect(dead_code, reason = "there is none to fail"))]
    Insecure,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn log(remote: SocketAddr, refusal: &Refusal) {
    match refusal {
        // NATS 2.14: port probes are not logged as errors.
        Refusal::Malformed | Refusal::TooLarge | Refusal::NoHost | Refusal::Timeout => {
            tracing::debug!("{remote} - websocket handshake error: {refusal}");
        }
        _ => tracing::error!("{remote} - websocket handshake error: {refusal}"),
    }
}

impl fmt::Debug for WebsocketAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketAdmission")
            .field("listener", &self.listener_config)
            .finish_non_exhaustive()
    }
}
