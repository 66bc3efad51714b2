//! Every dialogue agrees with our server, over TCP.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io;
use std::time::{Duration, Instant};

use broker_net::{Server, ServerOptions};
use tokio::runtime::Runtime;
use transcripts::{Arrival, Dialogue, Line, Setup, Stage, TcpStage, play_all};
use wishes::{gate, options};

mod wishes;

#[test]
fn our_server_says_what_the_dialogues_say() {
    let mut dialogues = Dialogue::all_for(transcripts::Server::Natsd).unwrap();
    // To play one, or a few that begin alike, while working on them.
    if let Ok(only) = std::env::var("TRANSCRIPT") {
        dialogues.retain(|dialogue| dialogue.name.starts_with(&only));
    }
    assert!(!dialogues.is_empty(), "no dialogue to play");
    let failures =
        play_all(&dialogues, |setup| Ok(Box::new(Natsd::start(setup)) as Box<dyn Stage>));
    let report: String = failures.iter().map(|failure| format!("\n{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{report}", failures.len(), dialogues.len());
}

/// A server in this process, on threads of its own.
struct Natsd {
    server: Server,
    parties: TcpStage,
    /// Last, so that the server is dropped while it runs.
    _runtime: Runtime,
}

impl Natsd {
    fn start(setup: &Setup) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut wishes = ServerOptions::default();
        let seed = wishes.broker.seed;
        wishes.broker = options(setup);
        wishes.broker.seed = seed;
        let binding = Server::builder().options(wishes).authenticator(gate(setup)).bind();
        let server = runtime.block_on(binding).unwrap();
        let parties = TcpStage::new(server.local_addr());
        Self { server, parties, _runtime: runtime }
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

    /// Waits until the server has noticed that everybody left.
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
