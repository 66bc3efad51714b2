//! The parts of a server that the test kit uses.

use std::sync::Arc;
use std::time::Duration;

use super::{Server, ServerBuilder};
use crate::listen::{Accepted, ListenerKind};
use crate::network::NetworkPort;
use crate::pipe::{self, LocalStream};
use crate::stall::StallGates;

impl ServerBuilder {
    /// Sets the gates put before its connections.
    #[must_use]
    pub(crate) fn gates(mut self, gates: Arc<StallGates>) -> Self {
        self.gates = gates;
        self
    }

    /// Sets the place in a network that carries its routes, in place of a port.
    #[must_use]
    pub(crate) fn network(mut self, network: Option<NetworkPort>) -> Self {
        self.network = network;
        self
    }

    /// Serves the streams of a test, on its disk if it has one.
    #[cfg(feature = "streams")]
    #[must_use]
    pub(crate) fn streams_in_test(
        mut self,
        options: broker_streams::service::Options,
        disk: Option<broker_streams::testing::TestDisk>,
    ) -> Self {
        self.streams_in_test = Some(disk);
        self.streams(options)
    }
}

impl Server {
    /// Returns a connection without a socket that is treated as if accepted at a port: with TLS, if the server offers
    /// it there, and for WebSocket with the HTTP upgrade before frames.
    pub fn connect_by(&self, way: ListenerKind) -> LocalStream {
        let (stream, transport) = pipe::pipe();
        let listener = self.listeners.iter().find(|listener| listener.kind() == way);
        let Some(listener) = listener.map(Arc::clone) else {
            self.local.connect(transport);
            return stream;
        };
        let broker = self.broker.clone();
        let admit = move || listener.admit_local(transport, &broker);
        self.local.send(Accepted::new(None, admit));
        stream
    }

    /// Returns the number of turns of all its connections: an idle one adds none.
    pub fn turns(&self) -> u64 {
        self.workers.turns()
    }

    /// Ends without waiting for clients, as a killed process does. Returns when all connections are closed.
    pub(crate) async fn end_at_once(&self) {
        self.finish(Duration::ZERO).await;
    }
}
