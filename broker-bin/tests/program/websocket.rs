//! A WebSocket client without a library.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::running::Running;

/// A WebSocket connection.
pub(crate) struct Websocket {
    stream: BufReader<TcpStream>,
    /// Text received and not yet read.
    text: String,
}

/// A frame as received.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    opcode: u8,
    payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn close(status: u16, reason: &str) -> Self {
        let payload = [&status.to_be_bytes(), reason.as_bytes()].concat();
        Self { opcode: 8, payload }
    }
}

/// Returns the WebSocket port from the log, without reading further lines.
pub(crate) fn websocket_port(natsd: &mut Running) -> u16 {
    let line = natsd.line("Listening for websocket clients on ws");
    line.rsplit(':').next().unwrap().parse().unwrap()
}

impl Websocket {
    /// Connects and reads INFO.
    pub(crate) fn open(port: u16) -> Self {
        Self::open_with(port, "")
    }

    pub(crate) fn open_with(port: u16, headers: &str) -> Self {
        let (answer, mut web) = Self::ask(port, headers);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(web.line().starts_with("INFO "));
        web
    }

    /// Sends a request with these headers and returns the response.
    pub(crate) fn ask(port: u16, headers: &str) -> (String, Self) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = BufReader::new(stream);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut answer).unwrap() > 0, "{answer}");
        }
        (answer, Self { stream, text: String::new() })
    }

    pub(crate) fn send(&mut self, text: &str) {
        // Masked with zeros, which leaves the payload unchanged.
        let len = u8::try_from(text.len()).ok().filter(|len| *len < 126).expect("a short frame");
        let frame = [&[0x82, 0x80 | len, 0, 0, 0, 0], text.as_bytes()].concat();
        self.stream.get_mut().write_all(&frame).unwrap();
    }

    /// Sends `text` and returns the first line of the response.
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.send(text);
        self.line()
    }

    /// Returns the next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\r\n") {
                return self.text.drain(..end + 2).collect();
            }
            match self.frame() {
                Some(Frame { opcode: 0 | 2, payload }) => {
                    self.text.push_str(std::str::from_utf8(&payload).unwrap());
                }
                Some(_) => {}
                None => return String::new(),
            }
        }
    }

    /// Returns the next frame; `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let mut len = u64::from(head[1]);
        assert!(len < 128, "servers do not mask");
        if len > 125 {
            let bytes = if len == 126 { 2 } else { 8 };
            let mut long = [0; 8];
            self.stream.read_exact(&mut long[8 - bytes..]).unwrap();
            len = u64::from_be_bytes(long);
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Frame { opcode: head[0] & 0xf, payload })
    }
}
