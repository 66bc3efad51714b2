//! One party's rules as a state machine. Each kind of party is its own type over shared parts; all of
//! them are the only way into the core.

pub mod client;
pub mod local;
mod ping;
mod publisher;
mod sids;

pub use client::ClientSession;
