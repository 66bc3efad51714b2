//! Decompresses messages in pieces, within limits.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

/// The empty block that permessage-deflate omits at the end of a message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A compressed message up to this length is buffered until it is complete: a decompressor for each
/// of many clients that never send the rest would take ten times as much memory.
pub const WAITING_BYTES: usize = 4 << 10;

/// A compressed message cannot be decompressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InflateError {
    /// It exceeds its limit, compressed or decompressed.
    #[error("maximum payload exceeded")]
    TooLong,
    /// It is not a valid deflate stream.
    #[error("corrupt compressed message")]
    Corrupt,
}

/// Decompresses permessage-deflate, each message independently.
///
/// Call [`Self::push`] with input, then [`Self::pull`] until it returns 0, before the next push.
#[derive(Debug)]
pub struct Inflate {
    /// Compressed bytes not consumed yet.
    input: Vec<u8>,
    used: usize,
    is_whole: bool,
    /// Present from the first decompressed byte of a message to the last.
    state: Option<Box<Decompress>>,
    /// The decompressor has filled the buffer that it was lent, and may hold more.
    may_hold_more: bool,
    /// Compressed bytes of this message.
    compressed_bytes: u64,
    inflated_bytes: u64,
    max_bytes: u64,
}

thread_local! {
    /// The decompressor of a previous message, for reuse.
    static SPARE: RefCell<Option<Box<Decompress>>> = const { RefCell::new(None) };
}

impl Inflate {
    /// Creates a decompressor for messages of at most `max_bytes`, compressed and decompressed.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            input: Vec::new(),
            used: 0,
            is_whole: false,
            state: None,
            may_hold_more: false,
            compressed_bytes: 0,
            inflated_bytes: 0,
            max_bytes,
        }
    }

    /// Takes a piece of a compressed message. `may_be_long`: it may exceed [`WAITING_BYTES`].
    ///
    /// # Errors
    ///
    /// Returns [`InflateError::TooLong`] and drops the message.
    pub fn push(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        may_be_long: bool,
    ) -> Result<(), InflateError> {
        self.compressed_bytes += bytes.len() as u64;
        let max_bytes = if may_be_long { self.max_bytes } else { WAITING_BYTES as u64 };
        if self.compressed_bytes > max_bytes {
            self.reset();
            return Err(InflateError::TooLong);
        }
        self.input.extend_from_slice(bytes);
        if is_last {
            self.input.extend_from_slice(&TAIL);
            self.is_whole = true;
        }
        Ok(())
    }

    /// Decompresses into `room`. Returns the number of bytes: 0 for a non-empty `room` means that
    /// all input is consumed.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is too long or corrupt, and drops it.
    pub fn pull(&mut self, room: &mut [u8]) -> Result<usize, InflateError> {
        if !self.is_ready() || room.is_empty() {
            return Ok(0);
        }
        let pulled = self.pull_some(room);
        if pulled.is_err() {
            self.reset();
        }
        pulled
    }

    fn pull_some(&mut self, room: &mut [u8]) -> Result<usize, InflateError> {
        let mut state = self.state.take().unwrap_or_else(decompressor);
        let (in_before, out_before) = (state.total_in(), state.total_out());
        let input = &self.input[self.used..];
        let status = state.decompress(input, room, FlushDecompress::Sync);
        let status = status.map_err(|_| InflateError::Corrupt)?;
        let got = state.total_out() - out_before;
        self.used += (state.total_in() - in_before) as usize;
        self.inflated_bytes += got;
        if self.inflated_bytes > self.max_bytes {
            return Err(InflateError::TooLong);
        }
        let got = got as usize;
        // A block may be marked as the last one before the message ends; nothing follows it then.
        let has_ended = status == Status::StreamEnd;
        if has_ended {
            self.used = self.input.len();
        }
        // The decompressor may hold more only if it has filled the buffer.
        let is_dry = self.used == self.input.len() && got < room.len();
        let is_stuck = got == 0 && !is_dry && !has_ended;
        if is_stuck {
            return Err(InflateError::Corrupt);
        }
        if is_dry && self.is_whole {
            give_back(state);
            self.reset();
        } else {
            self.state = Some(state);
            self.may_hold_more = got == room.len();
            self.forget_used();
        }
        Ok(got)
    }

    /// Returns true if [`Self::pull`] may return bytes.
    pub fn is_ready(&self) -> bool {
        let may_begin = self.is_whole || self.state.is_some() || self.input.len() > WAITING_BYTES;
        self.may_hold_more || (may_begin && self.used < self.input.len())
    }

    /// Returns the bytes held besides a decompressor.
    pub fn held_bytes(&self) -> usize {
        self.input.capacity()
    }

    /// Returns true if it holds a decompressor, in the middle of a message.
    pub fn holds_decompressor(&self) -> bool {
        self.state.is_some()
    }

    fn forget_used(&mut self) {
        self.input.drain(..self.used);
        self.used = 0;
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    fn reset(&mut self) {
        *self = Self::new(self.max_bytes);
    }
}

fn decompressor() -> Box<Decompress> {
    SPARE.take().unwrap_or_else(|| Box::new(Decompress::new(false)))
}

fn give_back(mut state: Box<Decompress>) {
    state.reset(false);
    SPARE.set(Some(state));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::deflate::Deflate;
    use super::*;

    /// Decompresses in pieces and buffers of these sizes.
    fn inflated(
        inflate: &mut Inflate,
        message: &[u8],
        piece: usize,
        room: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let mut all = Vec::new();
        let mut room = vec![0; room];
        let mut at = 0;
        loop {
            let end = (at + piece).min(message.len());
            inflate.push(&message[at..end], end == message.len(), true)?;
            at = end;
            while inflate.is_ready() {
                let got = inflate.pull(&mut room)?;
                all.extend_from_slice(&room[..got]);
            }
            if at == message.len() {
                return Ok(all);
            }
        }
    }

    /// Compressible text, and incompressible bytes.
    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let words =
            vec(prop_oneof![Just(&b"MSG orders.eu 1 5\r\n"[..]), Just(&b"hello"[..])], 0..4000);
        prop_oneof![
            words.prop_map(|words| words.concat()),
            vec(any::<u8>(), 0..20_000),
            (0usize..300_000).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn compressed_messages_decompress_unchanged_in_any_pieces(
            window in prop_oneof![Just(15u8), 8u8..15],
            first in any_text(),
            second in any_text(),
            piece in prop_oneof![1usize..20, 100usize..20_000],
            room in prop_oneof![16usize..64, 100usize..300_000],
        ) {
            let mut deflate = Deflate::new();
            let mut inflate = Inflate::new(1 << 20);
            for text in [first, second] {
                let (front, back) = text.split_at(text.len() / 3);
                let message = deflate.message([front, back].into_iter(), window).to_vec();
                prop_assert_eq!(inflated(&mut inflate, &message, piece, room), Ok(text));
                prop_assert!(!inflate.holds_decompressor());
                prop_assert_eq!(inflate.held_bytes(), 0);
            }
        }

        #[test]
        fn random_bytes_decompress_within_limits_or_fail(
            message in vec(any::<u8>(), 0..2000),
            piece in 1usize..100,
            room in 16usize..1000,
        ) {
            let mut inflate = Inflate::new(100_000);
            if let Ok(text) = inflated(&mut inflate, &message, piece, room) {
                prop_assert!(text.len() <= 100_000);
            }
        }
    }

    #[test]
    fn a_decompression_bomb_is_refused_at_the_limit() {
        let bomb = Deflate::new().message([&vec![0; 10 << 20][..]].into_iter(), 15).to_vec();
        assert!(bomb.len() < 64 << 10);
        let mut inflate = Inflate::new(1 << 20);
        assert_eq!(inflated(&mut inflate, &bomb, 1000, 8192), Err(InflateError::TooLong));
        assert!(inflate.inflated_bytes <= (1 << 20) + 8192);
    }

    #[test]
    fn an_incomplete_small_message_holds_no_decompressor() {
        let mut inflate = Inflate::new(1 << 20);
        let mut room = [0; 100];
        for _ in 0..WAITING_BYTES / 100 {
            inflate.push(&[0; 100], false, false).unwrap();
            assert_eq!(inflate.pull(&mut room), Ok(0));
            assert!(!inflate.holds_decompressor());
        }
        assert!(inflate.held_bytes() <= 2 * WAITING_BYTES);
        assert_eq!(inflate.push(&[0; 100], false, false), Err(InflateError::TooLong));
    }
}
