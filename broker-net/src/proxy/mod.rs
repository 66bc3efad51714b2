//! The PROXY protocol, by which a load balancer says whom it connects for: versions 1 and 2.

mod header;
mod read;

pub use header::{Fault, Found, PEEK_BYTES, parse};
#[expect(unused_imports, reason = "the listener calls it next")]
pub(crate) use read::{ReadError, read};
