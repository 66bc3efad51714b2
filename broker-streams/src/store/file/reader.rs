//! Reads records from segments.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::disk::{Disk, DiskFile};
use super::format::{is_intact, name_of};
use super::segment::{Segment, Version};
use crate::store::marks::Start;
use crate::store::record::{ALIGNMENT, HEADER, Header, Kind};

/// The open files that each store may keep, beside the one that is written.
const FILES: usize = 4;

/// The open files that a store may keep as long as all stores together have fewer than [`SPARE_FILES`]: those of random reads in a
/// store of 1 GiB.
const MORE_FILES: usize = 64;

/// The open files of all stores up to which each may keep more: a part of the 1,024 that a process often may have.
const SPARE_FILES: usize = 256;

/// The open files of all stores.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The bytes that are read at once: a record and those around it at first, more when the records behind are read, too.
const FIRST_READ: usize = 4096;
/// The bytes that are read where a record is known to begin.
const EXACT_READ: usize = 1024;
const LARGEST_READ: usize = 64 * 1024;

/// Reads records. It keeps the last files open, and the bytes around the last record at each of two places: where
/// messages are removed, and where one is read.
#[derive(Default)]
pub(super) struct Reader {
    files: Vec<Open>,
    views: [View; 2],
    last: usize,
    /// The bytes of the next read that is not a continuation.
    first_read: usize,
}

/// An open file.
struct Open {
    version: Version,
    file: Arc<dyn DiskFile>,
}

impl Open {
    fn new(version: Version, file: Arc<dyn DiskFile>) -> Self {
        OPEN.fetch_add(1, Relaxed);
        Self { version, file }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

/// Bytes of a segment.
#[derive(Default)]
struct View {
    version: Version,
    start: usize,
    bytes: Vec<u8>,
    /// The bytes of the last read.
    read: usize,
    /// A place from which records are found by reading on: the sequence of a message and the place behind it.
    hint: Option<(u64, usize)>,
}

impl View {
    fn get(&self, version: Version, at: usize, length: usize) -> bool {
        self.version == version && at >= self.start && at + length <= self.start + self.bytes.len()
    }
}

impl Reader {
    /// Finds an intact message. Returns its place and header; `None` if it is damaged.
    pub(super) fn find(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        sequence: u64,
    ) -> io::Result<Option<(usize, Header)>> {
        let found = self.search(disk, segment, sequence, false)?;
        // The length of a damaged record may have led past it.
        if found.is_some() { Ok(found) } else { self.search(disk, segment, sequence, true) }
    }

    /// Reads on from the nearest known place; compares the checksums of all records that it passes if `check`.
    fn search(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        sequence: u64,
        check: bool,
    ) -> io::Result<Option<(usize, Header)>> {
        let start = self.start(segment, sequence, !check);
        self.first_read = if start.is_exact { EXACT_READ } else { FIRST_READ };
        let mut at = start.at;
        // After damage, the next record is searched for.
        let mut is_lost = false;
        while at < segment.written {
            let Some(header) = self.header(disk, segment, at)? else {
                (at, is_lost) = (at + ALIGNMENT, true);
                continue;
            };
            let is_message = header.kind == Kind::Message;
            let is_candidate = is_message && header.sequence >= sequence;
            if check || is_lost || is_candidate {
                let bytes = self.view(disk, segment, at, header.length)?;
                if !is_intact(&bytes[..header.length], segment.number, at) {
                    (at, is_lost) = (at + ALIGNMENT, true);
                    continue;
                }
                is_lost = false;
            }
            if is_candidate {
                let view = &mut self.views[self.last];
                view.hint = Some((header.sequence, at + header.length));
                return Ok((header.sequence == sequence).then_some((at, header)));
            }
            at += header.length;
        }
        Ok(None)
    }

    /// Returns bytes of a segment.
    pub(super) fn view(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        at: usize,
        length: usize,
    ) -> io::Result<&[u8]> {
        let version = segment.version();
        let here = self.views.iter().position(|view| view.get(version, at, length));
        if let Some(here) = here {
            self.last = here;
        } else {
            self.fill(disk, segment, at, length)?;
        }
        let view = &self.views[self.last];
        Ok(&view.bytes[at - view.start..])
    }

    /// Closes the files of a segment.
    pub(super) fn close(&mut self, segment: u64) {
        self.files.retain(|open| open.version.0 != segment);
        for view in self.views.iter_mut().filter(|view| view.version.0 == segment) {
            *view = View::default();
        }
    }

    fn start(&self, segment: &Segment, sequence: u64, with_hints: bool) -> Start {
        let marked = segment.marks.start(sequence);
        let version = segment.version();
        let hints = self.views.iter().filter(|view| with_hints && view.version == version);
        let near = hints.filter_map(|view| view.hint.filter(|(before, _)| *before < sequence));
        let nearest = near.map(|(_, at)| at).fold(super::format::SEGMENT_HEADER, usize::max);
        if nearest > marked.at { Start { at: nearest, is_exact: false } } else { marked }
    }

    fn header(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        at: usize,
    ) -> io::Result<Option<Header>> {
        let room = segment.written - at;
        if room < HEADER {
            return Ok(None);
        }
        Ok(Header::parse(self.view(disk, segment, at, HEADER)?, room))
    }

    fn fill(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        at: usize,
        length: usize,
    ) -> io::Result<()> {
        let version = segment.version();
        let file = self.file(disk, segment)?;
        let reaches = |view: &View| {
            view.version == version && (view.start..=view.start + view.bytes.len()).contains(&at)
        };
        // A view that is left at its end is read on. Else the one that was not used last is given up.
        let read_on = self.views.iter().position(reaches);
        self.last = read_on.unwrap_or(1 - self.last);
        let view = &mut self.views[self.last];
        view.read = match read_on {
            Some(_) => (view.read * 2).clamp(FIRST_READ, LARGEST_READ),
            None => self.first_read,
        };
        let wanted = view.read.max(length).min(segment.written - at);
        if read_on.is_none() {
            view.hint = None;
        }
        (view.version, view.start) = (version, at);
        view.bytes.resize(wanted, 0);
        let read = file.read_at(&mut view.bytes, at as u64)?;
        if read < wanted {
            // The file is shorter than it was.
            *view = View::default();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Returns the file of a segment.
    pub(super) fn file(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
    ) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(pinned) = &segment.pinned {
            return Ok(pinned.clone());
        }
        let version = segment.version();
        if let Some(at) = self.files.iter().position(|open| open.version == version) {
            self.files[..=at].rotate_right(1);
        } else {
            let file = disk.open(&name_of(segment.number))?;
            let most = if OPEN.load(Relaxed) < SPARE_FILES { MORE_FILES } else { FILES };
            self.files.truncate(most - 1);
            self.files.insert(0, Open::new(version, file));
        }
        Ok(self.files[0].file.clone())
    }
}
