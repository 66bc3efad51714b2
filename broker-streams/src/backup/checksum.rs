//! Checksums of blocks and of metadata: HighwayHash with 64 bits, whose key is a hash of a name.
// NATS 2.14: filestore.go newFileStoreWithCreated, hashKeyForBlock, ConsumerStore.

use highway::{HighwayHash, HighwayHasher, Key};
use sha2::{Digest, Sha256};

/// The length of a checksum.
pub(super) const CHECKSUM: usize = 8;

/// The hash of what belongs to one name.
pub(super) struct Checksum(HighwayHasher);

impl Checksum {
    /// Returns the hash of the metadata and the index of a stream.
    pub(super) fn of_stream(stream: &str) -> Self {
        Self::keyed(stream)
    }

    /// Returns the hash of the messages of a block.
    pub(super) fn of_block(stream: &str, block: u32) -> Self {
        Self::keyed(&format!("{stream}-{block}"))
    }

    /// Returns the hash of the metadata of a consumer.
    pub(super) fn of_consumer(stream: &str, consumer: &str) -> Self {
        Self::keyed(&format!("{stream}/{consumer}"))
    }

    fn keyed(name: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        let (words, _) = hash.as_chunks();
        let mut key = [0; 4];
        for (word, bytes) in key.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(HighwayHasher::new(Key(key)))
    }

    /// Begins a checksum.
    pub(super) fn begin(&self) -> Running {
        Running(self.0.clone())
    }

    /// Returns the checksum of bytes in several parts.
    pub(super) fn of(&self, parts: &[&[u8]]) -> [u8; CHECKSUM] {
        let mut running = self.begin();
        parts.iter().for_each(|part| running.add(part));
        running.end()
    }

    /// Returns the checksum of bytes as it is written to a file of its own.
    pub(super) fn text_of(&self, bytes: &[u8]) -> String {
        let digits = self.of(&[bytes]).into_iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

/// A checksum of bytes that come one after the other.
pub(super) struct Running(HighwayHasher);

impl Running {
    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.append(bytes);
    }

    /// Returns the checksum.
    pub(super) fn end(self) -> [u8; CHECKSUM] {
        self.0.finalize64().to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The file meta.sum that nats-server 2.14.5 has written beside this meta.inf.
    #[test]
    fn the_checksum_is_that_of_the_reference() {
        let meta = include_bytes!("tests/meta.inf");
        let sum = include_str!("tests/meta.sum");
        assert_eq!(Checksum::of_stream("A").text_of(meta), sum);
        let mut parts = Checksum::of_stream("A").begin();
        meta.chunks(7).for_each(|part| parts.add(part));
        assert_eq!(parts.end(), Checksum::of_stream("A").of(&[meta]));
    }
}
