//! Why a scenario could not be measured.

use std::io;
use std::time::Duration;

use crate::check::Disorder;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The server ended by itself, or did not start.
    #[error("the server {0}")]
    Server(String),
    /// The server said `-ERR`.
    #[error("the server said {0}")]
    Refused(String),
    /// The server hung up.
    #[error("the server closed the connection of a {0}")]
    Closed(&'static str),
    /// Something arrived that is no NATS, or not what was sent.
    #[error("unexpected bytes: {0}")]
    Garbled(String),
    /// Messages were lost, doubled or out of order.
    #[error(transparent)]
    Disorder(#[from] Disorder),
    /// A deadline passed.
    #[error("not within {0:?}: {1}")]
    Late(Duration, &'static str),
    /// One scenario failed; the others have been measured.
    #[error("{0} of the runs failed")]
    Runs(usize),
}

/// Says what was being done when a system call failed.
pub(crate) trait During<T> {
    /// Turns the error into a [`Fault`].
    fn during(self, what: &'static str) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Fault> {
        self.map_err(|e| Fault::Io { what, source: e.into() })
    }
}
