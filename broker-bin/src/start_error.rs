//! Errors of starting a daemon.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use broker_net::BindError;

use crate::options::OptionsError;

/// natsd did not start. The text is the log's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The pid file cannot be written.
    #[error("Could not write pidfile: {}: {source}", path.display())]
    PidFile {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The client port cannot be bound.
    // Test helpers of clients search for this text.
    #[error("Error listening on port: {address}, \"{}\"", cause(source))]
    Listen {
        /// Host and port as configured.
        address: String,
        /// The cause.
        source: BindError,
    },
    /// The WebSocket port cannot be bound.
    // NATS 2.14: websocket.go startWebsocketServer.
    #[error("Unable to listen for websocket connections: {address}, \"{}\"", cause(source))]
    Websocket {
        /// Host and port as configured.
        address: String,
        /// The cause.
        source: BindError,
    },
    /// The Unix socket cannot be bound.
    #[error("Unable to listen for local client connections: {}, \"{}\"", path.display(), cause(source))]
    Unix {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: BindError,
    },
    /// The port for other servers cannot be bound.
    // NATS 2.14: route.go startRouteAcceptLoop.
    #[error("Error listening on router port: {port} - {}", cause(source))]
    Routes {
        /// The port as configured.
        port: i64,
        /// The cause.
        source: BindError,
    },
    /// The system account cannot be served.
    // NATS 2.14: server.go Start.
    #[error("Can't set system account: {0}")]
    SystemAccount(String),
    /// The monitoring port cannot be bound.
    #[error("Can't start monitoring: can't listen to the monitor port {address}: {source}")]
    Monitor {
        /// Host and port as configured.
        address: String,
        /// The cause.
        source: io::Error,
    },
}

/// Formats `host:port`, with an IPv6 address in brackets.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns the system's error; the enclosing error already contains host and port.
fn cause(error: &BindError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
