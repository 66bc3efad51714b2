//! The operations of a store in files.

use std::any::Any;

use super::begin::finish;
use super::fact::Fact;
use super::job::Job;
use super::journal::join;
use super::segment::Size;
use super::{Damage, FileStorage, Health, Kind, Scrub};
use crate::config::{Compression, StorageType, Time};
use crate::filters::Filters;
use crate::store::answers::answers_of_index;
use crate::store::{Position, Record, Storage, StorageError, SyncJob};

impl Storage for FileStorage {
    fn append(&mut self, record: &Record<'_>) -> Result<(), StorageError> {
        self.check(true)?;
        let (at, length) = self.write(Kind::Message, record)?;
        let counted = record.counted_bytes(StorageType::File);
        if let Some(last) = self.segments.back_mut() {
            last.add(&Fact {
                length,
                sequence: record.sequence,
                expires: record.expires != Time(0),
                has_headers: !record.headers.is_empty(),
                counted,
                ..Fact::new(at, Kind::Message, record.time)
            });
        }
        self.index.insert(record.sequence, record.subject);
        self.bytes += counted;
        self.last_time = record.time;
        self.position += 1;
        Ok(())
    }

    fn skip_to(&mut self, last_sequence: u64, time: Option<Time>) -> Result<(), StorageError> {
        self.check(false)?;
        if last_sequence > self.index.last() {
            let record = Record { sequence: last_sequence, ..Record::default() };
            self.write(Kind::Skip, &Record { time: time.unwrap_or_default(), ..record })?;
            self.index.skip_to(last_sequence);
            self.last_time = time.unwrap_or(self.last_time);
            self.position += 1;
        }
        Ok(())
    }

    fn remove(&mut self, sequence: u64, erase: bool) -> Result<Option<u64>, StorageError> {
        self.check(false)?;
        if !self.index.contains(sequence) {
            return Ok(None);
        }
        let (size, time) = self.size_and_time_of(sequence);
        let is_first = sequence == self.index.first();
        if erase {
            // The crash that interrupts the overwriting leaves a damaged record: this one says that it is not missed.
            self.write_removal(sequence, size, &time.0.to_le_bytes())?;
        } else if !is_first {
            self.write_removal(sequence, size, b"")?;
        }
        self.index.remove(sequence);
        if is_first {
            self.floor = self.index.first();
        }
        let at = self.segment_of(sequence);
        let counted = self.segments[at].take(size);
        self.bytes -= counted;
        if erase {
            self.erasures.push(sequence);
        }
        self.position += 1;
        Ok(Some(counted))
    }

    fn remove_before(&mut self, sequence: u64) -> Result<u64, StorageError> {
        self.check(false)?;
        let floor = sequence.min(self.index.last() + 1);
        if floor <= self.index.first() {
            return Ok(0);
        }
        self.position += 1;
        self.floor = floor;
        Ok(self.apply_floor())
    }

    fn journal(&mut self, entry: &[u8]) -> Result<(), StorageError> {
        self.check(false)?;
        self.write_entry(Kind::Entry, self.journal.next(), entry, entry.len() as u64)?;
        self.position += 1;
        Ok(())
    }

    fn journal_bytes(&self) -> u64 {
        self.journal.bytes()
    }

    fn replace_journal(&mut self, entries: &[Vec<u8>]) -> Result<(), StorageError> {
        self.check(false)?;
        let number = self.journal.next();
        let bytes = entries.iter().map(|entry| entry.len() as u64).sum();
        self.write_entry(Kind::Replaced, number, &join(entries), bytes)?;
        let replaced: Vec<_> = self.journal.remove_before(number).collect();
        self.forget_entries(replaced);
        self.position += 1;
        Ok(())
    }

    fn load<'a>(
        &'a self,
        sequence: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<Record<'a>>, StorageError> {
        if !self.index.contains(sequence) {
            let damaged = self.is_damaged(sequence);
            return if damaged { Err(StorageError::Damaged { sequence }) } else { Ok(None) };
        }
        if let Some((_, header, bytes)) = self.tail.find(sequence) {
            return Ok(Some(header.record(bytes)));
        }
        let damaged = StorageError::Damaged { sequence };
        let Some(segment) = self.segments.get(self.segment_of(sequence)) else {
            return Err(damaged);
        };
        let mut reader = self.reader.borrow_mut();
        let found = reader.find(&*self.disk, segment, sequence)?;
        let Some((at, header)) = found else { return Err(damaged) };
        let bytes = reader.view(&*self.disk, segment, at, header.length)?;
        buffer.clear();
        buffer.extend_from_slice(&bytes[..header.length]);
        Ok(Some(header.record(buffer)))
    }

    fn set_compression(&mut self, compression: Compression) {
        let compresses = compression != Compression::None;
        self.disk.compress(compresses);
        if compresses {
            // Those that are closed are looked at again.
            self.segments.iter_mut().for_each(|segment| segment.is_settled = false);
        }
    }

    answers_of_index!();

    fn first_time(&self) -> Time {
        let (first, (known, time)) = (self.index.first(), self.first_time.get());
        if self.index.messages() == 0 {
            return Time(0);
        }
        if known == first {
            return time;
        }
        let found = self.locate(first).ok().flatten();
        let time = found.map_or(Time(0), |(_, header)| header.time);
        self.first_time.set((first, time));
        time
    }

    fn for_each_expiry(&self, visit: &mut dyn FnMut(u64, Time)) -> Result<(), StorageError> {
        let mut buffer = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.expiring) {
            for sequence in self.messages_until(segment.first, segment.last) {
                let record = self.load(sequence, &mut buffer)?;
                if let Some(record) = record.filter(|record| record.expires != Time(0)) {
                    visit(sequence, record.expires);
                }
            }
        }
        Ok(())
    }

    fn next_with_headers(&self, mut from: u64) -> Option<u64> {
        loop {
            let next = self.index.next_match(&Filters::default(), from)?;
            match self.segments.get(self.segment_of(next)) {
                Some(segment) if !segment.has_headers => from = next.max(segment.last) + 1,
                _ => return Some(next),
            }
        }
    }

    fn sequence_at(&self, time: Time) -> u64 {
        let is_late = |sequence: &u64| match self.locate(*sequence) {
            Ok(Some((_, header))) => header.time >= time,
            Ok(None) | Err(_) => false,
        };
        let late = self.segments.iter().filter(|segment| segment.latest >= time);
        let mut found = late
            .filter_map(|segment| self.messages_until(segment.first, segment.last).find(is_late));
        found.next().unwrap_or(self.index.last() + 1)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn durable(&self) -> Position {
        self.durable
    }

    fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        self.begin().map(|job| Box::new(job) as Box<dyn SyncJob>)
    }

    fn unwritten_bytes(&self) -> usize {
        self.tail.unwritten_bytes()
    }

    fn lacks_room(&self) -> bool {
        matches!(self.health, Health::Full)
    }

    fn begin_scrub(&mut self) -> Option<Scrub> {
        self.next_scrub()
    }

    fn finish_scrub(&mut self, scrub: &Scrub) -> Vec<Damage> {
        self.end_scrub(scrub)
    }

    fn finish_sync(&mut self, job: Box<dyn SyncJob>) -> Result<(), StorageError> {
        let job: Box<dyn Any> = job;
        match job.downcast::<Job>() {
            Ok(job) => finish(self, *job),
            Err(_) => Err(StorageError::Failed("the job is of another store".to_owned())),
        }
    }
}

impl FileStorage {
    /// Adds the record of a removal, which is needed as long as the message is in its segment.
    fn write_removal(
        &mut self,
        sequence: u64,
        size: Size,
        payload: &[u8],
    ) -> Result<(), StorageError> {
        let record = Record { sequence, time: size.to_time(), payload, ..Record::default() };
        let (_, length) = self.write(Kind::Remove, &record)?;
        let of = self.segments[self.segment_of(sequence)].version();
        if let Some(last) = self.segments.back_mut().filter(|last| last.number != of.0) {
            last.note_removal(of, length);
        }
        Ok(())
    }

    /// Returns the messages from a sequence until another one.
    pub(super) fn messages_until(
        &self,
        from: u64,
        until: u64,
    ) -> impl Iterator<Item = u64> + use<'_> {
        let next = move |from| {
            self.index.next_match(&Filters::default(), from).filter(|next| *next <= until)
        };
        std::iter::successors(next(from), move |last| next(last + 1))
    }
}
