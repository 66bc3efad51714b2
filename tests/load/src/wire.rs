//! A connection to the server: setup, and commands whose cost does not matter.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::bridge;
use crate::carrier::{Carrier, Way};
use crate::fault::{During, Fault};
use crate::frame::Scanner;

/// Timeout of a response, and maximum time between two signs of progress.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// CONNECT of a client that supports headers and wants no `+OK`.
pub(crate) const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
    \"name\":\"load\",\"lang\":\"rust\",\"version\":\"0.1.0\",\"protocol\":1,\"echo\":true,\
    \"headers\":true,\"no_responders\":true}\r\nPING\r\n";

/// The address of a server, and the transport to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The address.
    pub(crate) socket: SocketAddr,
    /// The transport.
    pub(crate) way: Way,
}

/// An established, blocking connection.
#[derive(Debug)]
pub(crate) struct Wire {
    carrier: Carrier,
    /// Input read but not processed.
    rest: Vec<u8>,
}

impl Wire {
    /// Connects: upgrades to WebSocket if configured, reads `INFO`, upgrades to TLS if it requires
    /// that, sends `CONNECT` and `PING`, awaits `PONG`.
    pub(crate) fn dial(address: Address) -> Result<Self, Fault> {
        let stream = TcpStream::connect_timeout(&address.socket, PATIENCE).during("connecting")?;
        let stream = patient(stream)?;
        let carrier = match address.way {
            Way::Plain | Way::Tls | Way::Streams | Way::Cluster => Carrier::plain(stream),
            Way::WebSocket => Carrier::websocket(stream)?,
        };
        let mut wire = Self { carrier, rest: Vec::new() };
        let info = wire.line()?;
        if !info.starts_with(b"INFO ") {
            return Err(Fault::Garbled(format!("no INFO: \"{}\"", info.escape_ascii())));
        }
        if memchr::memmem::find(&info, b"\"tls_required\":true").is_some() {
            let near = bridge::cross(wire.carrier.into_stream())?;
            wire.carrier = Carrier::plain(patient(near)?);
        }
        wire.send(CONNECT)?;
        wire.await_pong()?;
        Ok(wire)
    }

    /// Writes all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.carrier.say(bytes).during("writing to the server")
    }

    /// Returns when the server has processed everything sent before.
    pub(crate) fn barrier(&mut self) -> Result<(), Fault> {
        self.send(b"PING\r\n")?;
        self.await_pong()
    }

    /// Returns when a `PONG` has arrived.
    pub(crate) fn await_pong(&mut self) -> Result<(), Fault> {
        loop {
            let line = self.line()?;
            if line == b"PONG" {
                return Ok(());
            } else if line == b"PING" {
                self.send(b"PONG\r\n")?;
            } else if line.starts_with(b"-ERR") {
                return Err(Fault::Refused(String::from_utf8_lossy(&line).into_owned()));
            } else if !line.starts_with(b"INFO ") {
                return Err(Fault::Garbled(format!("no PONG: \"{}\"", line.escape_ascii())));
            }
        }
    }

    /// Returns true if a message without payload has arrived. Discards all that has.
    pub(crate) fn has_message(&mut self) -> Result<bool, Fault> {
        self.send(b"PING\r\n")?;
        let mut has_some = false;
        loop {
            match &*self.line()? {
                b"PONG" => return Ok(has_some),
                b"PING" => self.send(b"PONG\r\n")?,
                line => has_some |= line.starts_with(b"MSG "),
            }
        }
    }

    /// Returns the next line without its end.
    pub(crate) fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest) {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(line.trim_ascii_end().to_vec());
            }
            let mut buffer = [0; 4096];
            match self.carrier.read(&mut buffer).during("awaiting an answer")? {
                0 => return Err(Fault::Closed("client")),
                n => self.rest.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Returns the stream, which must be plain, and a scanner for further input.
    pub(crate) fn into_parts(self) -> (TcpStream, Scanner) {
        (self.carrier.into_stream(), Scanner::new(self.rest))
    }

    /// Like [`into_parts`](Self::into_parts), with the framing above the stream.
    pub(crate) fn into_carrier(self) -> (Carrier, Scanner) {
        (self.carrier, Scanner::new(self.rest))
    }

    /// Returns the underlying stream.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.carrier.stream()
    }
}

pub(crate) fn patient(stream: TcpStream) -> Result<TcpStream, Fault> {
    stream.set_nodelay(true).during("connecting")?;
    stream.set_read_timeout(Some(PATIENCE)).during("connecting")?;
    stream.set_write_timeout(Some(PATIENCE)).during("connecting")?;
    Ok(stream)
}
