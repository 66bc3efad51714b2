//! The ids of recent messages.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::limits::{MAX_MESSAGE_ID_BYTES, MAX_MESSAGE_IDS};
use crate::config::Time;

/// The ids of the messages of a window of time. An id that is added again replaces the earlier one.
#[derive(Debug)]
pub(super) struct Dedupe {
    window: i64,
    hasher: RandomState,
    /// Numbers of entries by the hash of their id.
    numbers: HashTable<u64>,
    /// The entries by number, from `first`.
    entries: VecDeque<Entry>,
    first: u64,
    /// The bytes of all ids.
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    id: Box<[u8]>,
    hash: u64,
    sequence: u64,
    time: Time,
}

impl Dedupe {
    /// Creates an empty window of some nanoseconds; nothing is remembered if it is below 1.
    pub(super) fn new(window: i64) -> Self {
        Self {
            window,
            hasher: RandomState::default(),
            numbers: HashTable::new(),
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            max_bytes: MAX_MESSAGE_ID_BYTES,
        }
    }

    /// Changes the window.
    pub(super) fn set_window(&mut self, window: i64, now: Time) {
        self.window = window;
        self.expire(now);
    }

    /// Returns the number of ids.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns true if no further id can be remembered.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_MESSAGE_IDS || self.bytes >= self.max_bytes
    }

    /// Returns the sequence of the message with an id.
    pub(super) fn find(&mut self, id: &[u8], now: Time) -> Option<u64> {
        if self.entries.is_empty() {
            return None;
        }
        self.expire(now);
        let number = self.number(self.hasher.hash_one(id), id)?;
        self.entries.get(offset(number, self.first)).map(|entry| entry.sequence)
    }

    /// Remembers the id of a message, unless no further id can be.
    pub(super) fn insert(&mut self, id: &[u8], sequence: u64, time: Time) {
        if self.window <= 0 {
            return;
        }
        self.expire(time);
        if self.is_full() {
            return;
        }
        self.bytes += id.len();
        let hash = self.hasher.hash_one(id);
        let Self { numbers, entries, first, .. } = self;
        let next = *first + entries.len() as u64;
        let found = numbers.find_mut(hash, |number| {
            entries.get(offset(*number, *first)).is_some_and(|entry| *entry.id == *id)
        });
        match found {
            Some(number) => *number = next,
            None => {
                let hash_of = |number: &u64| {
                    entries.get(offset(*number, *first)).map_or(0, |entry| entry.hash)
                };
                numbers.insert_unique(hash, next, hash_of);
            }
        }
        entries.push_back(Entry { id: id.into(), hash, sequence, time });
    }

    /// Returns when the oldest id is forgotten.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.entries.front().map(|entry| entry.time.plus(self.window))
    }

    /// Forgets ids that are older than the window.
    pub(super) fn expire(&mut self, now: Time) {
        while self.entries.front().is_some_and(|entry| now.since(entry.time) >= self.window) {
            self.forget_oldest();
        }
        if self.entries.is_empty() && self.entries.capacity() > 1024 {
            self.entries = VecDeque::new();
            self.numbers = HashTable::new();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.id.len();
        let number = self.first;
        self.first += 1;
        // An id that was added again has a later number.
        if let Ok(found) = self.numbers.find_entry(entry.hash, |other| *other == number) {
            found.remove();
        }
    }

    fn number(&self, hash: u64, id: &[u8]) -> Option<u64> {
        let is_same = |number: &u64| {
            self.entries.get(offset(*number, self.first)).is_some_and(|entry| *entry.id == *id)
        };
        self.numbers.find(hash, is_same).copied()
    }
}

fn offset(number: u64, first: u64) -> usize {
    usize::try_from(number - first).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_fill_the_window_as_well() {
        let mut dedupe = Dedupe::new(100);
        dedupe.max_bytes = 10;
        dedupe.insert(b"123456", 1, Time(0));
        assert!(!dedupe.is_full());
        dedupe.insert(b"1234567", 2, Time(50));
        assert!(dedupe.is_full());
        dedupe.insert(b"8", 3, Time(50));
        assert_eq!((dedupe.len(), dedupe.find(b"8", Time(50))), (2, None));
        assert_eq!(dedupe.find(b"1234567", Time(100)), Some(2));
        assert!(!dedupe.is_full());
    }

    #[test]
    fn ids_are_remembered_for_the_window() {
        let mut ids = Dedupe::new(10);
        ids.insert(b"a", 1, Time(100));
        ids.insert(b"b", 2, Time(105));
        assert_eq!(ids.find(b"a", Time(109)), Some(1));
        assert_eq!(ids.find(b"a", Time(110)), None);
        assert_eq!(ids.find(b"b", Time(110)), Some(2));
        assert_eq!(ids.deadline(), Some(Time(115)));
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn an_id_that_is_added_again_counts_from_then() {
        let mut ids = Dedupe::new(10);
        ids.insert(b"a", 1, Time(100));
        ids.insert(b"a", 2, Time(105));
        assert_eq!(ids.find(b"a", Time(112)), Some(2));
        assert_eq!(ids.find(b"a", Time(115)), None);
        assert_eq!(ids.len(), 0);
    }

    #[test]
    fn many_ids_are_found_and_forgotten() {
        let mut ids = Dedupe::new(1000);
        for number in 0..5000u64 {
            ids.insert(&number.to_be_bytes(), number, Time(number as i64));
        }
        for number in 0..5000u64 {
            let expected = (number > 3999).then_some(number);
            assert_eq!(ids.find(&number.to_be_bytes(), Time(4999)), expected);
        }
        ids.expire(Time(9000));
        assert_eq!((ids.len(), ids.deadline()), (0, None));
    }

    #[test]
    fn nothing_is_remembered_without_a_window() {
        let mut ids = Dedupe::new(0);
        ids.insert(b"a", 1, Time(100));
        assert_eq!(ids.find(b"a", Time(100)), None);
    }
}
