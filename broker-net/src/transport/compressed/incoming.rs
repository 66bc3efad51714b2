//! Decodes the input of a session.
//!
//! Blocks are decoded from memory that the thread lends to the session's room. A connection keeps the beginning of a
//! chunk, or the rest of a decoded block that is larger than the room; between two chunks it keeps nothing.

use std::cell::RefCell;
use std::io;

use broker_core::limits::UNAUTHENTICATED_BYTES;
use bytes::{Buf, BytesMut};

use super::super::{Broken, READ_BYTES, Transport};
use crate::s2::{Block, Decoder, Fault};

/// The largest block, encoded or decoded, of an unauthenticated peer. It may send its first subscriptions in one block
/// with CONNECT; nats-server makes blocks of 1 MiB at most.
const UNAUTHENTICATED_BLOCK_BYTES: usize = (1 << 20) + 64;

/// Kept bytes of a chunk are moved to lent memory with the next ones up to this length. Longer chunks are read into
/// memory of their own, up to their ends.
const MOVED_BYTES: usize = 16 << 10;

/// The least bytes read at once, also into a small room, because they may be the beginning of a large block.
const LEAST_READ_BYTES: usize = 4 << 10;

thread_local! {
    /// Kept bytes, and one read behind them.
    static LENT: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; MOVED_BYTES + READ_BYTES].into_boxed_slice());
}

/// The input of one connection.
#[derive(Default)]
pub(super) struct Incoming {
    decoder: Decoder,
    /// Bytes read and not decoded yet.
    raw: BytesMut,
    /// The number of those bytes that there must be before there is anything to decode.
    wanted: usize,
    /// A decoded block of which a part was read.
    block: Vec<u8>,
    /// The length of that part; of an unauthenticated peer, of the block at the beginning of `raw`.
    block_at: usize,
    /// The session has lent more room than an unauthenticated peer gets, [`UNAUTHENTICATED_BYTES`] at most.
    is_trusted: bool,
    /// The reason why nothing more is decoded.
    fault: Option<Fault>,
}

/// The decoded part of some input.
#[derive(Default)]
struct Progress {
    used: usize,
    filled: usize,
}

impl Incoming {
    /// Begins with bytes that were read already.
    pub(super) fn begin(&mut self, received: &[u8]) {
        self.raw.extend_from_slice(received);
    }

    /// Returns true if a read would succeed without reading from below. Derived only from what [`Self::read`] would
    /// do.
    pub(super) fn is_ready(&self) -> bool {
        self.fault.is_some()
            || !self.block.is_empty()
            || (!self.raw.is_empty() && self.raw.len() >= self.wanted)
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.raw.capacity() + self.block.capacity()
    }

    /// Reads decoded bytes, see [`Transport::try_read`].
    pub(super) fn read(&mut self, below: &impl Transport, room: &mut [u8]) -> io::Result<usize> {
        self.is_trusted |= room.len() > UNAUTHENTICATED_BYTES;
        if !self.block.is_empty() {
            return Ok(self.take_block(room));
        }
        if self.is_ready() {
            let filled = self.decode_raw(room)?;
            if filled > 0 {
                return Ok(filled);
            }
        }
        let is_long = self.raw.len() > MOVED_BYTES;
        let read = if is_long {
            self.read_long(below, room)?
        } else {
            LENT.with_borrow_mut(|lent| self.read_lent(below, room, lent))?
        };
        match read {
            // Parts of chunks, and chunks without data, carry nothing for the session.
            Some(0) => Err(io::ErrorKind::Interrupted.into()),
            Some(filled) => Ok(filled),
            None if self.raw.is_empty() && !self.decoder.is_within_chunk() => Ok(0),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads the rest of a long chunk, as far as it is available, and decodes it once it is complete. Reserves no more
    /// memory than has arrived. Returns `None` at the end of the stream.
    fn read_long(&mut self, below: &impl Transport, room: &mut [u8]) -> io::Result<Option<usize>> {
        let most = self.wanted.saturating_sub(self.raw.len()).clamp(1, self.raw.len());
        if self.raw.capacity() - self.raw.len() < most.min(LEAST_READ_BYTES) {
            self.raw.reserve(most);
        }
        let most = most.min(self.raw.capacity() - self.raw.len());
        if below.try_read_behind(&mut self.raw, most)? == 0 {
            return Ok(None);
        }
        self.decode_raw(room).map(Some)
    }

    /// Reads once, decodes, and keeps the rest. Returns `None` at the end of the stream.
    fn read_lent(
        &mut self,
        below: &impl Transport,
        room: &mut [u8],
        lent: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let kept = self.raw.len();
        let end = kept + room.len().clamp(LEAST_READ_BYTES, READ_BYTES);
        let len = below.try_read(&mut lent[kept..end])?;
        if len == 0 {
            return Ok(None);
        }
        lent[..kept].copy_from_slice(&self.raw);
        let input = &lent[..kept + len];
        let progress = self.decode(input, room);
        self.raw.clear();
        self.raw.extend_from_slice(&input[progress.used..]);
        self.finish(&progress).map(Some)
    }

    fn decode_raw(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut raw = std::mem::take(&mut self.raw);
        let progress = self.decode(&raw, room);
        raw.advance(progress.used);
        self.raw = raw;
        self.finish(&progress)
    }

    /// Frees memory that is not needed, and reports the fault behind the last decoded bytes.
    fn finish(&mut self, progress: &Progress) -> io::Result<usize> {
        if self.raw.is_empty() {
            self.raw = BytesMut::new();
        }
        match self.fault {
            Some(fault) if progress.filled == 0 => Err(Broken(fault.to_string()).into()),
            _ => Ok(progress.filled),
        }
    }

    /// Decodes blocks until the room is full.
    fn decode(&mut self, input: &[u8], room: &mut [u8]) -> Progress {
        let mut progress = Progress::default();
        if self.fault.is_none()
            && let Err(fault) = self.try_decode(input, room, &mut progress)
        {
            self.fault = Some(fault);
        }
        progress
    }

    fn try_decode(
        &mut self,
        input: &[u8],
        room: &mut [u8],
        progress: &mut Progress,
    ) -> Result<(), Fault> {
        loop {
            let next = self.decoder.next(&input[progress.used..])?;
            progress.used += next.used;
            self.wanted = next.wanted;
            let Some(block) = next.block else { return self.check_len(next.wanted) };
            self.check_len(block.decoded_len())?;
            let rest = &mut room[progress.filled..];
            if let Some(to) = rest.get_mut(..block.decoded_len())
                && self.block_at == 0
            {
                block.decode(to)?;
                progress.used += block.encoded_len();
                progress.filled += to.len();
            } else if progress.filled > 0 {
                return Ok(());
            } else {
                self.decode_large(&block, rest, progress)?;
            }
        }
    }

    /// Decodes a block that does not fit into the room.
    fn decode_large(
        &mut self,
        block: &Block<'_>,
        room: &mut [u8],
        progress: &mut Progress,
    ) -> Result<(), Fault> {
        let mut decoded = vec![0; block.decoded_len()];
        block.decode(&mut decoded)?;
        self.block = decoded;
        progress.filled = self.take_block(room);
        // Of a peer that is not trusted yet, a few encoded bytes must not become many that are kept. It is decoded
        // again with each read, of which there are few before it has authenticated.
        if !self.is_trusted {
            self.block = Vec::new();
        }
        if self.is_trusted || self.block_at == 0 {
            progress.used += block.encoded_len();
        }
        Ok(())
    }

    /// Moves bytes of the decoded block to the room.
    fn take_block(&mut self, room: &mut [u8]) -> usize {
        let rest = &self.block[self.block_at..];
        let len = rest.len().min(room.len());
        room[..len].copy_from_slice(&rest[..len]);
        self.block_at += len;
        if self.block_at == self.block.len() {
            self.block = Vec::new();
            self.block_at = 0;
        }
        len
    }

    fn check_len(&self, len: usize) -> Result<(), Fault> {
        if self.is_trusted || len <= UNAUTHENTICATED_BLOCK_BYTES {
            Ok(())
        } else {
            Err(Fault::Corrupt)
        }
    }
}
