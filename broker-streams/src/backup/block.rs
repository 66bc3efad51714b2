//! Blocks of messages: records one after the other.
//!
//! ```text
//!  0  length of the record; the highest bit says that it has headers   u32
//!  4  sequence; two bits say that the message is removed                u64
//! 12  time                                                              i64
//! 20  length of the subject                                             u16
//!     subject
//!     length of the headers, headers, if there are some                 u32
//!     payload
//!     checksum of sequence, time, subject, headers and payload          u64
//! ```
// NATS 2.14: filestore.go writeMsgRecordLocked, rebuildStateFromBufLocked.

use std::io::{self, Read};

use super::BackupError;
use super::checksum::{CHECKSUM, Checksum};
use super::compressed::Decompressed;
use super::limits::RECORD_BYTES;
use crate::config::Time;
use crate::store::Record;

const HEADER: usize = 22;
const HAS_HEADERS: u32 = 1 << 31;
/// The message was removed and overwritten, or the sequence has never had one.
const ERASED: u64 = 1 << 63;
/// The record says that the message with the sequence is removed.
const TOMBSTONE: u64 = 1 << 62;

/// The beginning of a block that is compressed: its records but the last checksum are an S2 stream behind their length.
// NATS 2.14: filestore.go CompressionInfo.
const COMPRESSED: &[u8; 4] = b"cmp\x01";

/// Appends the record of a message.
pub(super) fn append_message(checksum: &Checksum, record: &Record<'_>, out: &mut Vec<u8>) {
    append(checksum, record.sequence, record, out);
}

/// Appends a record that says that a message is removed.
pub(super) fn append_tombstone(checksum: &Checksum, sequence: u64, time: Time, out: &mut Vec<u8>) {
    append(checksum, sequence | TOMBSTONE, &Record { time, ..Record::default() }, out);
}

fn append(checksum: &Checksum, sequence: u64, record: &Record<'_>, out: &mut Vec<u8>) {
    let Record { time, subject, headers, payload, .. } = *record;
    let prefix = if headers.is_empty() { 0 } else { 4 };
    let length = HEADER + subject.len() + prefix + headers.len() + payload.len() + CHECKSUM;
    let flag = if headers.is_empty() { 0 } else { HAS_HEADERS };
    let begin = out.len();
    out.reserve(length);
    out.extend_from_slice(&(length as u32 | flag).to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&time.0.to_le_bytes());
    out.extend_from_slice(&(subject.len() as u16).to_le_bytes());
    out.extend_from_slice(subject);
    if !headers.is_empty() {
        out.extend_from_slice(&(headers.len() as u32).to_le_bytes());
        out.extend_from_slice(headers);
    }
    out.extend_from_slice(payload);
    let sum = checksum.of(&[&out[begin + 4..begin + 20], subject, headers, payload]);
    out.extend_from_slice(&sum);
}

/// A record of a block.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Entry<'a> {
    /// A message.
    Message(Record<'a>),
    /// The message with this sequence is removed.
    Removed(u64, Time),
    /// There is no message with this sequence.
    Erased(u64, Time),
}

/// Reads the records of a block.
pub(super) struct Records<'a> {
    input: Box<dyn Read + 'a>,
    checksum: Checksum,
    file: &'a str,
    /// The place of the next record.
    at: u64,
    buffer: Vec<u8>,
    /// The checksum of the last record.
    last: [u8; CHECKSUM],
}

impl<'a> Records<'a> {
    /// Begins to read a block of `size` bytes.
    ///
    /// # Errors
    ///
    /// Those of the input.
    pub(super) fn new(
        input: impl Read + 'a,
        size: u64,
        checksum: Checksum,
        file: &'a str,
    ) -> Result<Self, BackupError> {
        let input = decompressed(input, size)?;
        Ok(Self { input, checksum, file, at: 0, buffer: Vec::new(), last: [0; CHECKSUM] })
    }

    /// Returns the checksum of the last record.
    pub(super) fn last_checksum(&self) -> [u8; CHECKSUM] {
        self.last
    }

    /// Returns the next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>, BackupError> {
        self.buffer.clear();
        if self.read(HEADER)? == 0 {
            return Ok(None);
        }
        let header = self.buffer.first_chunk::<HEADER>();
        let Some(header) = header.copied() else { return Err(self.invalid("it is cut")) };
        let flagged = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let length = flagged & !HAS_HEADERS;
        let subject_len = usize::from(u16::from_le_bytes([header[20], header[21]]));
        let prefix = if flagged & HAS_HEADERS == 0 { 0 } else { 4 };
        let least = HEADER + subject_len + prefix + CHECKSUM;
        if length > RECORD_BYTES || (length as usize) < least {
            return Err(self.invalid("its length is not possible"));
        }
        let length = length as usize;
        if self.read(length - HEADER)? != length - HEADER {
            return Err(self.invalid("it is cut"));
        }
        self.parse(subject_len, prefix > 0)
    }

    /// Returns the parts of the record in the buffer.
    fn parse(
        &mut self,
        subject_len: usize,
        has_headers: bool,
    ) -> Result<Option<Entry<'_>>, BackupError> {
        let end = self.buffer.len() - CHECKSUM;
        let (subject, rest) = self.buffer[HEADER..end].split_at(subject_len);
        let (headers, payload) = if has_headers {
            let length = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
            match rest[4..].split_at_checked(length) {
                Some(parts) => parts,
                None => return Err(self.invalid("its headers are longer than it")),
            }
        } else {
            (&[][..], rest)
        };
        let sum = self.checksum.of(&[&self.buffer[4..20], subject, headers, payload]);
        if self.buffer[end..] != sum {
            return Err(self.invalid("the checksum does not match"));
        }
        self.last = sum;
        self.at += self.buffer.len() as u64;
        let word =
            |at: usize| self.buffer[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let (sequence, time) = (word(4), Time(word(12).cast_signed()));
        Ok(Some(match sequence {
            0 => Entry::Erased(0, time),
            _ if sequence & TOMBSTONE != 0 => {
                Entry::Removed(sequence & !(TOMBSTONE | ERASED), time)
            }
            _ if sequence & ERASED != 0 => Entry::Erased(sequence & !ERASED, time),
            _ => Entry::Message(Record {
                sequence,
                time,
                expires: Time(0),
                subject,
                headers,
                payload,
            }),
        }))
    }

    /// Appends as many bytes to the buffer, or those that there are. Returns their number.
    fn read(&mut self, bytes: usize) -> Result<usize, BackupError> {
        // Memory grows with what is read, not with what a length claims.
        Ok((&mut self.input).take(bytes as u64).read_to_end(&mut self.buffer)?)
    }

    /// Returns an error about the present record.
    pub(super) fn invalid(&self, reason: &'static str) -> BackupError {
        BackupError::Record { file: self.file.to_owned(), offset: self.at, reason }
    }
}

/// Returns the records of a block, which may be compressed.
fn decompressed<'a>(mut input: impl Read + 'a, size: u64) -> io::Result<Box<dyn Read + 'a>> {
    let mut begin = Vec::new();
    (&mut input).take(COMPRESSED.len() as u64).read_to_end(&mut begin)?;
    if begin != COMPRESSED {
        return Ok(Box::new(io::Cursor::new(begin).chain(input)));
    }
    let mut length = COMPRESSED.len() as u64;
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        length += 1;
        if byte[0] & 0x80 == 0 || length > 14 {
            break;
        }
    }
    let body = size.saturating_sub(length + CHECKSUM as u64);
    Ok(Box::new(WithChecksum { body: Some(Decompressed::new(input.take(body))), rest: None }))
}

/// An S2 stream, and the uncompressed bytes behind it.
struct WithChecksum<R> {
    body: Option<Decompressed<io::Take<R>>>,
    rest: Option<io::Take<R>>,
}

impl<R: Read> Read for WithChecksum<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(body) = &mut self.body {
            let read = body.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.rest = self.body.take().map(|body| {
                let mut rest = body.into_inner();
                rest.set_limit(CHECKSUM as u64);
                rest
            });
        }
        self.rest.as_mut().map_or(Ok(0), |rest| rest.read(buffer))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::compressed::Compressed;
    use super::*;

    fn records() -> [Record<'static>; 2] {
        let first = Record {
            sequence: 1,
            time: Time(7),
            subject: b"a.b",
            payload: b"x",
            ..Record::default()
        };
        [first, Record { sequence: 3, headers: b"NATS/1.0\r\nA: b\r\n\r\n", ..first }]
    }

    fn block() -> Vec<u8> {
        let (checksum, mut out) = (Checksum::of_block("S", 1), Vec::new());
        let [first, second] = records();
        append_message(&checksum, &first, &mut out);
        append_message(&checksum, &second, &mut out);
        append_tombstone(&checksum, 1, Time(9), &mut out);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, BackupError> {
        let mut records =
            Records::new(bytes, bytes.len() as u64, Checksum::of_block("S", 1), "1.blk")?;
        let mut found = Vec::new();
        while let Some(entry) = records.next()? {
            found.push(format!("{entry:?}"));
        }
        Ok(found)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let [first, second] = records();
        let expected = [Entry::Message(first), Entry::Message(second), Entry::Removed(1, Time(9))];
        assert_eq!(read(&block()).unwrap(), expected.map(|entry| format!("{entry:?}")));
    }

    #[test]
    fn a_compressed_block_is_read() {
        let plain = block();
        let (body, checksum) = plain.split_at(plain.len() - CHECKSUM);
        let mut compressed = Compressed::new(Vec::new());
        compressed.write_all(body).unwrap();
        let mut bytes = [&COMPRESSED[..], &[plain.len() as u8 | 0x80, 1]].concat();
        bytes.extend_from_slice(&compressed.finish().unwrap());
        bytes.extend_from_slice(checksum);
        assert_eq!(read(&bytes).unwrap(), read(&plain).unwrap());
    }

    // The checksum of the format does not cover the lengths of subject and headers.
    #[test]
    fn every_other_changed_bit_and_every_cut_is_noticed() {
        let whole = block();
        let second = 22 + 3 + 1 + CHECKSUM;
        let lengths = [20..22, second + 20..second + 22, second + 25..second + 29];
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_length = lengths.iter().any(|range| range.contains(&(bit / 8)));
            assert!(is_length || read(&bytes).is_err(), "bit {bit}");
        }
        let ends: Vec<_> = (1..whole.len()).filter(|end| read(&whole[..*end]).is_ok()).collect();
        assert_eq!(ends.len(), 2, "between records: {ends:?}");
        assert!(read(&[0; 1000]).is_err());
    }
}
