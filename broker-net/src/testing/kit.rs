//! State shared by a test broker and its observers.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_core::Broker;
use broker_core::auth::{Authenticator, NoAuth};
use broker_core::probe::Held;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::authenticator::{AuthFailures, FailingAuthenticator};
use super::watcher::{LateDelivery, Watcher, Watching};
use crate::apply::{ApplyError, Report};
use crate::authenticators::Authenticators;
use crate::listen::BindError;
use crate::network::NetworkPort;
use crate::options::ServerOptions;
use crate::server::{Server, ServerBuilder};
use crate::stall::StallGates;

/// See the module documentation.
pub(super) struct Kit {
    /// The server's runtime.
    pub(super) runtime: Handle,
    pub(super) watcher: Arc<Watcher>,
    pub(super) acceptor: Arc<AuthFailures>,
    pub(super) gates: Arc<StallGates>,
    pub(super) surroundings: Surroundings,
    state: Mutex<State>,
    began: tokio::time::Instant,
    /// Nanoseconds by which its clock was moved.
    moved_nanos: AtomicU64,
}

struct State {
    /// `None` after the end of the test broker, after a crash, and briefly during a restart.
    server: Option<Arc<Server>>,
    /// Until it is restarted.
    is_crashed: bool,
    is_over: bool,
    /// The current options, with the bound ports.
    options: ServerOptions,
    auth_config: AuthConfig,
    address: SocketAddr,
    url: String,
    /// Background tasks, which end with the test broker.
    tasks: JoinSet<()>,
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// The surroundings of the server, independent of its options.
#[derive(Clone, Default)]
pub(super) struct Surroundings {
    /// The place in the network of its cluster.
    pub(super) network: Option<NetworkPort>,
    #[cfg(feature = "streams")]
    pub(super) streams: Option<StreamsConfig>,
}

/// The streams of a test broker, which its restarts keep.
#[cfg(feature = "streams")]
#[derive(Clone, Debug)]
pub(super) struct StreamsConfig {
    pub(super) options: broker_streams::service::Options,
    /// `None` for the disk of the seed.
    pub(super) disk: Option<broker_streams::testing::TestDisk>,
}

/// The authenticators.
#[derive(Clone, Default)]
pub(super) struct AuthConfig {
    /// The general one; `None` for no authentication.
    pub(super) all: Option<Arc<dyn Authenticator>>,
    /// The one for WebSocket; `None` for the general one.
    #[cfg(feature = "websocket")]
    pub(super) websocket: Option<Arc<dyn Authenticator>>,
    /// The operator whose accounts are served.
    #[cfg(feature = "jwt")]
    pub(super) operator: Option<broker_core::operator::OperatorMode>,
}

#[cfg(feature = "streams")]
impl Surroundings {
    /// Gives streams without a place a disk.
    fn with_disk(mut self, seed: u64) -> Self {
        if let Some(streams) = &mut self.streams
            && streams.options.directory.is_none()
        {
            streams.disk.get_or_insert_with(|| broker_streams::testing::TestDisk::new(seed));
        }
        self
    }
}

impl AuthConfig {
    fn follow(&mut self, next: Authenticators) {
        self.all = Some(next.all);
        #[cfg(feature = "websocket")]
        if next.websocket.is_some() {
            self.websocket = next.websocket;
        }
    }
}

/// Binds a server that is observed from the first connection on.
async fn bind(
    options: ServerOptions,
    auth_config: &AuthConfig,
    acceptor: &Arc<AuthFailures>,
    gates: &Arc<StallGates>,
    surroundings: &Surroundings,
    watcher: &Arc<Watcher>,
) -> Result<Server, BindError> {
    let guarded = |behind: Arc<dyn Authenticator>| FailingAuthenticator {
        acceptor: Arc::clone(acceptor),
        behind,
    };
    let all = auth_config.all.clone().unwrap_or_else(|| Arc::new(NoAuth));
    let builder = ServerBuilder::default().options(options).gates(Arc::clone(gates));
    let builder = builder.network(surroundings.network.clone());
    #[cfg(feature = "streams")]
    let builder = match surroundings.streams.clone() {
        Some(streams) => builder.streams_in_test(streams.options, streams.disk),
        None => builder,
    };
    #[cfg(feature = "jwt")]
    let builder = match &auth_config.operator {
        Some(mode) => builder.operator_mode(mode.clone()),
        None => builder,
    };
    let builder = builder.authenticator(guarded(all));
    #[cfg(feature = "websocket")]
    let builder = match &auth_config.websocket {
        Some(websocket) => builder.websocket_authenticator(guarded(Arc::clone(websocket))),
        None => builder,
    };
    let server = builder.bind().await?;
    server.broker().set_probe(Watching(Arc::clone(watcher)));
    Ok(server)
}

impl Kit {
    /// Starts in the runtime that polls it.
    pub(super) async fn start(
        options: ServerOptions,
        auth_config: AuthConfig,
        surroundings: Surroundings,
        lines: usize,
    ) -> Result<Arc<Self>, BindError> {
        #[cfg(feature = "streams")]
        let surroundings = surroundings.with_disk(options.broker.seed);
        let watcher = Arc::new(Watcher::new(lines, options.broker.seed));
        let acceptor = Arc::new(AuthFailures::default());
        let gates = Arc::default();
        let server =
            bind(options, &auth_config, &acceptor, &gates, &surroundings, &watcher).await?;
        let state = State {
            options: server.options(),
            address: server.local_addr(),
            url: server.url(),
            server: Some(Arc::new(server)),
            is_over: false,
            is_crashed: false,
            auth_config,
            tasks: JoinSet::new(),
        };
        let kit = Arc::new(Self {
            runtime: Handle::current(),
            watcher,
            acceptor,
            gates,
            surroundings,
            state: Mutex::new(state),
            began: tokio::time::Instant::now(),
            moved_nanos: AtomicU64::new(0),
        });
        let deliverer = Arc::downgrade(&kit);
        kit.watcher.work_for(deliverer);
        Ok(kit)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server; `None` after the end of the test broker, and briefly during a restart.
    pub(super) fn server(&self) -> Option<Arc<Server>> {
        self.state().server.clone()
    }

    pub(super) fn broker(&self) -> Option<Broker> {
        self.server().map(|server| server.broker().clone())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.state().address
    }

    pub(super) fn url(&self) -> String {
        self.state().url.clone()
    }

    /// Returns the time since the start, without moves of the clock.
    pub(super) fn now(&self) -> Duration {
        let moved = Duration::from_nanos(self.moved_nanos.load(Ordering::Acquire));
        self.began.elapsed().saturating_sub(moved)
    }

    pub(super) fn note_move(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.moved_nanos.fetch_add(nanos, Ordering::AcqRel);
    }

    /// Runs a task in the server's runtime, until the test broker ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        if !state.is_over {
            while state.tasks.try_join_next().is_some() {}
            state.tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Ends the server, and starts one at the same address, with other options and authenticators
    /// if given.
    pub(super) async fn restart(
        &self,
        next: Option<ServerOptions>,
        authenticators: Option<Authenticators>,
    ) -> Result<(), BindError> {
        let (server, mut options, auth_config) = {
            let mut state = self.state();
            let server = state.server.take();
            if server.is_none() && !state.is_crashed {
                return Ok(());
            }
            if let Some(next) = next {
                let before = std::mem::replace(&mut state.options, next);
                state.options.keep_ports_of(&before);
            }
            if let Some(next) = authenticators {
                state.auth_config.follow(next);
            }
            (server, state.options.clone(), state.auth_config.clone())
        };
        if let Some(server) = server {
            server.end_at_once().await;
        }
        // Another run has another id.
        options.broker.seed = options.broker.seed.wrapping_add(1);
        let (gates, around) = (&self.gates, &self.surroundings);
        let server =
            bind(options, &auth_config, &self.acceptor, gates, around, &self.watcher).await?;
        let mut state = self.state();
        if !state.is_over {
            state.is_crashed = false;
            state.options = server.options();
            state.server = Some(Arc::new(server));
        }
        Ok(())
    }

    /// Sets the operator mode of the next start.
    #[cfg(feature = "jwt")]
    pub(super) fn set_operator_mode(&self, mode: Option<broker_core::operator::OperatorMode>) {
        self.state().auth_config.operator = mode;
    }

    /// Ends the server as a crash of the machine does.
    #[cfg(feature = "streams")]
    pub(super) async fn crash(&self) {
        let server = {
            let mut state = self.state();
            let server = state.server.take();
            state.is_crashed |= server.is_some();
            server
        };
        let Some(server) = server else { return };
        if let Some(disk) = self.surroundings.streams.as_ref().and_then(|it| it.disk.as_ref()) {
            disk.crash();
        }
        if let Some(streams) = server.streams() {
            streams.abandon();
        }
        server.end_at_once().await;
    }

    /// See [`Server::apply_with`].
    pub(super) async fn apply(
        &self,
        server: &Server,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<Report, ApplyError> {
        let keeper = |behind| {
            let keeper = FailingAuthenticator { acceptor: Arc::clone(&self.acceptor), behind };
            Arc::new(keeper) as Arc<dyn Authenticator>
        };
        let keepers = authenticators.clone().map(|next| Authenticators {
            all: keeper(next.all),
            websocket: next.websocket.map(keeper),
        });
        let report = server.apply_with(options, keepers).await?;
        let mut state = self.state();
        state.options = server.options();
        if let Some(next) = authenticators {
            state.auth_config.follow(next);
        }
        Ok(report)
    }

    pub(super) fn options(&self) -> ServerOptions {
        self.state().options.clone()
    }

    /// Takes the server, so that nothing else uses it.
    pub(super) fn end(&self) -> Option<Arc<Server>> {
        let mut state = self.state();
        state.is_over = true;
        state.tasks.abort_all();
        state.server.take()
    }
}

impl LateDelivery for Kit {
    fn release(&self, held: &[Held]) {
        if let Some(broker) = self.broker() {
            held.iter().for_each(|held| broker.release(held));
        }
    }

    fn later(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }
}
