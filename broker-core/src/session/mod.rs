//! Sessions: the rules of one party as a state machine. Each kind of party has a type of its own over
//! shared parts. A session is the only way into the core.

pub mod client;
pub mod local;
mod ping;
mod publisher;

pub use client::ClientSession;

/// The queue group that is reserved for servers.
// NATS 2.14: sysGroup.
const SYSTEM_QUEUE: &[u8] = b"_sys_";
