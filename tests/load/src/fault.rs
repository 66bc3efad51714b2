//! Errors of a measurement.

use std::io;
use std::time::Duration;

use crate::check::Disorder;

/// The reason of a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// An invalid command line.
    #[error("{0}")]
    Usage(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The server exited, or did not start.
    #[error("the server {0}")]
    Server(String),
    /// The server sent `-ERR`.
    #[error("the server said {0}")]
    Refused(String),
    /// The server closed the connection.
    #[error("the server closed the connection of a {0}")]
    Closed(&'static str),
    /// The input is not valid NATS, or not what was sent.
    #[error("unexpected bytes: {0}")]
    Garbled(String),
    /// Messages were lost, duplicated or reordered.
    #[error(transparent)]
    Disorder(#[from] Disorder),
    /// A timeout expired.
    #[error("not within {0:?}: {1}")]
    Late(Duration, &'static str),
    /// One scenario failed; the others have been measured.
    #[error("{0} of the runs failed")]
    Runs(usize),
}

/// Adds the operation to the error of a system call.
pub(crate) trait During<T> {
    /// Converts the error into a [`Fault`].
    fn during(self, what: &'static str) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Fault> {
        self.map_err(|e| Fault::Io { what, source: e.into() })
    }
}
