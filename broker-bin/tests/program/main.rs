//! The `natsd` program as its users meet it: arguments, lines, files, signals, exit codes.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

mod clients;
mod cluster;
mod configuration;
mod file;
mod helpers;
mod lame_duck;
mod lame_duck_requests;
mod log;
mod planted_secrets;
mod reload_cluster;
mod reload_rules;
mod reload_under_load;
mod running;
mod secrets;
mod securing;
mod setting_up;
mod signal_command;
mod stalled;
mod start_and_stop;
mod systemd;
mod tls;
mod ways;
mod websocket;
