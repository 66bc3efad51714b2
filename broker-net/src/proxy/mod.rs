//! The PROXY protocol, by which a load balancer says whom it connects for: versions 1 and 2.

mod header;
mod read;

pub use header::{Fault, Found, PEEK_BYTES, parse};
pub(crate) use read::read;
