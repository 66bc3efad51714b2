//! Compressed blocks: the length of the decoded data, then literals and copies.
//!
//! The first byte of each has its kind in the two lowest bits. A copy repeats bytes that begin some offset before the
//! end of what is decoded so far, and may run into those that it adds itself.

mod chains;
mod decode;
mod fast;
mod output;
mod words;

pub(super) use chains::{Chains, Effort};
pub(super) use decode::{decode, split_len};
pub(super) use fast::FastTable;
pub(super) use output::{LEN_BYTES, put_len};

/// Literal bytes follow. The upper six bits are their number less one, or from [`LONG_LITERAL`] on how many bytes of
/// such a number follow.
const LITERAL: u8 = 0;
const LONG_LITERAL: usize = 60;

/// A copy of 4 to 11 bytes, three bits, from an offset of 11 bits, the lower eight in the next byte. Offset 0 stands
/// for that of the copy before, and allows longer copies: the lengths from [`REPEAT_1`] on add one to three bytes.
const COPY_1: u8 = 1;
const REPEAT_1: u8 = 5;
const REPEAT_2: u8 = 6;

/// The least lengths that take one, two and three bytes.
const REPEAT_1_FROM: usize = 8;
const REPEAT_2_FROM: usize = REPEAT_1_FROM - 4 + (1 << 8);
const REPEAT_3_FROM: usize = REPEAT_1_FROM - 4 + (1 << 16);

/// A copy of 1 to 64 bytes from an offset of two bytes, or of four.
const COPY_2: u8 = 2;
const COPY_4: u8 = 3;

/// The shortest copy that is worth its encoding, and that all forms can express.
const SHORTEST: usize = 4;
