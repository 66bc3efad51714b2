//! A stage for a server behind TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::stage::{Arrival, Line, Stage};

/// Connections to a server that was started elsewhere.
#[derive(Debug)]
pub struct TcpStage {
    address: SocketAddr,
    lines: Vec<TcpStream>,
}

impl TcpStage {
    /// Creates a stage whose clients connect to `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, lines: Vec::new() }
    }

    /// Connects a party to `address`, which may be another port of the server.
    pub(crate) fn open_at(&mut self, address: SocketAddr) -> io::Result<Line> {
        self.add(TcpStream::connect(address)?)
    }

    /// Adds a connection.
    pub(crate) fn add(&mut self, stream: TcpStream) -> io::Result<Line> {
        // A dialogue that splits its bytes needs them to be sent that way.
        stream.set_nodelay(true)?;
        self.lines.push(stream);
        Ok(Line(self.lines.len() - 1))
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn stream(&mut self, line: Line) -> io::Result<&mut TcpStream> {
        self.lines.get_mut(line.0).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Stage for TcpStage {
    fn open(&mut self) -> io::Result<Line> {
        self.open_at(self.address)
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        match self.stream(line)?.write_all(bytes) {
            Err(e) if closed(&e) => Ok(()),
            sent => sent,
        }
    }

    fn receive(
        &mut self,
        line: Line,
        inbox: &mut Vec<u8>,
        patience: Duration,
    ) -> io::Result<Arrival> {
        let stream = self.stream(line)?;
        stream.set_read_timeout(Some(patience))?;
        let mut buffer = vec![0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => Ok(Arrival::Closed),
            Ok(length) => {
                inbox.extend_from_slice(&buffer[..length]);
                Ok(Arrival::Bytes)
            }
            Err(e) if closed(&e) => Ok(Arrival::Closed),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(Arrival::Nothing)
            }
            Err(e) => Err(e),
        }
    }

    fn hang_up(&mut self, line: Line) -> io::Result<()> {
        match self.stream(line)?.shutdown(Shutdown::Both) {
            Err(e) if closed(&e) => Ok(()),
            done => done,
        }
    }

    fn pass(&mut self, time: Duration) -> io::Result<()> {
        thread::sleep(time);
        Ok(())
    }

    /// Only closes the connections: the owner of the server knows when it has noticed.
    fn clear(&mut self) -> io::Result<()> {
        self.lines.clear();
        Ok(())
    }
}

/// Returns true if the error means the end: TCP reports a reset if the server left bytes unread.
fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}
