//! Streams of a server.

use broker_core::Broker;
use broker_streams::service::{Options, Streams};

use super::Server;
use crate::listen::{BindError, Cause};
use crate::options::ServerOptions;

/// Recovers the streams, on a thread that may wait for the disk.
pub(super) async fn start(
    broker: &Broker,
    wanted: Options,
    options: &ServerOptions,
) -> Result<Streams, BindError> {
    let of_streams = broker.clone();
    let started = tokio::task::spawn_blocking(move || Streams::start(&of_streams, wanted)).await;
    let started = started.map_err(std::io::Error::other).and_then(|started| started);
    started.map_err(|error| BindError::of_clients(options, Cause::Streams(error)))
}

impl Server {
    /// Returns the streams; `None` without.
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.as_ref()
    }
}
