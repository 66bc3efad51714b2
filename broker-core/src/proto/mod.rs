//! Bytes to operations and back. No policy: what a party may do is the session's business.
//!
//! [`parser`] reads what clients send, [`reply`] what they are sent (for tests, tools and clients),
//! [`encode`] writes the latter.

mod batch;
pub mod connect;
pub mod encode;
pub mod info;
pub mod op;
pub mod parser;
pub mod reply;

pub(crate) use batch::Batch;
pub use connect::ConnectOptions;
pub use info::Info;
pub use op::{Op, Publish};
pub use parser::{Parsed, Parser, ParserLimits};
