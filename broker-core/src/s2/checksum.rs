//! The checksum of a block.

use std::io::IoSlice;

/// Returns the masked CRC-32C of decoded bytes.
pub(super) fn of(bytes: &[u8]) -> u32 {
    mask(crc32c::crc32c(bytes))
}

/// Returns the masked CRC-32C of the bytes of all pieces.
pub(super) fn of_pieces(pieces: &[IoSlice<'_>]) -> u32 {
    mask(pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece)))
}

/// Masks a sum, so that the sum of bytes that contain sums is not a constant.
fn mask(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}
