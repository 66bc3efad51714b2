//! Reads what is stored, to find damage before somebody needs what is lost.

use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::format::{SEGMENT_HEADER, SegmentHeader, name_of};
use super::scan::Scan;
use super::segment::Version;
use super::{Damage, FileStorage};
use crate::store::record::Kind;

/// The bytes that are read at once.
const STEP: usize = 256 * 1024;

/// A check of one segment, which runs without the lock of the stream.
pub struct Scrub {
    version: Version,
    file: Arc<dyn DiskFile>,
    end: usize,
    erasures: u64,
    found: Vec<Hole>,
    is_done: bool,
}

/// Bytes that are no records.
struct Hole {
    from: usize,
    to: usize,
    /// The sequences of the messages around it.
    after: Option<u64>,
    before: Option<u64>,
}

impl Scrub {
    /// Reads the segment and compares its checksums. `pause` is called with each number of bytes that were read; the check ends when it
    /// returns false.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn run(&mut self, pause: &mut dyn FnMut(usize) -> bool) -> io::Result<()> {
        let mut bytes = vec![0; self.end];
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + STEP).min(bytes.len());
            let read = self.file.read_at(&mut bytes[at..end], at as u64)?;
            if read == 0 || !pause(read) {
                break;
            }
            at += read;
        }
        self.is_done = at == self.end || self.file.size()? < self.end as u64;
        if self.is_done {
            bytes.truncate(at);
            self.check(&bytes);
        }
        Ok(())
    }

    fn check(&mut self, bytes: &[u8]) {
        let number = self.version.0;
        let scan = Scan::new(bytes, number);
        let mut holes = scan.holes.clone();
        if SegmentHeader::decode(bytes, number).is_none() {
            holes.insert(0, (0, SEGMENT_HEADER));
        }
        if scan.end < self.end {
            holes.push((scan.end, self.end));
        }
        let messages = || {
            let of = |(at, header): &(usize, crate::store::record::Header)| {
                (header.kind == Kind::Message).then_some((*at, header.sequence))
            };
            scan.records.iter().filter_map(of)
        };
        let hole = |(from, to): (usize, usize)| Hole {
            from,
            to,
            after: messages().take_while(|(at, _)| *at < from).last().map(|(_, of)| of),
            before: messages().find(|(at, _)| *at >= from).map(|(_, of)| of),
        };
        // A segment that is gone has one hole for each record at most.
        self.found = holes.into_iter().take(HOLES).map(hole).collect();
    }
}

/// The most holes of a segment that are reported one by one.
const HOLES: usize = 16;

impl FileStorage {
    /// Returns a check of the next segment; `None` at the end of all, after which they are checked again from the first one on, and while
    /// messages are being overwritten.
    pub(super) fn next_scrub(&mut self) -> Option<Scrub> {
        if self.is_job_out && self.is_erasing {
            return None;
        }
        let next = self.segments.iter().find(|segment| {
            let is_stable = segment.written > 0 && segment.pinned.is_none();
            segment.number > self.scrubbed && !segment.damaged && is_stable
        });
        let Some(segment) = next else {
            self.scrubbed = 0;
            return None;
        };
        self.scrubbed = segment.number;
        let file = self.reader.borrow_mut().file(&*self.disk, segment).ok()?;
        Some(Scrub {
            version: segment.version(),
            file,
            end: segment.written,
            erasures: self.erasures_begun,
            found: Vec::new(),
            is_done: false,
        })
    }

    /// Returns what a check has found, unless the segment has changed meanwhile. The segment is not written anew any more.
    pub(super) fn end_scrub(&mut self, scrub: &Scrub) -> Vec<Damage> {
        let is_current = scrub.is_done && scrub.erasures == self.erasures_begun;
        let (number, version) = (scrub.version.0, scrub.version);
        let Some(segment) = self.segment_mut(number).filter(|segment| segment.version() == version)
        else {
            return Vec::new();
        };
        if scrub.found.is_empty() || !is_current {
            return Vec::new();
        }
        segment.damaged = true;
        let (first, last) = (segment.first, segment.last);
        let damage = |hole: &Hole| {
            let from = hole.after.map_or(first, |after| after + 1);
            let to = hole.before.map_or(last, |before| before.saturating_sub(1));
            let lost: Vec<_> = self.messages_until(from, to).collect();
            Damage {
                file: name_of(number),
                offset: hole.from as u64,
                bytes: (hole.to - hole.from) as u64,
                sequences: lost.first().copied().zip(lost.last().copied()),
            }
        };
        scrub.found.iter().map(damage).collect()
    }
}
