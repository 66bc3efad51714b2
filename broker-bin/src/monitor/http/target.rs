//! Accepts request targets as Go's net/http does, with characters such as `<`, `>` and `"` that the
//! HTTP library refuses. They are replaced by equivalent escapes before the library parses them. So
//! is `#`, which has no special meaning on the wire.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once while searching for targets; an escape triples their size.
const CHUNK: usize = 1024;

/// Headers that announce a body.
const BODY: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

/// Longer than the longest of them.
const NAME: usize = 18;

/// A connection whose request targets are escaped as they are read.
pub(super) struct Escaped<S> {
    stream: S,
    place: Place,
    /// The current request has a body.
    has_body: bool,
    /// Escaped bytes not read yet.
    ready: Vec<u8>,
}

/// The part of a request to which the next byte belongs.
#[derive(Debug)]
enum Place {
    /// The method, or an empty line before it.
    Method,
    Target,
    Version,
    /// The name of a header, as far as read.
    Name(Name),
    Value,
    /// A body. Its end is not searched for: the rest of the connection is passed through unchanged.
    Body,
}

#[derive(Debug, Default)]
struct Name {
    bytes: [u8; NAME],
    len: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte.to_ascii_lowercase();
            self.len += 1;
        }
    }

    fn announces_body(&self) -> bool {
        BODY.contains(&&self.bytes[..self.len])
    }
}

impl<S> Escaped<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, place: Place::Method, has_body: false, ready: Vec::new() }
    }

    fn take(&mut self, byte: u8) {
        match (&mut self.place, byte) {
            (Place::Target, byte) if is_refused(byte) => return self.escape(byte),
            (Place::Method, b' ') => self.place = Place::Target,
            (Place::Target, b' ') => self.place = Place::Version,
            (Place::Method | Place::Body, _) => {}
            (Place::Name(Name { len: 0, .. }), b'\n') => {
                self.place = if self.has_body { Place::Body } else { Place::Method };
            }
            (_, b'\n') => self.place = Place::Name(Name::default()),
            (Place::Name(name), b':') => {
                self.has_body |= name.announces_body();
                self.place = Place::Value;
            }
            (Place::Name(name), byte) if byte != b'\r' => name.push(byte),
            _ => {}
        }
        self.ready.push(byte);
    }

    fn escape(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let digit = |half: u8| DIGITS[usize::from(half & 0xf)];
        self.ready.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
    }
}

/// Returns true if the library refuses or truncates at the byte, and Go accepts it.
fn is_refused(byte: u8) -> bool {
    byte >= 0x80 || b"\"<>#`{}|".contains(&byte)
}

impl<S: AsyncRead + Unpin> AsyncRead for Escaped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ready.is_empty() {
            if matches!(this.place, Place::Body) {
                this.ready = Vec::new();
                return Pin::new(&mut this.stream).poll_read(cx, buffer);
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            chunk.filled().iter().for_each(|byte| this.take(*byte));
        }
        let len = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready[..len]);
        this.ready.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Escaped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Reads `text`, arriving in pieces of `piece` bytes, into a buffer of `room` bytes.
    async fn read(text: &[u8], piece: usize, room: usize) -> String {
        let mut stream = escaped(text, piece);
        let mut read = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return String::from_utf8(read).unwrap(),
                len => read.extend_from_slice(&buffer[..len]),
            }
        }
    }

    fn escaped(text: &[u8], piece: usize) -> Escaped<Pieces> {
        Escaped::new(Pieces { bytes: text.to_vec(), piece })
    }

    struct Pieces {
        bytes: Vec<u8>,
        piece: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.piece.min(buffer.remaining()).min(self.bytes.len());
            buffer.put_slice(&self.bytes[..len]);
            self.bytes.drain(..len);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn only_targets_are_escaped_however_the_input_is_split() {
        for (text, expected) in [
            (
                &b"\r\nGET /a?b=<\">#{`|}&c=%3e HTTP/1.1\r\nHost: <x>\r\n\r\n"[..],
                "\r\nGET /a?b=%3C%22%3E%23%7B%60%7C%7D&c=%3e HTTP/1.1\r\nHost: <x>\r\n\r\n",
            ),
            (b"GET /\xc3\xa9 HTTP/1.1\n\n", "GET /%C3%A9 HTTP/1.1\n\n"),
            // Pipelined requests.
            (
                b"GET /> HTTP/1.1\r\nA: >\r\n\r\nGET /> HTTP/1.1\r\n\r\n",
                "GET /%3E HTTP/1.1\r\nA: >\r\n\r\nGET /%3E HTTP/1.1\r\n\r\n",
            ),
            // A body is unchanged, as is everything after it.
            (
                b"GET /> HTTP/1.1\r\ncontent-LENGTH: 9\r\nA: 1\r\n\r\nGET /> x\n\nGET /> HTTP/1.1\r\n\r\n",
                "GET /%3E HTTP/1.1\r\ncontent-LENGTH: 9\r\nA: 1\r\n\r\nGET /> x\n\nGET /> HTTP/1.1\r\n\r\n",
            ),
            (
                b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /> x\n\n",
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /> x\n\n",
            ),
            // A name with such a prefix is a different name.
            (
                b"GET / HTTP/1.1\r\nContent-Length-Of: 1\r\n\r\nGET /> H\r\n\r\n",
                "GET / HTTP/1.1\r\nContent-Length-Of: 1\r\n\r\nGET /%3E H\r\n\r\n",
            ),
        ] {
            for piece in [1, 2, 7, 4096] {
                for room in [1, 2, 5, 4096] {
                    assert_eq!(read(text, piece, room).await, expected, "{piece} {room}");
                }
            }
        }
    }
}
