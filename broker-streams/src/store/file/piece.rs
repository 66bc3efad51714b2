//! Records that are written together.

use super::format::seal;
use crate::store::Record;
use crate::store::marks::Marks;
use crate::store::record::{Header, Kind, encode};

/// The bytes between two marks of a piece.
const MARK_BYTES: usize = 1024;

/// The bytes from which on a piece takes no further record: those that follow are in another one, so that no large block is copied into a
/// larger one while messages wait, and that what was written is given back in parts. Tests on a simulated disk have pieces of a few records.
pub(super) const PIECE_BYTES: usize = if cfg!(test) { 600 } else { 128 * 1024 };

/// Consecutive records of one segment: those that wait to be written, and later those that were written last, from which
/// consumers read them.
pub(super) struct Piece {
    /// The segment.
    pub(super) segment: u64,
    /// The place in the segment.
    pub(super) offset: usize,
    /// The records; the header of the segment is before the first one of it.
    pub(super) bytes: Vec<u8>,
    /// It is written and synced together with the piece before it.
    pub(super) continues: bool,
    marks: Marks,
    first: u64,
    last: u64,
}

impl Piece {
    /// Creates a piece without records.
    pub(super) fn new(segment: u64, offset: usize) -> Self {
        let marks = Marks::new(MARK_BYTES);
        let bytes = Vec::new();
        Self { segment, offset, bytes, continues: false, marks, first: u64::MAX, last: 0 }
    }

    /// Creates the piece behind one that is full.
    pub(super) fn behind(full: &Self) -> Self {
        let bytes = Vec::with_capacity(PIECE_BYTES);
        Self { bytes, continues: true, ..Self::new(full.segment, full.end()) }
    }

    /// Returns true if a record of a length can be added without making the piece longer than it should be.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.bytes.is_empty() || self.bytes.len() + length <= PIECE_BYTES
    }

    /// Adds a record. Returns its place in the segment, and its length.
    pub(super) fn push(&mut self, kind: Kind, record: &Record<'_>) -> (usize, usize) {
        let start = self.bytes.len();
        let at = self.offset + start;
        encode(kind, record, &mut self.bytes);
        seal(&mut self.bytes[start..], self.segment, at);
        if kind == Kind::Message {
            self.marks.add(record.sequence, start);
            self.first = self.first.min(record.sequence);
            self.last = record.sequence;
        }
        (at, self.bytes.len() - start)
    }

    /// Returns the place behind its last record.
    pub(super) fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    /// Returns true if the sequence is between its first and its last message.
    pub(super) fn spans(&self, sequence: u64) -> bool {
        (self.first..=self.last).contains(&sequence)
    }

    /// Returns the sequence of its first message, if it has one.
    pub(super) fn first(&self) -> Option<u64> {
        (self.last > 0).then_some(self.first)
    }

    /// Returns a message: its place in the segment, its header, its bytes.
    pub(super) fn find(&self, sequence: u64) -> Option<(usize, Header, &[u8])> {
        let mut at = self.marks.before(sequence);
        loop {
            let bytes = self.bytes.get(at..)?;
            let header = Header::parse(bytes, bytes.len())?;
            if header.kind == Kind::Message && header.sequence == sequence {
                return Some((self.offset + at, header, bytes));
            }
            at += header.length;
        }
    }
}
