//! Opens a store: reads the log, and finds its end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::damage::Damage;
use super::disk::{Disk, DiskFile};
use super::fact::Fact;
use super::format::{SEGMENT_HEADER, SegmentHeader, name_of, segment_of};
use super::job::ActiveFile;
use super::journal::{Journal, Place, split};
use super::reader::Reader;
use super::rewrite::REWRITTEN;
use super::scan::Scan;
use super::segment::{Segment, Size};
use super::summary;
use super::tail::Tail;
use super::{FileOptions, FileStorage, Health};
use crate::config::Time;
use crate::store::StorageError;
use crate::store::index::{Index, SubjectId};
use crate::store::record::Kind;

/// The name that the last segment gets if nothing in it can be read. Nothing reads it any more; an operator may.
pub const UNREADABLE: &str = "unreadable";

/// The factor by which room is made for subjects that may follow.
const MOST_GROWTH: usize = 8;

/// A store that was opened.
pub struct Opened {
    /// The store.
    pub storage: FileStorage,
    /// The entries of the journal, in order.
    pub journal: Vec<Vec<u8>>,
    /// The damaged places. The store serves the rest.
    pub damage: Vec<Damage>,
    /// The bytes at the end of the log that were cut: they were being written when the store ended, and no client had been told that they are
    /// durable.
    pub cut_bytes: u64,
    /// There is a file [`UNREADABLE`].
    pub has_unreadable: bool,
}

impl FileStorage {
    /// Opens the store in a directory, or creates one.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`]. Damaged bytes are no error.
    pub fn open(disk: Arc<dyn Disk>, options: FileOptions) -> Result<Opened, StorageError> {
        let mut recovery = Recovery::new(disk);
        recovery.is_durable = options.is_durable;
        let mut numbers: Vec<_> =
            recovery.disk.names()?.iter().filter_map(|name| segment_of(name)).collect();
        numbers.sort_unstable();
        let last = numbers.last().copied();
        recovery.unread = numbers.len();
        for number in numbers {
            recovery.unread -= 1;
            recovery.read(number, Some(number) == last)?;
        }
        recovery.finish(options)
    }
}

/// A store that is being opened.
struct Recovery {
    disk: Arc<dyn Disk>,
    index: Index,
    segments: VecDeque<Segment>,
    journal: Journal,
    entries: BTreeMap<u64, Vec<Vec<u8>>>,
    bytes: u64,
    last_time: Time,
    floor: u64,
    damage: Vec<Damage>,
    /// Removed messages that were not found: damage that is not missed.
    missing: HashSet<u64>,
    /// The damage whose last sequence is not known yet, and its first one.
    open: Option<(usize, u64)>,
    active: Option<ActiveFile>,
    cut_bytes: u64,
    /// The number of segments that were not read.
    unread: usize,
    is_durable: bool,
    /// The number of subjects before the last summary.
    known_subjects: usize,
}

impl Recovery {
    fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            index: Index::default(),
            segments: VecDeque::new(),
            journal: Journal::default(),
            entries: BTreeMap::new(),
            bytes: 0,
            last_time: Time(0),
            floor: 0,
            damage: Vec::new(),
            missing: HashSet::new(),
            open: None,
            active: None,
            cut_bytes: 0,
            unread: 0,
            is_durable: false,
            known_subjects: 0,
        }
    }

    /// Reads a segment.
    fn read(&mut self, number: u64, is_last: bool) -> Result<(), StorageError> {
        if !is_last && self.read_summary(number)? {
            return Ok(());
        }
        let file = self.disk.open(&name_of(number))?;
        let bytes = read_all(&*file)?;
        let header = SegmentHeader::decode(&bytes, number);
        let mut scan = Scan::new(&bytes, number);
        scan.settle(&bytes, is_last);
        if is_last && header.is_none() && !scan.has_batch() {
            // The segment was being created, or all of it is damaged: bytes do not tell which.
            self.cut_bytes += bytes.len() as u64;
            let name = name_of(number);
            return match bytes.iter().all(|byte| *byte == 0) {
                true => self.remove(&name),
                false => Ok(self.disk.rename(&name, UNREADABLE)?),
            };
        }
        match header {
            Some(header) => self.begin(&header),
            None => scan.holes.insert(0, (0, SEGMENT_HEADER)),
        }
        self.push_segment(number, scan.end).damaged = !scan.holes.is_empty();
        self.replay(&bytes, &scan, number);
        if is_last {
            self.open_end(file, &bytes, scan.end)?;
        }
        Ok(())
    }

    /// Reads the summary of a segment. Returns false if there is none that is right.
    fn read_summary(&mut self, number: u64) -> io::Result<bool> {
        let Ok(file) = self.disk.open(&summary::name_of(number)) else { return Ok(false) };
        let bytes = read_all(&*file)?;
        let Some((summary, origin)) = summary::decode(&bytes, number) else {
            if !summary::is_intact(&bytes) {
                // It was complete before it had this name.
                self.damage.push(Damage {
                    file: summary::name_of(number),
                    offset: 0,
                    bytes: bytes.len() as u64,
                    sequences: None,
                });
            }
            return Ok(false);
        };
        let log = self.disk.open(&name_of(number))?;
        let mut checksum = [0; 4];
        let is_complete = log.size()? >= summary.end as u64
            && log.read_at(&mut checksum, origin.at as u64)? == checksum.len();
        if !is_complete || checksum != origin.checksum {
            return Ok(false);
        }
        self.begin(&summary.header);
        self.push_segment(number, summary.end);
        self.make_room(summary.subjects.len());
        let mut numbers = vec![SubjectId::MAX; summary.subjects.len()];
        summary.for_each_fact(|fact, place| match numbers.get_mut(place) {
            Some(known) if fact.kind == Kind::Message => self.add_message(fact, known),
            _ => self.apply(fact),
        });
        if let Some(segment) = self.segments.back_mut() {
            (segment.latest, segment.has_summary) = (summary.latest, true);
            segment.marks.close();
        }
        Ok(true)
    }

    /// Makes room for the subjects of a segment and, if all of those in the segment before were new, of the segments behind.
    fn make_room(&mut self, subjects: usize) {
        let known = self.index.subjects() as usize;
        let are_new = std::mem::replace(&mut self.known_subjects, known) + subjects / 2 < known;
        let behind = (self.unread * subjects).min(known * MOST_GROWTH);
        self.index.reserve(if are_new { behind.max(subjects) } else { 0 });
    }

    fn push_segment(&mut self, number: u64, end: usize) -> &mut Segment {
        let last = self.segments.back().map_or(0, |before| before.last);
        let mut segment = Segment::new(number, self.index.last() + 1, last);
        (segment.end, segment.written) = (end, end);
        self.segments.push_back_mut(segment)
    }

    fn begin(&mut self, header: &SegmentHeader) {
        self.raise(header.last_sequence + 1);
        self.index.skip_to(header.last_sequence);
        self.last_time = header.last_time;
        self.floor = self.floor.max(header.floor);
    }

    fn replay(&mut self, bytes: &[u8], scan: &Scan, number: u64) {
        let mut holes = scan.holes.iter().peekable();
        for (at, header) in &scan.records {
            while let Some((from, to)) = holes.next_if(|(from, _)| from < at) {
                self.note_damage(number, *from, *to);
            }
            self.apply(&Fact::of(*at, header, bytes));
        }
        for (from, to) in holes {
            self.note_damage(number, *from, *to);
        }
    }

    fn note_damage(&mut self, segment: u64, from: usize, to: usize) {
        self.open = Some((self.damage.len(), self.index.last() + 1));
        self.damage.push(Damage {
            file: name_of(segment),
            offset: from as u64,
            bytes: (to - from) as u64,
            sequences: None,
        });
    }

    /// Notes that the sequences of damaged messages are below one.
    fn raise(&mut self, below: u64) {
        if let Some((damage, first)) = self.open.take().filter(|(_, first)| *first < below) {
            self.damage[damage].sequences = Some((first, below - 1));
        }
    }

    fn apply(&mut self, fact: &Fact<'_>) {
        let sequence = fact.sequence;
        match fact.kind {
            Kind::Message => {
                let mut known = SubjectId::MAX;
                self.add_message(fact, &mut known);
            }
            Kind::Remove => {
                if sequence > self.index.last() {
                    // The last message was being overwritten.
                    self.raise(sequence + 1);
                    self.index.skip_to(sequence);
                    let time = fact.payload.first_chunk().map(|time| i64::from_le_bytes(*time));
                    self.last_time = time.map_or(self.last_time, Time);
                }
                self.remove_message(sequence, Size::from_time(fact.time), fact.length);
            }
            Kind::RemoveBefore => self.floor = self.floor.max(sequence),
            Kind::Skip => {
                self.raise(sequence + 1);
                self.index.skip_to(sequence);
                if fact.time != Time(0) {
                    self.last_time = fact.time;
                }
            }
            Kind::Entry => self.add_entry(fact, vec![fact.payload.to_vec()]),
            Kind::Replaced => {
                self.add_entry(fact, split(fact.payload));
                self.entries = self.entries.split_off(&sequence);
                for place in self.journal.remove_before(sequence).collect::<Vec<_>>() {
                    self.forget_entry(place);
                }
            }
            Kind::Erased => {
                self.raise(sequence);
                self.index.skip_to(sequence);
                self.last_time = fact.time;
            }
            Kind::Batch => {}
        }
    }

    /// Adds a message, whose subject may have the number `known`.
    fn add_message(&mut self, fact: &Fact<'_>, known: &mut SubjectId) {
        if fact.sequence <= self.index.last() {
            return;
        }
        self.raise(fact.sequence);
        if let Some(segment) = self.segments.back_mut() {
            segment.add(fact);
        }
        self.index.insert_known(fact.sequence, fact.subject, known);
        self.bytes += fact.counted;
        self.last_time = fact.time;
    }

    fn remove_message(&mut self, sequence: u64, size: Size, length: usize) {
        if !self.damage.is_empty() && !self.index.contains(sequence) {
            self.missing.insert(sequence);
        }
        let at = self.segments.partition_point(|segment| segment.last < sequence);
        let Some(target) = self.segments.get(at) else { return };
        if target.first > sequence {
            // Its segment was deleted.
            return;
        }
        let of = target.version();
        if let Some(last) = self.segments.back_mut().filter(|last| last.number != of.0) {
            // Needed, unless the segment was rewritten; it is forgotten then when that one is rewritten again or deleted.
            last.note_removal(of, length);
        }
        if self.index.remove(sequence) {
            self.bytes -= self.segments[at].take(size);
        }
    }

    fn add_entry(&mut self, fact: &Fact<'_>, entries: Vec<Vec<u8>>) {
        let bytes = entries.iter().map(|entry| entry.len() as u64).sum();
        let Some(last) = self.segments.back_mut() else { return };
        last.entries += 1;
        last.entry_bytes += fact.length;
        let place = Place { segment: last.number, length: fact.length, bytes };
        let former = self.journal.add(fact.sequence, place);
        self.entries.insert(fact.sequence, entries);
        former.into_iter().for_each(|place| self.forget_entry(place));
    }

    fn forget_entry(&mut self, place: Place) {
        for segment in self.segments.iter_mut().filter(|segment| segment.number == place.segment) {
            segment.entries -= 1;
            segment.entry_bytes -= place.length;
        }
    }

    /// Makes the end of the log durable, and cuts an incomplete write.
    fn open_end(&mut self, file: Arc<dyn DiskFile>, bytes: &[u8], end: usize) -> io::Result<()> {
        let torn = bytes[end.min(bytes.len())..].iter().rposition(|byte| *byte != 0);
        self.cut_bytes += torn.map_or(0, |last| last as u64 + 1);
        file.truncate(end as u64)?;
        if !self.is_durable || torn.is_some() {
            file.sync()?;
        }
        let segment = self.segments.back().map_or(0, |last| last.number);
        self.active = Some(ActiveFile { segment, file, end, allocated: end, filled: end });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.disk.remove(name)?;
        Ok(())
    }

    fn finish(mut self, options: FileOptions) -> Result<Opened, StorageError> {
        let summaries = self.segments.iter().map(|segment| summary::name_of(segment.number));
        let summaries: HashSet<_> = summaries.collect();
        let (mut has_unreadable, mut has_removed) = (false, false);
        let names = self.disk.names()?;
        // Nothing was read from an empty directory, and the sync of its first file makes earlier removals durable too.
        let is_durable = self.is_durable || names.is_empty();
        for name in names {
            has_unreadable |= name == UNREADABLE;
            let is_left = summary::is_summary(&name) && !summaries.contains(&name);
            if name == REWRITTEN || is_left {
                self.remove(&name)?;
                has_removed = true;
            }
        }
        if !is_durable || has_removed {
            self.disk.sync()?;
        }
        let (floor, missing) = (self.floor, self.missing);
        let is_missed = |sequence: u64| sequence >= floor && !missing.contains(&sequence);
        self.damage.retain(|damage| {
            damage.sequences.is_none_or(|(first, last)| (first..=last).any(is_missed))
        });
        self.damage.extend(self.disk.damage());
        let ranges = self.damage.iter().filter_map(|damage| damage.sequences);
        let damaged = ranges.collect();
        let mut storage = FileStorage {
            disk: self.disk,
            options,
            index: self.index,
            segments: self.segments,
            tail: Tail::default(),
            reader: RefCell::new(Reader::default()),
            journal: self.journal,
            bytes: self.bytes,
            last_time: self.last_time,
            first_time: Cell::default(),
            floor: self.floor,
            recorded_floor: self.floor,
            damaged,
            erasures: Vec::new(),
            erasures_begun: 0,
            is_erasing: false,
            scrubbed: 0,
            active: self.active,
            position: 0,
            durable: 0,
            health: Health::Good,
            is_job_out: false,
        };
        if storage.floor > storage.index.first() {
            storage.apply_floor();
        }
        let journal = self.entries.into_values().flatten().collect();
        let (damage, cut_bytes) = (self.damage, self.cut_bytes);
        Ok(Opened { storage, journal, damage, cut_bytes, has_unreadable })
    }
}

/// Reads a file.
pub(super) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.size()? as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
