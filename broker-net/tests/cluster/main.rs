//! Servers of one cluster: who connects to whom, and what happens if that fails.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

mod log;
mod nodes;

mod abuse;
mod clients;
#[cfg(feature = "compression")]
mod compression;
mod dialing;
mod ending;
mod reload;
mod slow;
mod tls;
mod tls_in_memory;
