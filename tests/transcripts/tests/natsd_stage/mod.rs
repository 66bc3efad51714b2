//! natsd over TCP as a stage.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker_net::{Server, ServerOptions};
use tokio::runtime::Runtime;
use transcripts::{Arrival, Line, Setup, Stage, TcpStage};

use crate::setup_options::{authenticator, options};

/// A server in this process, on its own threads.
pub(crate) struct Natsd {
    server: Server,
    parties: TcpStage,
    /// Declared last, so that the server is dropped while the runtime lives.
    _runtime: Runtime,
}

impl Natsd {
    pub(crate) fn start(setup: &Setup) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut setup_options = ServerOptions::default();
        let seed = setup_options.broker.seed;
        setup_options.broker = options(setup);
        setup_options.broker.seed = seed;
        let binding =
            Server::builder().options(setup_options).authenticator(authenticator(setup)).bind();
        let server = runtime.block_on(binding).unwrap();
        let parties = TcpStage::new(server.local_addr());
        Self { server, parties, _runtime: runtime }
    }

    /// Its address.
    #[allow(dead_code, reason = "not all who play on it ask")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }
}

impl Stage for Natsd {
    fn open(&mut self) -> io::Result<Line> {
        self.parties.open()
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        self.parties.send(line, bytes)
    }

    fn receive(
        &mut self,
        line: Line,
        inbox: &mut Vec<u8>,
        patience: Duration,
    ) -> io::Result<Arrival> {
        self.parties.receive(line, inbox, patience)
    }

    fn hang_up(&mut self, line: Line) -> io::Result<()> {
        self.parties.hang_up(line)
    }

    fn pass(&mut self, time: Duration) -> io::Result<()> {
        self.parties.pass(time)
    }

    /// Waits until the server has noticed all disconnects.
    fn clear(&mut self) -> io::Result<()> {
        self.parties.clear()?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let stats = self.server.broker().stats();
            if (stats.connections, stats.subscriptions) == (0, 0) {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(io::Error::other("the server still has connections or subscriptions"))
    }
}
