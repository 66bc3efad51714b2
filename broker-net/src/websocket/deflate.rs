//! Compression of messages.

use flate2::{Compress, Compression, FlushCompress};

/// The end of a flush, which permessage-deflate omits.
const TAIL_BYTES: usize = 4;

/// Compresses messages independently of each other. Takes some 300 KB: one per thread suffices.
#[derive(Debug)]
pub struct Deflate {
    state: Compress,
    out: Vec<u8>,
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflate {
    /// Uses the fastest level.
    // NATS 2.14: flate.BestSpeed.
    pub fn new() -> Self {
        Self { state: Compress::new(Compression::fast(), false), out: Vec::new() }
    }

    /// Compresses the pieces into one message, without references further back than 2 to the power of
    /// `window_bits` bytes.
    pub fn message<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a [u8]>,
        window_bits: u8,
    ) -> &mut [u8] {
        self.state.reset();
        self.out.clear();
        let mut window = Window::new(window_bits);
        for mut piece in pieces {
            while !piece.is_empty() {
                let (half_close, rest) = piece.split_at(window.left.min(piece.len()));
                piece = rest;
                self.feed(half_close, FlushCompress::None);
                window.left -= half_close.len();
                if window.left == 0 {
                    // Resets the history of the compressor.
                    self.feed(&[], FlushCompress::Full);
                    window = Window::new(window_bits);
                }
            }
        }
        self.feed(&[], FlushCompress::Sync);
        let len = self.out.len().saturating_sub(TAIL_BYTES);
        &mut self.out[..len]
    }

    fn feed(&mut self, mut piece: &[u8], flush: FlushCompress) {
        loop {
            if self.out.capacity() - self.out.len() < 1 << 10 {
                self.out.reserve(piece.len().max(4 << 10));
            }
            let before = self.state.total_in();
            // It fails only with invalid parameters.
            if self.state.compress_vec(piece, &mut self.out, flush).is_err() {
                return;
            }
            piece = &piece[(self.state.total_in() - before) as usize..];
            if piece.is_empty() && self.out.len() < self.out.capacity() {
                return;
            }
        }
    }
}

/// The input that can still be compressed without references beyond the window.
struct Window {
    left: usize,
}

impl Window {
    fn new(bits: u8) -> Self {
        // 15 bits are deflate's maximum.
        Self { left: if bits >= 15 { usize::MAX } else { 1 << bits } }
    }
}
