//! TLS for correct, broken and hostile clients.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

mod authority;
mod client;
mod log;

mod abuse;
mod certificates;
mod dial;
mod expiry;
mod handshake;
mod options;
mod reload;
mod stream;
mod troubles;
#[cfg(feature = "websocket")]
mod websocket;
