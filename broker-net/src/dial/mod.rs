//! Outgoing connections: to peers of a cluster, and to any server that an embedding program dials.

mod backoff;
mod connect;
mod connection;
mod dialer;
mod error;
#[cfg(not(feature = "tls-core"))]
mod no_tls;
mod options;
#[cfg(feature = "tls-core")]
mod tls;
#[cfg(feature = "tls-core")]
mod upgrade;

#[cfg(not(feature = "tls-core"))]
use no_tls as tls;

pub use backoff::Backoff;
pub(crate) use connect::{connect, in_random_order, resolve};
pub use connection::DialedConnection;
pub use dialer::Dialer;
pub use error::{DialError, FailedAttempt, ReadLineError};
pub use options::DialOptions;
