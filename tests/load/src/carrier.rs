//! The transport of one connection: a socket, or WebSocket above it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::fault::{During, Fault};

/// The transport of clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Way {
    /// TCP.
    #[default]
    Plain,
    /// TLS, which the server requests in INFO.
    Tls,
    /// WebSocket without compression.
    WebSocket,
    /// TCP, to a server with streams in a new folder.
    Streams,
    /// TCP, to two servers of a cluster: publishers and requesters to one, all others to the other.
    Cluster,
}

/// Maximum size of a frame header: two bytes, a length, a mask.
pub(crate) const HEAD_BYTES: usize = 14;

/// Final binary frame.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// Writes the header of a frame of `payload_bytes` to the end of `room`; returns its length.
///
/// Clients must mask; a mask of zeros leaves the payload unchanged.
pub(crate) fn put_head(payload_bytes: usize, room: &mut [u8; HEAD_BYTES]) -> usize {
    let mut head = vec![BINARY];
    match payload_bytes {
        0..126 => head.push(MASKED | payload_bytes as u8),
        126..0x1_0000 => {
            head.push(MASKED | 126);
            head.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            head.push(MASKED | 127);
            head.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    room[HEAD_BYTES - head.len()..].copy_from_slice(&head);
    head.len()
}

/// The bytes of a connection, without their framing.
#[derive(Debug)]
pub(crate) struct Carrier {
    stream: TcpStream,
    frames: Option<Frames>,
}

impl Carrier {
    /// Wraps a plain socket.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { stream, frames: None }
    }

    /// Requests an upgrade to WebSocket and waits for the response.
    pub(crate) fn websocket(mut stream: TcpStream) -> Result<Self, Fault> {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(REQUEST).during("asking for WebSocket")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).during("asking for WebSocket")?;
            answer.extend_from_slice(&byte);
        }
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            let line = answer.split(|&b| b == b'\r').next().unwrap_or_default();
            return Err(Fault::Garbled(format!("no WebSocket: \"{}\"", line.escape_ascii())));
        }
        Ok(Self { stream, frames: Some(Frames::default()) })
    }

    /// Returns true if written bytes must be framed.
    pub(crate) fn is_framed(&self) -> bool {
        self.frames.is_some()
    }

    /// Returns the socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes one or a few commands completely.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_framed() {
            let mut head = [0; HEAD_BYTES];
            let head_bytes = put_head(bytes.len(), &mut head);
            let frame = [&head[HEAD_BYTES - head_bytes..], bytes].concat();
            return self.stream.write_all(&frame);
        }
        self.stream.write_all(bytes)
    }

    /// Writes some bytes, which must already be framed if necessary.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    /// Reads; returns 0 at the end only.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.stream.read(room)?;
            let Some(frames) = &mut self.frames else { return Ok(read) };
            let payload = frames.open(&mut room[..read])?;
            if payload > 0 || read == 0 {
                return Ok(payload);
            }
        }
    }

    /// Returns the socket, if it has no framing.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// Decodes the unmasked frames of a server, in pieces of any size.
#[derive(Debug, Default)]
struct Frames {
    /// The part of a header read so far.
    head: Vec<u8>,
    /// The remaining bytes of a payload.
    left: u64,
}

impl Frames {
    /// Moves the payloads in `bytes` to its beginning; returns their total length.
    fn open(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if self.left > 0 {
                let moved = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                bytes.copy_within(at..at + moved, kept);
                self.left -= moved as u64;
                at += moved;
                kept += moved;
                continue;
            }
            self.head.push(bytes[at]);
            at += 1;
            if let Some(left) = length(&self.head)? {
                self.left = left;
                self.head.clear();
            }
        }
        Ok(kept)
    }
}

/// Returns the length of a payload, once its header is complete.
fn length(head: &[u8]) -> io::Result<Option<u64>> {
    // Data frames and continuations.
    const DATA: [u8; 4] = [BINARY, 0x02, 0x00, 0x80];
    let garbled = |what| io::Error::new(ErrorKind::InvalidData, what);
    match head {
        [first, ..] if !DATA.contains(first) => Err(garbled("a frame that is no data")),
        [_, second, ..] if second & MASKED != 0 => Err(garbled("a frame with a mask")),
        [_, 126, high, low] => Ok(Some(u64::from(u16::from_be_bytes([*high, *low])))),
        [_, 127, length @ ..] => Ok(length.try_into().ok().map(u64::from_be_bytes)),
        [_, length] if *length < 126 => Ok(Some(u64::from(*length))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut room = [0; HEAD_BYTES];
        let head_bytes = put_head(payload.len(), &mut room);
        // As a server would write it: without the mask.
        let mut head = room[HEAD_BYTES - head_bytes..HEAD_BYTES - 4].to_vec();
        head[1] &= !MASKED;
        [&head, payload].concat()
    }

    #[test]
    fn frames_split_anywhere_give_their_payloads() {
        let payloads =
            [vec![b'a'; 1], vec![b'b'; 125], vec![b'c'; 126], vec![], vec![b'd'; 70_000]];
        let sent: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for step in [1, 7, 4096, sent.len()] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in sent.chunks(step) {
                let mut piece = piece.to_vec();
                let kept = frames.open(&mut piece).unwrap();
                got.extend_from_slice(&piece[..kept]);
            }
            assert!(got == payloads.concat(), "by {step}");
        }
    }

    #[test]
    fn frames_other_than_data_are_refused() {
        assert!(Frames::default().open(&mut [0x88, 0]).is_err());
        assert!(Frames::default().open(&mut [BINARY, MASKED]).is_err());
    }
}
