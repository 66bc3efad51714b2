//! The places of a column that is rarely read.

use std::cell::OnceCell;

/// The most subjects of a window whose places take half a byte each: 0 is for no message.
const MOST_OF_HALF_BYTES: usize = 15;

/// Bytes that take less room, and are unpacked when they are read.
pub(crate) struct Packed {
    bytes: Box<[u8]>,
    length: usize,
    has_half_bytes: bool,
    is_compressed: bool,
    unpacked: OnceCell<Box<[u8]>>,
}

impl Packed {
    /// Packs places in a table of a length. Returns `None` if that saves less than a quarter.
    pub(crate) fn new(places: &[u8], table: usize) -> Option<Self> {
        let has_half_bytes = table <= MOST_OF_HALF_BYTES;
        let halves = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |second| second << 4);
        let bytes: Vec<u8> = match has_half_bytes {
            true => places.chunks(2).map(halves).collect(),
            false => places.to_vec(),
        };
        let compressed = snap::raw::Encoder::new().compress_vec(&bytes).unwrap_or_default();
        let is_compressed = !compressed.is_empty() && compressed.len() < bytes.len() / 4 * 3;
        let bytes = if is_compressed { compressed } else { bytes }.into_boxed_slice();
        let packed = Self {
            bytes,
            length: places.len(),
            has_half_bytes,
            is_compressed,
            unpacked: OnceCell::new(),
        };
        (packed.bytes.len() <= places.len() / 4 * 3).then_some(packed)
    }

    /// Returns the places.
    pub(crate) fn places(&self) -> &[u8] {
        self.unpacked.get_or_init(|| self.unpack())
    }

    /// Forgets the places that were unpacked.
    pub(crate) fn forget(&mut self) {
        self.unpacked.take();
    }

    fn unpack(&self) -> Box<[u8]> {
        let mut decompressed = Vec::new();
        let mut bytes = &self.bytes[..];
        if self.is_compressed {
            // Bytes that were compressed here are always readable.
            decompressed = snap::raw::Decoder::new().decompress_vec(bytes).unwrap_or_default();
            bytes = &decompressed;
        }
        if !self.has_half_bytes {
            return bytes.into();
        }
        let mut places: Vec<_> = bytes.iter().flat_map(|pair| [pair & 0xf, pair >> 4]).collect();
        places.truncate(self.length);
        drop(decompressed);
        places.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_packed() {
        for table in [2, 15, 16, 255] {
            for length in [1_usize, 1000, 65_535, 65_536] {
                let regular: Vec<_> = (0..length).map(|low| (low % (table + 1)) as u8).collect();
                let Some(mut packed) = Packed::new(&regular, table) else {
                    assert!(table > 15 && length < 1001 || length == 1, "{table}, {length}");
                    continue;
                };
                assert_eq!(packed.places(), regular);
                packed.forget();
                assert!(packed.unpacked.get().is_none());
                assert_eq!(packed.places(), regular);
            }
        }
    }

    #[test]
    fn irregular_places_take_half_a_byte_or_are_left() {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % below) as u8
        };
        let few: Vec<_> = (0..65_536).map(|_| draw(15) + 1).collect();
        let packed = Packed::new(&few, 15).unwrap();
        assert!(packed.bytes.len() <= 32_768, "{}", packed.bytes.len());
        assert_eq!(packed.places(), few);
        let many: Vec<_> = (0..65_536).map(|_| draw(200) + 1).collect();
        assert!(Packed::new(&many, 200).is_none());
    }
}
