//! Chunks of a stream.

use super::{BLOCK_BYTES, CHECKSUM_BYTES, Fault, HEAD_BYTES, IDENTIFIER, block, checksum, kind};

/// The maximum length of the data of a chunk: of an incompressible block, with its length and its checksum.
const CHUNK_BYTES: usize = BLOCK_BYTES + 8 + CHECKSUM_BYTES;

/// The identifier of a Snappy stream, and the maximum decoded bytes of its blocks.
const SNAPPY: &[u8] = b"sNaPpY";
const SNAPPY_BLOCK_BYTES: usize = 64 << 10;

/// Finds the blocks of a stream. It holds no bytes: its caller keeps those that it has not used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    /// The stream has begun with an identifier.
    is_identified: bool,
    is_snappy: bool,
    /// The bytes still to be skipped of a chunk.
    skipped: usize,
}

/// The beginning of some input.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// The number of bytes that need not be passed again: those before the block, if there is one.
    pub used: usize,
    /// The next block, if it is complete. Its [bytes](Block::encoded_len) need not be passed again once it is decoded.
    pub block: Option<Block<'a>>,
    /// Without a block: how many bytes behind the used ones must be there before anything is found.
    pub wanted: usize,
}

/// A complete block. Nothing but the lengths has been checked yet.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    data: &'a [u8],
    checksum: u32,
    encoded_len: usize,
    decoded_len: usize,
    is_compressed: bool,
}

impl Decoder {
    /// Finds the next block of a stream. `input` begins where the last call or the last decoded block has ended.
    ///
    /// # Errors
    ///
    /// [`Fault`], as soon as it is seen; the stream cannot be continued.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Next<'a>, Fault> {
        let mut used = 0;
        loop {
            let len = self.skipped.min(input.len() - used);
            self.skipped -= len;
            used += len;
            let rest = &input[used..];
            let Some((head, data)) = rest.split_first_chunk::<HEAD_BYTES>() else {
                return Ok(Next { used, block: None, wanted: HEAD_BYTES });
            };
            let [kind, low, middle, high] = *head;
            let len = u32::from_le_bytes([low, middle, high, 0]) as usize;
            self.check(kind, len)?;
            if kind >= kind::SKIPPABLE && kind != kind::IDENTIFIER {
                self.skipped = HEAD_BYTES + len;
                continue;
            }
            let Some(data) = data.get(..len) else {
                return Ok(Next { used, block: None, wanted: HEAD_BYTES + len });
            };
            if kind == kind::IDENTIFIER {
                self.identify(data)?;
                used += HEAD_BYTES + len;
                continue;
            }
            let block = Block::new(kind == kind::COMPRESSED, data)?;
            if self.is_snappy && block.decoded_len > SNAPPY_BLOCK_BYTES {
                return Err(Fault::Corrupt);
            }
            return Ok(Next { used, block: Some(block), wanted: 0 });
        }
    }

    /// Returns true if the last input ended within a chunk of which the decoder has skipped a part.
    pub fn is_within_chunk(&self) -> bool {
        self.skipped > 0
    }

    /// Checks the head of a chunk, so that no more is kept of one that is refused anyway.
    fn check(&self, kind: u8, len: usize) -> Result<(), Fault> {
        if !self.is_identified && kind != kind::IDENTIFIER {
            return Err(Fault::Corrupt);
        }
        let lens = match kind {
            kind::IDENTIFIER => SNAPPY.len()..=SNAPPY.len(),
            kind::COMPRESSED | kind::UNCOMPRESSED => CHECKSUM_BYTES..=CHUNK_BYTES,
            kind::SKIPPABLE.. => return Ok(()),
            _ => return Err(Fault::Unsupported),
        };
        if lens.contains(&len) { Ok(()) } else { Err(Fault::Corrupt) }
    }

    fn identify(&mut self, name: &[u8]) -> Result<(), Fault> {
        self.is_identified = true;
        self.is_snappy = name == SNAPPY;
        if self.is_snappy || IDENTIFIER.ends_with(name) { Ok(()) } else { Err(Fault::Corrupt) }
    }
}

impl<'a> Block<'a> {
    fn new(is_compressed: bool, data: &'a [u8]) -> Result<Self, Fault> {
        let encoded_len = HEAD_BYTES + data.len();
        let (checksum, data) = data.split_first_chunk().ok_or(Fault::Corrupt)?;
        let checksum = u32::from_le_bytes(*checksum);
        let (decoded_len, data) =
            if is_compressed { block::split_len(data)? } else { (data.len(), data) };
        if decoded_len > BLOCK_BYTES {
            return Err(Fault::Corrupt);
        }
        Ok(Self { data, checksum, encoded_len, decoded_len, is_compressed })
    }

    /// Returns the length of the chunk.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// Returns the length of the decoded data.
    pub fn decoded_len(&self) -> usize {
        self.decoded_len
    }

    /// Decodes the block into `decoded`, and checks it.
    ///
    /// # Errors
    ///
    /// [`Fault`]: if the data are corrupt, or `decoded` does not have the [length](Self::decoded_len) of the decoded
    /// data. `decoded` is in any state then.
    pub fn decode(&self, decoded: &mut [u8]) -> Result<(), Fault> {
        if decoded.len() != self.decoded_len {
            return Err(Fault::Corrupt);
        }
        if self.is_compressed {
            block::decode(self.data, decoded)?;
        } else {
            decoded.copy_from_slice(self.data);
        }
        if checksum::of(decoded) == self.checksum { Ok(()) } else { Err(Fault::Checksum) }
    }
}
