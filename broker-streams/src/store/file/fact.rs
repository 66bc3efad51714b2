//! The contents of a record without the bytes of a message.

use crate::config::{StorageType, Time};
use crate::store::record::{Header, Kind};

/// A record without the bytes of a message.
pub(super) struct Fact<'a> {
    /// Its place in its segment.
    pub(super) at: usize,
    /// Its length.
    pub(super) length: usize,
    /// The kind of the record.
    pub(super) kind: Kind,
    /// Its sequence.
    pub(super) sequence: u64,
    /// Its time.
    pub(super) time: Time,
    /// True if the message has a time to live of its own.
    pub(super) expires: bool,
    /// True if the message has headers.
    pub(super) has_headers: bool,
    /// The bytes of the message as limits count them.
    pub(super) counted: u64,
    /// The subject of the message.
    pub(super) subject: &'a [u8],
    /// The data of a record of the journal.
    pub(super) payload: &'a [u8],
}

impl<'a> Fact<'a> {
    /// Creates the fact of a record without anything.
    pub(super) fn new(at: usize, kind: Kind, time: Time) -> Self {
        let (subject, payload): (&[u8], &[u8]) = (b"", b"");
        Self {
            at,
            length: 0,
            kind,
            sequence: 0,
            time,
            expires: false,
            has_headers: false,
            counted: 0,
            subject,
            payload,
        }
    }

    /// Returns the contents of a record of a segment.
    pub(super) fn of(at: usize, header: &Header, segment: &'a [u8]) -> Self {
        let record = header.record(&segment[at..at + header.length]);
        let is_message = header.kind == Kind::Message;
        Self {
            at,
            length: header.length,
            kind: header.kind,
            sequence: header.sequence,
            time: header.time,
            expires: header.has_expires(),
            has_headers: is_message && !record.headers.is_empty(),
            counted: header.counted_bytes(StorageType::File),
            subject: if is_message { record.subject } else { b"" },
            payload: if is_message { b"" } else { record.payload },
        }
    }
}
