//! Conversion between bytes and operations. No policy: sessions decide which operations a client may use.
//!
//! [`parser`] reads the operations of clients, [`encode`] writes those of the server, [`reply`] reads
//! the latter (for tests, tools and clients).

mod batch;
pub mod connect;
pub mod encode;
pub mod info;
pub(crate) mod json;
pub mod op;
pub mod parser;
pub mod reply;
pub mod route;
pub(crate) mod traced;

pub(crate) use batch::{Batch, have_replies};
pub use connect::ConnectOptions;
pub use info::Info;
pub use op::{Op, Publish};
pub use parser::{Parsed, Parser, ParserLimits};
