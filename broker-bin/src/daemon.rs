//! A server with all that belongs to it as a program: its banner, its files, its end.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use broker_core::Broker;
use broker_net::{BindError, Server};

use crate::config::Loaded;
#[cfg(feature = "monitoring")]
use crate::monitor::{
    Connz, ConnzOptions, Facts, Moment, Monitor, Observer, Subsz, SubszOptions, Varz,
};
use crate::options::{MonitorOptions, Options, OptionsError};
use crate::ports_file::{Ports, PortsFile, urls};
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
    #[cfg(feature = "monitoring")]
    observer: Observer,
    #[cfg(feature = "monitoring")]
    monitor: Option<Monitor>,
    ports_file: Option<PortsFile>,
}

/// Why natsd did not start. The text is what the log says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings that contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The pid file cannot be written.
    #[error("Could not write pidfile: {}: {source}", path.display())]
    PidFile {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The port cannot be had.
    // Test helpers of clients look for this text.
    #[error("Error listening on port: {address}, \"{}\"", cause(source))]
    Listen {
        /// Host and port as asked for.
        address: String,
        /// Why not.
        source: BindError,
    },
    /// The port of the monitoring endpoints cannot be had.
    #[error("Can't start monitoring: can't listen to the monitor port {address}: {source}")]
    Monitor {
        /// Host and port as asked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

impl Daemon {
    /// Starts serving; when this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running. A ports file that cannot be written is only logged.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_from(options, None, || ()).await
    }

    /// Starts serving what a configuration says, and names its file in the log.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_loaded(loaded: Loaded) -> Result<Self, StartError> {
        let Loaded { options, file, digest, warnings, .. } = loaded;
        let shown_digest = digest.clone();
        let banner = || {
            if let Some(file) = file {
                let digest = shown_digest.unwrap_or_default();
                tracing::info!("Using configuration file: {} ({digest})", file.display());
            }
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        };
        Self::start_from(options, digest, banner).await
    }

    /// `banner` says where the options are from.
    async fn start_from(
        options: Options,
        digest: Option<String>,
        banner: impl FnOnce(),
    ) -> Result<Self, StartError> {
        options.check()?;
        tracing::info!("Starting natsd");
        tracing::info!("  Version:  {VERSION} (NATS {NATS_VERSION})");
        tracing::info!("  Git:      [{}]", option_env!("NATSD_GIT_COMMIT").unwrap_or("not set"));

        banner();
        // NATS 2.14: auth.go checkAuthforWarnings.
        if options.has_plain_passwords() {
            tracing::warn!("Plaintext passwords detected, use nkeys or bcrypt");
        }

        if let Some(path) = &options.pid_file {
            pid_file::write(path)
                .map_err(|source| StartError::PidFile { path: path.clone(), source })?;
        }

        let server = bind(&options).await?;
        let info = server.broker().info();
        tracing::info!("  Name:     {}", info.server_name);
        tracing::info!("  ID:       {}", info.server_id);
        let monitoring = options.monitoring()?;
        #[cfg(feature = "monitoring")]
        let observer = observe(&server, &options, digest);
        #[cfg(feature = "monitoring")]
        let monitor = start_monitor(monitoring.as_ref(), &observer).await?;
        #[cfg(not(feature = "monitoring"))]
        without_monitoring(monitoring.as_ref(), digest)?;
        // NATS 2.14: server.go, the host as it was asked for and the port as it was had.
        tracing::info!(
            "Listening for client connections on {}",
            host_port(&options.host, server.local_addr().port())
        );

        let ports_file = options.ports_file_dir.and_then(|dir| {
            let path = PortsFile::path(&dir, &options.program);
            let ports = Ports {
                nats: urls("nats", server.local_addr()),
                #[cfg(feature = "monitoring")]
                monitoring: monitor
                    .iter()
                    .flat_map(|monitor| urls("http", monitor.local_addr()))
                    .collect(),
                ..Ports::default()
            };
            PortsFile::create(path.clone(), &ports)
                .inspect_err(|error| {
                    tracing::error!("Error writing ports file ({}): {error}", path.display());
                })
                .ok()
        });
        tracing::info!("Server is ready");
        Ok(Self {
            server,
            #[cfg(feature = "monitoring")]
            observer,
            #[cfg(feature = "monitoring")]
            monitor,
            ports_file,
        })
    }

    /// Where clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The broker behind it.
    pub fn broker(&self) -> &Broker {
        self.server.broker()
    }

    /// Where the monitoring endpoints listen, if they were asked for.
    #[cfg(feature = "monitoring")]
    pub fn monitoring_addr(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(Monitor::local_addr)
    }

    /// Looks at the server, as the monitoring endpoints do; they need not listen.
    #[cfg(feature = "monitoring")]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// What `/varz` shows.
    #[cfg(feature = "monitoring")]
    pub fn varz(&self) -> Varz {
        self.observer.varz()
    }

    /// What `/connz` shows.
    ///
    /// # Errors
    ///
    /// As [`Observer::connz`].
    #[cfg(feature = "monitoring")]
    pub fn connz(&self, options: &ConnzOptions) -> Result<Connz, crate::monitor::BadRequest> {
        self.observer.connz(options)
    }

    /// What `/subsz` shows.
    ///
    /// # Errors
    ///
    /// As [`Observer::subsz`].
    #[cfg(feature = "monitoring")]
    pub fn subsz(&self, options: &SubszOptions) -> Result<Subsz, crate::monitor::BadRequest> {
        self.observer.subsz(options)
    }

    /// Stops serving: connections are closed, the ports file is removed.
    pub async fn stop(self) {
        tracing::info!("Initiating Shutdown...");
        self.server.shutdown().await;
        drop(self.ports_file);
        tracing::info!("Server Exiting..");
    }
}

async fn bind(options: &Options) -> Result<Server, StartError> {
    let builder = Server::builder()
        .options(options.server())
        .authenticator(options.access()?.authenticator());
    builder.bind().await.map_err(|source| StartError::Listen {
        address: host_port(&options.host, options.port),
        source,
    })
}

#[cfg(feature = "monitoring")]
fn observe(server: &Server, options: &Options, digest: Option<String>) -> Observer {
    let observer = Observer::of(server);
    let digest = digest.unwrap_or_default();
    observer.update_facts(|facts| {
        facts.host.clone_from(&options.host);
        facts.tags.clone_from(&options.server_tags);
        facts.metadata.clone_from(&options.server_metadata);
        facts.config_digest.clone_from(&digest);
        facts.config_load_time = Some(Moment(std::time::SystemTime::now()));
    });
    observer
}

#[cfg(feature = "monitoring")]
async fn start_monitor(
    options: Option<&MonitorOptions>,
    observer: &Observer,
) -> Result<Option<Monitor>, StartError> {
    let Some(options) = options else { return Ok(None) };
    let monitor = Monitor::bind(options, observer.clone()).await.map_err(|source| {
        StartError::Monitor { address: host_port(&options.host, options.port), source }
    })?;
    let address = monitor.local_addr();
    let shown = host_port(&options.host, address.port());
    tracing::info!("Starting http monitor on {shown}");
    if options.is_open() && !address.ip().is_loopback() {
        tracing::warn!(
            "Monitoring on {shown} answers everybody who can reach it; http: \"127.0.0.1:{}\" keeps it \
             to this machine, http_token asks for a token",
            address.port()
        );
    }
    observer.update_facts(|facts: &mut Facts| {
        facts.http_host.clone_from(&options.host);
        facts.http_port = address.port();
        facts.http_base_path.clone_from(&options.base_path);
    });
    Ok(Some(monitor))
}

#[cfg(not(feature = "monitoring"))]
fn without_monitoring(
    options: Option<&MonitorOptions>,
    _digest: Option<String>,
) -> Result<(), StartError> {
    let Some(options) = options else { return Ok(()) };
    Err(StartError::Monitor {
        address: host_port(&options.host, options.port),
        source: io::Error::new(
            io::ErrorKind::Unsupported,
            "this natsd was built without monitoring",
        ),
    })
}

/// What the system said; the error above it repeats host and port.
fn cause(error: &BindError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// `host:port`, with an IPv6 address in brackets.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
