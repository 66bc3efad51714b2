//! The server that an embedding program holds: addresses, drain, shutdown.

mod builder;
mod cluster;
mod reconfigure;
mod routes;
#[cfg(feature = "streams")]
mod streams;
#[cfg(feature = "testing")]
mod testing;
#[cfg(feature = "tls-core")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use broker_core::{Broker, Client, CloseReason};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use builder::ServerBuilder;

use crate::clock;
use crate::cluster::DialConfig;
use crate::dial::DialedConnection;
use crate::listen::{ClientsListener, ListenerGuard, ListenerHandle, ListenerKind, LocalSender};
use crate::options::ServerOptions;
use crate::phase::{LameDuck, Phase};
use crate::pipe::{self, LocalStream};
use crate::status::ServerStatus;
use crate::workers::{StallWatch, Workers};

/// Maximum time at a shutdown for clients to read their queued messages.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A running server.
///
/// Dropping it closes its listeners at once, and all connections as soon as the runtime polls them, without waiting.
/// It installs no signal handler and no logger, and shares nothing with any other server in the process.
#[derive(Debug)]
pub struct Server {
    #[cfg(feature = "streams")]
    streams: Option<Arc<broker_streams::service::Streams>>,
    broker: Broker,
    host: String,
    /// The options in force, with the chosen port.
    options: Mutex<ServerOptions>,
    /// The port for clients.
    clients: Arc<ClientsListener>,
    /// The dialler of other servers; `None` without a cluster.
    dials: Option<Arc<DialConfig>>,
    /// All listeners that can be reconfigured, the port for clients among them.
    listeners: Vec<Arc<dyn ListenerHandle>>,
    workers: Arc<Workers>,
    /// Connections within the process, and dialled ones.
    local: LocalSender,
    stop: watch::Sender<Phase>,
    is_finished: watch::Receiver<bool>,
    task: AbortHandle,
    /// Dropped last: the accept task must be aborted by then.
    _guards: Vec<ListenerGuard>,
}

impl Server {
    /// Creates a builder with default options: any free port of `127.0.0.1`, no authentication.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Returns the address of the listener for clients.
    pub fn local_addr(&self) -> SocketAddr {
        self.clients.address()
    }

    /// Returns the URL for clients on this machine: `nats://127.0.0.1:4222`, or `tls://…` if TLS is required.
    pub fn url(&self) -> String {
        self.clients.url(&self.broker)
    }

    /// Returns the address of the listener for WebSocket; `None` without one.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        Some(self.listener(ListenerKind::Websocket)?.address())
    }

    /// Returns the URL for WebSocket clients on this machine, `ws://127.0.0.1:8080` or `wss://…`; `None` without a
    /// listener for them.
    pub fn websocket_url(&self) -> Option<String> {
        Some(self.listener(ListenerKind::Websocket)?.url(&self.broker))
    }

    fn listener(&self, kind: ListenerKind) -> Option<&Arc<dyn ListenerHandle>> {
        self.listeners.iter().find(|listener| listener.kind() == kind)
    }

    /// Opens a connection without a socket, for clients that bring their own protocol: the server sends INFO first.
    /// It ends like any other; if the server has shut down, it is at its end at once.
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
        self.local.connect(transport);
        stream
    }

    /// Serves a dialled connection as if it had been accepted: the other end is the client, and receives INFO first.
    /// A server behind a firewall can so serve clients through a relay that it connects to. The server adds no TLS:
    /// the connection was dialled with it, or stays in the clear.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use broker_net::{DialOptions, Dialer, Server};
    /// use tokio::io::{AsyncBufReadExt, BufReader};
    ///
    /// let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let server = Server::builder().bind().await?;
    /// let mut dialer = Dialer::new(&relay.local_addr()?.to_string(), DialOptions::default())?;
    /// server.serve(dialer.next().await?);
    ///
    /// let (client, _) = relay.accept().await?;
    /// let mut line = String::new();
    /// BufReader::new(client).read_line(&mut line).await?;
    /// assert!(line.starts_with("INFO {"));
    /// # Ok(()) }
    /// ```
    pub fn serve(&self, connection: DialedConnection) {
        self.local.send(connection.into_accepted());
    }

    /// Returns the earliest expiry of the certificates presented to new connections; `None` without TLS.
    pub fn tls_not_after(&self) -> Option<SystemTime> {
        self.clients.tls_not_after()
    }

    /// Returns the configured host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the options in force, with the chosen port.
    pub fn options(&self) -> ServerOptions {
        self.lock_options().clone()
    }

    fn lock_options(&self) -> MutexGuard<'_, ServerOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a handle that reports its status, for monitoring.
    pub fn status(&self) -> ServerStatus {
        ServerStatus {
            phase: self.stop.subscribe(),
            workers: Arc::clone(&self.workers),
            listeners: self.listeners.clone(),
        }
    }

    /// Returns a watch that reports connections that hold their thread for `patience` or longer. None should for more
    /// than some milliseconds; one that does is a fault of the server or of an authenticator, and all other
    /// connections of the thread wait. One watch per server is enough: [status](Self::status) reports the findings of
    /// the last one.
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

    /// Returns its broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Creates an in-process client: no socket, the same rules.
    pub fn client(&self) -> Client {
        self.broker.client()
    }

    /// Stops accepting, sends each client its queued messages (within its write deadline), then closes it. Returns
    /// when all connections have ended. May be called again.
    ///
    /// # Cancel safety
    ///
    /// Draining continues if the future is dropped.
    pub async fn drain(&self) {
        let deadline = self.broker.options().limits.write_deadline;
        self.finish(deadline).await;
    }

    /// Stops accepting, announces lame duck mode to clients, and closes them one by one after the grace period,
    /// without losing a request, whether clients react to the announcement or not. Returns when all connections have
    /// ended, at once if there are none. A second call only waits; so does a call after the server has begun to end.
    /// [`Self::shutdown`] and [`Self::drain`] end it early.
    ///
    /// # Cancel safety
    ///
    /// Lame duck mode continues if the future is dropped.
    pub async fn lame_duck(&self, plan: LameDuck) {
        self.stop.send_if_modified(|phase| {
            let begins = *phase == Phase::Serving;
            if begins {
                *phase = Phase::LameDuck(plan);
            }
            begins
        });
        self.wait().await;
        self.end_streams().await;
    }

    /// Stops accepting and closes all connections, giving each a second to read its queued messages. Returns when all
    /// have ended, and the streams have stored everything. May be called again, and after [`Self::drain`] has begun.
    ///
    /// # Cancel safety
    ///
    /// The shutdown continues if the future is dropped.
    pub async fn shutdown(&self) {
        #[cfg(feature = "streams")]
        if let Some(streams) = &self.streams {
            streams.announce_end();
        }
        self.finish(SHUTDOWN_GRACE).await;
    }

    /// Returns when the server has ended, by whichever method.
    pub async fn wait(&self) {
        let mut is_finished = self.is_finished.clone();
        // An error means that the task was dropped without a notice: it has ended as well.
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
        if let Some(cluster) = self.broker.cluster() {
            // Lost routes are not dialled again.
            cluster.stop();
        }
        self.broker.finish_all(CloseReason::ServerShutdown);
        self.wait().await;
        self.end_streams().await;
    }

    #[cfg(not(feature = "streams"))]
    async fn end_streams(&self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.listeners.iter().for_each(|listener| listener.stop());
    }
}

/// Puts the server's address into INFO. A server without a cluster advertises no further addresses, even if it
/// listens at all addresses of the machine.
// NATS 2.14: server.go setInfoHostPort.
fn tell_address(broker: &Broker, options: &ServerOptions) {
    let advertised = options.client_advertise.as_ref();
    let host = advertised.map_or(&options.host, |advertise| &advertise.host);
    let port = advertised.and_then(|advertise| advertise.port).unwrap_or(options.port);
    broker.update_info(|info| {
        info.host.clone_from(host);
        info.port = port;
    });
}
