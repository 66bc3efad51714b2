//! The server that an embedder holds: bind, addresses, drain, shut down.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker_core::auth::{Authenticator, NoAuth};
use broker_core::{Applied, Broker, Client, CloseReason, Limits, Options};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::advertise::Advertise;
use crate::apply::{self, ApplyError, Report};
use crate::checks::Checks;
use crate::lame_duck::LameDuck;
use crate::listener::{self, Listener};
use crate::readiness::Readiness;

/// How long connections may take to read what waits for them when the server shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// How long [`Server::apply`] waits at most for connections to follow. They do within a turn of theirs,
/// which takes far less unless the machine is overwhelmed; the change takes its course in any case.
const SETTLE: Duration = Duration::from_secs(1);

/// What a server can be told. Take the default, which suits a test, and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The host name or address to listen at. The default is `127.0.0.1`.
    pub host: String,
    /// The port to listen at; 0, the default, for any that is free.
    pub port: u16,
    /// Where clients are told that the server is, if not where it listens. `client_advertise`.
    pub client_advertise: Option<Advertise>,
    /// What the broker behind it is told. The default has a random seed.
    pub broker: Options,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let broker = Options { seed: listener::random_seed(), ..Options::default() };
        Self { host: String::from("127.0.0.1"), port: 0, client_advertise: None, broker }
    }
}

/// Builds a [`Server`].
#[derive(Default)]
pub struct ServerBuilder {
    options: ServerOptions,
    authenticator: Option<Arc<dyn Authenticator>>,
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

    /// Binds and serves. When it returns, clients can connect.
    ///
    /// Must be called in a tokio runtime with I/O and time enabled; the server lives in it.
    ///
    /// # Errors
    ///
    /// [`BindError`] if the address cannot be listened at; nothing has been served then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it leaves nothing behind.
    pub async fn bind(self) -> Result<Server, BindError> {
        let Self { mut options, authenticator } = self;
        let listener = Listener::bind(&options.host, options.port).await.map_err(|source| {
            BindError { host: options.host.clone(), port: options.port, source }
        })?;
        let address = listener.address();
        let authenticator = authenticator.unwrap_or_else(|| Arc::new(NoAuth));
        options.port = address.port();
        let broker =
            Broker::with_authenticator(options.broker.clone(), Instant::now, authenticator);
        tell_address(&broker, &options);
        let (stop, stopped) = watch::channel(Phase::Serving);
        let (finished, is_finished) = watch::channel(false);
        let serving = listener.serve(broker.clone(), Arc::new(Checks::new()), stopped, finished);
        let task = tokio::spawn(serving).abort_handle();
        let host = options.host.clone();
        Ok(Server { broker, host, options: Mutex::new(options), address, stop, is_finished, task })
    }
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

/// What the server is about. Only ever goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; those that are there are let go one by one.
    LameDuck(LameDuck),
    /// No new connections; those that are there end once they have read what waits for them, which
    /// they must by then.
    Finishing(Instant),
}

/// The address could not be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {host}:{port}")]
pub struct BindError {
    host: String,
    port: u16,
    source: io::Error,
}

impl BindError {
    /// The host that was asked for.
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
/// Dropping it closes its port and all connections at once, without waiting. It installs no signal
/// handler and no logger, and shares nothing with any other server in the process.
#[derive(Debug)]
pub struct Server {
    broker: Broker,
    host: String,
    /// As they are now, with the port that was chosen.
    options: Mutex<ServerOptions>,
    address: SocketAddr,
    stop: watch::Sender<Phase>,
    is_finished: watch::Receiver<bool>,
    task: AbortHandle,
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

    /// What a client on this machine connects to: `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        let address = self.address;
        if !address.ip().is_unspecified() {
            return format!("nats://{address}");
        }
        format!("nats://127.0.0.1:{}", address.port())
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

    /// Whether it takes connections, for whoever watches it.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.stop.subscribe())
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
        let applied = self.apply_now(options, authenticator)?;
        // Whoever is late is late.
        let _ = tokio::time::timeout(SETTLE, applied.settled).await;
        Ok(Report { excess: applied.excess })
    }

    fn apply_now(
        &self,
        mut options: ServerOptions,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Applied, ApplyError> {
        let mut now = self.lock_options();
        apply::check(&now, &options)?;
        options.port = now.port;
        options.broker.server_name.clone_from(&now.broker.server_name);
        options.broker.seed = now.broker.seed;
        let applied = self.broker.apply(options.broker.clone(), authenticator);
        tell_address(&self.broker, &options);
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

    /// Returns when the server has ended, by whatever was called for that.
    pub async fn wait(&self) {
        let mut is_finished = self.is_finished.clone();
        // An error means that the task is gone without a word: it has ended as well.
        let _ = is_finished.wait_for(|is_finished| *is_finished).await;
    }

    async fn finish(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
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
    }
}
