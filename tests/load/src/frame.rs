//! Reads and checks a server's output at the lowest possible cost.

use crate::fault::Fault;
use crate::stamp::{FILL, STAMP_BYTES};

/// No line of a server is longer; a longer one is not NATS.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The payload after the stamp is compared in one of this many messages.
const FILL_CHECKED_EVERY: u64 = 32;

/// Receives parsed messages.
pub(crate) trait Sink {
    /// Handles a message: its first line without line end, and the payload's first [`STAMP_BYTES`].
    ///
    /// # Errors
    /// The message is not an expected one.
    fn message(&mut self, line: &[u8], stamp: &[u8]) -> Result<(), Fault>;

    /// Handles any other line: `PING`, `PONG`, `INFO`, `-ERR`.
    ///
    /// # Errors
    /// The line is not allowed.
    fn control(&mut self, line: &[u8]) -> Result<(), Fault>;
}

/// Splits the bytes of a connection into messages, in pieces of any size.
///
/// A relay forwards `PUB` and `HPUB` unchanged, so that these count as messages too.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Incomplete input that precedes the next read.
    rest: Vec<u8>,
    /// The remaining bytes, with line end, of a message whose stamp was read.
    skip: usize,
    shape: Shape,
    messages: u64,
}

impl Scanner {
    /// Creates a scanner for a connection of which `rest` was already read.
    pub(crate) fn new(rest: Vec<u8>) -> Self {
        Self { rest, ..Self::default() }
    }

    /// Copies the incomplete input to the front of `buffer`, and returns its length.
    pub(crate) fn resume(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.rest.len()].copy_from_slice(&self.rest);
        self.rest.len()
    }

    /// Scans `data`: the input from [`Self::resume`] followed by newly read bytes.
    ///
    /// # Errors
    /// The input is not NATS, or the sink refuses it.
    pub(crate) fn scan(&mut self, data: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            if self.skip > 0 {
                let n = self.skip.min(data.len() - at);
                self.pass(&data[at..at + n])?;
                at += n;
            }
            let left = &data[at..];
            if left.is_empty() {
                break;
            }
            if !self.shape.fits(left) {
                let Some(end) = memchr::memchr(b'\n', left) else {
                    if left.len() > LINE_BYTES_MAX {
                        return Err(garbled("no line end", left));
                    }
                    break;
                };
                let line = left[..=end].strip_suffix(b"\r\n");
                let line = line.ok_or_else(|| garbled("no CRLF", &left[..=end]))?;
                match Shape::of(line)? {
                    Some(shape) => self.shape = shape,
                    None => {
                        sink.control(line)?;
                        at += end + 1;
                        continue;
                    }
                }
            }
            let Shape { line_bytes, headers_bytes, total_bytes, .. } = self.shape;
            let stamp_at = line_bytes + headers_bytes;
            let Some(stamp) = left.get(stamp_at..stamp_at + STAMP_BYTES) else { break };
            sink.message(&left[..line_bytes - 2], stamp)?;
            self.messages += 1;
            at += stamp_at + STAMP_BYTES;
            self.skip = total_bytes - headers_bytes - STAMP_BYTES + 2;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&data[at..]);
        Ok(())
    }

    /// Skips the rest of a payload and its line end.
    #[inline]
    fn pass(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let fill_bytes = (self.skip - self.skip.min(2)).min(chunk.len());
        let (fill, end) = chunk.split_at(fill_bytes);
        if !end.is_empty() {
            // A line end may be split too.
            let from = 2 - (self.skip - fill_bytes);
            if end != &b"\r\n"[from..from + end.len()] {
                return Err(garbled("a payload does not end where it should", end));
            }
        }
        if self.messages % FILL_CHECKED_EVERY == 1 && fill.iter().any(|&b| b != FILL) {
            return Err(garbled("a payload is not the one sent", fill));
        }
        self.skip -= chunk.len();
        Ok(())
    }
}

/// Lengths of the last message. Most messages equal the previous one, which a few comparisons
/// confirm.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// The first four bytes of the line.
    verb: [u8; 4],
    /// The line's last eight bytes, with a mask for those that must be equal: its sizes.
    tail: u64,
    mask: u64,
    /// The length of the line with its end; 0 before the first message.
    line_bytes: usize,
    headers_bytes: usize,
    /// The length of headers and payload.
    total_bytes: usize,
}

impl Shape {
    /// Returns the shape of the message that begins with `line`; `None` for other lines.
    fn of(line: &[u8]) -> Result<Option<Self>, Fault> {
        let headers = match line {
            [b'M', b'S', b'G', b' ', ..] | [b'P', b'U', b'B', b' ', ..] => false,
            [b'H', b'M', b'S', b'G', b' ', ..] | [b'H', b'P', b'U', b'B', b' ', ..] => true,
            _ => return Ok(None),
        };
        let mut words = line.rsplit(|&b| b == b' ');
        let mut number = || words.next().and_then(|w| str::from_utf8(w).ok()?.parse().ok());
        let total_bytes: usize = number().ok_or_else(|| garbled("no size", line))?;
        let headers_bytes: usize = match headers {
            true => number().ok_or_else(|| garbled("no size of headers", line))?,
            false => 0,
        };
        if total_bytes < headers_bytes + STAMP_BYTES || line.len() < 8 {
            return Err(garbled("too small for one of our messages", line));
        }
        let space = memchr::memrchr(b' ', line).unwrap_or_default();
        let sizes_bytes = (line.len() + 2 - space).min(8);
        let line_bytes = line.len() + 2;
        let mut tail = [0; 8];
        tail[..6].copy_from_slice(&line[line.len() - 6..]);
        tail[6..].copy_from_slice(b"\r\n");
        let verb = [line[0], line[1], line[2], line[3]];
        let mask = u64::MAX << (8 * (8 - sizes_bytes));
        let tail = u64::from_le_bytes(tail);
        Ok(Some(Self { verb, tail, mask, line_bytes, headers_bytes, total_bytes }))
    }

    #[inline]
    fn fits(&self, data: &[u8]) -> bool {
        let Some(line) = data.get(..self.line_bytes) else { return false };
        let (Some(verb), Some(tail)) = (line.first_chunk(), line.last_chunk()) else {
            return false;
        };
        *verb == self.verb && (u64::from_le_bytes(*tail) ^ self.tail) & self.mask == 0
    }
}

/// Describes invalid input by its first bytes, printable.
fn garbled(what: &str, bytes: &[u8]) -> Fault {
    let head = &bytes[..bytes.len().min(80)];
    Fault::Garbled(format!("{what}: \"{}\"", head.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    #[derive(Debug, Default, Eq, PartialEq)]
    struct Seen(Vec<(String, u64)>);

    impl Sink for Seen {
        fn message(&mut self, line: &[u8], stamp: &[u8]) -> Result<(), Fault> {
            let line = String::from_utf8(line.to_vec()).unwrap();
            self.0.push((line, Stamp::read(stamp).sequence()));
            Ok(())
        }

        fn control(&mut self, line: &[u8]) -> Result<(), Fault> {
            self.0.push((String::from_utf8(line.to_vec()).unwrap(), 0));
            Ok(())
        }
    }

    fn message(line: &str, headers: &[u8], sequence: u64, payload_bytes: usize) -> Vec<u8> {
        let mut payload = vec![FILL; payload_bytes];
        // A stamp may contain a line end.
        Stamp::new(0, sequence, 0x0a0d_0a0d).write(&mut payload);
        [line.as_bytes(), b"\r\n", headers, &payload, b"\r\n"].concat()
    }

    fn stream() -> Vec<u8> {
        [
            b"INFO {}\r\n".to_vec(),
            message("MSG x.0001 1 16", b"", 1, 16),
            message("MSG x.0002 1 16", b"", 2, 16),
            message("MSG x.0003 12 16", b"", 3, 16),
            b"PING\r\n".to_vec(),
            message("MSG x.0003 12 reply.to 100", b"", 4, 100),
            message("HMSG x.0003 12 12 112", b"NATS/1.0\r\n\r\n", 5, 100),
            message("HMSG x.0003 12 12 112", b"NATS/1.0\r\n\r\n", 6, 100),
            message("PUB x.0003 128", b"", 7, 128),
        ]
        .concat()
    }

    fn scan(pieces: &[&[u8]]) -> Result<Seen, Fault> {
        let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
        let mut buffer = vec![0; 4096];
        for piece in pieces {
            let kept = scanner.resume(&mut buffer);
            buffer[kept..kept + piece.len()].copy_from_slice(piece);
            scanner.scan(&buffer[..kept + piece.len()], &mut seen)?;
        }
        assert!(scanner.rest.is_empty() && scanner.skip == 0, "all has been taken");
        Ok(seen)
    }

    #[test]
    fn messages_and_lines_come_out_as_they_went_in() {
        let seen = scan(&[&stream()]).unwrap().0;
        let lines: Vec<_> = seen.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines[0], "INFO {}");
        assert_eq!(lines[5], "MSG x.0003 12 reply.to 100");
        let sequences: Vec<_> = seen.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
        assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_stream_split_anywhere_reads_the_same() {
        let stream = stream();
        let whole = scan(&[&stream]).unwrap();
        for at in 0..stream.len() {
            let (a, b) = stream.split_at(at);
            assert_eq!(scan(&[a, b]).unwrap(), whole, "cut at {at}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(scan(&bytes).unwrap(), whole);
    }

    #[test]
    fn a_payload_of_another_length_is_noticed() {
        let mut stream = message("MSG x 1 20", b"", 1, 21);
        assert!(scan(&[&stream]).is_err());
        stream = message("MSG x 1 20", b"", 1, 19);
        stream.extend(message("MSG x 1 20", b"", 2, 20));
        assert!(scan(&[&stream]).is_err());
    }

    #[test]
    fn a_payload_that_was_changed_is_noticed() {
        let mut stream = message("MSG x 1 40", b"", 1, 40);
        let at = stream.len() - 5;
        stream[at] = b'y';
        assert!(scan(&[&stream]).is_err());
    }

    #[test]
    fn invalid_lines_are_refused() {
        assert!(scan(&[b"MSG x 1 many\r\n"]).is_err());
        assert!(scan(&[b"PONG\n"]).is_err());
        assert!(scan(&[b"MSG x 1 3\r\nabc\r\n"]).is_err());
    }
}
