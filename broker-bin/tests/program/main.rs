//! The `natsd` program as its users meet it: arguments, lines, files, signals, exit codes.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

mod clients;
mod configuration;
mod file;
mod helpers;
mod lame_duck;
mod log;
mod reload_rules;
mod running;
mod secrets;
mod setting_up;
mod signal_command;
mod start_and_stop;
mod systemd;
