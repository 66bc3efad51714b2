//! The interface between the runner and a server.

use std::io;
use std::time::Duration;

/// A client's connection: its number on the [`Stage`] that opened it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Line(pub usize);

/// The connection of a party to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entrance {
    /// The party connects to the port of clients.
    Clients,
    /// The party connects to the port of routes.
    Routes,
    /// The server connects to the party.
    Dialled,
}

/// The result of [`Stage::receive`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// Bytes were added to the inbox.
    Bytes,
    /// Nothing arrived, and the connection is open.
    Nothing,
    /// The server has closed the connection, and everything it sent before has been received.
    Closed,
}

/// A server to which clients connect, and its clock.
///
/// Suits a server behind sockets as well as sessions without I/O. With the latter, all output is
/// available when [`send`](Stage::send) or [`pass`](Stage::pass) returns, so that `receive` ignores
/// `patience`. Connections are numbers instead of objects so that such a stage can own all its
/// sessions without sharing them.
pub trait Stage {
    /// Connects a client. The server's first bytes (INFO) are left to [`receive`](Stage::receive).
    fn open(&mut self) -> io::Result<Line>;

    /// Connects a party at `entrance`; of the connections that the server dials, returns the next one.
    fn enter(&mut self, entrance: Entrance) -> io::Result<Line> {
        match entrance {
            Entrance::Clients => self.open(),
            Entrance::Routes | Entrance::Dialled => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The port at which parties are [dialled](Entrance::Dialled).
    fn dialled_port(&self) -> Option<u16> {
        None
    }

    /// Sends `bytes` from the client. Bytes on a closed connection are dropped: `receive` reports
    /// the end.
    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()>;

    /// Appends to `inbox` the bytes that arrived at the client, waiting up to `patience` for the
    /// first one.
    fn receive(
        &mut self,
        line: Line,
        inbox: &mut Vec<u8>,
        patience: Duration,
    ) -> io::Result<Arrival>;

    /// Closes the client's connection.
    fn hang_up(&mut self, line: Line) -> io::Result<()>;

    /// Lets `time` pass: a simulated clock advances and fires due timers, a real one waits.
    fn pass(&mut self, time: Duration) -> io::Result<()>;

    /// Closes all connections and returns when the server has removed them and their subscriptions,
    /// so that the next dialogue finds a fresh state.
    fn clear(&mut self) -> io::Result<()>;

    /// Timeout of expected input. Generous, since only failures wait for it; zero for a stage
    /// without I/O.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Information about the server for failures, such as the end of its log.
    fn notes(&self) -> String {
        String::new()
    }
}
