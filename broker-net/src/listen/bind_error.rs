//! Errors of binding.

use std::{fmt, io};

use super::ListenerKind;
use crate::handshake::listener_tls::TlsFault;
use crate::options::ServerOptions;

/// A listener could not be bound, or its TLS options are invalid.
#[derive(Debug)]
pub struct BindError {
    host: String,
    port: u16,
    way: ListenerKind,
    cause: Cause,
}

#[derive(Debug)]
pub(crate) enum Cause {
    Listen(io::Error),
    Tls(TlsFault),
    #[cfg(feature = "streams")]
    Streams(io::Error),
}

impl BindError {
    pub(crate) fn new(way: ListenerKind, host: String, port: u16, cause: Cause) -> Self {
        Self { host, port, way, cause }
    }

    /// Returns the error for the listener of clients.
    pub(crate) fn of_clients(options: &ServerOptions, cause: Cause) -> Self {
        Self::new(ListenerKind::Clients, options.host.clone(), options.port, cause)
    }

    /// Returns the kind of the listener.
    pub fn way(&self) -> ListenerKind {
        self.way
    }

    /// Returns the host of the options, or the path.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port of the options.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Listen(_) if self.way == ListenerKind::Unix => {
                write!(f, "cannot listen at {}", self.host)
            }
            Cause::Listen(_) => write!(f, "cannot listen at {}:{}", self.host, self.port),
            Cause::Tls(_) => f.write_str("TLS cannot be offered"),
            #[cfg(feature = "streams")]
            Cause::Streams(_) => f.write_str("streams cannot be served"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Listen(error) => Some(error),
            Cause::Tls(error) => Some(error),
            #[cfg(feature = "streams")]
            Cause::Streams(error) => Some(error),
        }
    }
}
