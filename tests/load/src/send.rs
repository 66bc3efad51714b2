//! A publisher, which writes its batches without blocking.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::ops::Range;

use crate::batch::Batch;
use crate::carrier::Carrier;
use crate::fault::{During, Fault};
use crate::frame::{Scanner, Sink};
use crate::receive::refuse_errors;
use crate::wire::Wire;

/// A publishing connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    carrier: Carrier,
    scanner: Scanner,
    replies: Replies,
    batch: Batch,
    /// The unwritten range of the batch.
    pending: Range<usize>,
}

/// The outcome of a publisher's turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Messages taken from the batch.
    pub(crate) started: u64,
    /// Bytes written.
    pub(crate) written: usize,
}

impl Publisher {
    /// Creates a connection that publishes `batch`.
    pub(crate) fn new(wire: Wire, batch: Batch) -> Result<Self, Fault> {
        let (carrier, scanner) = wire.into_carrier();
        carrier.stream().set_nonblocking(true).during("setting up a publisher")?;
        Ok(Self { carrier, scanner, replies: Replies::default(), batch, pending: 0..0 })
    }

    /// The stream, for polling.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.carrier.stream()
    }

    /// The messages that it sends.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Returns true if a message was only partly written.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes pending bytes, or else up to `budget` further messages.
    ///
    /// The first of them is stamped with `time_ns`, each further one with `step_ns` more.
    pub(crate) fn pump(&mut self, budget: u64, time_ns: u64, step_ns: u64) -> Result<Turn, Fault> {
        let mut turn = Turn::default();
        if !self.is_blocked() {
            for _ in 0..std::mem::take(&mut self.replies.pings) {
                self.carrier.say(b"PONG\r\n").during("answering a PING")?;
            }
            if budget == 0 {
                return Ok(turn);
            }
            let before = self.batch.sequence();
            self.pending = self.batch.prepare(budget, time_ns, step_ns);
            if self.carrier.is_framed() {
                self.pending = self.batch.frame(&self.pending);
            }
            turn.started = self.batch.sequence() - before;
        }
        match self.carrier.write(&self.batch.bytes()[self.pending.clone()]) {
            Ok(n) => {
                self.pending.start += n;
                turn.written = n;
                Ok(turn)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(turn),
            // The server's last output explains more than the error.
            Err(e) => self.listen().and(Err(e).during("publishing")),
        }
    }

    /// Reads the server's output.
    pub(crate) fn listen(&mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; 8 << 10];
        loop {
            let kept = self.scanner.resume(&mut buffer);
            match self.carrier.read(&mut buffer[kept..]) {
                Ok(0) => return Err(Fault::Closed("publisher")),
                Ok(n) => self.scanner.scan(&buffer[..kept + n], &mut self.replies)?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e).during("reading as a publisher"),
            }
        }
    }

    /// Requests a `PONG`, which arrives when everything before has been processed.
    pub(crate) fn ping(&mut self) -> Result<(), Fault> {
        self.replies.pongs = 0;
        self.carrier.say(b"PING\r\n").during("sending a PING")
    }

    /// Returns true if the `PONG` has arrived.
    pub(crate) fn has_pong(&self) -> bool {
        self.replies.pongs > 0
    }
}

/// Handles the input of a publisher, which has no subscriptions.
#[derive(Debug, Default)]
struct Replies {
    pings: usize,
    pongs: usize,
}

impl Sink for Replies {
    fn message(&mut self, line: &[u8], _: &[u8]) -> Result<(), Fault> {
        let line = String::from_utf8_lossy(line);
        Err(Fault::Garbled(format!("a publisher received {line}")))
    }

    fn control(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line {
            b"PONG" => self.pongs += 1,
            b"PING" => self.pings += 1,
            _ => refuse_errors(line)?,
        }
        Ok(())
    }
}
