//! A stage whose server is somewhere behind TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::stage::{Arrival, Line, Stage};

/// Connections to a server that someone else started.
#[derive(Debug)]
pub struct TcpStage {
    address: SocketAddr,
    lines: Vec<TcpStream>,
}

impl TcpStage {
    /// A stage whose parties connect to `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, lines: Vec::new() }
    }

    /// Where its parties connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn stream(&mut self, line: Line) -> io::Result<&mut TcpStream> {
        self.lines.get_mut(line.0).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Stage for TcpStage {
    fn open(&mut self) -> io::Result<Line> {
        let stream = TcpStream::connect(self.address)?;
        // A dialogue that splits its bytes wants them to travel so.
        stream.set_nodelay(true)?;
        self.lines.push(stream);
        Ok(Line(self.lines.len() - 1))
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

    /// Only closes the lines: whoever owns the server knows when it has noticed.
    fn clear(&mut self) -> io::Result<()> {
        self.lines.clear();
        Ok(())
    }
}

/// The server is gone; it may have left bytes of ours unread, which TCP reports as a reset.
fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}
