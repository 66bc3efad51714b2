//! A store that searches through all messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{StorageType, Time};
use crate::filters::Filters;
use crate::store::{Record, Storage, StoreState, SubjectState};

#[derive(Clone, Debug)]
struct Stored {
    time: Time,
    expires: Time,
    subject: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

/// The naive model of a store.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    messages: BTreeMap<u64, Stored>,
    storage: StorageType,
    pub(crate) journal: Vec<Vec<u8>>,
    pub(crate) last: u64,
    pub(crate) last_time: Time,
    pub(crate) now: i64,
    /// The number of changes; some of them change nothing.
    pub(crate) changes: u64,
}

impl Model {
    pub(crate) fn new(storage: StorageType) -> Self {
        Self {
            messages: BTreeMap::new(),
            storage,
            journal: Vec::new(),
            last: 0,
            last_time: Time(0),
            now: 100,
            changes: 0,
        }
    }

    /// Reads all messages of a store.
    pub(crate) fn of(storage: &dyn Storage, journal: &[Vec<u8>]) -> Self {
        let mut model = Self::new(StorageType::File);
        let (mut buffer, mut next) = (Vec::new(), 0);
        while let Some(sequence) = storage.next_match(&Filters::default(), next) {
            model.append(&storage.load(sequence, &mut buffer).unwrap().unwrap());
            next = sequence + 1;
        }
        (model.last, model.last_time) = (storage.state().last_sequence, storage.state().last_time);
        model.now = model.now.max(model.last_time.0);
        model.journal = journal.to_vec();
        model
    }

    /// Returns true if the store is in a later state, but may still have first messages that an earlier one had.
    pub(crate) fn is_after(&self, later: &Self, earlier: &Self) -> bool {
        let first = later.first();
        let mut records = self.records().filter(|record| record.sequence >= first);
        let is_same = later.records().all(|record| records.next() == Some(record));
        is_same
            && records.next().is_none()
            && self.first() >= earlier.first().min(first)
            && (self.last, self.last_time) == (later.last, later.last_time)
            && self.journal == later.journal
    }

    pub(crate) fn append(&mut self, record: &Record<'_>) {
        let stored = Stored {
            time: record.time,
            expires: record.expires,
            subject: record.subject.to_vec(),
            headers: record.headers.to_vec(),
            payload: record.payload.to_vec(),
        };
        self.messages.insert(record.sequence, stored);
        (self.last, self.last_time) = (record.sequence, record.time);
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<u64> {
        let size = self.load(sequence)?.counted_bytes(self.storage);
        self.messages.remove(&sequence);
        Some(size)
    }

    pub(crate) fn remove_before(&mut self, sequence: u64) -> u64 {
        let before = self.messages.len();
        self.messages = self.messages.split_off(&sequence);
        (before - self.messages.len()) as u64
    }

    pub(crate) fn first(&self) -> u64 {
        self.messages.keys().next().copied().unwrap_or(self.last + 1)
    }

    pub(crate) fn first_time(&self) -> Time {
        self.records().next().map_or(Time(0), |record| record.time)
    }

    pub(crate) fn load(&self, sequence: u64) -> Option<Record<'_>> {
        self.messages.get(&sequence).map(|stored| record(sequence, stored))
    }

    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> {
        self.messages.iter().map(|(sequence, stored)| record(*sequence, stored))
    }

    pub(crate) fn expiries(&self) -> Vec<(u64, Time)> {
        let expiring = self.records().filter(|record| record.expires != Time(0));
        expiring.map(|record| (record.sequence, record.expires)).collect()
    }

    pub(crate) fn state(&self) -> StoreState {
        StoreState {
            messages: self.messages.len() as u64,
            bytes: self.records().map(|record| record.counted_bytes(self.storage)).sum(),
            first_sequence: self.first(),
            last_sequence: self.last,
            last_time: self.last_time,
            subjects: self.subjects(&Filters::default()).len() as u64,
        }
    }

    pub(crate) fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        let of: Vec<_> = self.records().filter(|record| record.subject == subject).collect();
        let (first, last) = (of.first()?.sequence, of.last()?.sequence);
        Some(SubjectState { messages: of.len() as u64, first, last })
    }

    pub(crate) fn subjects(&self, filters: &Filters) -> BTreeSet<Vec<u8>> {
        self.selected(filters).map(|record| record.subject.to_vec()).collect()
    }

    pub(crate) fn next_match(&self, filters: &Filters, from: u64) -> Option<u64> {
        self.selected(filters).map(|record| record.sequence).find(|sequence| *sequence >= from)
    }

    pub(crate) fn previous_match(&self, filters: &Filters, until: u64) -> Option<u64> {
        self.selected(filters).map(|record| record.sequence).rfind(|sequence| *sequence <= until)
    }

    pub(crate) fn count(&self, filters: &Filters, from: u64, last_per_subject: bool) -> u64 {
        let lasts: BTreeMap<&[u8], u64> =
            self.records().map(|record| (record.subject, record.sequence)).collect();
        let counts = |record: &Record<'_>| {
            record.sequence >= from
                && (!last_per_subject || lasts.get(record.subject) == Some(&record.sequence))
        };
        self.selected(filters).filter(counts).count() as u64
    }

    pub(crate) fn sequence_at(&self, time: Time) -> u64 {
        let found = self.records().find(|record| record.time >= time);
        found.map_or(self.last + 1, |record| record.sequence)
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = self.messages.keys().skip(1).copied().chain([self.last + 1]);
        let pairs = self.messages.keys().copied().zip(ends);
        pairs.filter(|(a, b)| a + 1 < *b).map(|(a, b)| (a + 1, b - 1))
    }

    fn selected<'a>(&'a self, filters: &'a Filters) -> impl DoubleEndedIterator<Item = Record<'a>> {
        self.records().filter(|record| filters.matches(record.subject))
    }
}

fn record(sequence: u64, stored: &Stored) -> Record<'_> {
    Record {
        sequence,
        time: stored.time,
        expires: stored.expires,
        subject: &stored.subject,
        headers: &stored.headers,
        payload: &stored.payload,
    }
}
