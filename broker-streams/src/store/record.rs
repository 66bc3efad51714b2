//! The bytes of a stored record.
//!
//! ```text
//!  0  length of the record, padding included   u32
//!  4  checksum                                 u32
//!  8  kind, flags                              u8, u8
//! 10  length of the subject                    u16
//! 12  length of the headers                    u32
//! 16  sequence                                 u64
//! 24  time                                     i64
//! 32  expires, if its flag is set              i64
//!     subject, headers, payload
//!     zeros up to a multiple of 8
//! ```
//!
//! Numbers are little-endian. The length of the payload is what the others leave, less the padding, whose length is in the flags.

use super::Record;
use crate::config::{StorageType, Time};

/// The length of the fields that all records have.
pub(crate) const HEADER: usize = 32;

/// Records begin at multiples of this, so that the next one after a damaged one is found again.
pub(crate) const ALIGNMENT: usize = 8;

const HAS_EXPIRES: u8 = 1 << 3;
const PADDING: u8 = ALIGNMENT as u8 - 1;

/// The kind of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message.
    Message = 1,
    /// The message with the sequence is removed.
    Remove = 2,
    /// All messages before the sequence are removed.
    RemoveBefore = 3,
    /// The last sequence is the sequence at least.
    Skip = 4,
    /// An entry of the journal: the payload. The sequence is its number.
    Entry = 5,
    /// The entries of the journal with numbers below the sequence are no longer part of it.
    Replaced = 6,
    /// A message whose bytes were overwritten.
    Erased = 7,
    /// The first of records that are written together: all before it were durable when it was written.
    Batch = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Message,
        Self::Remove,
        Self::RemoveBefore,
        Self::Skip,
        Self::Entry,
        Self::Replaced,
        Self::Erased,
        Self::Batch,
    ];

    /// Returns the kind with a number.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The fields that all records have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// The length of the record.
    pub(crate) length: usize,
    /// The kind of the record.
    pub(crate) kind: Kind,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Its time.
    pub(crate) time: Time,
    flags: u8,
    subject: usize,
    headers: usize,
}

impl Header {
    /// Reads the header of a record; `None` if these bytes begin none that fits into `room`. The checksum is not compared.
    pub(crate) fn parse(bytes: &[u8], room: usize) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER>()?;
        let (length, kind, flags) = (u32_at(bytes, 0) as usize, Kind::of(bytes[8])?, bytes[9]);
        let subject = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        let headers = u32_at(bytes, 12) as usize;
        let (sequence, time) = (u64_at(bytes, 16), Time(u64_at(bytes, 24).cast_signed()));
        let header = Self { length, kind, sequence, time, flags, subject, headers };
        let fits = length <= room && length.is_multiple_of(ALIGNMENT);
        (fits && header.payload_start() + header.padding() <= length).then_some(header)
    }

    /// Returns the bytes of the message that count against limits.
    pub(crate) fn counted_bytes(&self, storage: StorageType) -> u64 {
        let fixed = self.payload_start() - self.subject - self.headers;
        let variable = self.length - self.padding() - fixed;
        Record::overhead(storage, self.headers > 0) + variable as u64
    }

    /// Returns true if the message expires by itself.
    pub(crate) fn has_expires(&self) -> bool {
        self.flags & HAS_EXPIRES != 0
    }

    fn padding(&self) -> usize {
        usize::from(self.flags & PADDING)
    }

    fn subject_start(&self) -> usize {
        HEADER + if self.has_expires() { 8 } else { 0 }
    }

    #[inline]
    fn payload_start(&self) -> usize {
        self.subject_start() + self.subject + self.headers
    }

    /// Returns the parts of a record, whose bytes are `bytes`.
    pub(crate) fn record<'a>(&self, bytes: &'a [u8]) -> Record<'a> {
        let (subject, payload) = (self.subject_start(), self.payload_start());
        let expires = if self.has_expires() { u64_at(bytes, HEADER).cast_signed() } else { 0 };
        Record {
            sequence: self.sequence,
            time: self.time,
            expires: Time(expires),
            subject: &bytes[subject..subject + self.subject],
            headers: &bytes[subject + self.subject..payload],
            payload: &bytes[payload..self.length - self.padding()],
        }
    }
}

/// Returns the length of the record of a message or an entry.
#[inline]
pub(crate) fn length(record: &Record<'_>) -> usize {
    let expires = if record.expires == Time(0) { 0 } else { 8 };
    let unpadded = HEADER + expires + record.subject.len() + record.headers.len();
    (unpadded + record.payload.len()).next_multiple_of(ALIGNMENT)
}

/// Returns true if the lengths of the parts can be stored.
pub(crate) fn is_storable(record: &Record<'_>) -> bool {
    u16::try_from(record.subject.len()).is_ok() && u32::try_from(length(record)).is_ok()
}

/// Appends a record, without its checksum.
pub(crate) fn encode(kind: Kind, record: &Record<'_>, out: &mut Vec<u8>) {
    let (start, length) = (out.len(), length(record));
    out.reserve(length);
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[8] = kind as u8;
    header[10..12].copy_from_slice(&(record.subject.len() as u16).to_le_bytes());
    header[12..16].copy_from_slice(&(record.headers.len() as u32).to_le_bytes());
    header[16..24].copy_from_slice(&record.sequence.to_le_bytes());
    header[24..].copy_from_slice(&record.time.0.to_le_bytes());
    out.extend_from_slice(&header);
    let mut flags = 0;
    if record.expires != Time(0) {
        flags |= HAS_EXPIRES;
        out.extend_from_slice(&record.expires.0.to_le_bytes());
    }
    out.extend_from_slice(record.subject);
    out.extend_from_slice(record.headers);
    out.extend_from_slice(record.payload);
    flags |= (start + length - out.len()) as u8;
    out.resize(start + length, 0);
    out[start + 9] = flags;
}

/// Overwrites a message; its length, sequence and time stay.
pub(crate) fn erase(record: &mut [u8], header: &Header) {
    record.fill(0);
    record[..4].copy_from_slice(&(header.length as u32).to_le_bytes());
    record[8] = Kind::Erased as u8;
    record[16..24].copy_from_slice(&header.sequence.to_le_bytes());
    record[24..32].copy_from_slice(&header.time.0.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for (expires, headers, payload) in
            [(0, &b""[..], &b""[..]), (7, b"NATS/1.0\r\n\r\n", b"12345"), (0, b"h", &[7; 999])]
        {
            let record = Record {
                sequence: 1 << 40,
                time: Time(-5),
                expires: Time(expires),
                subject: b"orders.eu",
                headers,
                payload,
            };
            let mut bytes = vec![1; 8];
            encode(Kind::Message, &record, &mut bytes);
            let bytes = &mut bytes[8..];
            assert_eq!(bytes.len(), length(&record));
            let header = Header::parse(bytes, bytes.len()).unwrap();
            assert_eq!((header.kind, header.record(bytes)), (Kind::Message, record));
            for storage in [StorageType::File, StorageType::Memory] {
                assert_eq!(header.counted_bytes(storage), record.counted_bytes(storage));
            }
            erase(bytes, &header);
            let header = Header::parse(bytes, bytes.len()).unwrap();
            assert_eq!(
                (header.kind, header.length, header.sequence),
                (Kind::Erased, bytes.len(), 1 << 40)
            );
            assert!(header.record(bytes).payload.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        let mut good = Vec::new();
        encode(Kind::Entry, &Record { payload: b"entry", ..Record::default() }, &mut good);
        assert!(Header::parse(&good, good.len()).is_some());
        assert!(Header::parse(&good, good.len() - 1).is_none(), "longer than the room");
        assert!(Header::parse(&good[..HEADER - 1], 999).is_none());
        assert!(Header::parse(&[0; HEADER], 999).is_none());
        for (at, byte) in [(0, 41), (0, 32), (8, 0), (8, 99), (10, 200), (12, 200)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Header::parse(&bad, 999).is_none(), "byte {at} is {byte}");
        }
    }
}
