//! What a player must be able to do.

use std::io;
use std::time::Duration;

/// One party's connection: its number on the [`Stage`] that opened it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Line(pub usize);

/// What [`Stage::receive`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// Something was added to the inbox.
    Bytes,
    /// Nothing came, and the line is still open.
    Nothing,
    /// The server has closed the line, and everything it sent before has been received.
    Closed,
}

/// A server to which parties connect, and the clock it lives by.
///
/// Fits a server behind sockets as well as sessions without I/O. Of the latter everything that will arrive has
/// arrived when [`send`](Stage::send) or [`pass`](Stage::pass) returns, so its `receive` ignores `patience`.
/// Lines are numbers and not objects so that such a stage can own all its sessions without sharing them.
pub trait Stage {
    /// Connects a party. The server's first bytes (INFO) are left to [`receive`](Stage::receive).
    fn open(&mut self) -> io::Result<Line>;

    /// Sends `bytes` from the party. A line the server has closed swallows them: `receive` tells of the end.
    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()>;

    /// Adds to `inbox` what has arrived at the party, waiting up to `patience` for the first byte.
    fn receive(
        &mut self,
        line: Line,
        inbox: &mut Vec<u8>,
        patience: Duration,
    ) -> io::Result<Arrival>;

    /// The party closes its connection.
    fn hang_up(&mut self, line: Line) -> io::Result<()>;

    /// Lets `time` pass: a simulated clock advances and fires what falls due, a real one waits.
    fn pass(&mut self, time: Duration) -> io::Result<()>;

    /// Closes every line and returns when the server has forgotten them, subscriptions and all, so that the
    /// next dialogue finds it as new.
    fn clear(&mut self) -> io::Result<()>;

    /// How long a dialogue waits for what must arrive before it fails. A busy machine is slow, and only a failure
    /// waits so long; a stage on which everything happens at once says zero.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Anything about the server that helps to understand a failure, such as the end of its log.
    fn notes(&self) -> String {
        String::new()
    }
}
