//! Monitoring of a running server.
#![cfg(feature = "monitoring")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

mod access;
mod accounts;
mod bounds;
mod common;
mod connz;
mod health;
mod http;
mod https;
mod metrics;
mod page;
mod start;
#[cfg(feature = "streams")]
mod streams;
mod subsz;
mod troubles;
mod varz;
