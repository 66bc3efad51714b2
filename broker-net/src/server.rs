//! The server that an embedder holds: bind, addresses, drain, shut down.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
#[cfg(feature = "tls-core")]
use std::time::SystemTime;
use std::{fmt, io};

use broker_core::auth::{Authenticator, NoAuth};
use broker_core::{Broker, ChangeReport, Client, CloseReason, Limits};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::advertise::Advertise;
use crate::apply::{self, ApplyError, Report};
use crate::auth_checks::AuthChecks;
use crate::clock;
use crate::custom_listener::{CustomAcceptors, Listener};
use crate::handshake::ListenerConfig;
#[cfg(feature = "tls-core")]
use crate::handshake::tls;
#[cfg(feature = "websocket")]
use crate::handshake::websocket::WebsocketAcceptor;
use crate::listener::{ListenerGuard, ListenerKind, TcpAcceptor};
use crate::listeners::{self, ConnectionContext, Listeners, Local};
use crate::options::ServerOptions;
use crate::phase::{LameDuck, Phase};
use crate::pipe::{self, LocalStream};
use crate::status::ServerStatus;
use crate::unauthenticated::UnauthenticatedConnections;
#[cfg(unix)]
use crate::unix::UnixAcceptor;
use crate::workers::{StallWatch, Workers};

/// How long connections may take to read what waits for them when the server shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// How long [`Server::apply`] waits at most for connections to follow. They do within a turn of theirs,
/// which takes far less unless the machine is overwhelmed; the change takes its course in any case.
const SETTLE: Duration = Duration::from_secs(1);

/// Who decides who may come in.
#[derive(Clone)]
pub struct Authenticators {
    /// Of all, however they come.
    pub all: Arc<dyn Authenticator>,
    /// Of those who come by WebSocket; `None`: who decided it before.
    pub websocket: Option<Arc<dyn Authenticator>>,
}

impl fmt::Debug for Authenticators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticators").finish_non_exhaustive()
    }
}

impl From<Arc<dyn Authenticator>> for Authenticators {
    fn from(all: Arc<dyn Authenticator>) -> Self {
        Self { all, websocket: None }
    }
}

/// Builds a [`Server`].
#[derive(Default)]
pub struct ServerBuilder {
    options: ServerOptions,
    authenticator: Option<Arc<dyn Authenticator>>,
    #[cfg(feature = "testing")]
    gates: Arc<crate::stall::StallGates>,
    #[cfg(feature = "websocket")]
    websocket_authenticator: Option<Arc<dyn Authenticator>>,
    socket: Option<StdListener>,
    own: CustomAcceptors,
}

impl ServerBuilder {
    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// The host name or address to listen at. The default is `127.0.0.1`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.options.host = host.into();
        self
    }

    /// The port to listen at; 0, the default, for any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.options.port = port;
        self
    }

    /// Where clients are told that the server is, if not where it listens.
    #[must_use]
    pub fn client_advertise(mut self, advertise: Advertise) -> Self {
        self.options.client_advertise = Some(advertise);
        self
    }

    /// TLS for those who connect.
    #[cfg(feature = "tls-core")]
    #[must_use]
    pub fn tls(mut self, options: crate::TlsOptions) -> Self {
        self.options.tls = Some(options);
        self
    }

    /// Has clients come in by WebSocket, too.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, options: crate::WebsocketOptions) -> Self {
        self.options.websocket = Some(options);
        self
    }

    /// Who may come in by WebSocket, if others decide that than for the rest.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.websocket_authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Has clients come in by a socket in the file system, too.
    #[cfg(unix)]
    #[must_use]
    pub fn unix(mut self, options: crate::UnixOptions) -> Self {
        self.options.unix = Some(options);
        self
    }

    /// Serves whoever comes by this socket, which listens already, in place of [host](Self::host) and
    /// [port](Self::port): for sockets that somebody else has opened, a service manager for instance.
    #[must_use]
    pub fn tcp_listener(mut self, socket: StdListener) -> Self {
        if let Ok(address) = socket.local_addr() {
            self.options.host = address.ip().to_string();
            self.options.port = address.port();
        }
        self.socket = Some(socket);
        self
    }

    /// Has clients come in by a way of your own, too: see [`Listener`]. May be called for several.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.own.add(listener);
        self
    }

    /// What clients may do.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.broker.limits = limits;
        self
    }

    /// Who may come in. The default is everybody.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// What stands before its connections.
    #[cfg(feature = "testing")]
    #[must_use]
    pub(crate) fn gates(mut self, gates: Arc<crate::stall::StallGates>) -> Self {
        self.gates = gates;
        self
    }

    /// Binds and serves. When it returns, clients can connect.
    ///
    /// Must be called in a tokio runtime with I/O and time enabled; the server lives in it.
    ///
    /// # Errors
    ///
    /// [`BindError`] if the address cannot be listened at, or TLS not be offered; nothing has been served
    /// then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it leaves nothing behind.
    pub async fn bind(self) -> Result<Server, BindError> {
        let authenticator = self.authenticator;
        #[cfg(feature = "websocket")]
        let websocket_authenticator = self.websocket_authenticator;
        let mut options = self.options;
        #[cfg(feature = "tls-core")]
        let tls = options.build_tls().map_err(|source| refuse(&options, Cause::Tls(source)))?;
        #[cfg(feature = "websocket")]
        let websocket = bind_websocket(&mut options, websocket_authenticator).await?;
        #[cfg(unix)]
        let unix = bind_unix(&options)?;
        // Last: this port is what others wait for to learn that the server has started.
        let listener = match self.socket {
            Some(socket) => TcpAcceptor::adopt(socket),
            None => TcpAcceptor::bind(&options.host, options.port).await,
        };
        let listener = listener.map_err(|source| refuse(&options, Cause::Listen(source)))?;
        let address = listener.address();
        let authenticator = authenticator.unwrap_or_else(|| Arc::new(NoAuth));
        options.port = address.port();
        let broker = Broker::with_authenticator(
            options.broker.clone(),
            clock::TokioClock::new(),
            authenticator,
        );
        tell_address(&broker, &options);
        let listener_config = Arc::new(ListenerConfig::default());
        #[cfg(feature = "tls-core")]
        tls::set(&listener_config, Some(&broker), tls);
        let latches = vec![
            listener.guard(),
            #[cfg(feature = "websocket")]
            websocket.as_ref().map(|(listener, _)| listener.guard()).unwrap_or_default(),
        ];
        let (stop, stopped) = watch::channel(Phase::Serving);
        let (finished, is_finished) = watch::channel(false);
        let auth_checks = Arc::new(AuthChecks::new());
        let workers = Arc::<Workers>::default();
        listener_config.set_proxy_protocol(options.proxy_protocol);
        let (connect, local) = mpsc::unbounded_channel();
        #[cfg(feature = "websocket")]
        let websocket_acceptor =
            websocket.as_ref().map(|(_, websocket_acceptor)| Arc::clone(websocket_acceptor));
        let listeners = Listeners {
            tcp: listener,
            #[cfg(feature = "websocket")]
            websocket,
            #[cfg(unix)]
            unix,
            local,
            own: self.own.open(),
        };
        let context = ConnectionContext {
            listener_config: Arc::clone(&listener_config),
            broker: broker.clone(),
            auth_checks,
            workers: Arc::clone(&workers),
            unauthenticated: Arc::new(UnauthenticatedConnections::new(options.max_unauthenticated)),
            #[cfg(feature = "testing")]
            gates: self.gates,
        };
        let serving = listeners::serve(listeners, context, stopped, finished);
        let task = tokio::spawn(serving).abort_handle();
        let host = options.host.clone();
        let options = Mutex::new(options);
        Ok(Server {
            broker,
            host,
            options,
            listener_config,
            workers,
            #[cfg(feature = "websocket")]
            websocket_acceptor,
            address,
            connect,
            stop,
            is_finished,
            task,
            _latches: latches,
        })
    }
}

/// Puts the port that was chosen into the options.
#[cfg(feature = "websocket")]
async fn bind_websocket(
    options: &mut ServerOptions,
    authenticator: Option<Arc<dyn Authenticator>>,
) -> Result<Option<(TcpAcceptor, Arc<WebsocketAcceptor>)>, BindError> {
    let Some(options) = &mut options.websocket else { return Ok(None) };
    let (host, port) = (options.host.clone(), options.port);
    let refuse =
        |cause| BindError { host: host.clone(), port, way: ListenerKind::Websocket, cause };
    #[cfg(feature = "tls-core")]
    let tls = options.build_tls().map_err(|source| refuse(Cause::Tls(source)))?;
    let listener = TcpAcceptor::bind(&host, port).await;
    let listener = listener.map_err(|source| refuse(Cause::Listen(source)))?;
    options.port = listener.address().port();
    let websocket_acceptor =
        Arc::new(WebsocketAcceptor::new(options, listener.address(), authenticator));
    #[cfg(feature = "tls-core")]
    websocket_acceptor.set_tls(tls);
    Ok(Some((listener, websocket_acceptor)))
}

#[cfg(unix)]
fn bind_unix(options: &ServerOptions) -> Result<Option<UnixAcceptor>, BindError> {
    let Some(options) = &options.unix else { return Ok(None) };
    UnixAcceptor::bind(options).map(Some).map_err(|source| {
        let host = options.path.display().to_string();
        BindError { host, port: 0, way: ListenerKind::Unix, cause: Cause::Listen(source) }
    })
}

/// What INFO says of where the server is. A server that stands alone tells no further addresses, also
/// if it listens at all that the machine has.
// NATS 2.14: server.go setInfoHostPort; `connect_urls` come with routes.
fn tell_address(broker: &Broker, options: &ServerOptions) {
    let advertised = options.client_advertise.as_ref();
    let host = advertised.map_or(&options.host, |advertise| &advertise.host);
    let port = advertised.and_then(|advertise| advertise.port).unwrap_or(options.port);
    broker.update_info(|info| {
        info.host.clone_from(host);
        info.port = port;
    });
}

/// The address could not be listened at, or TLS not be offered.
#[derive(Debug)]
pub struct BindError {
    host: String,
    port: u16,
    way: ListenerKind,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Listen(io::Error),
    #[cfg(feature = "tls-core")]
    Tls(crate::TlsError),
}

/// Returns the error for the listener of clients.
fn refuse(options: &ServerOptions, cause: Cause) -> BindError {
    BindError { host: options.host.clone(), port: options.port, way: ListenerKind::Clients, cause }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Listen(_) if self.way == ListenerKind::Unix => {
                write!(f, "cannot listen at {}", self.host)
            }
            Cause::Listen(_) => write!(f, "cannot listen at {}:{}", self.host, self.port),
            #[cfg(feature = "tls-core")]
            Cause::Tls(_) => f.write_str("TLS cannot be offered"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Listen(error) => Some(error),
            #[cfg(feature = "tls-core")]
            Cause::Tls(error) => Some(error),
        }
    }
}

impl BindError {
    /// Which way in was to be opened.
    pub fn way(&self) -> ListenerKind {
        self.way
    }

    /// The host that was asked for, or the path.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that was asked for.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A running server.
///
/// Dropping it closes its port at once, and all connections as soon as the runtime gets to them, without
/// waiting. It installs no signal handler and no logger, and shares nothing with any other server in the
/// process.
#[derive(Debug)]
pub struct Server {
    broker: Broker,
    host: String,
    /// As they are now, with the port that was chosen.
    options: Mutex<ServerOptions>,
    listener_config: Arc<ListenerConfig>,
    workers: Arc<Workers>,
    #[cfg(feature = "websocket")]
    websocket_acceptor: Option<Arc<WebsocketAcceptor>>,
    address: SocketAddr,
    /// Connections within the process.
    connect: mpsc::UnboundedSender<Local>,
    stop: watch::Sender<Phase>,
    is_finished: watch::Receiver<bool>,
    task: AbortHandle,
    /// The last to be dropped: whoever accepts must know by then that the server is gone.
    _latches: Vec<ListenerGuard>,
}

impl Server {
    /// A server with default options: any free port of `127.0.0.1`, no authentication.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What a client on this machine connects to: `nats://127.0.0.1:4222`, or `tls://…` if it must.
    pub fn url(&self) -> String {
        let address = self.address;
        let scheme = if self.broker.info().tls_required { "tls" } else { "nats" };
        if !address.ip().is_unspecified() {
            return format!("{scheme}://{address}");
        }
        format!("{scheme}://127.0.0.1:{}", address.port())
    }

    /// Where it listens for WebSocket, if it does.
    #[cfg(feature = "websocket")]
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket_acceptor.as_ref().map(|websocket_acceptor| websocket_acceptor.address())
    }

    /// What a client on this machine connects to by WebSocket, if it can: `ws://127.0.0.1:8080`, or
    /// `wss://…`.
    #[cfg(feature = "websocket")]
    pub fn websocket_url(&self) -> Option<String> {
        self.websocket_acceptor.as_ref().map(|websocket_acceptor| websocket_acceptor.url())
    }

    /// A connection without a socket, for clients that bring their own protocol: the server sends INFO first.
    /// It ends like any other, and is at its end at once if the server has gone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    ///
    /// let server = broker_net::Server::builder().bind().await?;
    /// let mut stream = BufReader::new(server.connect());
    /// let mut line = String::new();
    /// stream.read_line(&mut line).await?;
    /// assert!(line.starts_with("INFO {"));
    /// stream.write_all(b"PING\r\n").await?;
    /// line.clear();
    /// stream.read_line(&mut line).await?;
    /// assert_eq!(line, "PONG\r\n");
    /// # Ok(()) }
    /// ```
    pub fn connect(&self) -> LocalStream {
        let (stream, transport) = pipe::pipe();
        let local = Local {
            transport,
            #[cfg(feature = "testing")]
            way: None,
        };
        // If nobody takes it, it is dropped, which ends the stream.
        let _ = self.connect.send(local);
        stream
    }

    /// Returns a connection without a socket that is treated as if it came by a port: by TLS, if the server offers
    /// it there, and by WebSocket with all that stands before frames.
    #[cfg(feature = "testing")]
    pub fn connect_by(&self, way: ListenerKind) -> LocalStream {
        let (stream, transport) = pipe::pipe();
        let _ = self.connect.send(Local { transport, way: Some(way) });
        stream
    }

    /// Returns the number of turns that its connections have had: an idle one has none.
    #[cfg(feature = "testing")]
    pub fn turns(&self) -> u64 {
        self.workers.turns()
    }

    /// Offers other certificates, or none, to those who connect from now on; reads the files anew. Who is
    /// connected already stays so.
    ///
    /// # Errors
    ///
    /// [`TlsError`](crate::TlsError) if something cannot be used; then nothing has changed.
    #[cfg(feature = "tls-core")]
    pub fn set_tls(&self, options: Option<crate::TlsOptions>) -> Result<(), crate::TlsError> {
        let mut now = self.lock_options();
        let before = std::mem::replace(&mut now.tls, options);
        match now.build_tls() {
            Ok(next) => tls::set(&self.listener_config, Some(&self.broker), next),
            Err(error) => {
                now.tls = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Until when the certificates hold that it shows to those who connect now.
    #[cfg(feature = "tls-core")]
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.listener_config.tls.config()?.not_after()
    }

    /// The host it was asked to listen at.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it was told, with the port that was chosen.
    pub fn options(&self) -> ServerOptions {
        self.lock_options().clone()
    }

    fn lock_options(&self) -> MutexGuard<'_, ServerOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is seen of it, for whoever watches it.
    pub fn status(&self) -> ServerStatus {
        ServerStatus {
            phase: self.stop.subscribe(),
            workers: Arc::clone(&self.workers),
            listener_config: Arc::clone(&self.listener_config),
            #[cfg(feature = "websocket")]
            websocket_acceptor: self.websocket_acceptor.clone(),
        }
    }

    /// Returns a watch for connections that hold their thread for as long as `patience`. None should for
    /// more than some milliseconds; one that does is a fault of the server or of an authenticator, and all
    /// other connections of the thread wait. One watch per server is enough: [status](Self::status) reports
    /// what the last one saw.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::{Duration, Instant};
    ///
    /// let server = broker_net::Server::builder().bind().await?;
    /// let mut watch = server.stall_watch(Duration::from_secs(1));
    /// std::thread::spawn(move || {
    ///     # let no_longer = Instant::now();
    ///     loop {
    ///         for stall in watch.look(Instant::now()) {
    ///             eprintln!("{stall} holds its thread: {stall:?}");
    ///         }
    ///         # if no_longer < Instant::now() { break }
    ///         std::thread::sleep(Duration::from_millis(250));
    ///     }
    /// });
    /// # Ok(()) }
    /// ```
    pub fn stall_watch(&self, patience: Duration) -> StallWatch {
        StallWatch::new(Arc::clone(&self.workers), patience)
    }

    /// The broker behind it.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// An in-process client: no socket, the same rules.
    pub fn client(&self) -> Client {
        self.broker.client()
    }

    /// Changes options while it serves, and, if there is one, also who decides who may be here: see
    /// [`Broker::apply`] for what becomes of those who are. Returns when all connections go by it.
    ///
    /// Port 0 and a server name of `None` stand for what the server chose.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if something takes a restart; then nothing has changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after it was first polled, the change takes its course.
    pub async fn apply(
        &self,
        options: ServerOptions,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Report, ApplyError> {
        self.apply_with(options, authenticator.map(Authenticators::from)).await
    }

    /// As [`Self::apply`], where others may decide who comes in by WebSocket.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    ///
    /// # Cancel safety
    ///
    /// As [`Self::apply`].
    pub async fn apply_with(
        &self,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<Report, ApplyError> {
        let applied = self.apply_now(options, authenticators)?;
        // Whoever is late is late.
        let _ = tokio::time::timeout(SETTLE, applied.applied).await;
        Ok(Report { excess: applied.excess })
    }

    fn apply_now(
        &self,
        mut options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<ChangeReport, ApplyError> {
        let mut now = self.lock_options();
        apply::check(&now, &options)?;
        #[cfg(feature = "tls-core")]
        let tls = options.build_tls().map_err(ApplyError::Tls)?;
        #[cfg(all(feature = "tls-core", feature = "websocket"))]
        let websocket_tls = match &options.websocket {
            Some(websocket) => websocket.build_tls().map_err(ApplyError::Tls)?,
            None => None,
        };
        options.port = now.port;
        options.broker.server_name.clone_from(&now.broker.server_name);
        options.broker.seed = now.broker.seed;
        let authenticator = authenticators.map(|next| {
            // First: who is here is reviewed with what follows.
            #[cfg(feature = "websocket")]
            if let (Some(websocket_acceptor), Some(websocket)) =
                (&self.websocket_acceptor, next.websocket)
            {
                websocket_acceptor.set_authenticator(websocket);
            }
            next.all
        });
        let applied = self.broker.apply(options.broker.clone(), authenticator);
        tell_address(&self.broker, &options);
        #[cfg(feature = "tls-core")]
        tls::set(&self.listener_config, Some(&self.broker), tls);
        #[cfg(feature = "websocket")]
        if let (Some(websocket), Some(websocket_acceptor)) =
            (&mut options.websocket, &self.websocket_acceptor)
        {
            websocket.port = websocket_acceptor.address().port();
            #[cfg(feature = "tls-core")]
            websocket_acceptor.set_tls(websocket_tls);
        }
        self.listener_config.set_proxy_protocol(options.proxy_protocol);
        *now = options;
        Ok(applied)
    }

    /// Takes no more connections, lets each client read what waits for it (for as long as its write
    /// deadline allows), then closes it. Returns when all are gone. May be called again.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, the draining goes on.
    pub async fn drain(&self) {
        let deadline = self.broker.options().limits.write_deadline;
        self.finish(deadline).await;
    }

    /// Takes no more connections, tells clients that the server goes, and lets them go one by one once
    /// the grace period is over; without losing a request, whether they heed what they are told or not.
    /// Returns when all are gone, at once if there are none. A second call only waits; so does a
    /// call after the server has begun to end. [`Self::shutdown`] and [`Self::drain`] end it early.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it goes on.
    pub async fn lame_duck(&self, plan: LameDuck) {
        self.stop.send_if_modified(|phase| {
            let begins = *phase == Phase::Serving;
            if begins {
                *phase = Phase::LameDuck(plan);
            }
            begins
        });
        self.wait().await;
    }

    /// Takes no more connections and closes those that are there, giving each a second to read what
    /// waits for it. Returns when all are gone. May be called again, and after
    /// [`Self::drain`] has begun.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, the shutdown goes on.
    pub async fn shutdown(&self) {
        self.finish(SHUTDOWN_GRACE).await;
    }

    /// Ends as a process that is killed does: nobody is waited for. Returns when nothing is left.
    #[cfg(feature = "testing")]
    pub(crate) async fn end_at_once(&self) {
        self.finish(Duration::ZERO).await;
    }

    /// Returns when the server has ended, by whatever was called for that.
    pub async fn wait(&self) {
        let mut is_finished = self.is_finished.clone();
        // An error means that the task is gone without a word: it has ended as well.
        let _ = is_finished.wait_for(|is_finished| *is_finished).await;
    }

    async fn finish(&self, grace: Duration) {
        let deadline = clock::now() + grace;
        self.stop.send_if_modified(|phase| {
            let earlier = match *phase {
                Phase::Serving | Phase::LameDuck(_) => deadline,
                Phase::Finishing(before) => before.min(deadline),
            };
            let next = Phase::Finishing(earlier);
            let has_changed = *phase != next;
            *phase = next;
            has_changed
        });
        self.broker.finish_all(CloseReason::ServerShutdown);
        self.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        #[cfg(feature = "tls-core")]
        self.listener_config.tls.stop_tending();
        #[cfg(all(feature = "tls-core", feature = "websocket"))]
        if let Some(websocket_acceptor) = &self.websocket_acceptor {
            websocket_acceptor.stop_tending();
        }
    }
}
