//! Options of a test broker.

use std::io;
use std::sync::Arc;

use broker_core::Limits;
use broker_core::account::AccountConfig;
use broker_core::auth::{Authenticator, Secret, Token, User, Users};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::block_on;
use super::broker::TestBroker;
use super::kit::{AuthConfig, Kit, Surroundings};
use super::own_thread::OwnThread;
use super::start_error::StartError;
use crate::network::NetworkPort;
use crate::options::ServerOptions;

/// Default number of protocol lines kept.
const LINES: usize = 200;

/// Builds a [`TestBroker`]. Defaults suit tests: any free port of `127.0.0.1`, no authentication,
/// all permissions.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::{Permissions, TestBroker, User};
///
/// let reader = Permissions::builder().publish_deny([">"]).build()?;
/// let broker = TestBroker::builder()
///     .server_name("orders")
///     .user("app", "s3cr3t")
///     .add_user(User::new("auditor", "pw").permissions(reader))
///     .limits(|limits| limits.max_payload_bytes = 1 << 10)
///     .start()
///     .await?;
///
/// let options = async_nats::ConnectOptions::with_user_and_password("app".into(), "s3cr3t".into());
/// let client = options.connect(broker.url()).await?;
/// assert_eq!(client.server_info().server_name, "orders");
/// assert!(async_nats::connect(broker.url()).await.is_err());
/// # Ok(()) }
/// ```
#[must_use = "it is started by `start` or `start_blocking`"]
pub struct TestBrokerBuilder {
    options: ServerOptions,
    users: Vec<User>,
    auth_config: AuthConfig,
    lines: usize,
    has_own_thread: bool,
    pub(super) surroundings: Surroundings,
}

impl Default for TestBrokerBuilder {
    fn default() -> Self {
        Self {
            options: ServerOptions::default(),
            users: Vec::new(),
            auth_config: AuthConfig::default(),
            lines: LINES,
            has_own_thread: false,
            surroundings: Surroundings::default(),
        }
    }
}

impl ServerOptions {
    /// Returns the options with addresses for tests (cargo feature `testing`): any free port of
    /// `127.0.0.1`, also for WebSocket, and no Unix socket, so that parallel tests do not collide.
    #[must_use]
    pub fn at_any_port(mut self) -> Self {
        let here = Self::default();
        self.host = here.host;
        self.port = here.port;
        #[cfg(feature = "websocket")]
        if let Some(websocket) = &mut self.websocket {
            let here = crate::WebsocketOptions::default();
            websocket.host = here.host;
            websocket.port = here.port;
        }
        #[cfg(unix)]
        {
            self.unix = None;
        }
        self
    }

    /// Keeps the previous port in place of port 0, and the seed.
    pub(super) fn keep_ports_of(&mut self, before: &Self) {
        self.broker.seed = before.broker.seed;
        if self.port == 0 {
            self.port = before.port;
        }
        #[cfg(feature = "websocket")]
        if let (Some(websocket), Some(before)) = (&mut self.websocket, &before.websocket)
            && websocket.port == 0
        {
            websocket.port = before.port;
        }
        if let (Some(cluster), Some(before)) = (&mut self.cluster, &before.cluster)
            && cluster.port == 0
        {
            cluster.port = before.port;
        }
    }
}

impl TestBroker {
    /// Starts a broker without authentication on any free port. Clients can connect once this
    /// returns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = broker_net::testing::TestBroker::start().await;
    /// let client = async_nats::connect(broker.url()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// In a tokio runtime the broker runs there; otherwise on its own thread.
    ///
    /// # Panics
    ///
    /// Panics if it does not start. [`TestBrokerBuilder::start`] returns an error instead.
    pub async fn start() -> Self {
        Self::builder().start().await.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Starts a broker on its own thread, for tests without a runtime.
    ///
    /// ```
    /// use broker_net::testing::TestBroker;
    ///
    /// let broker = TestBroker::start_blocking();
    /// let stream = std::net::TcpStream::connect(broker.address())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// See [`Self::start`].
    pub fn start_blocking() -> Self {
        Self::builder().start_blocking().unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Returns a builder.
    pub fn builder() -> TestBrokerBuilder {
        TestBrokerBuilder::default()
    }
}

impl TestBrokerBuilder {
    /// Changes any option of the server.
    pub fn options(mut self, change: impl FnOnce(&mut ServerOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Replaces all options of the server, for example by those of production, except for
    /// addresses: see [`ServerOptions::at_any_port`].
    pub fn all_options(mut self, options: ServerOptions) -> Self {
        self.options = options.at_any_port();
        self
    }

    /// Changes the limits of clients: sizes, numbers, times.
    pub fn limits(self, change: impl FnOnce(&mut Limits)) -> Self {
        self.options(|options| change(&mut options.broker.limits))
    }

    /// Sets the name of the server.
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.options(|options| options.broker.server_name = Some(name.into()))
    }

    /// Sets the port, in place of any free one.
    pub fn port(self, port: u16) -> Self {
        self.options(|options| options.port = port)
    }

    /// Enables TLS for clients. With the feature `testing-tls`, `Certificates` generates the
    /// options.
    #[cfg(feature = "tls-core")]
    pub fn tls(self, tls: crate::TlsOptions) -> Self {
        self.options(|options| options.tls = Some(tls))
    }

    /// Listens for WebSocket on any free port too.
    #[cfg(feature = "websocket")]
    pub fn websocket(self) -> Self {
        self.options(|options| options.websocket = Some(crate::WebsocketOptions::default()))
    }

    /// Adds a user with all permissions. With users, clients must authenticate.
    pub fn user(self, name: impl Into<Arc<str>>, password: impl Into<Secret>) -> Self {
        self.add_user(User::new(name, password))
    }

    /// Adds a user with permissions, or in another account.
    pub fn add_user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Adds an account, with its limits, mappings, exports and imports.
    pub fn account(self, account: AccountConfig) -> Self {
        self.options(|options| options.broker.accounts.push(Arc::new(account)))
    }

    /// Requires this token.
    pub fn token(self, token: impl Into<Secret>) -> Self {
        self.authenticator(Token::new(token))
    }

    /// Serves the accounts of an operator, whose users log in by their tokens.
    #[cfg(feature = "jwt")]
    pub fn operator(self, operator: &super::TestOperator) -> Self {
        self.operator_mode(operator.mode())
    }

    /// Serves the accounts of operators: see [`ServerBuilder::operator_mode`](crate::ServerBuilder::operator_mode).
    #[cfg(feature = "jwt")]
    pub fn operator_mode(mut self, mode: broker_core::operator::OperatorMode) -> Self {
        self.auth_config.operator = Some(mode.clone());
        self.authenticator(mode)
    }

    /// Sets a custom authenticator.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.auth_config.all = Some(Arc::new(authenticator));
        self
    }

    /// Sets a custom authenticator for WebSocket, in place of the general one.
    #[cfg(feature = "websocket")]
    pub fn websocket_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.auth_config.websocket = Some(Arc::new(authenticator));
        self
    }

    /// Sets the seed of all randomness: ids, the members of queue groups that get messages, and the
    /// messages affected by [faults](super::Fault). With the same seed they are the same in each
    /// run, as far as the order of events is.
    pub fn seed(self, seed: u64) -> Self {
        self.options(|options| options.broker.seed = seed)
    }

    /// Sets the number of protocol lines kept for a panicking test; default 200. 0 is the cheapest,
    /// for tests about speed.
    pub fn keep_lines(mut self, lines: usize) -> Self {
        self.lines = lines;
        self
    }

    /// Gives the broker its own thread and runtime, even within a runtime. It then runs while the
    /// test blocks its thread, and its [clock can be moved](TestBroker::advance).
    pub fn own_thread(mut self) -> Self {
        self.has_own_thread = true;
        self
    }

    /// Sets the place in a network that carries its routes, in place of a port.
    pub(super) fn network(mut self, network: NetworkPort) -> Self {
        self.surroundings.network = Some(network);
        self
    }

    /// Starts the broker. Clients can connect once this returns.
    ///
    /// In a tokio runtime the broker runs there, and uses its clock if that is paused; otherwise on
    /// [its own thread](Self::own_thread).
    ///
    /// # Errors
    ///
    /// Returns [`StartError`].
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, nothing is left running.
    pub async fn start(mut self) -> Result<TestBroker, StartError> {
        self.gather_users()?;
        if self.has_own_thread || Handle::try_current().is_err() {
            return self.start_on_own_thread().await;
        }
        let is_single = Handle::try_current()
            .is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::CurrentThread);
        let Self { options, auth_config, surroundings, lines, .. } = self;
        let kit = Kit::start(options, auth_config, surroundings, lines).await?;
        Ok(TestBroker::new(kit, None, is_single))
    }

    /// Starts the broker on [its own thread](Self::own_thread), and blocks until it is ready.
    ///
    /// # Errors
    ///
    /// See [`Self::start`].
    pub fn start_blocking(mut self) -> Result<TestBroker, StartError> {
        self.gather_users()?;
        block_on(self.start_on_own_thread())
    }

    async fn start_on_own_thread(self) -> Result<TestBroker, StartError> {
        let Self { options, auth_config, surroundings, lines, .. } = self;
        let start =
            move || async move { Ok(Kit::start(options, auth_config, surroundings, lines).await?) };
        let (thread, started) = OwnThread::start(start).map_err(StartError::Thread)?;
        let gone = || {
            StartError::Thread(io::Error::other("the thread ended before the start was complete"))
        };
        let kit = started.await.map_err(|_| gone())??;
        Ok(TestBroker::new(kit, Some(thread), true))
    }

    fn gather_users(&mut self) -> Result<(), StartError> {
        if self.users.is_empty() {
            return Ok(());
        }
        if self.auth_config.all.is_some() {
            return Err(StartError::TwoAuthenticators);
        }
        let users = Users::builder().users(self.users.drain(..)).build()?;
        self.auth_config.all = Some(Arc::new(users));
        Ok(())
    }
}

/// Formats an error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
