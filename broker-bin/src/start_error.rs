//! Why a daemon could not start.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use broker_net::BindError;

use crate::options::OptionsError;

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
    /// The port for WebSocket cannot be had.
    // NATS 2.14: websocket.go startWebsocketServer.
    #[error("Unable to listen for websocket connections: {address}, \"{}\"", cause(source))]
    Websocket {
        /// Host and port as asked for.
        address: String,
        /// Why not.
        source: BindError,
    },
    /// The socket in the file system cannot be had.
    #[error("Unable to listen for local client connections: {}, \"{}\"", path.display(), cause(source))]
    Unix {
        /// Where it should be.
        path: PathBuf,
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

/// `host:port`, with an IPv6 address in brackets.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What the system said; the error above it repeats host and port.
fn cause(error: &BindError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
