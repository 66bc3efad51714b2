//! Messages in one piece of memory.

use crate::config::{StorageType, Time};
use crate::store::Record;
use crate::store::index::Index;
use crate::store::marks::Marks;
use crate::store::record::{Header, Kind, encode, erase, length};

/// The length of a chunk, unless one message is longer. Small enough to be given back soon, large enough for few
/// allocations.
const CHUNK_BYTES: usize = 256 * 1024;

/// The bytes between two marks: a message is found by reading the headers of records of half as many.
const MARK_BYTES: usize = 1024;

/// The room of the first chunk. Memory grows by doubling from here, so that a stream of a few messages stays small.
const FIRST_BYTES: usize = 512;

/// Consecutive messages.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    marks: Marks,
    last: u64,
    latest: Time,
    messages: usize,
    /// The bytes of its messages as limits count them.
    counted: u64,
    /// The bytes of records of removed messages.
    free: usize,
    expiring: bool,
}

impl Chunk {
    /// Creates a chunk that begins with a record, which is not added yet.
    pub(super) fn new(first: &Record<'_>) -> Self {
        Self {
            bytes: Vec::with_capacity(length(first).max(FIRST_BYTES)),
            marks: Marks::new(MARK_BYTES),
            last: 0,
            latest: Time(i64::MIN),
            messages: 0,
            counted: 0,
            free: 0,
            expiring: false,
        }
    }

    /// Returns true if the record can be added.
    pub(super) fn has_room(&self, record: &Record<'_>) -> bool {
        self.bytes.len() + length(record) <= CHUNK_BYTES
    }

    /// Adds a message.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        self.marks.add(record.sequence, self.bytes.len());
        encode(Kind::Message, record, &mut self.bytes);
        self.last = record.sequence;
        self.latest = self.latest.max(record.time);
        self.messages += 1;
        self.counted += record.counted_bytes(StorageType::Memory);
        self.expiring |= record.expires != Time(0);
    }

    /// Gives back the memory for further messages.
    pub(super) fn close(&mut self) {
        self.bytes.shrink_to_fit();
        self.marks.close();
    }

    /// Removes a message. Returns its bytes as limits count them.
    pub(super) fn remove(&mut self, sequence: u64, overwrite: bool) -> u64 {
        let Some((at, header)) = self.find(sequence) else { return 0 };
        if overwrite {
            erase(&mut self.bytes[at..at + header.length], &header);
        }
        self.take(&header)
    }

    /// Removes the messages of the index before a sequence. Returns their bytes as limits count them.
    pub(super) fn remove_before(&mut self, sequence: u64, index: &Index) -> u64 {
        let mut at = 0;
        let mut removed = 0;
        while let Some(header) = self.header(at).filter(|header| header.sequence < sequence) {
            if index.contains(header.sequence) {
                removed += self.take(&header);
            }
            at += header.length;
        }
        removed
    }

    /// Moves the messages of the index together.
    pub(super) fn rewrite(&mut self, index: &Index) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.free);
        let mut marks = Marks::new(MARK_BYTES);
        for (at, header) in self.records().filter(|(_, header)| index.contains(header.sequence)) {
            marks.add(header.sequence, bytes.len());
            bytes.extend_from_slice(&self.bytes[at..at + header.length]);
        }
        (self.bytes, self.marks, self.free) = (bytes, marks, 0);
    }

    /// Returns the sequence of the last record.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the latest time of a message.
    pub(super) fn latest(&self) -> Time {
        self.latest
    }

    /// Returns the number of messages.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Returns the bytes of its messages as limits count them.
    pub(super) fn counted_bytes(&self) -> u64 {
        self.counted
    }

    /// Returns the bytes of memory for messages.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns true if more than half of the memory is of removed messages.
    pub(super) fn is_mostly_free(&self) -> bool {
        self.free > self.bytes.len() / 2
    }

    /// Returns a message.
    pub(super) fn load(&self, sequence: u64) -> Option<Record<'_>> {
        let (at, header) = self.find(sequence)?;
        Some(header.record(&self.bytes[at..]))
    }

    /// Returns the first message of the index that was stored at or after `time`.
    pub(super) fn sequence_at(&self, time: Time, index: &Index) -> Option<u64> {
        let late = self.records().map(|(_, header)| header).filter(|header| header.time >= time);
        late.map(|header| header.sequence).find(|sequence| index.contains(*sequence))
    }

    /// Calls `visit` with the messages of the index that expire by themselves.
    pub(super) fn for_each_expiry(&self, index: &Index, visit: &mut dyn FnMut(u64, Time)) {
        if !self.expiring {
            return;
        }
        for (at, header) in self.records() {
            if header.has_expires() && index.contains(header.sequence) {
                visit(header.sequence, header.record(&self.bytes[at..]).expires);
            }
        }
    }

    #[inline]
    fn take(&mut self, header: &Header) -> u64 {
        let counted = header.counted_bytes(StorageType::Memory);
        self.messages -= 1;
        self.counted -= counted;
        self.free += header.length;
        counted
    }

    #[inline]
    fn find(&self, sequence: u64) -> Option<(usize, Header)> {
        let mut at = self.marks.before(sequence);
        loop {
            let header = self.header(at)?;
            if header.sequence >= sequence {
                return (header.sequence == sequence).then_some((at, header));
            }
            at += header.length;
        }
    }

    fn header(&self, at: usize) -> Option<Header> {
        let bytes = self.bytes.get(at..)?;
        Header::parse(bytes, bytes.len())
    }

    #[inline]
    fn records(&self) -> impl Iterator<Item = (usize, Header)> + '_ {
        let with_header = |at| Some((at, self.header(at)?));
        std::iter::successors(with_header(0), move |(at, header)| with_header(at + header.length))
    }
}
