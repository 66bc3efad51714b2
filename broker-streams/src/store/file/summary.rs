//! Summaries: the records of a full segment without the bytes of its messages.
//!
//! A store with summaries is opened without reading its messages. A summary describes the file of its segment and nothing else: which
//! messages are removed follows from all segments. A missing, wrong or outdated one is written again.
//!
//! ```text
//!  0  "natsdsum"
//!  8  checksum of what follows                                  u32
//! 12  version                                                   u32
//! 16  end of the segment, place of its last record              u64, u64
//! 32  checksum of its last record                               u32, zeros
//! 40  time of the last message, latest time of a message        i64, i64
//! 56  header of the segment
//!     number of subjects, then each with its length             varints
//!     records: kind and flags, then what the flags leave out    u8, varints
//! ```

use std::io;

use super::disk::DiskFile;
use super::fact::Fact;
use super::format::{SEGMENT_HEADER, SegmentHeader, is_intact as is_intact_record};
use crate::config::Time;
use crate::store::index::{SubjectId, Subjects};
use crate::store::record::{HEADER, Header, Kind};

/// The beginning of a summary.
pub(super) const MAGIC: &[u8; 8] = b"natsdsum";
const VERSION: u32 = 2;
const FIXED: usize = 56;

/// The sequence is the one after that of the message before.
const NEXT: u8 = 1 << 4;
/// The lengths are those of the message before.
const SAME: u8 = 1 << 5;
/// The message expires by itself.
const EXPIRES: u8 = 1 << 6;
/// The message has headers.
const HEADERS: u8 = 1 << 7;
const KIND: u8 = 0xf;

/// The bytes that are read at once.
const STEP: usize = 256 * 1024;

/// The name of a summary until it is complete.
pub(super) const TEMPORARY: &str = "summary.tmp";

/// Returns the name of the summary of a segment.
pub(super) fn name_of(segment: u64) -> String {
    format!("{segment:016x}.sum")
}

/// Returns true for the name of a summary, or of one that is being written.
pub(super) fn is_summary(name: &str) -> bool {
    name.ends_with(".sum") || name == TEMPORARY
}

/// A summary that was read.
pub(super) struct Summary<'a> {
    /// The header of the segment.
    pub(super) header: SegmentHeader,
    /// The place behind its last record.
    pub(super) end: usize,
    /// The latest time of a message.
    pub(super) latest: Time,
    /// The subjects of its messages, each once.
    pub(super) subjects: Vec<&'a [u8]>,
    records: &'a [u8],
    last_time: Time,
}

/// The contents that a summary was made of: it is outdated if the file of the segment differs.
pub(super) struct Origin {
    /// The place of the checksum of the last record.
    pub(super) at: usize,
    /// This checksum.
    pub(super) checksum: [u8; 4],
}

/// Makes the summary of the first `end` bytes of the file of a segment; `None` if it is damaged or has no records.
pub(super) fn of_file(file: &dyn DiskFile, number: u64, end: usize) -> io::Result<Option<Vec<u8>>> {
    let mut window = Window { file, end, start: 0, bytes: Vec::new() };
    let Some(header) = window.get(0, SEGMENT_HEADER)? else { return Ok(None) };
    if SegmentHeader::decode(header, number).is_none() {
        return Ok(None);
    }
    let mut draft = Draft::new(header);
    let mut at = SEGMENT_HEADER;
    while at < end {
        let Some(bytes) = window.get(at, HEADER)? else { return Ok(None) };
        let Some(header) = Header::parse(bytes, end - at) else { return Ok(None) };
        let Some(record) = window.get(at, header.length)? else { return Ok(None) };
        if !is_intact_record(record, number, at) {
            return Ok(None);
        }
        draft.add(at, &header, record);
        at += header.length;
    }
    Ok(draft.finish(end))
}

/// The part of a file that was read last.
struct Window<'a> {
    file: &'a dyn DiskFile,
    end: usize,
    start: usize,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Returns bytes of the file; `None` behind its end.
    fn get(&mut self, at: usize, length: usize) -> io::Result<Option<&[u8]>> {
        if at + length > self.end {
            return Ok(None);
        }
        if at + length > self.start + self.bytes.len() {
            self.bytes.resize(length.max(STEP).min(self.end - at), 0);
            self.start = at;
            let read = self.file.read_at(&mut self.bytes, at as u64)?;
            self.bytes.truncate(read);
        }
        let from = at - self.start;
        Ok(self.bytes.get(from..from + length))
    }
}

/// A summary that is being made.
struct Draft {
    header: Vec<u8>,
    subjects: Subjects,
    records: Vec<u8>,
    last_at: usize,
    last_checksum: Vec<u8>,
    last_time: Time,
    latest: Time,
    sequence: u64,
    sizes: (usize, u64),
}

impl Draft {
    fn new(header: &[u8]) -> Self {
        Self {
            header: header.to_vec(),
            subjects: Subjects::default(),
            records: Vec::new(),
            last_at: 0,
            last_checksum: Vec::new(),
            last_time: Time(0),
            latest: Time(i64::MIN),
            sequence: 0,
            sizes: (0, 0),
        }
    }

    fn add(&mut self, at: usize, header: &Header, record: &[u8]) {
        let fact = Fact::of(0, header, record);
        self.last_at = at;
        self.last_checksum.clear();
        self.last_checksum.extend_from_slice(&record[4..8]);
        match fact.kind {
            Kind::Message => self.add_message(&fact),
            _ => self.add_other(&fact),
        }
    }

    fn add_message(&mut self, fact: &Fact<'_>) {
        self.last_time = fact.time;
        self.latest = self.latest.max(fact.time);
        // None is removed: they are numbered in their order.
        let mut subject = SubjectId::MAX;
        self.subjects.add(fact.subject, fact.sequence, &mut subject);
        let is_next = fact.sequence == self.sequence + 1;
        let (own, sizes) = ((fact.length, fact.counted), self.sizes);
        let (expires, headers) = ((fact.expires, EXPIRES), (fact.has_headers, HEADERS));
        let flags = [(is_next, NEXT), (own == sizes, SAME), expires, headers];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum::<u8>();
        let out = &mut self.records;
        out.push(fact.kind as u8 | flags);
        put(out, subject.into());
        if !is_next {
            put(out, fact.sequence);
        }
        if own != sizes {
            put(out, fact.length as u64);
            put(out, fact.counted);
        }
        (self.sequence, self.sizes) = (fact.sequence, own);
    }

    fn add_other(&mut self, fact: &Fact<'_>) {
        let out = &mut self.records;
        out.push(fact.kind as u8);
        put(out, fact.sequence);
        put(out, fact.length as u64);
        put(out, fact.time.0.cast_unsigned());
        put(out, fact.payload.len() as u64);
        out.extend_from_slice(fact.payload);
    }

    /// Returns the bytes; `None` without records.
    fn finish(self, end: usize) -> Option<Vec<u8>> {
        if self.last_at == 0 {
            return None;
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(end as u64).to_le_bytes());
        out.extend_from_slice(&(self.last_at as u64).to_le_bytes());
        out.extend_from_slice(&self.last_checksum);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.last_time.0.to_le_bytes());
        out.extend_from_slice(&self.latest.0.to_le_bytes());
        out.extend_from_slice(&self.header);
        put(&mut out, self.subjects.len() as u64);
        for (_, subject, _) in self.subjects.iter() {
            put(&mut out, subject.len() as u64);
            out.extend_from_slice(subject);
        }
        out.extend_from_slice(&self.records);
        let checksum = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        Some(out)
    }
}

/// Returns true if the bytes are those that were written, in this version or another one.
pub(super) fn is_intact(bytes: &[u8]) -> bool {
    let checksum = bytes.get(12..).map(|rest| crc32c::crc32c(rest).to_le_bytes());
    bytes.starts_with(MAGIC) && checksum.is_some_and(|checksum| bytes[8..12] == checksum)
}

/// Reads a summary; `None` if it is none of this segment, or damaged.
pub(super) fn decode(bytes: &[u8], number: u64) -> Option<(Summary<'_>, Origin)> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    if !is_intact(bytes) || bytes.get(12..16)? != VERSION.to_le_bytes() {
        return None;
    }
    let header = SegmentHeader::decode(bytes.get(FIXED..)?, number)?;
    let origin = Origin { at: word(24)? as usize + 4, checksum: *bytes[32..].first_chunk()? };
    let last_time = Time(word(40)?.cast_signed());
    let mut records = &bytes[FIXED + SEGMENT_HEADER..];
    let subjects = decode_subjects(&mut records)?;
    let (end, latest) = (word(16)? as usize, Time(word(48)?.cast_signed()));
    let summary = Summary { header, end, latest, subjects, records, last_time };
    // All records are readable before the first one is used.
    summary.for_each_fact(|_, _| ()).then_some((summary, origin))
}

fn decode_subjects<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut subjects = Vec::new();
    for _ in 0..take(rest)? {
        subjects.push(take_bytes(rest)?);
    }
    Some(subjects)
}

impl<'a> Summary<'a> {
    /// Calls `visit` with each record and the place of its subject among the subjects. Messages have the time of the last one. Returns false
    /// after a record that cannot be read.
    pub(super) fn for_each_fact(&self, mut visit: impl FnMut(&Fact<'a>, usize)) -> bool {
        let subjects = &self.subjects[..];
        let mut facts = Facts { rest: self.records, subjects, sequence: 0, sizes: (0, 0) };
        let mut at = SEGMENT_HEADER;
        while let Some((first, rest)) = facts.rest.split_first() {
            facts.rest = rest;
            let Some(kind) = Kind::of(first & KIND) else { return false };
            // Filled where it is: a copy of it would wait for the memory of the record before.
            let mut fact = Fact::new(at, kind, self.last_time);
            let place = match kind {
                Kind::Message => facts.message(*first, &mut fact),
                _ => facts.other(&mut fact),
            };
            let Some(place) = place else { return false };
            visit(&fact, place);
            at += fact.length;
        }
        true
    }
}

/// Reads the records of a summary.
struct Facts<'a, 's> {
    rest: &'a [u8],
    subjects: &'s [&'a [u8]],
    sequence: u64,
    sizes: (usize, u64),
}

impl<'a> Facts<'a, '_> {
    /// Reads a message. Returns the place of its subject.
    fn message(&mut self, first: u8, fact: &mut Fact<'a>) -> Option<usize> {
        let place = take(&mut self.rest)? as usize;
        fact.subject = self.subjects.get(place)?;
        self.sequence = if first & NEXT != 0 { self.sequence + 1 } else { take(&mut self.rest)? };
        if first & SAME == 0 {
            self.sizes = (take(&mut self.rest)? as usize, take(&mut self.rest)?);
        }
        fact.sequence = self.sequence;
        (fact.length, fact.counted) = self.sizes;
        fact.expires = first & EXPIRES != 0;
        fact.has_headers = first & HEADERS != 0;
        Some(place)
    }

    /// Reads another record.
    fn other(&mut self, fact: &mut Fact<'a>) -> Option<usize> {
        fact.sequence = take(&mut self.rest)?;
        fact.length = take(&mut self.rest)? as usize;
        fact.time = Time(take(&mut self.rest)?.cast_signed());
        fact.payload = take_bytes(&mut self.rest)?;
        Some(0)
    }
}

/// Appends a number, seven bits in each byte.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest)? as usize;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, u64::MAX / 2, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(take(&mut &bytes[..]), Some(number));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
