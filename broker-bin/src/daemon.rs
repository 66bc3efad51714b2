//! A server with the program's surroundings: banner, files, reload, shutdown.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use broker_core::Broker;
use broker_net::{Authenticators, HandshakeFirst, ListenerKind, Server, ServerStatus, StallWatch};

use crate::config::Sources;
use crate::config::problem::Problem;
use crate::logging::Logging;
#[cfg(feature = "monitoring")]
use crate::monitor::{
    BadRequest, Connz, ConnzOptions, Monitor, Observer, Subsz, SubszOptions, Varz,
};
use crate::monitor_service::{Watch, Watching};
use crate::options::{self, Change, Loaded, Request};
use crate::options::{Deciders, Options};
use crate::ports_file::{Ports, PortsFile, urls};
use crate::reload::{Plan, ReloadError, Reloaded};
#[cfg(feature = "jwt")]
use crate::resolver::ClaimRequests;
use crate::start_error::{StartError, host_port};
use crate::{NATS_VERSION, VERSION, pid_file};

/// A running natsd.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use broker_bin::{Daemon, Options};
///
/// let daemon = Daemon::start(Options { host: "127.0.0.1".into(), port: 0, ..Default::default() }).await?;
/// println!("clients connect to {}", daemon.local_addr());
/// daemon.stop().await;
/// # Ok::<(), broker_bin::StartError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Daemon {
    server: Server,
    watch: Watch,
    /// The command line for a reload.
    request: Option<Request>,
    /// The log that a reload reconfigures.
    log: Option<Logging>,
    now: Mutex<Now>,
    /// Held while options are changed.
    changing: tokio::sync::Mutex<()>,
    /// Ended by the drop.
    #[cfg(feature = "jwt")]
    _claim_requests: Option<ClaimRequests>,
}

/// The state that a reload may change.
#[derive(Debug)]
struct Now {
    options: Arc<Options>,
    deciders: Deciders,
    ports_file: Option<PortsFile>,
    /// The configuration that produced the options, if they were loaded.
    read: Option<Arc<Read>>,
}

/// A loaded configuration.
#[derive(Debug)]
struct Read {
    sources: Sources,
    digest: Option<String>,
    warnings: Vec<Problem>,
}

impl Daemon {
    /// Starts serving. Clients can connect once this returns.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`] and leaves nothing running. An unwritable ports file is only logged.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let deciders = options.checked_deciders()?;
        Self::start_from(options, deciders, None, None, || ()).await
    }

    /// Starts serving a loaded configuration, and logs its file name. [`Self::reload`] reads it
    /// again.
    ///
    /// # Errors
    ///
    /// See [`Self::start`].
    pub async fn start_loaded(loaded: Loaded) -> Result<Self, StartError> {
        let deciders = loaded.options.checked_deciders()?;
        Self::start_checked(loaded, deciders).await
    }

    /// Starts serving a loaded configuration with the access rules that its check has made.
    pub(crate) async fn start_checked(
        loaded: Loaded,
        deciders: Deciders,
    ) -> Result<Self, StartError> {
        let Loaded { request, options, file, digest, warnings, sources } = loaded;
        let banner = || {
            if let Some(file) = file {
                let digest = digest.clone().unwrap_or_default();
                tracing::info!("Using configuration file: {} ({digest})", file.display());
            }
            warn(&warnings);
        };
        let digest_ = digest.as_deref();
        let daemon = Self::start_from(options, deciders, Some(request), digest_, banner).await?;
        daemon.now().read = Some(Arc::new(Read { sources, digest, warnings }));
        Ok(daemon)
    }

    /// Starts the server with options that were checked; `banner` names their source.
    async fn start_from(
        options: Options,
        deciders: Deciders,
        request: Option<Request>,
        digest: Option<&str>,
        banner: impl FnOnce(),
    ) -> Result<Self, StartError> {
        tracing::info!("Starting natsd");
        tracing::info!("  Version:  {VERSION} (NATS {NATS_VERSION})");
        tracing::info!("  Git:      [{}]", option_env!("BUILD_COMMIT").unwrap_or("not set"));

        banner();
        // NATS 2.14: auth.go checkAuthforWarnings.
        if options.has_plain_passwords() {
            tracing::warn!("Plaintext passwords detected, use nkeys or bcrypt");
        }
        deciders.delegation.report();

        if let Some(path) = &options.pid_file {
            pid_file::write(path)
                .map_err(|source| StartError::PidFile { path: path.clone(), source })?;
        }

        #[cfg(feature = "jwt")]
        if let Some(operators) = deciders.operators() {
            operators.announce();
            operators.warn(unix_time());
        }
        let watching = Watching::listen(&options).await?;
        let server = bind(&options, deciders.clone()).await?;
        #[cfg(feature = "jwt")]
        let claim_requests = match deciders.operators() {
            Some(operators) => {
                let requests = operators.serve(server.broker());
                operators
                    .load_system_account(server.broker())
                    .map_err(StartError::SystemAccount)?;
                // The subjects are valid.
                requests.ok()
            }
            None if options.has_system_account() => {
                crate::resolver::serve_without_operators(server.broker()).ok()
            }
            None => None,
        };
        let info = server.broker().info();
        if !info.cluster.is_empty() {
            tracing::info!("  Cluster:  {}", info.cluster);
        }
        tracing::info!("  Name:     {}", info.server_name);
        tracing::info!("  ID:       {}", info.server_id);
        #[cfg(feature = "streams")]
        if let Some(streams) = server.streams() {
            crate::streams::announce(streams.options(), streams.took());
        }
        let watch = Watch::start(watching, &server, &options, digest);
        #[cfg(feature = "jwt")]
        if let Some(operators) = deciders.operators() {
            watch.show_claims(operators);
        }
        announce_ways(&options, &server);
        let ports_file = write_ports(&options, &server, &watch);
        tracing::info!("Server is ready");
        announce_cluster(&options, &server);
        let now = Now { options: Arc::new(options), deciders, ports_file, read: None };
        let (now, changing) = (Mutex::new(now), tokio::sync::Mutex::default());
        Ok(Self {
            server,
            watch,
            request,
            log: None,
            now,
            changing,
            #[cfg(feature = "jwt")]
            _claim_requests: claim_requests,
        })
    }

    /// Lets reloads reconfigure `log`. Without a log, changed log options have no effect, because
    /// logging is the caller's responsibility.
    #[must_use]
    pub fn with_log(self, log: Logging) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The address of the client listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The address of the WebSocket listener, if any.
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.server.websocket_addr()
    }

    /// The path of the Unix socket, if any.
    pub fn unix_path(&self) -> Option<PathBuf> {
        self.server.options().unix.map(|unix| unix.path)
    }

    /// The broker of this server.
    pub fn broker(&self) -> &Broker {
        self.server.broker()
    }

    /// The status of the server.
    pub fn status(&self) -> ServerStatus {
        self.server.status()
    }

    /// Starts watching for connections that block their thread: see [`Server::stall_watch`]. This
    /// takes a thread, so that the program starts it and not the daemon.
    pub fn stall_watch(&self, patience: Duration) -> StallWatch {
        self.server.stall_watch(patience)
    }

    /// The address of the monitoring listener, if any.
    #[cfg(feature = "monitoring")]
    pub fn monitoring_addr(&self) -> Option<SocketAddr> {
        self.watch.monitor.as_ref().map(Monitor::local_addr)
    }

    /// Gives access to the data of the monitoring endpoints, whether or not they are served.
    #[cfg(feature = "monitoring")]
    pub fn observer(&self) -> &Observer {
        &self.watch.observer
    }

    /// Returns the data of `/varz`.
    #[cfg(feature = "monitoring")]
    pub fn varz(&self) -> Varz {
        self.observer().varz()
    }

    /// Returns the data of `/connz`.
    ///
    /// # Errors
    ///
    /// See [`Observer::connz`].
    #[cfg(feature = "monitoring")]
    pub fn connz(&self, options: &ConnzOptions) -> Result<Connz, BadRequest> {
        self.observer().connz(options)
    }

    /// Returns the data of `/subsz`.
    ///
    /// # Errors
    ///
    /// See [`Observer::subsz`].
    #[cfg(feature = "monitoring")]
    pub fn subsz(&self, options: &SubszOptions) -> Result<Subsz, BadRequest> {
        self.observer().subsz(options)
    }

    /// The current options.
    pub fn options(&self) -> Arc<Options> {
        Arc::clone(&self.now().options)
    }

    /// Reads the configuration again and applies it. Command line and environment stay as they were
    /// at the start.
    ///
    /// # Errors
    ///
    /// Returns [`ReloadError`] and changes nothing.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either everything has changed or nothing.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _changing = self.changing.lock().await;
        let began = Instant::now();
        let result = self.read_again().await;
        self.watch.note_reload(result.is_ok(), began.elapsed());
        result
    }

    /// Reloads whenever an operator asks for it in the system account, and tells the operator the outcome. Returns when
    /// nobody can ask.
    ///
    /// # Cancel safety
    ///
    /// If dropped, a reload may have taken effect without its answer; later requests are refused.
    pub async fn serve_requests(&self) {
        let reload = async || self.reload().await.map(drop).map_err(|error| error.to_string());
        self.watch.serve_reloads(reload).await;
    }

    async fn read_again(&self) -> Result<Reloaded, ReloadError> {
        let request = self.request.clone().filter(|request| request.file.is_some());
        let request = request.ok_or(ReloadError::NoFile)?;
        let known = self.now().read.clone();
        let loading = move || match known.filter(|read| read.sources.are_unchanged()) {
            Some(read) => Ok((None, read)),
            None => {
                let (loaded, deciders) = options::load_checked(&request)?;
                let Loaded { options, digest, warnings, sources, .. } = loaded;
                Ok((Some((options, deciders)), Arc::new(Read { sources, digest, warnings })))
            }
        };
        let (checked, read) = in_a_thread(loading).await?;
        warn(&read.warnings);
        let reloaded = self.change(checked, read.digest.as_deref()).await?;
        self.now().read = Some(read);
        Ok(reloaded)
    }

    /// Applies other options: see [`Self::reload`]. Port 0 keeps the current port.
    ///
    /// # Errors
    ///
    /// Returns [`ReloadError`] and changes nothing.
    ///
    /// # Cancel safety
    ///
    /// See [`Self::reload`].
    pub async fn apply(&self, options: Options) -> Result<Reloaded, ReloadError> {
        let _changing = self.changing.lock().await;
        // The next reload must compare against these options, not against those of the files.
        self.now().read = None;
        let checking = move || {
            let deciders = options.checked_deciders()?;
            Ok((options, deciders))
        };
        let checked = in_a_thread(checking).await?;
        self.change(Some(checked), None).await
    }

    /// Changes to options that are checked, with the access rules that their check has made, or to the current ones if
    /// `None`.
    async fn change(
        &self,
        checked: Option<(Options, Deciders)>,
        digest: Option<&str>,
    ) -> Result<Reloaded, ReloadError> {
        let (before, deciders) = {
            let now = self.now();
            (Arc::clone(&now.options), now.deciders.clone())
        };
        let log = self.log.clone();
        let was_read = checked.is_some();
        let planning = move || match checked {
            Some(checked) => Plan::make(&before, checked, &deciders, log.as_ref()),
            None => Plan::repeat(&before, &deciders),
        };
        let plan = in_a_thread(planning).await?;

        let authenticators = plan.authenticators();
        let Plan { options, changes, server, deciders, log, .. } = plan;
        let (first, last) = changes.split_at(Plan::lines_before_the_server_s(&changes));
        tell(first);
        // The first poll applies everything; from there to the end of the block nothing awaits.
        let mut applying = pin!(self.server.apply_with(server, authenticators));
        let applied = poll_fn(|context| Poll::Ready(applying.as_mut().poll(context))).await;
        let applied = applied.map(|result| result.map_err(ReloadError::from));
        if let Poll::Ready(Err(error)) = applied {
            return Err(error);
        }
        tell(last);
        if let Some(options) = &options
            && changes.iter().any(|change| change.path == "cluster")
        {
            warn_of_insecure_routes(options);
        }
        #[cfg(feature = "jwt")]
        if let Some(operators) = deciders.as_ref().and_then(Deciders::operators) {
            operators.warn(unix_time());
            operators.follow();
        } else if let Some(operators) = self.now().deciders.operators() {
            operators.follow_files();
        }
        if let Some(log) = log {
            log.switch();
        }
        #[cfg(feature = "streams")]
        if let (Some(streams), Some(options)) = (self.server.streams(), &options) {
            crate::streams::follow(streams, &self.options(), options);
        }
        let before = {
            let mut now = self.now();
            let before = now.follow(options, deciders);
            self.watch.follow(&now.options, digest);
            now.follow_files(&changes, &self.server, &self.watch);
            before
        };
        // Dropping 100,000 users takes longer than clients should wait. If no thread is available,
        // the drop happens here.
        let _ = tokio::task::spawn_blocking(move || drop(before)).await;

        let report = match applied {
            Poll::Ready(report) => report?,
            Poll::Pending => applying.await?,
        };
        match digest {
            Some(digest) => tracing::info!("Reloaded server configuration ({digest})"),
            None => tracing::info!("Reloaded server configuration"),
        }
        Ok(Reloaded { changes, excess: report.excess, was_read })
    }

    /// Enters lame duck mode: see [`Server::lame_duck`]. Returns when all clients have
    /// disconnected.
    ///
    /// # Cancel safety
    ///
    /// If dropped, lame duck mode continues.
    pub async fn lame_duck(&self) {
        let plan = self.now().options.lame_duck();
        self.watch.announce_lame_duck();
        self.server.lame_duck(plan).await;
    }

    /// Stops serving: closes all connections and removes the ports file.
    pub async fn stop(self) {
        tracing::info!("Initiating Shutdown...");
        self.watch.announce_end();
        // NATS 2.14: jetstream.go shutdownJetStream.
        #[cfg(feature = "streams")]
        let has_streams = self.server.streams().is_some();
        #[cfg(not(feature = "streams"))]
        let has_streams = false;
        if has_streams {
            tracing::info!("Initiating JetStream Shutdown...");
        }
        self.server.shutdown().await;
        if has_streams {
            tracing::info!("JetStream Shutdown");
        }
        drop(self.now().ports_file.take());
        tracing::info!("Server Exiting..");
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    /// Switches to the new options and returns the previous state.
    fn follow(
        &mut self,
        options: Option<Options>,
        deciders: Option<Deciders>,
    ) -> (Option<Arc<Options>>, Option<Deciders>) {
        let deciders = deciders.map(|next| std::mem::replace(&mut self.deciders, next));
        let options = options.map(|next| std::mem::replace(&mut self.options, Arc::new(next)));
        (options, deciders)
    }

    fn follow_files(&mut self, changes: &[Change], server: &Server, watch: &Watch) {
        if changes.iter().any(|change| change.path == "ports_file_dir") {
            // The old file is removed first: the new path may name the same place.
            self.ports_file = None;
            self.ports_file = write_ports(&self.options, server, watch);
        }
    }
}

// NATS 2.14: hosts as configured, ports as bound; WebSocket before the client port.
fn announce_ways(options: &Options, server: &Server) {
    if let Some((set, address)) = server.options().websocket.zip(server.websocket_addr()) {
        let scheme = if set.tls.is_some() { "wss" } else { "ws" };
        let shown = host_port(&set.host, address.port());
        tracing::info!("Listening for websocket clients on {scheme}://{shown}");
        if set.tls.is_none() {
            tracing::warn!("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
        }
    }
    let port = server.local_addr().port();
    tracing::info!("Listening for client connections on {}", host_port(&options.host, port));
    if options.proxy_protocol {
        tracing::info!("PROXY protocol enabled for client connections");
    }
    announce_tls(options);
    // The wording differs from that for ports, because programs parse an address after it.
    if let Some(path) = &options.listen_unix.path {
        tracing::info!("Listening for local clients on unix:{}", path.display());
    }
}

// NATS 2.14: route.go startRouteAcceptLoop.
fn announce_cluster(options: &Options, server: &Server) {
    let Some((cluster, address)) = server.broker().cluster().zip(server.cluster_addr()) else {
        return;
    };
    tracing::info!("Cluster name is {}", cluster.name());
    if cluster.has_generated_name() {
        tracing::warn!("Cluster name was dynamically generated, consider setting one");
    }
    let shown = host_port(options.cluster.host(), address.port());
    tracing::info!("Listening for route connections on {shown}");
    warn_of_insecure_routes(options);
}

/// Warns if the certificates of other servers are not verified.
// NATS 2.14: route.go clusterTLSInsecureWarning.
fn warn_of_insecure_routes(options: &Options) {
    if options.cluster.is_on() && options.cluster.tls.as_ref().is_some_and(|tls| tls.insecure) {
        tracing::warn!(
            "TLS certificate chain and hostname of solicited routes will not be verified. DO NOT USE IN PRODUCTION!"
        );
    }
}

// NATS 2.14: server.go AcceptLoop.
fn announce_tls(options: &Options) {
    let Ok(Some(tls)) = options.client_tls() else { return };
    let is_first = tls.handshake_first == HandshakeFirst::Always;
    if tls.allow_non_tls && !is_first {
        tracing::info!("TLS available for client connections");
    } else {
        tracing::info!("TLS required for client connections");
    }
    if is_first {
        tracing::warn!(
            "Clients that are not using \"TLS Handshake First\" option will fail to connect"
        );
    }
}

async fn bind(options: &Options, deciders: Deciders) -> Result<Server, StartError> {
    let mut server = options.server();
    #[cfg(feature = "streams")]
    let streams = options.streams();
    deciders.delegation.introduce(&mut server);
    let mut builder = Server::builder().options(server);
    #[cfg(feature = "jwt")]
    if let Some(operators) = deciders.operators() {
        builder = builder.operator_mode(operators.mode().clone());
    }
    #[cfg(feature = "streams")]
    if let Some(streams) = streams {
        builder = builder.streams(streams);
    }
    let Authenticators { all, websocket } = deciders.authenticators();
    builder = builder.authenticator(all);
    if let Some(websocket) = websocket {
        builder = builder.websocket_authenticator(websocket);
    }
    builder.bind().await.map_err(|source| match source.way() {
        ListenerKind::Websocket => {
            StartError::Websocket { address: host_port(source.host(), source.port()), source }
        }
        ListenerKind::Routes => StartError::Routes { port: options.cluster.port, source },
        ListenerKind::Unix => StartError::Unix { path: source.host().into(), source },
        _ => StartError::Listen { address: host_port(&options.host, options.port), source },
    })
}

/// Returns the time of day in seconds since 1970.
#[cfg(feature = "jwt")]
fn unix_time() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn write_ports(options: &Options, server: &Server, watch: &Watch) -> Option<PortsFile> {
    let path = PortsFile::path(options.ports_file_dir.as_deref()?, &options.program);
    let scheme = if server.broker().info().tls_required { "tls" } else { "nats" };
    let ports = Ports {
        nats: urls(scheme, server.local_addr()),
        monitoring: watch.urls(),
        cluster: cluster_urls(server),
        websocket: websocket_urls(server),
        ..Ports::default()
    };
    PortsFile::create(path.clone(), &ports)
        .inspect_err(|error| {
            tracing::error!("Error writing ports file ({}): {error}", path.display());
        })
        .ok()
}

// NATS 2.14: server.go portsInfo.
fn cluster_urls(server: &Server) -> Vec<String> {
    let Some((set, address)) = server.options().cluster.zip(server.cluster_addr()) else {
        return Vec::new();
    };
    urls(if set.tls.is_some() { "tls" } else { "nats" }, address)
}

fn websocket_urls(server: &Server) -> Vec<String> {
    let Some((set, address)) = server.options().websocket.zip(server.websocket_addr()) else {
        return Vec::new();
    };
    urls(if set.tls.is_some() { "wss" } else { "ws" }, address)
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

fn tell(changes: &[Change]) {
    for change in changes {
        tracing::info!("{change}");
    }
}

/// Runs blocking work (reading files, connecting) on another thread, so that clients do not wait
/// for it.
async fn in_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, ReloadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ReloadError::Thread(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "host: 127.0.0.1, port: -1, authorization { users: [
        { user: a, password: pa, permissions: { publish: x } }, { user: b, password: pb } ] }";

    #[tokio::test]
    async fn a_reload_without_changes_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("natsd.conf");
        std::fs::write(&file, USERS).unwrap();
        let request = Request { file: Some(file.clone()), ..Request::default() };
        let daemon = Daemon::start_loaded(options::load(&request).unwrap()).await.unwrap();
        let before = daemon.options();

        let same = daemon.reload().await.unwrap();
        assert!(same.changes.is_empty() && !same.was_read);
        assert!(Arc::ptr_eq(&before, &daemon.options()));

        std::fs::write(&file, format!("# in other words\n{USERS}")).unwrap();
        let other_words = daemon.reload().await.unwrap();
        assert!(other_words.changes.is_empty() && other_words.was_read);
        assert!(Arc::ptr_eq(&before, &daemon.options()));
        assert!(!daemon.reload().await.unwrap().was_read);

        std::fs::write(&file, USERS.replace("pb", "pc")).unwrap();
        let other = daemon.reload().await.unwrap();
        assert_eq!(
            other.changes.iter().map(|change| &*change.path).collect::<Vec<_>>(),
            ["authorization.users"]
        );
        assert!(!Arc::ptr_eq(&before, &daemon.options()));

        // Options that a program set in between differ from the file.
        let options = Options { debug: true, ..(*daemon.options()).clone() };
        assert_eq!(daemon.apply(options).await.unwrap().changes.len(), 1);
        assert_eq!(daemon.reload().await.unwrap().changes.len(), 1);
        assert!(!daemon.options().debug);
        daemon.stop().await;
    }
}
