//! The end of the log: the records that wait to be written, and those that were written last.

use std::collections::VecDeque;
use std::sync::Arc;

use super::piece::Piece;
use crate::store::record::Header;

/// The bytes of written records that stay in memory, for consumers that follow closely.
const RECENT_BYTES: usize = 256 * 1024;

/// The most written pieces that stay in memory; each has room of its own.
const RECENT_PIECES: usize = 256;

/// The end of the log.
#[derive(Default)]
pub(super) struct Tail {
    /// Pieces that no job has taken. Only the last one takes records.
    pending: Vec<Piece>,
    /// Pieces that a job has taken, oldest first.
    taken: VecDeque<Arc<Piece>>,
    /// The number of pieces, counted from the last one, that are not written yet.
    unwritten: usize,
    /// The bytes of all pieces to be written but the last one of those that no job has taken, which grows.
    unwritten_before: usize,
}

impl Tail {
    /// Returns the piece that takes records, if there is one.
    pub(super) fn last(&mut self) -> Option<&mut Piece> {
        self.pending.last_mut()
    }

    /// Begins a piece.
    pub(super) fn push(&mut self, piece: Piece) {
        self.unwritten_before += self.pending.last().map_or(0, |last| last.bytes.len());
        self.pending.push(piece);
    }

    /// Begins a piece if the last one has no room for a record of a length.
    pub(super) fn make_room(&mut self, length: usize) {
        if let Some(full) = self.pending.last().filter(|last| !last.has_room(length)) {
            self.push(Piece::behind(full));
        }
    }

    /// Returns true if there is nothing to write.
    pub(super) fn is_written(&self) -> bool {
        self.pending.is_empty() && self.unwritten == 0
    }

    /// Returns the bytes to be written.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten_before + self.pending.last().map_or(0, |last| last.bytes.len())
    }

    /// Takes all pieces that are to be written, those of a job that failed among them.
    pub(super) fn take(&mut self) -> Vec<Arc<Piece>> {
        self.unwritten_before = self.unwritten_bytes();
        self.unwritten += self.pending.len();
        self.taken.extend(self.pending.drain(..).map(Arc::new));
        self.taken.range(self.taken.len() - self.unwritten..).cloned().collect()
    }

    /// Notes that the first pieces that were taken are written.
    pub(super) fn finish(&mut self, written: usize) {
        let written = written.min(self.unwritten);
        let first = self.taken.len() - self.unwritten;
        let done = self.taken.range(first..first + written).map(|piece| piece.bytes.len());
        self.unwritten_before -= done.sum::<usize>();
        self.unwritten -= written;
        let mut kept = self.taken.iter().map(|piece| piece.bytes.len()).sum::<usize>();
        while self.taken.len() > self.unwritten
            && (kept > RECENT_BYTES || self.taken.len() > RECENT_PIECES)
        {
            kept -= self.taken.pop_front().map_or(0, |piece| piece.bytes.len());
        }
    }

    /// Forgets the written pieces of a segment, whose records move.
    pub(super) fn forget(&mut self, segment: u64) {
        let mut written = self.taken.len() - self.unwritten;
        self.taken.retain(|piece| {
            let is_written = written > 0;
            written = written.saturating_sub(1);
            !(is_written && piece.segment == segment)
        });
    }

    /// Returns a message that is in memory: its place, its header, its bytes.
    pub(super) fn find(&self, sequence: u64) -> Option<(usize, Header, &[u8])> {
        let oldest = self.taken.iter().find_map(|piece| piece.first());
        let oldest = oldest.or_else(|| self.pending.iter().find_map(Piece::first));
        if oldest.is_none_or(|oldest| sequence < oldest) {
            return None;
        }
        let pending = self.pending.iter().rev();
        let pieces = pending.chain(self.taken.iter().rev().map(|piece| &**piece));
        pieces.filter(|piece| piece.spans(sequence)).find_map(|piece| piece.find(sequence))
    }
}
