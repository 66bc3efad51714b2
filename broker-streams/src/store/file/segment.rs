//! The state of a segment that is kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::DiskFile;
use super::fact::Fact;
use super::format::SEGMENT_HEADER;
use crate::config::{StorageType, Time};
use crate::store::marks::Marks;
use crate::store::record::Header;

/// The bytes between two marks, which are read to find one message.
const MARK_BYTES: usize = 4096;

/// A segment that lost less than this is not rewritten.
const REWRITE_BYTES: usize = 64 * 1024;

/// A version of a segment: its number, and how many times it was rewritten since the store was opened.
pub(super) type Version = (u64, u32);

/// A part of the log, in a file of its own.
pub(super) struct Segment {
    /// The number.
    pub(super) number: u64,
    /// The number of times that it was rewritten.
    pub(super) rewrites: u32,
    /// The place behind the last record.
    pub(super) end: usize,
    /// The place behind the last record that is in the file.
    pub(super) written: usize,
    /// The places of some of its messages.
    pub(super) marks: Marks,
    /// The sequence after the last one before the segment.
    pub(super) first: u64,
    /// The sequence of its last message; of the last one before without messages.
    pub(super) last: u64,
    /// The latest time of a message.
    pub(super) latest: Time,
    /// The number of messages.
    pub(super) messages: u64,
    /// The bytes of its messages as limits count them.
    pub(super) counted: u64,
    /// The bytes of their records.
    pub(super) message_bytes: usize,
    /// A message in it expires by itself.
    pub(super) expiring: bool,
    /// A message in it has headers.
    pub(super) has_headers: bool,
    /// The number of records of the journal.
    pub(super) entries: usize,
    /// The bytes of these records.
    pub(super) entry_bytes: usize,
    /// The removals of messages of other segments, which are needed until those segments are rewritten or deleted.
    pub(super) removals: BTreeMap<Version, Removals>,
    /// A record in it is damaged: it stays as it is.
    pub(super) damaged: bool,
    /// Its file is as it should be: it need not be written anew for that.
    pub(super) is_settled: bool,
    /// Its file should be written anew.
    pub(super) is_loose: bool,
    /// There is a summary of it, or the attempt to write one failed.
    pub(super) has_summary: bool,
    /// The file, while a job may replace it by another one.
    pub(super) pinned: Option<Arc<dyn DiskFile>>,
}

/// Records of removals.
#[derive(Clone, Copy, Default)]
pub(super) struct Removals {
    /// Their bytes.
    pub(super) bytes: usize,
}

/// The size of a message. A record of its removal has it, too, in place of a time.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    length: u32,
    counted: u32,
}

impl Size {
    /// Returns the size of a message.
    pub(super) fn of(header: &Header) -> Self {
        // Lengths are stored in 32 bits.
        let counted = header.counted_bytes(StorageType::File).try_into().unwrap_or(u32::MAX);
        Self { length: header.length as u32, counted }
    }

    /// Returns the time for a record of the removal.
    pub(super) fn to_time(self) -> Time {
        Time((i64::from(self.length) << 32) | i64::from(self.counted))
    }

    /// Returns the size in a record of a removal.
    pub(super) fn from_time(time: Time) -> Self {
        Self { length: (time.0 >> 32) as u32, counted: time.0 as u32 }
    }
}

impl Segment {
    /// Creates a segment without records.
    pub(super) fn new(number: u64, first: u64, last: u64) -> Self {
        Self {
            number,
            first,
            rewrites: 0,
            end: SEGMENT_HEADER,
            written: 0,
            marks: Marks::new(MARK_BYTES),
            last,
            latest: Time(i64::MIN),
            messages: 0,
            counted: 0,
            message_bytes: 0,
            expiring: false,
            has_headers: false,
            entries: 0,
            entry_bytes: 0,
            removals: BTreeMap::new(),
            damaged: false,
            is_settled: false,
            is_loose: false,
            has_summary: false,
            pinned: None,
        }
    }

    /// Returns its version.
    pub(super) fn version(&self) -> Version {
        (self.number, self.rewrites)
    }

    /// Adds a message.
    pub(super) fn add(&mut self, fact: &Fact<'_>) {
        self.marks.add(fact.sequence, fact.at);
        self.last = self.last.max(fact.sequence);
        self.latest = self.latest.max(fact.time);
        self.messages += 1;
        self.counted += fact.counted;
        self.message_bytes += fact.length;
        self.expiring |= fact.expires;
        self.has_headers |= fact.has_headers;
    }

    /// Removes a message. Returns its bytes as limits count them. The last message takes what is left: the sizes of
    /// damaged messages are unknown.
    pub(super) fn take(&mut self, size: Size) -> u64 {
        self.messages = self.messages.saturating_sub(1);
        let last = self.messages == 0;
        let counted = if last { self.counted } else { self.counted.min(size.counted.into()) };
        self.counted -= counted;
        let length = size.length as usize;
        self.message_bytes -=
            if last { self.message_bytes } else { self.message_bytes.min(length) };
        counted
    }

    /// Removes all messages. Returns their bytes as limits count them.
    pub(super) fn take_all(&mut self) -> u64 {
        (self.messages, self.message_bytes) = (0, 0);
        (self.expiring, self.has_headers) = (false, false);
        std::mem::take(&mut self.counted)
    }

    /// Notes the removal of a message of another segment.
    pub(super) fn note_removal(&mut self, of: Version, bytes: usize) {
        let removals = self.removals.entry(of).or_default();
        removals.bytes += bytes;
    }

    /// Forgets removals that are no longer needed: those of the versions up to one.
    pub(super) fn forget_removals(&mut self, of: Version) {
        self.removals.retain(|version, _| version.0 != of.0 || version.1 > of.1);
    }

    /// Returns true if nothing in it is needed.
    pub(super) fn is_unneeded(&self) -> bool {
        self.messages == 0 && self.entries == 0 && self.removals.is_empty()
    }

    /// Returns true if a rewritten one would be much smaller.
    pub(super) fn is_mostly_free(&self) -> bool {
        let removals = self.removals.values().map(|removals| removals.bytes).sum::<usize>();
        let used = SEGMENT_HEADER + self.message_bytes + self.entry_bytes + removals;
        let free = self.end.saturating_sub(used);
        !self.damaged && free >= REWRITE_BYTES && free > self.end / 2
    }
}
