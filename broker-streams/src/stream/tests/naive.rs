//! A store without an index: the specification of a store.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{StorageType, Time};
use crate::filters::Filters;
use crate::store::{Position, Record, Storage, StorageError, StoreState, SubjectState, SyncJob};

/// A store without any index.
#[derive(Debug, Default)]
pub(in super::super) struct NaiveStorage {
    messages: BTreeMap<u64, Message>,
    last: u64,
    last_time: Time,
    position: Position,
    durable: Option<Position>,
    journal: Vec<Vec<u8>>,
    /// Refuses to append.
    pub is_full: bool,
}

#[derive(Clone, Debug)]
struct Message {
    time: Time,
    expires: Time,
    subject: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

impl Message {
    fn record(&self, sequence: u64) -> Record<'_> {
        let Self { time, expires, subject, headers, payload } = self;
        Record { sequence, time: *time, expires: *expires, subject, headers, payload }
    }
}

struct Synced;

impl SyncJob for Synced {
    fn run(&mut self) {}
}

impl NaiveStorage {
    /// Creates a store that is durable after a sync only.
    pub(in super::super) fn slow() -> Self {
        Self { durable: Some(0), ..Self::default() }
    }

    fn selected<'a>(
        &'a self,
        filters: &'a Filters,
        from: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &'a Message)> {
        let all = self.messages.range(from..).map(|(sequence, message)| (*sequence, message));
        all.filter(|(_, message)| filters.matches(&message.subject))
    }
}

impl Storage for NaiveStorage {
    fn append(&mut self, record: &Record<'_>) -> Result<(), StorageError> {
        if self.is_full {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        assert!(record.sequence > self.last);
        let message = Message {
            time: record.time,
            expires: record.expires,
            subject: record.subject.to_vec(),
            headers: record.headers.to_vec(),
            payload: record.payload.to_vec(),
        };
        self.messages.insert(record.sequence, message);
        (self.last, self.last_time) = (record.sequence, record.time);
        self.position += 1;
        Ok(())
    }

    fn skip_to(&mut self, last_sequence: u64, time: Option<Time>) -> Result<(), StorageError> {
        if last_sequence > self.last {
            (self.last, self.last_time) = (last_sequence, time.unwrap_or(self.last_time));
        }
        self.position += 1;
        Ok(())
    }

    fn remove(&mut self, sequence: u64, _erase: bool) -> Result<Option<u64>, StorageError> {
        self.position += 1;
        let removed = self.messages.remove(&sequence);
        Ok(removed.map(|message| message.record(sequence).counted_bytes(StorageType::Memory)))
    }

    fn remove_before(&mut self, sequence: u64) -> Result<u64, StorageError> {
        let kept = self.messages.split_off(&sequence);
        let removed = std::mem::replace(&mut self.messages, kept).len() as u64;
        self.position += 1;
        Ok(removed)
    }

    fn journal(&mut self, entry: &[u8]) -> Result<(), StorageError> {
        self.journal.push(entry.to_vec());
        Ok(())
    }

    fn journal_bytes(&self) -> u64 {
        self.journal.iter().map(|entry| entry.len() as u64).sum()
    }

    fn replace_journal(&mut self, entries: &[Vec<u8>]) -> Result<(), StorageError> {
        self.journal = entries.to_vec();
        Ok(())
    }

    fn load<'a>(
        &'a self,
        sequence: u64,
        _buffer: &'a mut Vec<u8>,
    ) -> Result<Option<Record<'a>>, StorageError> {
        Ok(self.messages.get(&sequence).map(|message| message.record(sequence)))
    }

    fn state(&self) -> StoreState {
        let first = self.messages.first_key_value();
        let bytes = self.messages.iter().map(|(sequence, message)| {
            message.record(*sequence).counted_bytes(StorageType::Memory)
        });
        let subjects: BTreeSet<_> =
            self.messages.values().map(|message| &message.subject).collect();
        StoreState {
            messages: self.messages.len() as u64,
            bytes: bytes.sum(),
            first_sequence: first.map_or(self.last + 1, |(sequence, _)| *sequence),
            last_sequence: self.last,
            last_time: self.last_time,
            subjects: subjects.len() as u64,
        }
    }

    fn first_time(&self) -> Time {
        self.messages.first_key_value().map_or(Time::default(), |(_, message)| message.time)
    }

    fn subject_of(&self, sequence: u64) -> Option<&[u8]> {
        self.messages.get(&sequence).map(|message| &*message.subject)
    }

    fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        let mut state = None;
        for (sequence, message) in &self.messages {
            if message.subject == subject {
                let state =
                    state.get_or_insert(SubjectState { first: *sequence, ..Default::default() });
                state.messages += 1;
                state.last = *sequence;
            }
        }
        state
    }

    fn for_each_subject(
        &self,
        filters: &Filters,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> bool,
    ) {
        let subjects: BTreeSet<_> =
            self.selected(filters, 0).map(|(_, message)| &message.subject).collect();
        for subject in subjects {
            let state = self.subject(subject).unwrap();
            if !visit(subject, state) {
                return;
            }
        }
    }

    fn next_match(&self, filters: &Filters, from: u64) -> Option<u64> {
        self.selected(filters, from).next().map(|(sequence, _)| sequence)
    }

    fn previous_match(&self, filters: &Filters, until: u64) -> Option<u64> {
        let mut found = self.selected(filters, 0).filter(|(sequence, _)| *sequence <= until);
        found.next_back().map(|(sequence, _)| sequence)
    }

    fn count(&self, filters: &Filters, from: u64, last_per_subject: bool) -> u64 {
        let found = self.selected(filters, from);
        if !last_per_subject {
            return found.count() as u64;
        }
        found.map(|(_, message)| &message.subject).collect::<BTreeSet<_>>().len() as u64
    }

    fn sequence_at(&self, time: Time) -> u64 {
        let found = self.messages.iter().find(|(_, message)| message.time >= time);
        found.map_or(self.last + 1, |(sequence, _)| *sequence)
    }

    fn for_each_gap(&self, visit: &mut dyn FnMut(u64, u64) -> bool) {
        let mut next = None;
        for sequence in self.messages.keys() {
            let expected = next.replace(sequence + 1).unwrap_or(*sequence);
            if *sequence > expected && !visit(expected, sequence - 1) {
                return;
            }
        }
        if let Some(expected) = next.filter(|expected| *expected <= self.last) {
            visit(expected, self.last);
        }
    }

    fn for_each_expiry(&self, visit: &mut dyn FnMut(u64, Time)) -> Result<(), StorageError> {
        for (sequence, message) in &self.messages {
            if message.expires != Time::default() {
                visit(*sequence, message.expires);
            }
        }
        Ok(())
    }

    fn position(&self) -> Position {
        self.position
    }

    fn durable(&self) -> Position {
        self.durable.unwrap_or(self.position)
    }

    fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>> {
        self.durable = Some(self.position);
        Some(Box::new(Synced))
    }

    fn finish_sync(&mut self, mut job: Box<dyn SyncJob>) -> Result<(), StorageError> {
        job.run();
        Ok(())
    }
}
