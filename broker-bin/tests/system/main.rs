//! The system account of a running server: events, requests, and who may do what.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

mod cluster;
mod common;
mod events;
mod requests;
mod services;
