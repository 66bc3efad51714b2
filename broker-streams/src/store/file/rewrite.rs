//! Gives back the room of removed messages in a segment.

use std::io;
use std::ops::RangeInclusive;

use super::disk::Disk;
use super::format::{SEGMENT_HEADER, name_of, record_at, seal};
use super::segment::Segment;
use crate::store::marks::Marks;
use crate::store::record::{Header, Kind};

/// The name of the file that takes the place of a segment once it is complete.
pub(super) const REWRITTEN: &str = "rewrite.tmp";

/// The copy of those records of a segment that are needed.
///
/// Messages that are removed meanwhile are copied as well.
pub(super) struct Rewrite {
    pub(super) number: u64,
    pub(super) end: usize,
    /// The messages, sorted.
    pub(super) messages: Vec<u64>,
    /// The records of the journal, sorted.
    pub(super) entries: Vec<u64>,
    /// The sequences whose removals are needed.
    pub(super) removals: Vec<RangeInclusive<u64>>,
    /// The new places.
    pub(super) result: Outcome,
}

/// The result.
pub(super) enum Outcome {
    /// The segment is as it was.
    Unchanged,
    /// A record of the segment is damaged. The segment is as it was.
    Damaged,
    /// The segment has a new file.
    Done {
        /// The place behind the last record.
        end: usize,
        /// The new places of the messages.
        marks: Marks,
    },
}

impl Rewrite {
    /// Copies. An error means that the new file may or may not be in place; no room for it is no error.
    pub(super) fn run(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let name = name_of(self.number);
        let Ok(bytes) = self.read(disk) else { return Ok(()) };
        let Some((copy, marks)) = self.copy(&bytes) else {
            self.result = Outcome::Damaged;
            return Ok(());
        };
        if store(disk, &copy).is_err() {
            // The attempt is made again when more has been removed.
            let _ = disk.remove(REWRITTEN);
            return Ok(());
        }
        disk.rename(REWRITTEN, &name)?;
        disk.sync()?;
        self.result = Outcome::Done { end: copy.len(), marks };
        Ok(())
    }

    fn read(&self, disk: &dyn Disk) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.end];
        let read = disk.open(&name_of(self.number))?.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Returns the copy, or `None` if a record is damaged.
    fn copy(&self, bytes: &[u8]) -> Option<(Vec<u8>, Marks)> {
        let mut copy = bytes.get(..SEGMENT_HEADER)?.to_vec();
        let mut marks = Segment::new(self.number, 0, 0).marks;
        let mut at = SEGMENT_HEADER;
        while at < self.end {
            let header = record_at(bytes, self.number, at)?;
            if self.is_needed(&header) {
                let place = copy.len();
                copy.extend_from_slice(&bytes[at..at + header.length]);
                seal(&mut copy[place..], self.number, place);
                if header.kind == Kind::Message {
                    marks.add(header.sequence, place);
                }
            }
            at += header.length;
        }
        Some((copy, marks))
    }

    fn is_needed(&self, header: &Header) -> bool {
        let sequence = header.sequence;
        match header.kind {
            Kind::Message => self.messages.binary_search(&sequence).is_ok(),
            Kind::Entry | Kind::Replaced => self.entries.binary_search(&sequence).is_ok(),
            Kind::Remove => self.removals.iter().any(|range| range.contains(&sequence)),
            // The headers of the segments behind say as much.
            Kind::RemoveBefore | Kind::Skip | Kind::Erased | Kind::Batch => false,
        }
    }
}

fn store(disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(REWRITTEN)?;
    file.allocate(bytes.len() as u64)?;
    file.write_at(bytes, 0)?;
    // Compressed contents leave room.
    file.truncate(bytes.len() as u64)?;
    file.sync()
}
