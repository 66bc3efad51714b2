//! Messages in files: a log of segments.
//!
//! A change is a record at the end of the log ([`record`](super::record)). It waits in memory ([`tail`]) until a [`job`]
//! writes and syncs all that waits, without the lock of the stream. The index is in memory; messages are read when they are
//! needed ([`reader`]).
//!
//! - Incomplete writes are told apart from damage: each batch of records begins with one that states that all records before it
//!   are durable. Records at the end of the log that no such record follows were not acknowledged, and are cut ([`recovery`]).
//! - A sync that failed is never repeated: the store refuses everything, and has to be opened again.
//! - A segment is deleted once nothing in it is needed, and rewritten once most of it is not. The record of a removal is
//!   needed until the removed message is gone from the disk.

mod begin;
mod damage;
mod disk;
mod fact;
mod format;
mod framed;
mod job;
mod journal;
mod lock;
mod piece;
mod reader;
mod recovery;
mod rewrite;
mod scan;
mod scrub;
mod segment;
#[cfg(any(test, feature = "testing"))]
mod simulated;
mod storage;
mod summary;
mod tail;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

pub use damage::Damage;
pub use disk::{Disk, DiskFile, FileDisk};
pub use framed::{Cipher, Encryption, FramedDisk, KeyChange, KeyError, StoreEncryption};
pub use lock::DirectoryLock;
pub use recovery::{Opened, UNREADABLE};
pub use scrub::Scrub;
#[cfg(any(test, feature = "testing"))]
pub(crate) use simulated::SimulatedDisk;

use format::SegmentHeader;
use job::ActiveFile;
use journal::{Journal, Place};
use piece::Piece;
use reader::Reader;
use recovery::read_all;
use segment::{Segment, Size};
use tail::Tail;

use super::index::Index;
use super::record::{Header, Kind, is_storable, length};
use super::{Position, Record, StorageError};
use crate::config::Time;
use crate::limits::UNWRITTEN_BYTES;

/// The length at which a segment without messages is left, so that it can be deleted.
const LEFT_BYTES: usize = 256 * 1024;

/// The options of a store in files.
#[derive(Clone, Copy, Debug)]
pub struct FileOptions {
    /// The length of a segment, at which the next one begins. One larger message has a segment of its own.
    pub segment_bytes: usize,
    /// All that is in the files is durable, as the server before has noted. Otherwise what is read is made durable before it is used.
    pub is_durable: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        // Small enough to be rewritten in some milliseconds; large enough that 10 GB are about a thousand files.
        Self { segment_bytes: 8 * 1024 * 1024, is_durable: false }
    }
}

/// Stores messages in files of one directory.
pub struct FileStorage {
    disk: Arc<dyn Disk>,
    options: FileOptions,
    index: Index,
    /// In order of their numbers. The last one is active: it takes records.
    segments: VecDeque<Segment>,
    tail: Tail,
    reader: RefCell<Reader>,
    journal: Journal,
    bytes: u64,
    last_time: Time,
    /// The time of the first message, with its sequence.
    first_time: Cell<(u64, Time)>,
    /// All messages before it are removed.
    floor: u64,
    /// The floor that is in the log.
    recorded_floor: u64,
    /// Ranges of sequences within which messages were lost, in order.
    damaged: Vec<(u64, u64)>,
    /// Messages to overwrite.
    erasures: Vec<u64>,
    /// The number of requests to overwrite messages.
    erasures_begun: u64,
    /// The last job overwrites messages.
    is_erasing: bool,
    /// The last segment that was checked.
    scrubbed: u64,
    active: Option<ActiveFile>,
    position: Position,
    durable: Position,
    health: Health,
    is_job_out: bool,
}

/// The operations that the store can perform.
enum Health {
    /// All.
    Good,
    /// It takes no messages: the disk is full.
    Full,
    /// It reads, and refuses changes.
    Failed(String),
}

impl FileStorage {
    /// Fails if no record may be added; `grows` for one that a full disk refuses.
    fn check(&self, grows: bool) -> Result<(), StorageError> {
        match &self.health {
            Health::Failed(reason) => return Err(StorageError::Failed(reason.clone())),
            Health::Full if grows => return Err(io::Error::from(io::ErrorKind::StorageFull).into()),
            Health::Good | Health::Full => {}
        }
        if self.tail.unwritten_bytes() > UNWRITTEN_BYTES {
            let text = "too many changes wait for the disk";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text).into());
        }
        Ok(())
    }

    /// Adds a record to the log. Returns its place in the last segment, and its length.
    fn write(&mut self, kind: Kind, record: &Record<'_>) -> Result<(usize, usize), StorageError> {
        if !is_storable(record) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let (number, end) = self.segments.back().map_or((0, 0), |last| (last.number, last.end));
        let is_full =
            end > format::SEGMENT_HEADER && end + length(record) > self.options.segment_bytes;
        // Records behind damage may be at places where none is looked for.
        let is_damaged = self.segments.back().is_some_and(|last| last.damaged);
        if number == 0 || is_full || is_damaged {
            self.begin_segment();
        } else if self.tail.last().is_none() {
            let mut piece = Piece::new(number, end);
            piece.push(Kind::Batch, &Record::default());
            self.tail.push(piece);
        }
        self.tail.make_room(length(record));
        let Some(piece) = self.tail.last() else {
            return Err(io::Error::other("no segment").into());
        };
        let place = piece.push(kind, record);
        let end = piece.end();
        if let Some(last) = self.segments.back_mut() {
            last.end = end;
        }
        Ok(place)
    }

    /// Begins the next segment.
    fn begin_segment(&mut self) {
        let number = self.segments.back().map_or(1, |last| last.number + 1);
        let header = SegmentHeader {
            number,
            last_sequence: self.index.last(),
            last_time: self.last_time,
            floor: self.floor,
        };
        self.recorded_floor = self.floor;
        let mut piece = Piece::new(number, 0);
        piece.bytes.extend_from_slice(&header.encode());
        self.tail.push(piece);
        let last = self.segments.back_mut().map_or(0, |last| {
            last.marks.close();
            last.last
        });
        self.segments.push_back(Segment::new(number, self.index.last() + 1, last));
    }

    /// Adds a record to the journal.
    fn write_entry(
        &mut self,
        kind: Kind,
        number: u64,
        payload: &[u8],
        bytes: u64,
    ) -> Result<(), StorageError> {
        let record = Record { sequence: number, payload, ..Record::default() };
        let (_, length) = self.write(kind, &record)?;
        if let Some(last) = self.segments.back_mut() {
            last.entries += 1;
            last.entry_bytes += length;
            let former = self.journal.add(number, Place { segment: last.number, length, bytes });
            self.forget_entries(former);
        }
        Ok(())
    }

    /// Notes that records of the journal are not needed.
    fn forget_entries(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            if let Some(segment) = self.segment_mut(place.segment) {
                segment.entries -= 1;
                segment.entry_bytes -= place.length;
            }
        }
    }

    /// Finds a message, which need not be in the index. Returns its place in its segment, and its header; `None` if it is damaged.
    fn locate(&self, sequence: u64) -> Result<Option<(usize, Header)>, StorageError> {
        if let Some((at, header, _)) = self.tail.find(sequence) {
            return Ok(Some((at, header)));
        }
        let Some(segment) = self.segments.get(self.segment_of(sequence)) else { return Ok(None) };
        Ok(self.reader.borrow_mut().find(&*self.disk, segment, sequence)?)
    }

    /// Returns the size and the time of a message; nothing for one that cannot be read.
    fn size_and_time_of(&self, sequence: u64) -> (Size, Time) {
        let found = self.locate(sequence).ok().flatten();
        found.map_or_else(Default::default, |(_, header)| (Size::of(&header), header.time))
    }

    /// Removes the messages before the floor from the index and the totals. Returns their number.
    fn apply_floor(&mut self) -> u64 {
        let floor = self.floor;
        for segment in self.segments.iter_mut().take_while(|segment| segment.last < floor) {
            self.bytes -= segment.take_all();
        }
        let partial = self.segment_of(floor);
        if let Some(start) = self.segments.get(partial).map(|segment| segment.first) {
            let removed: Vec<_> = self.messages_until(start, floor - 1).collect();
            for sequence in removed {
                let (size, _) = self.size_and_time_of(sequence);
                self.bytes -= self.segments[partial].take(size);
            }
        }
        self.damaged.retain(|(_, last)| *last >= floor);
        self.index.remove_before(floor)
    }

    /// Returns the place of the segment that has a sequence; behind the last one if none has.
    fn segment_of(&self, sequence: u64) -> usize {
        self.segments.partition_point(|segment| segment.last < sequence)
    }

    fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.number).ok()?;
        self.segments.get_mut(at)
    }

    fn is_damaged(&self, sequence: u64) -> bool {
        let at = self.damaged.partition_point(|(_, last)| *last < sequence);
        self.damaged.get(at).is_some_and(|(first, _)| *first <= sequence)
    }
}
