//! Reading compressed messages, a piece at a time, within bounds.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

/// What permessage-deflate leaves out at the end of a message: an empty block.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A message that is no longer than this when compressed is kept until it is whole, since a decompressor
/// for each of many clients that never send the rest would take ten times as much memory.
pub const WAITING_BYTES: usize = 4 << 10;

/// A compressed message is not to be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InflateError {
    /// It is longer than it may be, compressed or not.
    #[error("maximum payload exceeded")]
    TooLong,
    /// It is not what deflate makes.
    #[error("corrupt compressed message")]
    Corrupt,
}

/// Undoes permessage-deflate, each message by itself.
///
/// [`Self::push`] what came, then [`Self::pull`] until nothing comes, before the next push.
#[derive(Debug)]
pub struct Inflate {
    /// Compressed bytes that have not been used.
    input: Vec<u8>,
    used: usize,
    is_whole: bool,
    /// There from the first byte that is inflated to the last.
    state: Option<Box<Decompress>>,
    /// The decompressor has filled the room it was lent, and may hold more.
    may_hold_more: bool,
    /// Of this message.
    compressed_bytes: u64,
    inflated_bytes: u64,
    max_bytes: u64,
}

thread_local! {
    /// The decompressor of the message before, which spares making one.
    static SPARE: RefCell<Option<Box<Decompress>>> = const { RefCell::new(None) };
}

impl Inflate {
    /// For messages of at most so many bytes, compressed and not.
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

    /// Takes some of a compressed message. `may_be_long`: it may be more than [`WAITING_BYTES`].
    ///
    /// # Errors
    ///
    /// [`InflateError::TooLong`]; nothing is left of the message then.
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

    /// Inflates into `room`. Returns how many bytes came: 0 if `room` is not empty and nothing more
    /// comes of what is there.
    ///
    /// # Errors
    ///
    /// The message is too long or corrupt; nothing is left of it then.
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
        // A block may be marked as the last before the message ends; nothing is behind it then.
        let has_ended = status == Status::StreamEnd;
        if has_ended {
            self.used = self.input.len();
        }
        // More may wait in the decompressor only if it has filled the room.
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

    /// Would [`Self::pull`] try?
    pub fn is_ready(&self) -> bool {
        let may_begin = self.is_whole || self.state.is_some() || self.input.len() > WAITING_BYTES;
        self.may_hold_more || (may_begin && self.used < self.input.len())
    }

    /// What it holds besides a decompressor.
    pub fn held_bytes(&self) -> usize {
        self.input.capacity()
    }

    /// Is it in the middle of a message, with a decompressor of its own?
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

    /// Inflates in pieces and rooms of these sizes.
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

    /// Text that compresses, and bytes that do not.
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
        fn what_was_deflated_inflates_to_the_same_in_any_pieces(
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
        fn bytes_at_random_inflate_to_something_bounded_or_not_at_all(
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
    fn a_bomb_is_refused_as_soon_as_it_is_too_long() {
        let bomb = Deflate::new().message([&vec![0; 10 << 20][..]].into_iter(), 15).to_vec();
        assert!(bomb.len() < 64 << 10);
        let mut inflate = Inflate::new(1 << 20);
        assert_eq!(inflated(&mut inflate, &bomb, 1000, 8192), Err(InflateError::TooLong));
        assert!(inflate.inflated_bytes <= (1 << 20) + 8192);
    }

    #[test]
    fn a_small_message_that_never_ends_holds_no_decompressor() {
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
