//! The records of a segment, read one after the other.

use std::io;

use super::disk::Disk;
use super::format::{SEGMENT_HEADER, next_record, record_at};
use super::reader::Reader;
use super::segment::Segment;
use crate::store::record::{ALIGNMENT, HEADER, Header, Kind};

/// The unit that a disk writes as a whole, in bytes. A sector that was not written has the zeros of its allocation.
const SECTOR_BYTES: usize = 512;

/// The intact records of a segment, and the places between them.
pub(super) struct Scan {
    /// Their places and headers.
    pub(super) records: Vec<(usize, Header)>,
    /// The places between them.
    pub(super) holes: Vec<(usize, usize)>,
    /// The place behind the last one.
    pub(super) end: usize,
}

impl Scan {
    /// Reads a segment.
    pub(super) fn new(bytes: &[u8], number: u64) -> Self {
        let (mut records, mut holes) = (Vec::new(), Vec::new());
        let mut at = SEGMENT_HEADER.min(bytes.len());
        loop {
            let mut next = record_at(bytes, number, at).map(|header| (at, header));
            if next.is_none() {
                next = next_record(bytes, number, at);
                holes.extend(next.map(|(next, _)| (at, next)));
            }
            let Some((place, header)) = next else { break };
            records.push((place, header));
            at = place + header.length;
        }
        Self { records, holes, end: at }
    }

    /// Classifies the bytes after the last record, and the holes in the last batch.
    pub(super) fn settle(&mut self, bytes: &[u8], is_last: bool) {
        if let Some(last) = bytes[self.end..].iter().rposition(|byte| *byte != 0) {
            let written = (self.end + last + 1).next_multiple_of(ALIGNMENT);
            let length = Header::parse(&bytes[self.end..], usize::MAX).map(|header| header.length);
            let end = length.map(|length| self.end + length);
            let end = end.filter(|end| is_last || *end <= bytes.len());
            let end = end.unwrap_or(written.min(bytes.len()));
            self.holes.push((self.end, end));
            self.end = end;
        }
        if !is_last {
            return;
        }
        let batch = self.records.iter().rfind(|(_, header)| header.kind == Kind::Batch);
        let batch = batch.map_or(0, |(at, _)| *at);
        let torn = |(from, to): &(usize, usize)| *from >= batch && is_torn(bytes, *from, *to);
        if let Some(hole) = self.holes.iter().position(torn) {
            self.end = self.holes[hole].0;
            self.holes.truncate(hole);
            self.records.retain(|(at, _)| *at < self.end);
        }
    }

    /// Returns true if a batch begins in the segment.
    pub(super) fn has_batch(&self) -> bool {
        self.records.iter().any(|(_, header)| header.kind == Kind::Batch)
    }
}

/// Returns true if bytes were not written as a whole: a sector of them is missing. Other bytes are damaged ones.
fn is_torn(bytes: &[u8], from: usize, to: usize) -> bool {
    let to = to.max(from + HEADER);
    let sectors = (from / SECTOR_BYTES * SECTOR_BYTES..to).step_by(SECTOR_BYTES);
    let part = |at: usize| bytes.get(at.max(from)..(at + SECTOR_BYTES).min(bytes.len()));
    to > bytes.len()
        || sectors.map(part).any(|part| part.is_none_or(|part| part.iter().all(|byte| *byte == 0)))
}

/// Reads the intact records of a segment.
pub(super) fn records_of(
    reader: &mut Reader,
    disk: &dyn Disk,
    segment: &Segment,
) -> io::Result<Vec<(Header, Vec<u8>)>> {
    let mut bytes = vec![0; segment.end];
    let read = reader.file(disk, segment)?.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let scan = Scan::new(&bytes, segment.number);
    let copy = |(at, header): &(usize, Header)| (*header, bytes[*at..*at + header.length].to_vec());
    Ok(scan.records.iter().map(copy).collect())
}
