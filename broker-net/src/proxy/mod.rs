//! The PROXY protocol, versions 1 and 2, by which a load balancer reports the address of the client.

mod header;
mod read;

pub use header::{Fault, Found, PEEK_BYTES, parse};
pub(crate) use read::read;
