//! The bytes of a segment: a header, then records.
//!
//! ```text
//!  0  "natsdlog"
//!  8  checksum of what follows                         u32
//! 12  version                                          u32
//! 16  number of the segment                            u64
//! 24  last sequence before the segment                 u64
//! 32  time of the last message before the segment      i64
//! 40  all messages before this sequence are removed    u64
//! 48  zeros
//! ```
//!
//! The checksum of a record covers its bytes, the number of the segment and its place in it, so that a record at a wrong
//! place is noticed.

use crate::config::Time;
use crate::store::record::{ALIGNMENT, HEADER, Header};

/// The length of the header of a segment.
pub(super) const SEGMENT_HEADER: usize = 64;

/// The beginning of a segment.
pub(super) const MAGIC: &[u8; 8] = b"natsdlog";
const VERSION: u32 = 1;

/// The header of a segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SegmentHeader {
    /// The number of the segment.
    pub(super) number: u64,
    /// The last sequence before the segment.
    pub(super) last_sequence: u64,
    /// The time of the last message before the segment.
    pub(super) last_time: Time,
    /// All messages before this sequence are removed.
    pub(super) floor: u64,
}

impl SegmentHeader {
    /// Returns the bytes.
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.last_time.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.floor.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment with a number; `None` if it is none or damaged.
    pub(super) fn decode(bytes: &[u8], number: u64) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
        let u64_at = |at| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let header = Self {
            number: u64_at(16),
            last_sequence: u64_at(24),
            last_time: Time(u64_at(32).cast_signed()),
            floor: u64_at(40),
        };
        (header.number == number && header.encode() == *bytes).then_some(header)
    }
}

/// Returns the name of the file of a segment.
pub(super) fn name_of(segment: u64) -> String {
    format!("{segment:016x}.log")
}

/// Returns the segment whose file has a name.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".log")?, 16).ok()?;
    (name_of(number) == name).then_some(number)
}

/// Sets the checksum of a record.
pub(super) fn seal(record: &mut [u8], segment: u64, at: usize) {
    let checksum = checksum(record, segment, at);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Returns true if the checksum of a record is right.
pub(super) fn is_intact(record: &[u8], segment: u64, at: usize) -> bool {
    record[4..8] == checksum(record, segment, at).to_le_bytes()
}

fn checksum(record: &[u8], segment: u64, at: usize) -> u32 {
    let mut place = [0; 20];
    place[..8].copy_from_slice(&segment.to_le_bytes());
    place[8..16].copy_from_slice(&(at as u64).to_le_bytes());
    place[16..].copy_from_slice(&record[..4]);
    crc32c::crc32c_append(crc32c::crc32c(&place), &record[8..])
}

/// Returns the record at a place of a segment, if it is intact.
pub(super) fn record_at(bytes: &[u8], segment: u64, at: usize) -> Option<Header> {
    let rest = bytes.get(at..)?;
    let header = Header::parse(rest, rest.len())?;
    is_intact(&rest[..header.length], segment, at).then_some(header)
}

/// Returns the place of the first intact record at or behind `from`.
pub(super) fn next_record(bytes: &[u8], segment: u64, from: usize) -> Option<(usize, Header)> {
    let last = bytes.len().checked_sub(HEADER)?;
    let places = (from.next_multiple_of(ALIGNMENT)..=last).step_by(ALIGNMENT);
    places.filter_map(|at| Some((at, record_at(bytes, segment, at)?))).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Record;
    use crate::store::record::{Kind, encode};

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = SegmentHeader { number: 7, last_sequence: 99, last_time: Time(-3), floor: 12 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, 7), Some(header));
        assert_eq!(SegmentHeader::decode(&bytes, 8), None, "the file of another segment");
        for at in 0..SEGMENT_HEADER {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert_eq!(SegmentHeader::decode(&bad, 7), None, "byte {at}");
        }
        assert_eq!(segment_of(&name_of(0x1f)), Some(0x1f));
        assert_eq!((segment_of("1f.log"), segment_of("x.log")), (None, None));
    }

    #[test]
    fn a_flipped_bit_or_a_wrong_place_is_noticed() {
        let mut bytes = vec![0; 8];
        let record = Record { sequence: 5, subject: b"a", payload: b"hello", ..Record::default() };
        encode(Kind::Message, &record, &mut bytes);
        seal(&mut bytes[8..], 3, 8);
        assert!(record_at(&bytes, 3, 8).is_some());
        assert!(record_at(&bytes, 4, 8).is_none());
        assert!(record_at(&bytes[8..], 3, 0).is_none());
        for bit in 64..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(record_at(&bad, 3, 8).is_none(), "bit {bit}");
        }
        assert_eq!(next_record(&bytes, 3, 0).map(|(at, _)| at), Some(8));
    }
}
