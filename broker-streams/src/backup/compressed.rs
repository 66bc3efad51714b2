//! S2 streams as readers and writers.

use std::io::{self, Read, Write};

use broker_core::s2::{BATCH_BYTES, Decoder, Encoder, Fault, IDENTIFIER};
use broker_core::transport::CompressionLevel;

/// The bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Reads the decoded bytes of an S2 stream. It holds one encoded and one decoded block, of 4 MiB at most.
pub(super) struct Decompressed<R> {
    inner: R,
    decoder: Decoder,
    /// Bytes that are not decoded yet, from `used`.
    raw: Vec<u8>,
    used: usize,
    block: Vec<u8>,
    /// The bytes of `block` that were read.
    at: usize,
}

impl<R: Read> Decompressed<R> {
    pub(super) fn new(inner: R) -> Self {
        let (raw, block) = (Vec::new(), Vec::new());
        Self { inner, decoder: Decoder::default(), raw, used: 0, block, at: 0 }
    }

    /// Returns what is read from.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// Decodes the next block. Returns false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            let next = self.decoder.next(&self.raw[self.used..]).map_err(corrupt)?;
            if let Some(block) = next.block {
                self.block.resize(block.decoded_len(), 0);
                block.decode(&mut self.block).map_err(corrupt)?;
                self.at = 0;
                self.used += next.used + block.encoded_len();
                if self.block.is_empty() {
                    continue;
                }
                return Ok(true);
            }
            self.used += next.used;
            self.raw.drain(..std::mem::take(&mut self.used));
            // One read, so that a chunk of input is not done with before what it contains is.
            let begin = self.raw.len();
            self.raw.resize(begin + READ_BYTES, 0);
            let read = self.inner.read(&mut self.raw[begin..])?;
            self.raw.truncate(begin + read);
            if read == 0 {
                let is_whole = self.raw.is_empty() && !self.decoder.is_within_chunk();
                return if is_whole { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.at == self.block.len() && !self.fill()?) {
            return Ok(0);
        }
        let rest = &self.block[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

fn corrupt(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// Writes an S2 stream.
pub(super) struct Compressed<W> {
    inner: W,
    encoder: Encoder,
    batch: Vec<u8>,
    encoded: Vec<u8>,
}

impl<W: Write> Compressed<W> {
    pub(super) fn new(inner: W) -> Self {
        let encoded = IDENTIFIER.to_vec();
        Self { inner, encoder: Encoder::default(), batch: Vec::new(), encoded }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.encode()?;
        Ok(self.inner)
    }

    fn encode(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.encoder.append(CompressionLevel::Fast, &self.batch, &mut self.encoded);
            self.batch.clear();
        }
        self.inner.write_all(&self.encoded)?;
        self.encoded.clear();
        Ok(())
    }
}

impl<W: Write> Write for Compressed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(BATCH_BYTES - self.batch.len());
        self.batch.extend_from_slice(&bytes[..length]);
        if self.batch.len() == BATCH_BYTES {
            self.encode()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
