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

pub mod cli;
pub mod config;
pub mod daemon;
pub mod logging;
#[cfg(feature = "monitoring")]
pub mod monitor;
pub mod options;
pub mod reload;
pub mod signal_command;

mod memory;
mod pid_file;
mod ports_file;
mod program;
mod service;
mod signals;
mod systemd;
mod watch;

pub use broker_core::proto::info::NATS_VERSION;
pub use daemon::{Daemon, StartError};
pub use options::Options;
pub use program::run;
pub use reload::{ReloadError, Reloaded};

/// natsd's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
