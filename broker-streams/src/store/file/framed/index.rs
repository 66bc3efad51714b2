//! The places of the frames of a file.

use std::io;

use super::super::disk::DiskFile;
use super::frame::{ALIGNMENT, HEADER, Header, MOST_CONTENTS};

/// The bytes of contents between two marks.
const MARK_BYTES: u64 = 32 * 1024;

/// The unit that a disk writes as a whole.
const SECTOR: u64 = 512;

/// The bytes that are read at once where frames are short.
const WINDOW: usize = 64 * 1024;

/// Bytes of a file that were read together.
#[derive(Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Returns bytes of a file, of which only those before `end` are read: fewer if there are fewer.
    pub(super) fn get(
        &mut self,
        file: &dyn DiskFile,
        at: u64,
        length: usize,
        end: u64,
    ) -> io::Result<&[u8]> {
        let has = |window: &Self| {
            at >= window.start && at + length as u64 <= window.start + window.bytes.len() as u64
        };
        if !has(self) {
            let room = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.bytes.resize(length.max(WINDOW).min(room), 0);
            let read = file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..(from + length).min(self.bytes.len())])
    }
}

/// Contents without an intact frame.
struct Gap {
    /// Their place and end.
    at: u64,
    end: u64,
    /// The place and the end of what is in the file instead.
    place: u64,
    place_end: u64,
}

/// A place in the contents, and that of the frame in the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) place: u64,
}

/// The contents of a place.
pub(super) enum Found {
    /// A frame.
    Frame(u64, Header),
    /// Nothing that is right, from there to there.
    Gap(u64, Mark),
}

/// The places of the frames of a file.
#[derive(Default)]
pub(super) struct Index {
    marks: Vec<Mark>,
    gaps: Vec<Gap>,
    /// The number of frames.
    pub(super) frames: u64,
    /// The end of the contents and of the frames.
    pub(super) end: Mark,
    /// The bytes after the frames were being written when the machine stopped.
    pub(super) is_torn: bool,
    /// The first frame is encrypted.
    pub(super) is_encrypted: bool,
}

impl Index {
    /// Reads the headers of all frames of a file.
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let size = file.size()?;
        let (mut index, mut window) = (Self::default(), Window::default());
        // The frames, and the first gap, since the last beginning of a write.
        let mut last_write = Vec::new();
        let mut last_gap = None;
        while let Some((found, header)) = next_frame(file, &mut window, index.end, size)? {
            if found > index.end.place {
                last_gap = last_gap.or(Some(index.gaps.len()));
                index.skip(header.at, found);
            }
            if header.is_first() {
                // All before it was complete.
                (last_write, last_gap) = (Vec::new(), None);
            }
            last_write.push((found, header));
            index.push(found, &header);
        }
        index.judge_last_write(file, &last_write, last_gap)?;
        if !index.is_torn {
            index.judge_rest(file, size)?;
        }
        Ok(index)
    }

    /// Adds a frame behind all others.
    pub(super) fn push(&mut self, place: u64, header: &Header) {
        let at = self.end.at;
        if self.marks.last().is_none_or(|last| at - last.at >= MARK_BYTES) {
            self.marks.push(Mark { at, place });
        }
        if self.frames == 0 {
            self.is_encrypted = header.is_encrypted();
        }
        self.frames += 1;
        self.end = Mark { at: at + header.contents as u64, place: place + header.length as u64 };
    }

    /// Adds a gap up to a place of the contents and one of the file.
    fn skip(&mut self, at: u64, place: u64) {
        let Mark { at: from, place: start } = self.end;
        self.gaps.push(Gap { at: from, end: at, place: start, place_end: place });
        self.end = Mark { at, place };
    }

    /// Cuts everything from a place on.
    pub(super) fn cut(&mut self, end: Mark) {
        self.marks.retain(|mark| mark.at < end.at);
        self.gaps.retain(|gap| gap.place < end.place);
        self.end = end;
        self.is_torn = false;
    }

    /// Decides whether the last write was complete: all before it were.
    fn judge_last_write(
        &mut self,
        file: &dyn DiskFile,
        frames: &[(u64, Header)],
        gap: Option<usize>,
    ) -> io::Result<()> {
        let gap = gap.and_then(|gap| self.gaps.get(gap));
        if let Some(gap) = gap
            && is_torn(file, gap.place, gap.place_end)?
        {
            let end = Mark { at: gap.at, place: gap.place };
            self.cut(end);
            self.is_torn = true;
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (place, header) in frames {
            bytes.resize(header.length, 0);
            let read = file.read_at(&mut bytes, *place)?;
            let end = place + header.length as u64;
            if !header.is_intact(&bytes[..read]) && is_torn(file, *place, end)? {
                self.cut(Mark { at: header.at, place: *place });
                self.is_torn = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Decides what follows the last frame: nothing, a frame that is damaged, or one that was being written.
    fn judge_rest(&mut self, file: &dyn DiskFile, size: u64) -> io::Result<()> {
        let Some(last) = last_byte(file, self.end.place, size)? else { return Ok(()) };
        let mut bytes = [0; HEADER];
        let read = file.read_at(&mut bytes, self.end.place)?;
        let header = Header::parse(&bytes[..read], self.end.place);
        let written = (last + 1).next_multiple_of(ALIGNMENT as u64).min(size);
        if header.is_some() || is_torn(file, self.end.place, written)? {
            // With a header, it is longer than the file.
            self.is_torn = true;
            return Ok(());
        }
        let Mark { at, place } = self.end;
        self.skip(at + (written - place), written);
        Ok(())
    }

    /// Returns a place to read on from, at or before a place of the contents.
    pub(super) fn before(&self, at: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.at <= at);
        let mark = after.checked_sub(1).map_or_else(Mark::default, |at| self.marks[at]);
        // A gap may be nearer.
        let after = self.gaps.partition_point(|gap| gap.at <= at);
        let gap = after.checked_sub(1).map(|at| &self.gaps[at]);
        match gap {
            Some(gap) if gap.at >= mark.at => Mark { at: gap.at, place: gap.place },
            _ => mark,
        }
    }

    /// Returns the gap that begins at a place, if one does.
    pub(super) fn gap_at(&self, mark: Mark) -> Option<Mark> {
        let at = self.gaps.binary_search_by_key(&mark.place, |gap| gap.place).ok()?;
        Some(Mark { at: self.gaps[at].end, place: self.gaps[at].place_end })
    }

    /// Finds what has a place of the contents, which is before the end, reading on from a mark.
    pub(super) fn find(
        &self,
        file: &dyn DiskFile,
        window: &mut Window,
        mut mark: Mark,
        at: u64,
    ) -> io::Result<Found> {
        while mark.place < self.end.place {
            if let Some(end) = self.gap_at(mark) {
                if end.at > at {
                    return Ok(Found::Gap(mark.at, end));
                }
                mark = end;
                continue;
            }
            let bytes = window.get(file, mark.place, HEADER, self.end.place)?;
            let header = Header::parse(bytes, mark.place).filter(|header| header.at == mark.at);
            let Some(header) = header else {
                // The file has changed since it was opened.
                let next = next_frame(file, window, mark, self.end.place)?;
                let next = next.map_or(self.end, |(place, header)| Mark { at: header.at, place });
                if next.at > at {
                    return Ok(Found::Gap(mark.at, next));
                }
                mark = next;
                continue;
            };
            let end = mark.at + header.contents as u64;
            if end > at {
                return Ok(Found::Frame(mark.place, header));
            }
            mark = Mark { at: end, place: mark.place + header.length as u64 };
        }
        Ok(Found::Gap(mark.at, self.end))
    }
}

/// Finds the next frame at or behind a mark.
fn next_frame(
    file: &dyn DiskFile,
    window: &mut Window,
    from: Mark,
    size: u64,
) -> io::Result<Option<(u64, Header)>> {
    let mut place = from.place;
    while place + HEADER as u64 <= size {
        let bytes = window.get(file, place, HEADER, size)?;
        // As many contents as the bytes between may have had.
        let most = (place - from.place) * MOST_CONTENTS as u64;
        let fits = |header: &Header| {
            place + header.length as u64 <= size
                && header.at.checked_sub(from.at).is_some_and(|gap| gap <= most)
        };
        if let Some(header) = Header::parse(bytes, place).filter(fits) {
            return Ok(Some((place, header)));
        }
        place += ALIGNMENT as u64;
    }
    Ok(None)
}

/// Returns true if bytes of a file were not written as a whole: a sector of them is missing, which has zeros then.
fn is_torn(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<bool> {
    let mut bytes = [0; SECTOR as usize];
    let to = to.max(from + HEADER as u64);
    let mut at = from;
    while at < to {
        let end = (at / SECTOR + 1) * SECTOR;
        let part = &mut bytes[..(end - at) as usize];
        let read = file.read_at(part, at)?;
        if read == 0 || part[..read].iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}

/// Returns the place of the last byte that is not zero.
fn last_byte(file: &dyn DiskFile, from: u64, size: u64) -> io::Result<Option<u64>> {
    let mut bytes = vec![0; WINDOW];
    let (mut at, mut last) = (from, None);
    while at < size {
        let read = file.read_at(&mut bytes, at)?;
        if read == 0 {
            break;
        }
        let found = bytes[..read].iter().rposition(|byte| *byte != 0);
        last = found.map(|found| at + found as u64).or(last);
        at += read as u64;
    }
    Ok(last)
}
