//! A server with all that belongs to it as a program: its banner, its files, its end.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use broker_core::Broker;
use broker_net::{BindError, Server};

use crate::config::Loaded;
use crate::options::{Options, OptionsError};
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
}

impl Daemon {
    /// Starts serving; when this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running. A ports file that cannot be written is only logged.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_from(options, || ()).await
    }

    /// Starts serving what a configuration says, and names its file in the log.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_loaded(loaded: Loaded) -> Result<Self, StartError> {
        let Loaded { options, file, digest, warnings, .. } = loaded;
        let banner = || {
            if let Some(file) = file {
                let digest = digest.unwrap_or_default();
                tracing::info!("Using configuration file: {} ({digest})", file.display());
            }
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        };
        Self::start_from(options, banner).await
    }

    /// `banner` says where the options are from.
    async fn start_from(options: Options, banner: impl FnOnce()) -> Result<Self, StartError> {
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
        // NATS 2.14: server.go, the host as it was asked for and the port as it was had.
        tracing::info!(
            "Listening for client connections on {}",
            host_port(&options.host, server.local_addr().port())
        );

        let ports_file = options.ports_file_dir.and_then(|dir| {
            let path = PortsFile::path(&dir, &options.program);
            let ports = Ports { nats: urls("nats", server.local_addr()), ..Ports::default() };
            PortsFile::create(path.clone(), &ports)
                .inspect_err(|error| {
                    tracing::error!("Error writing ports file ({}): {error}", path.display());
                })
                .ok()
        });
        tracing::info!("Server is ready");
        Ok(Self { server, ports_file })
    }

    /// Where clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The broker behind it.
    pub fn broker(&self) -> &Broker {
        self.server.broker()
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

/// What the system said; the error above it repeats host and port.
fn cause(error: &BindError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// `host:port`, with an IPv6 address in brackets.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
