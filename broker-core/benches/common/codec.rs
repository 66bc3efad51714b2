//! The parser and the encoder alone.

use std::hint::black_box;

use broker_core::proto::{Parsed, Parser, ParserLimits, encode};

use super::Scenario;
use super::chunk::Chunk;

/// Reads that are parsed repeatedly.
pub(crate) struct Parsing {
    parser: Parser,
    limits: ParserLimits,
    chunks: Vec<Chunk>,
    next: usize,
    expected: usize,
    parsed: usize,
}

impl Parsing {
    pub(crate) fn of(chunks: Vec<Chunk>) -> Self {
        let (parser, limits) = (Parser::default(), ParserLimits::default());
        Self { parser, limits, chunks, next: 0, expected: 0, parsed: 0 }
    }
}

impl Scenario for Parsing {
    fn turns_in_round(&self) -> usize {
        self.chunks.len()
    }

    fn turn(&mut self) -> usize {
        let chunk = &self.chunks[self.next];
        self.next = (self.next + 1) % self.chunks.len();
        let mut rest = &*chunk.bytes;
        while let Ok(Parsed::Op { op, used }) = self.parser.parse(rest, &self.limits) {
            black_box(op);
            rest = &rest[used..];
            self.parsed += 1;
        }
        self.expected += chunk.operations;
        chunk.operations
    }

    fn account(&self) -> (u64, u64) {
        (self.expected as u64, self.parsed as u64)
    }
}

/// A message that is encoded repeatedly.
pub(crate) struct Encoding {
    reply: &'static str,
    headers: &'static str,
    payload: Vec<u8>,
    out: Vec<u8>,
    length: usize,
    expected: usize,
    written: usize,
}

/// Messages encoded per turn.
const MESSAGES: usize = 1000;

impl Encoding {
    pub(crate) fn of(reply: &'static str, headers: &'static str, payload_bytes: usize) -> Self {
        let payload = vec![b'x'; payload_bytes];
        let mut encoding =
            Self { reply, headers, payload, out: Vec::new(), length: 0, expected: 0, written: 0 };
        encoding.write();
        encoding.length = encoding.out.len();
        encoding
    }

    fn write(&mut self) {
        let Self { reply, headers, payload, out, .. } = self;
        let (reply, headers) = (reply.as_bytes(), headers.as_bytes());
        encode::message(out, b"bench.subject", b"1", black_box(reply), headers, payload);
    }
}

impl Scenario for Encoding {
    fn turns_in_round(&self) -> usize {
        1
    }

    fn turn(&mut self) -> usize {
        self.out.clear();
        for _ in 0..MESSAGES {
            self.write();
        }
        self.expected += self.length * MESSAGES;
        self.written += black_box(&self.out).len();
        MESSAGES
    }

    fn account(&self) -> (u64, u64) {
        (self.expected as u64, self.written as u64)
    }
}
