//! One party's rules as a state machine. Each kind of party is its own type over shared parts; all of
//! them are the only way into the core.

pub mod client;
pub mod local;
mod ping;
mod publisher;

pub use client::ClientSession;

/// The queue group that servers keep for themselves.
// NATS 2.14: sysGroup.
const SYSTEM_QUEUE: &[u8] = b"_sys_";
