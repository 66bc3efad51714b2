//! The program's monitoring, if compiled in.

#[cfg(feature = "monitoring")]
pub(crate) use with::{Watch, Watching};
#[cfg(not(feature = "monitoring"))]
pub(crate) use without::{Watch, Watching};

#[cfg(feature = "monitoring")]
mod with {
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use broker_net::Server;

    #[cfg(feature = "jwt")]
    use crate::monitor::OperatorFacts;
    use crate::monitor::{Monitor, MonitorSocket, Observer, WebsocketVarz};
    use crate::options::{MonitorOptions, Options};
    use crate::ports_file;
    use crate::start_error::{StartError, host_port};
    use crate::system::{ReloadRequests, SystemAccount};

    /// Observes the server, and serves monitoring over HTTP if configured.
    #[derive(Debug)]
    pub(crate) struct Watch {
        pub(crate) observer: Observer,
        pub(crate) monitor: Option<Monitor>,
        /// Taken when the server ends.
        system: Mutex<Option<SystemAccount>>,
        reloads: tokio::sync::Mutex<Option<ReloadRequests>>,
    }

    /// The monitoring listener before the server exists. It listens before the server does, so that
    /// a program that can connect as a client can also connect to monitoring; it is answered as
    /// soon as the server serves.
    // NATS 2.14: server.go Start.
    pub(crate) struct Watching(Option<(MonitorOptions, MonitorSocket)>);

    impl Watching {
        pub(crate) async fn listen(options: &Options) -> Result<Self, StartError> {
            let Some(options) = options.monitoring()? else { return Ok(Self(None)) };
            let listening = MonitorSocket::listen(&options).await;
            let socket = listening.map_err(|source| StartError::Monitor {
                address: host_port(&options.host, options.port),
                source,
            })?;
            Ok(Self(Some((options, socket))))
        }
    }

    impl Watch {
        pub(crate) fn start(
            watching: Watching,
            server: &Server,
            options: &Options,
            digest: Option<&str>,
        ) -> Self {
            let (system, reloads) = (Mutex::default(), tokio::sync::Mutex::default());
            let observer = Observer::of(server);
            let watch = Self { observer, monitor: None, system, reloads };
            watch.observer.update_facts(|facts| facts.host.clone_from(&options.host));
            if let Some((set, address)) = server.options().websocket.zip(server.websocket_addr()) {
                let shown = WebsocketVarz::of(&options.websocket, set.host, address.port());
                watch.observer.update_facts(|facts| facts.websocket = shown.clone());
            }
            if let Some(address) = server.cluster_addr() {
                watch.observer.update_facts(|facts| facts.cluster.cluster_port = address.port());
            }
            watch.follow(options, digest);
            let monitor = watching.0.map(|(options, socket)| watch.serve(&options, socket));
            let (system, reloads) = start_system_account(&watch.observer, options).unzip();
            let (system, reloads) = (Mutex::new(system), tokio::sync::Mutex::new(reloads));
            Self { monitor, system, reloads, ..watch }
        }

        /// Publishes that the server has entered lame duck mode.
        pub(crate) fn announce_lame_duck(&self) {
            if let Some(system) = &*self.system() {
                system.announce_lame_duck();
            }
        }

        /// Publishes that the server ends, and answers no further requests.
        pub(crate) fn announce_end(&self) {
            drop(self.system().take());
        }

        fn system(&self) -> MutexGuard<'_, Option<SystemAccount>> {
            self.system.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Reloads with `reload` whenever an operator asks for it over NATS.
        pub(crate) async fn serve_reloads(&self, reload: impl AsyncFn() -> Result<(), String>) {
            let mut reloads = self.reloads.lock().await;
            let Some(reloads) = &mut *reloads else { return };
            while let Some(request) = reloads.next().await {
                request.finish(reload().await);
            }
        }

        fn serve(&self, options: &MonitorOptions, socket: MonitorSocket) -> Monitor {
            let monitor = socket.serve(options, self.observer.clone());
            let address = monitor.local_addr();
            let shown = host_port(&options.host, address.port());
            let scheme = scheme(&monitor);
            tracing::info!("Starting {scheme} monitor on {shown}");
            if options.is_open() && !address.ip().is_loopback() {
                tracing::warn!(
                    "Monitoring on {shown} is open to everyone who can reach it: http_token requires a token, \
                     {scheme}: \"127.0.0.1:{}\" keeps it to this machine",
                    address.port()
                );
            }
            self.observer.update_facts(|facts| {
                facts.http_host.clone_from(&options.host);
                let is_secured = monitor.is_secured();
                let port = |is_it| if is_it { address.port() } else { 0 };
                (facts.http_port, facts.https_port) = (port(!is_secured), port(is_secured));
                facts.http_base_path.clone_from(&options.base_path);
            });
            monitor
        }

        /// Records the loaded configuration.
        pub(crate) fn follow(&self, options: &Options, digest: Option<&str>) {
            if let (Some(monitor), Ok(Some(MonitorOptions { tls: Some(tls), .. }))) =
                (&self.monitor, options.monitoring())
                && let Err(error) = monitor.set_tls(&tls)
            {
                tracing::error!("The certificate of monitoring was not replaced: {error}");
            }
            self.observer.follow(options, digest);
        }

        /// Shows the claims of accounts.
        #[cfg(feature = "jwt")]
        pub(crate) fn show_claims(&self, operators: &crate::options::Operators) {
            self.observer.update_facts(|facts| facts.operators = OperatorFacts::of(operators));
        }

        /// Records the outcome of a reload.
        pub(crate) fn note_reload(&self, was_successful: bool, took: Duration) {
            self.observer.note_reload(was_successful, took);
        }

        /// Returns the listener's URLs for the ports file.
        pub(crate) fn urls(&self) -> Vec<String> {
            let monitor = self.monitor.iter();
            monitor.flat_map(|one| ports_file::urls(scheme(one), one.local_addr())).collect()
        }
    }

    fn start_system_account(
        observer: &Observer,
        options: &Options,
    ) -> Option<(SystemAccount, ReloadRequests)> {
        if !options.has_system_account() {
            return None;
        }
        let started = SystemAccount::start_with_reloads(observer);
        started.inspect_err(|error| tracing::error!("No system account: {error}")).ok()
    }

    fn scheme(monitor: &Monitor) -> &'static str {
        if monitor.is_secured() { "https" } else { "http" }
    }
}

#[cfg(not(feature = "monitoring"))]
mod without {
    use std::io;
    use std::time::Duration;

    use broker_net::Server;

    use crate::options::Options;
    use crate::start_error::{StartError, host_port};

    /// Does nothing except warn if monitoring is configured.
    #[derive(Debug)]
    pub(crate) struct Watch;

    pub(crate) struct Watching;

    impl Watching {
        #[expect(clippy::unused_async, reason = "the other implementation awaits")]
        pub(crate) async fn listen(options: &Options) -> Result<Self, StartError> {
            let Some(options) = options.monitoring()? else { return Ok(Self) };
            let source = io::Error::new(
                io::ErrorKind::Unsupported,
                "this natsd was built without monitoring",
            );
            Err(StartError::Monitor { address: host_port(&options.host, options.port), source })
        }
    }

    impl Watch {
        pub(crate) fn start(_: Watching, _: &Server, _: &Options, _: Option<&str>) -> Self {
            Self
        }

        pub(crate) fn follow(&self, _: &Options, _: Option<&str>) {}

        #[cfg(feature = "jwt")]
        pub(crate) fn show_claims(&self, _: &crate::options::Operators) {}

        pub(crate) fn note_reload(&self, _: bool, _: Duration) {}

        pub(crate) fn announce_lame_duck(&self) {}

        pub(crate) fn announce_end(&self) {}

        #[expect(clippy::unused_async, reason = "the other implementation awaits")]
        pub(crate) async fn serve_reloads(&self, _: impl AsyncFn() -> Result<(), String>) {}

        pub(crate) fn urls(&self) -> Vec<String> {
            Vec::new()
        }
    }
}
