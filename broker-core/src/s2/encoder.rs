//! Blocks of a stream.

use std::io::IoSlice;

use crate::transport::CompressionLevel;

use super::block::{Chains, Effort, FastTable, LEN_BYTES, put_len};
use super::{CHECKSUM_BYTES, HEAD_BYTES, checksum, kind};

/// The maximum bytes of a block that an [`Encoder`] makes. Positions within such a block fit into 16 bits, which keeps
/// the tables of the encoder small enough for the caches of a core.
pub const BATCH_BYTES: usize = 64 << 10;

/// Shorter blocks are not worth compressing.
const COMPRESS_FROM_BYTES: usize = 32;

const BETTER: Effort = Effort { depth: 2, is_patient: false };
const BEST: Effort = Effort { depth: 32, is_patient: true };

/// Encodes blocks, each independently of the others. It holds tables, of up to 260 KiB.
#[derive(Debug, Default)]
pub struct Encoder {
    fast: FastTable,
    chains: Chains,
}

impl Encoder {
    /// Appends a chunk for `bytes`, which are [`BATCH_BYTES`] at most: compressed, if that saves some.
    ///
    /// # Panics
    ///
    /// If there are more bytes.
    pub fn append(&mut self, level: CompressionLevel, bytes: &[u8], out: &mut Vec<u8>) {
        assert!(bytes.len() <= BATCH_BYTES, "a block is too long");
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES + CHECKSUM_BYTES]);
        let is_compressed = bytes.len() >= COMPRESS_FROM_BYTES && self.compress(level, bytes, out);
        if !is_compressed {
            out.extend_from_slice(bytes);
        }
        let kind = if is_compressed { kind::COMPRESSED } else { kind::UNCOMPRESSED };
        let len = out.len() - begin - HEAD_BYTES;
        out[begin..begin + HEAD_BYTES + CHECKSUM_BYTES].copy_from_slice(&head(
            kind,
            len,
            checksum::of(bytes),
        ));
    }

    /// Appends the compressed bytes behind their length. Returns false, and appends nothing, if they are not shorter.
    fn compress(&mut self, level: CompressionLevel, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        // The search ends when it has become longer than this.
        let most = bytes.len() - bytes.len() / 32 - 5;
        put_len(bytes.len(), out);
        let is_shorter = match level {
            CompressionLevel::Uncompressed => false,
            CompressionLevel::Fast => self.fast.compress(bytes, most, out),
            CompressionLevel::Better => self.chains.compress(bytes, BETTER, most, out),
            CompressionLevel::Best => self.chains.compress(bytes, BEST, most, out),
        };
        if !is_shorter {
            out.truncate(begin);
        }
        is_shorter
    }
}

/// Returns the beginning of a chunk of uncompressed bytes, which are those of `pieces`: the chunk is complete when
/// they follow. They are as many as a [block](super::BLOCK_BYTES) may have at most.
pub fn uncompressed_head(pieces: &[IoSlice<'_>]) -> [u8; 8] {
    let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    debug_assert!(len <= super::BLOCK_BYTES);
    head(kind::UNCOMPRESSED, len + CHECKSUM_BYTES, checksum::of_pieces(pieces))
}

fn head(kind: u8, len: usize, checksum: u32) -> [u8; 8] {
    let [low, middle, high, ..] = (len as u32).to_le_bytes();
    let [a, b, c, d] = checksum.to_le_bytes();
    [kind, low, middle, high, a, b, c, d]
}

const _: () = assert!(BATCH_BYTES <= 1 << 16 && BATCH_BYTES < 1 << (7 * LEN_BYTES));
