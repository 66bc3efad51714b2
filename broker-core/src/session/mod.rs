//! Sessions: the rules of one party as a state machine. Each kind of party has a type of its own over
//! shared parts. A session is the only way into the core.

#[cfg_attr(not(test), expect(dead_code, reason = "sessions of routes work in several accounts"))]
mod accounts;
pub mod client;
#[cfg(test)]
mod fake_peer;
pub mod local;
mod member;
mod ping;
mod publisher;
#[cfg(test)]
mod tests;

pub use client::ClientSession;
