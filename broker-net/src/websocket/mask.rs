//! The mask of a client's frame, which prevents a page from sending bytes that a proxy takes for
//! HTTP.

/// The key, rotated so that its first byte applies to the next byte of payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Removes (or applies) the mask in place.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        self.0.rotate_left(bytes.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masking_in_pieces_is_masking_byte_by_byte(
            key: [u8; 4],
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            cut in 0usize..100,
        ) {
            let naive: Vec<u8> =
                bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let mut masked = bytes;
            let (front, back) = masked.split_at_mut(cut.min(naive.len()));
            let mut mask = Mask::new(key);
            mask.apply(front);
            mask.apply(back);
            prop_assert_eq!(masked, naive);
        }
    }
}
