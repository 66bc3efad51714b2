//! The natsd program as a library: command line, logging, files and signals around
//! [`broker_net`](https://docs.rs/broker-net)'s server.
//!
//! [`run`] is the whole program. A test or a tool that wants a server with the program's behaviour, but
//! in its own process, starts a [`Daemon`] instead: it installs no logger, touches no signal and never
//! exits the process.
//!
//! | what | where |
//! | --- | --- |
//! | flags, help | [`cli`] |
//! | where options come from | [`config`] |
//! | settings and their defaults | [`options`] |
//! | the log's lines | [`logging`] |
//! | telling a running server what to do | [`signal_command`] |
//! | start, banner, pid and ports files, stop | [`daemon`] |
//! | options for a daemon that serves | [`reload`] |
//!
//! Cargo features: `monitoring` (default) has the HTTP endpoints, `observer` what they show without HTTP,
//! `testing` a broker for tests that reads configurations (the module `testing`). `tls` (default) has TLS by
//! aws-lc-rs, `tls-ring` by ring, which is lighter to build; one of them it must be.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod logging;
#[cfg(feature = "observer")]
pub mod monitor;
pub mod options;
pub mod reload;
pub mod signal_command;
#[cfg(feature = "testing")]
pub mod testing;

mod machine;
mod memory;
mod monitor_service;
mod pid_file;
mod ports_file;
mod program;
mod service;
mod signals;
mod start_error;
mod systemd;
mod watchdog;

pub use broker_core::proto::info::NATS_VERSION;
pub use daemon::Daemon;
pub use options::Options;
pub use program::run;
pub use reload::{ReloadError, Reloaded};
pub use start_error::StartError;

/// natsd's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The same of the guide for whoever embeds natsd.
#[cfg(all(doctest, feature = "testing-tls"))]
#[doc = include_str!("../../docs/embedding.md")]
struct Guide;
