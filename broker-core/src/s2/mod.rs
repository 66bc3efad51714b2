//! S2 streams, the format in which servers compress the connections between them, and backups of streams: bytes in, bytes
//! out, without I/O.
//!
//! A stream is a sequence of chunks: first an identifier, then blocks of data, compressed or not, each with a checksum
//! (CRC-32C). A compressed block is a sequence of literals and of copies of earlier bytes of the same block. The format
//! extends Snappy, whose streams are decoded as well. All of it is checked: no input makes the decoder panic, or write
//! more than the length that a block declares.
//!
//! ```
//! use broker_core::transport::CompressionLevel;
//! use broker_core::s2::{Decoder, Encoder, IDENTIFIER};
//!
//! let text = b"PING\r\n".repeat(20);
//! let mut stream = IDENTIFIER.to_vec();
//! Encoder::default().append(CompressionLevel::Fast, &text, &mut stream);
//! assert!(stream.len() < 40);
//!
//! let next = Decoder::default().next(&stream)?;
//! let block = next.block.expect("the stream is complete");
//! let mut decoded = vec![0; block.decoded_len()];
//! block.decode(&mut decoded)?;
//! assert_eq!(decoded, text);
//! # Ok::<(), broker_core::s2::Fault>(())
//! ```
// klauspost/compress 1.19, s2: the format, and the limits of its reader.

mod block;
mod checksum;
mod decoder;
mod encoder;
mod fault;
#[cfg(test)]
mod tests;

pub use decoder::{Block, Decoder, Next};
pub use encoder::{BATCH_BYTES, Encoder, uncompressed_head};
pub use fault::Fault;

/// The chunk that every stream begins with.
pub const IDENTIFIER: [u8; 10] = *b"\xff\x06\0\0S2sTwO";

/// The maximum decoded bytes of a block.
pub const BLOCK_BYTES: usize = 4 << 20;

/// The bytes before the data of a chunk: its type, and its length in three bytes.
const HEAD_BYTES: usize = 4;

/// The bytes of the checksum at the beginning of a block.
const CHECKSUM_BYTES: usize = 4;

/// The types of chunks.
mod kind {
    pub(super) const COMPRESSED: u8 = 0x00;
    pub(super) const UNCOMPRESSED: u8 = 0x01;
    /// The first type of chunks that a decoder skips if it does not know them: padding, an index.
    pub(super) const SKIPPABLE: u8 = 0x80;
    pub(super) const IDENTIFIER: u8 = 0xff;
}
