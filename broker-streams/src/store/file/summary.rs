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

use std::collections::HashMap;

use super::fact::Fact;
use super::format::{SEGMENT_HEADER, SegmentHeader};
use super::scan::Scan;
use crate::config::Time;
use crate::store::record::Kind;

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

/// Makes the summary of a segment, whose bytes are `bytes`; `None` if it is damaged or has no records.
pub(super) fn encode(bytes: &[u8], number: u64) -> Option<Vec<u8>> {
    let scan = Scan::new(bytes, number);
    SegmentHeader::decode(bytes, number)?;
    let (last_at, _) = scan.records.last()?;
    if !scan.holes.is_empty() || scan.end != bytes.len() {
        return None;
    }
    let facts = scan.records.iter().map(|(at, header)| Fact::of(*at, header, bytes));
    let facts: Vec<_> = facts.collect();
    let messages = || facts.iter().filter(|fact| fact.kind == Kind::Message);
    let last_time = messages().next_back().map_or(Time(0), |fact| fact.time);
    let latest = messages().map(|fact| fact.time).max().unwrap_or(Time(i64::MIN));
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(&(*last_at as u64).to_le_bytes());
    out.extend_from_slice(&bytes[last_at + 4..last_at + 8]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&last_time.0.to_le_bytes());
    out.extend_from_slice(&latest.0.to_le_bytes());
    out.extend_from_slice(&bytes[..SEGMENT_HEADER]);
    encode_facts(&facts, &mut out);
    let checksum = crc32c::crc32c(&out[12..]);
    out[8..12].copy_from_slice(&checksum.to_le_bytes());
    Some(out)
}

fn encode_facts(facts: &[Fact<'_>], out: &mut Vec<u8>) {
    let mut places = HashMap::new();
    let mut subjects = Vec::new();
    for fact in facts.iter().filter(|fact| fact.kind == Kind::Message) {
        places.entry(fact.subject).or_insert_with(|| {
            subjects.push(fact.subject);
            subjects.len() as u64 - 1
        });
    }
    put(out, subjects.len() as u64);
    for subject in subjects {
        put(out, subject.len() as u64);
        out.extend_from_slice(subject);
    }
    let (mut sequence, mut sizes) = (0, (0, 0));
    for fact in facts {
        if fact.kind != Kind::Message {
            out.push(fact.kind as u8);
            put(out, fact.sequence);
            put(out, fact.length as u64);
            put(out, fact.time.0.cast_unsigned());
            put(out, fact.payload.len() as u64);
            out.extend_from_slice(fact.payload);
            continue;
        }
        let (is_next, own) = (fact.sequence == sequence + 1, (fact.length, fact.counted));
        let (expires, headers) = ((fact.expires, EXPIRES), (fact.has_headers, HEADERS));
        let flags = [(is_next, NEXT), (own == sizes, SAME), expires, headers];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum::<u8>();
        out.push(fact.kind as u8 | flags);
        put(out, places.get(fact.subject).copied().unwrap_or(0));
        if !is_next {
            put(out, fact.sequence);
        }
        if own != sizes {
            put(out, fact.length as u64);
            put(out, fact.counted);
        }
        (sequence, sizes) = (fact.sequence, own);
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
    let is_readable = summary.facts().all(|fact| fact.is_some());
    is_readable.then_some((summary, origin))
}

fn decode_subjects<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut subjects = Vec::new();
    for _ in 0..take(rest)? {
        subjects.push(take_bytes(rest)?);
    }
    Some(subjects)
}

impl<'a> Summary<'a> {
    /// Returns its records, each with the place of its subject among the subjects. Messages have the time of the last one.
    pub(super) fn facts(&self) -> Facts<'a, '_> {
        Facts {
            rest: self.records,
            subjects: &self.subjects,
            last_time: self.last_time,
            at: SEGMENT_HEADER,
            sequence: 0,
            sizes: (0, 0),
        }
    }
}

/// Reads the records of a summary; `None` for one that cannot be read, which is the last.
pub(super) struct Facts<'a, 's> {
    rest: &'a [u8],
    subjects: &'s [&'a [u8]],
    last_time: Time,
    at: usize,
    sequence: u64,
    sizes: (usize, u64),
}

impl<'a> Iterator for Facts<'a, '_> {
    type Item = Option<(Fact<'a>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let fact = self.read(*first);
        if fact.is_none() {
            self.rest = &[];
        }
        Some(fact)
    }
}

impl<'a> Facts<'a, '_> {
    fn read(&mut self, first: u8) -> Option<(Fact<'a>, usize)> {
        let mut fact = Fact::new(self.at, Kind::of(first & KIND)?, self.last_time);
        let mut place = 0;
        if fact.kind == Kind::Message {
            place = take(&mut self.rest)? as usize;
            fact.subject = self.subjects.get(place)?;
            self.sequence =
                if first & NEXT != 0 { self.sequence + 1 } else { take(&mut self.rest)? };
            if first & SAME == 0 {
                self.sizes = (take(&mut self.rest)? as usize, take(&mut self.rest)?);
            }
            fact.sequence = self.sequence;
            (fact.length, fact.counted) = self.sizes;
            fact.expires = first & EXPIRES != 0;
            fact.has_headers = first & HEADERS != 0;
        } else {
            fact.sequence = take(&mut self.rest)?;
            fact.length = take(&mut self.rest)? as usize;
            fact.time = Time(take(&mut self.rest)?.cast_signed());
            fact.payload = take_bytes(&mut self.rest)?;
        }
        self.at += fact.length;
        Some((fact, place))
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
