//! From a stream to frames of WebSocket: TLS if there is to be, then one request of HTTP.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::Authenticator;
use broker_core::session::client::Arrival;
#[cfg(feature = "tls-core")]
use broker_core::session::client::HandshakeOrder;
use broker_core::transport::{ListenerAuthenticator, TransportInfo, Websocket, WebsocketListener};
#[cfg(feature = "tls-core")]
use broker_core::{ClientFault, Security};
use tokio::task::coop::consume_budget;

#[cfg(feature = "tls-core")]
use super::tls::TlsTransport;
use super::{AcceptedConnection, canonical};
#[cfg(feature = "tls-core")]
use super::{BoxFuture, Handshake, ListenerConfig, plain_http, tls};
use crate::transport::{Socket, Transport, poll_io, with_buffers};
use crate::websocket::{
    self, AllowedOrigins, Client, CookieNames, ExtraHeaders, HEAD_BYTES, Refusal, Rules,
    WebSocketTransport,
};

/// How long a client that was refused may take to read why.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 64 << 10;

/// Where clients come in by WebSocket, and which.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WebsocketOptions {
    /// The host name or address to listen at. The default is `127.0.0.1`. `host`.
    pub host: String,
    /// The port to listen at; 0, the default, for any that is free. `port`.
    pub port: u16,
    /// TLS beneath the frames; `None`, the default, for none. `tls`.
    #[cfg(feature = "tls-core")]
    pub tls: Option<crate::TlsOptions>,
    /// A page must come from the host that it connects to. `same_origin`.
    pub same_origin: bool,
    /// A page must come from one of these, if there are any. `allowed_origins`.
    pub allowed_origins: AllowedOrigins,
    /// How long a client may take until frames go both ways. The default is 2 seconds.
    /// `handshake_timeout`.
    // NATS 2.14: as long as it likes.
    pub handshake_timeout: Duration,
    /// Messages are compressed for clients that offer it. `compression`.
    pub compression: bool,
    /// The names of cookies that may hold credentials. `jwt_cookie`, `user_cookie` and so on.
    pub cookies: CookieNames,
    /// Further lines of the answer by which a client is let in. `headers`.
    pub headers: ExtraHeaders,
    /// How often a client is asked whether it is there, if not as often as others. `ping_interval`.
    pub ping_interval: Option<Duration>,
    /// How long it may take to show who it is, if not as long as others. `authorization.timeout`.
    pub auth_timeout: Option<Duration>,
    /// Where else such clients can connect to: `connect_urls` of their INFO.
    pub connect_urls: Vec<String>,
}

impl Default for WebsocketOptions {
    fn default() -> Self {
        Self {
            host: String::from("127.0.0.1"),
            port: 0,
            #[cfg(feature = "tls-core")]
            tls: None,
            same_origin: false,
            allowed_origins: AllowedOrigins::default(),
            handshake_timeout: Duration::from_secs(2),
            compression: false,
            cookies: CookieNames::default(),
            headers: ExtraHeaders::default(),
            ping_interval: None,
            auth_timeout: None,
            connect_urls: Vec::new(),
        }
    }
}

impl WebsocketOptions {
    #[cfg(feature = "tls-core")]
    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads and checks what TLS is made of.
    #[cfg(feature = "tls-core")]
    pub(crate) fn build_tls(
        &self,
    ) -> Result<Option<(crate::TlsOptions, crate::TlsConfig)>, crate::TlsError> {
        let build = |options: &crate::TlsOptions| Ok((options.clone(), options.build()?));
        self.tls.as_ref().map(build).transpose()
    }

    #[cfg(not(feature = "tls-core"))]
    fn is_tls(&self) -> bool {
        false
    }
}

/// What connections of a listener for WebSocket have to pass.
pub(crate) struct WebsocketAcceptor {
    rules: Rules,
    headers: ExtraHeaders,
    timeout: Duration,
    address: SocketAddr,
    listener_config: Arc<WebsocketListener>,
    /// The entrance's.
    authenticator: ListenerAuthenticator,
    /// TLS of its own.
    #[cfg(feature = "tls-core")]
    below: Arc<ListenerConfig>,
}

impl WebsocketAcceptor {
    /// Returns true if its clients must use TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls-core")]
        return self.below.tls.config().is_some();
        #[cfg(not(feature = "tls-core"))]
        return false;
    }

    /// `address`: the one that was bound.
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
            #[cfg(feature = "tls-core")]
            below: Arc::default(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.listener_config.is_tls { "wss" } else { "ws" };
        let Self { address, .. } = self;
        if address.ip().is_unspecified() {
            return format!("{scheme}://127.0.0.1:{}", address.port());
        }
        format!("{scheme}://{address}")
    }

    /// From now on connections come by another configuration of TLS.
    #[cfg(feature = "tls-core")]
    pub(crate) fn set_tls(&self, next: Option<(crate::TlsOptions, crate::TlsConfig)>) {
        tls::set(&self.below, None, next);
    }

    /// Until when the certificates hold that it shows now.
    #[cfg(feature = "tls-core")]
    pub(crate) fn tls_not_after(&self) -> Option<std::time::SystemTime> {
        self.below.tls.config()?.not_after()
    }

    #[cfg(feature = "tls-core")]
    pub(crate) fn stop_tending(&self) {
        self.below.tls.stop_tending();
    }

    /// From now on somebody else decides.
    pub(crate) fn set_authenticator(&self, next: Arc<dyn Authenticator>) {
        self.authenticator.set(Some(next));
    }

    /// Makes of a stream what a session can be opened for, or nothing.
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
            #[cfg(feature = "tls-core")]
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
            arrival.handshake = HandshakeOrder::BeforeInfo;
            let socket = Arc::new(Socket::new(TlsTransport::new(stream)));
            let securing = secure(&self.below, &socket, config, remote, deadline);
            let security = securing.await.ok_or(Failure::Insecure)?;
            let handshake: Box<dyn Handshake> = Box::new(Agreed(Some(security)));
            let (socket, websocket) =
                self.upgrade_until(deadline, socket, max_payload_bytes).await?;
            arrival.transport = TransportInfo::Websocket(Arc::new(websocket));
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

    /// Hears the request, and answers it.
    async fn upgrade<T: Transport>(
        &self,
        lower: T,
        max_payload_bytes: usize,
    ) -> Result<(Arc<Socket>, Websocket), Failure> {
        let client = match self.hear(&lower).await? {
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

    async fn hear(&self, lower: &impl Transport) -> io::Result<Result<Client, Refusal>> {
        let mut head = Vec::new();
        loop {
            read_some(lower, &mut head).await?;
            match websocket::parse(&head, &self.rules) {
                Ok(None) => {}
                // NATS 2.14: nothing may be sent before the answer is there.
                Ok(Some(parsed)) if parsed.used < head.len() => return Ok(Err(Refusal::Early)),
                Ok(Some(parsed)) => return Ok(Ok(parsed.client)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }
}

/// Reads behind what is there, up to the size of the largest request.
async fn read_some(lower: &impl Transport, head: &mut Vec<u8>) -> io::Result<()> {
    let room = HEAD_BYTES.saturating_sub(head.len());
    // By way of the thread's memory: most connections bring the request in one piece.
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

/// Why nothing comes of a connection.
enum Failure {
    Refused(Refusal),
    /// There is no TLS; the log knows why.
    #[cfg(feature = "tls-core")]
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
        // NATS 2.14: who probes a port is not worth a line.
        Refusal::Malformed | Refusal::TooLarge | Refusal::NoHost | Refusal::Timeout => {
            tracing::debug!("{remote} - websocket handshake error: {refusal}");
        }
        _ => tracing::error!("{remote} - websocket handshake error: {refusal}"),
    }
}

/// Shakes hands, or logs why not. A client that sends HTTP in the clear is told so.
#[cfg(feature = "tls-core")]
async fn secure<T: Transport>(
    below: &Arc<ListenerConfig>,
    socket: &Arc<Socket<TlsTransport<T>>>,
    config: Arc<crate::TlsConfig>,
    remote: SocketAddr,
    deadline: tokio::time::Instant,
) -> Option<Security> {
    let shaking = tls::shake_hands(below, socket, config);
    let fault = match tokio::time::timeout_at(deadline, shaking).await {
        Ok(Ok(security)) => return Some(security),
        Ok(Err(fault)) => fault,
        Err(_) => ClientFault::TlsTimeout,
    };
    let is_in_the_clear = matches!(fault, ClientFault::TlsRequired(_));
    let looking = sends_plain_http(socket);
    if !is_in_the_clear || tokio::time::timeout_at(deadline, looking).await != Ok(true) {
        log_tls(remote, &fault);
        return None;
    }
    log_tls(remote, &ClientFault::TlsRequired(plain_http::REASON.to_owned()));
    if write_all(socket, plain_http::ANSWER).await.is_ok() {
        let socket: Arc<Socket> = Arc::clone(socket) as Arc<Socket>;
        socket.linger(LINGER, LINGER_BYTES).await;
    }
    None
}

#[cfg(feature = "tls-core")]
async fn sends_plain_http(lower: &impl Transport) -> bool {
    let mut head = Vec::new();
    while head.len() < plain_http::HEAD_BYTES {
        if read_some(lower, &mut head).await.is_err() {
            return false;
        }
    }
    plain_http::looks_like_it(&head)
}

/// Each failure is worth a line: few probe a port for WebSocket, and a browser says only that it failed.
// NATS 2.14: the error log of Go's net/http, by way of server.go captureHTTPServerLog.
#[cfg(feature = "tls-core")]
fn log_tls(remote: SocketAddr, fault: &ClientFault) {
    match fault {
        ClientFault::TlsHandshake(_) | ClientFault::TlsRequired(_) | ClientFault::TlsTimeout => {
            let line = fault.to_string();
            let reason = line.strip_prefix("TLS handshake error: ").unwrap_or(&line);
            tracing::error!("websocket: TLS handshake error from {remote}: {reason}");
        }
        // They are counted, and the count is logged.
        _ => tracing::debug!("{remote} - {fault}"),
    }
}

/// What was agreed upon before there was a session.
#[cfg(feature = "tls-core")]
struct Agreed(Option<Security>);

#[cfg(feature = "tls-core")]
impl Handshake for Agreed {
    fn client_begins(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>> {
        let security = self.0.take();
        Box::pin(async { Ok(security) })
    }
}

impl fmt::Debug for WebsocketAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hatch").field("entrance", &self.listener_config).finish_non_exhaustive()
    }
}
