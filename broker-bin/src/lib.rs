//! The natsd program as a library: command line, logging, files and signals around the server of
//! [`broker_net`](https://docs.rs/broker-net).
//!
//! [`run`] is the whole program. A test or a tool that wants the program's behaviour in its own
//! process starts a [`Daemon`] instead, which installs no logger, handles no signal and never exits
//! the process.
//!
//! | what | where |
//! | --- | --- |
//! | flags, help | [`cli`] |
//! | sources of options | [`config`] |
//! | settings and their defaults | [`options`] |
//! | the log's lines | [`logging`] |
//! | signals to a running server | [`signal_command`] |
//! | events, and requests over NATS | `system` |
//! | start, banner, pid and ports files, stop | [`daemon`] |
//! | new options for a running daemon | [`reload`] |
//!
//! Cargo features: `monitoring` (default) adds the HTTP endpoints, `observer` their data without
//! HTTP, `testing` a test broker that reads configurations (module `testing`). `tls` (default)
//! provides TLS by aws-lc-rs, `tls-ring` by ring, which is lighter to build; one of the two is
//! required.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod logging;
#[cfg(feature = "observer")]
pub mod monitor;
pub mod options;
pub mod reload;
pub mod signal_command;
#[cfg(feature = "observer")]
pub mod system;
#[cfg(feature = "testing")]
pub mod testing;

mod health_check;
mod machine;
mod memory;
mod monitor_service;
mod pid_file;
mod ports_file;
mod program;
#[cfg(feature = "jwt")]
mod resolver;
mod service;
mod signals;
mod start_error;
#[cfg(feature = "streams")]
mod streams;
mod systemd;
mod time_zone;
mod watchdog;

pub use broker_core::proto::info::NATS_VERSION;
pub use daemon::Daemon;
pub use options::Options;
pub use program::run;
pub use reload::{ReloadError, Reloaded};
pub use start_error::StartError;

/// natsd's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the examples of the embedding guide.
#[cfg(all(doctest, feature = "testing-tls"))]
#[doc = include_str!("../../docs/embedding.md")]
struct Guide;
