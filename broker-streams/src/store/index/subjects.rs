//! The subjects of a store, with the state of each.

use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

use super::several::{Rest, Several};
use super::subject_id::SubjectId;
use crate::store::SubjectState;

/// The bytes of removed texts that are kept at least.
const SPARE_TEXT: usize = 64 * 1024;

/// The table of subjects.
///
/// A subject with one message takes 20 bytes and its text.
#[derive(Default)]
pub(crate) struct Subjects {
    entries: Vec<Entry>,
    /// The hash of each text: a table that grows need not read the texts.
    hashes: Vec<u32>,
    several: Several,
    texts: Texts,
    by_text: HashTable<SubjectId>,
    free: Vec<SubjectId>,
    hasher: foldhash::fast::RandomState,
}

/// One subject; one without messages is free.
#[derive(Clone, Copy, Default)]
struct Entry {
    text: Text,
    /// The sequence of the first message.
    first: u64,
}

/// The messages of a subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    None = 0,
    One = 1,
    Several = 2,
}

/// The place of a text in 40 bits, its length in 16, which is as much as a record stores, and the kind of the subject in 8.
#[derive(Clone, Copy, Default)]
struct Text(u64);

/// The texts of all subjects, one behind the other: an allocation for each would take as much memory as the texts.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    /// The bytes of texts that were removed.
    unused: usize,
}

impl Text {
    fn new(at: usize, length: usize) -> Self {
        Self(((at as u64) << 24) | ((length as u64) << 8))
    }

    fn len(self) -> usize {
        (self.0 >> 8 & 0xffff) as usize
    }

    fn at(self) -> usize {
        (self.0 >> 24) as usize
    }

    fn kind(self) -> Kind {
        match self.0 & 0xff {
            0 => Kind::None,
            1 => Kind::One,
            _ => Kind::Several,
        }
    }

    fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !0xff | kind as u64)
    }
}

impl Kind {
    fn of(state: SubjectState) -> Self {
        match state.messages {
            0 => Self::None,
            1 if state.first == state.last => Self::One,
            // One whose first or last message was removed, until it is found again.
            _ => Self::Several,
        }
    }
}

impl Texts {
    #[inline]
    fn get(&self, text: Text) -> &[u8] {
        &self.bytes[text.at()..text.at() + text.len()]
    }

    fn add(&mut self, text: &[u8]) -> Text {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Text::new(at, text.len())
    }

    /// Returns true if most of the bytes are unused.
    fn is_sparse(&self) -> bool {
        self.unused > SPARE_TEXT && self.unused > self.bytes.len() / 2
    }
}

impl Subjects {
    /// Returns the number of a subject with messages.
    pub(crate) fn find(&self, text: &[u8]) -> Option<SubjectId> {
        self.find_hashed(self.hash(text), text)
    }

    fn find_hashed(&self, hash: u32, text: &[u8]) -> Option<SubjectId> {
        // The table compares some bits of the hash.
        let same = |id: &SubjectId| self.texts.get(self.entries[*id as usize].text) == text;
        self.by_text.find(spread(hash), same).copied()
    }

    #[inline]
    fn hash(&self, text: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.finish() as u32
    }

    /// Adds a message, with a sequence above those of all others. `known` is the number that the subject may have, and has then; any number
    /// will do. Returns true if the subject is new.
    pub(crate) fn add(&mut self, text: &[u8], sequence: u64, known: &mut SubjectId) -> bool {
        if self.entries.get(*known as usize).is_some_and(|entry| self.is(*entry, text)) {
            self.count_in(*known, sequence);
            return false;
        }
        let hash = self.hash(text);
        let found = self.find_hashed(hash, text);
        if let Some(id) = found {
            self.count_in(id, sequence);
        }
        *known = found.unwrap_or_else(|| self.create(text, hash, sequence));
        found.is_none()
    }

    fn is(&self, entry: Entry, text: &[u8]) -> bool {
        entry.text.kind() != Kind::None && self.texts.get(entry.text) == text
    }

    #[inline]
    fn count_in(&mut self, id: SubjectId, sequence: u64) {
        let state = self.state(id);
        self.set(id, SubjectState { messages: state.messages + 1, last: sequence, ..state });
    }

    /// Adds a subject that is not in the table.
    fn create(&mut self, text: &[u8], hash: u32, sequence: u64) -> SubjectId {
        let text = self.texts.add(text).with_kind(Kind::One);
        let entry = Entry { text, first: sequence };
        let id = self.free.pop().unwrap_or(self.entries.len() as SubjectId);
        match self.entries.get_mut(id as usize) {
            Some(free) => (*free, self.hashes[id as usize]) = (entry, hash),
            None => {
                self.entries.push(entry);
                self.hashes.push(hash);
                if self.entries.len().is_power_of_two() {
                    self.several.settle(self.entries.len());
                }
            }
        }
        let hashes = &self.hashes;
        self.by_text.insert_unique(spread(hash), id, |id| spread(hashes[*id as usize]));
        id
    }

    /// Sets the state of a subject.
    fn set(&mut self, id: SubjectId, state: SubjectState) {
        let subjects = self.entries.len();
        let entry = &mut self.entries[id as usize];
        let (before, kind) = (entry.text.kind(), Kind::of(state));
        entry.first = state.first;
        entry.text = entry.text.with_kind(kind);
        let rest = Rest { last: state.last, messages: state.messages };
        match (before, kind) {
            (Kind::Several, Kind::Several) => self.several.set(id, rest),
            (_, Kind::Several) => self.several.add(id, rest, subjects),
            (Kind::Several, _) => self.several.remove(id),
            (_, Kind::None | Kind::One) => {}
        }
    }

    /// Makes room in the table for new subjects: it is arranged once, not each time that it has doubled.
    pub(crate) fn reserve(&mut self, subjects: usize) {
        let hashes = &self.hashes;
        self.by_text.reserve(subjects, |id| spread(hashes[*id as usize]));
    }

    /// Counts messages out. Returns true if none is left: the number is free then.
    pub(crate) fn take(&mut self, id: SubjectId, messages: u64) -> bool {
        let state = self.state(id);
        let messages = state.messages.saturating_sub(messages);
        self.set(id, SubjectState { messages, ..state });
        if messages > 0 {
            return false;
        }
        let text = std::mem::take(&mut self.entries[id as usize].text);
        let hash = self.hashes[id as usize];
        if let Ok(place) = self.by_text.find_entry(spread(hash), |other| *other == id) {
            place.remove();
        }
        self.texts.unused += text.len();
        self.free.push(id);
        if self.texts.is_sparse() {
            self.compact();
        }
        true
    }

    /// Moves the texts together.
    fn compact(&mut self) {
        let mut texts = Texts::default();
        texts.bytes.reserve_exact(self.texts.bytes.len() - self.texts.unused);
        for entry in &mut self.entries {
            let kind = entry.text.kind();
            entry.text = texts.add(self.texts.get(entry.text)).with_kind(kind);
        }
        self.texts = texts;
    }

    /// Returns the text of a subject.
    pub(crate) fn text(&self, id: SubjectId) -> &[u8] {
        self.texts.get(self.entries[id as usize].text)
    }

    /// Returns the state of a subject.
    pub(crate) fn state(&self, id: SubjectId) -> SubjectState {
        let Entry { text, first } = self.entries[id as usize];
        let one = Rest { last: first, messages: 1 };
        let rest = match text.kind() {
            Kind::None => Rest { messages: 0, ..one },
            Kind::One => one,
            Kind::Several => self.several.get(id).unwrap_or(one),
        };
        SubjectState { messages: rest.messages, first, last: rest.last }
    }

    /// Sets the sequence of the first message of a subject.
    pub(crate) fn set_first(&mut self, id: SubjectId, sequence: u64) {
        self.set(id, SubjectState { first: sequence, ..self.state(id) });
    }

    /// Sets the sequence of the last message of a subject.
    pub(crate) fn set_last(&mut self, id: SubjectId, sequence: u64) {
        self.set(id, SubjectState { last: sequence, ..self.state(id) });
    }

    /// Returns the number of subjects with messages.
    pub(crate) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Returns the subjects with messages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SubjectId, &[u8], SubjectState)> {
        let all = self.entries.iter().enumerate();
        let used = all.filter(|(_, entry)| entry.text.kind() != Kind::None);
        used.map(|(id, entry)| {
            let id = id as SubjectId;
            (id, self.texts.get(entry.text), self.state(id))
        })
    }
}

/// Returns the 64 bits that the table wants from a hash: its lowest bits choose the place, its highest ones are compared there.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_removed_subjects_are_given_up() {
        let mut subjects = Subjects::default();
        let text = |number: u64| format!("subject.{number:08}").into_bytes();
        for number in 1..=100_000 {
            subjects.add(&text(number), number, &mut 0);
            if number > 100 {
                let id = subjects.find(&text(number - 100)).unwrap();
                assert!(subjects.take(id, 1));
                assert_eq!(subjects.find(&text(number - 100)), None);
            }
        }
        assert!(subjects.texts.bytes.len() < 2 * SPARE_TEXT, "{}", subjects.texts.bytes.len());
        assert_eq!((subjects.len(), subjects.entries.len()), (100, 101));
        for number in 99_901..=100_000 {
            let id = subjects.find(&text(number)).unwrap();
            assert_eq!((subjects.text(id), subjects.state(id).last), (&text(number)[..], number));
        }
        let mut found: Vec<_> = subjects.iter().map(|(_, text, _)| text.to_vec()).collect();
        found.sort_unstable();
        assert_eq!(found, (99_901..=100_000).map(text).collect::<Vec<_>>());
    }

    #[test]
    fn the_number_of_a_subject_without_messages_is_used_again() {
        let mut subjects = Subjects::default();
        let mut add = |text: &[u8], sequence, mut known| {
            let is_new = subjects.add(text, sequence, &mut known);
            (known, is_new)
        };
        assert_eq!(add(b"a", 1, 0), (0, true));
        assert_eq!(add(b"b", 2, 0), (1, true), "the number of another subject is none of it");
        assert_eq!(add(b"a", 3, 9), (0, false));
        assert_eq!(subjects.state(0), SubjectState { messages: 2, first: 1, last: 3 });
        assert!(!subjects.take(0, 1) && subjects.take(0, 1));
        assert_eq!((subjects.find(b"a"), subjects.len()), (None, 1));
        let mut known = 0;
        assert!(subjects.add(b"c", 4, &mut known), "the number is free");
        assert_eq!(known, 0);
        assert!(!subjects.add(b"c", 5, &mut known));
        let all: Vec<_> = subjects.iter().map(|(id, text, _)| (id, text.to_vec())).collect();
        assert_eq!(all, [(0, b"c".to_vec()), (1, b"b".to_vec())]);
    }

    #[test]
    fn a_subject_counts_more_messages_than_32_bits() {
        let mut subjects = Subjects::default();
        subjects.add(b"many", 1, &mut 0);
        let most = SubjectState { messages: u64::from(u32::MAX), first: 1, last: 1 };
        subjects.set(0, most);
        subjects.add(b"many", 2, &mut 0);
        assert_eq!(subjects.state(0).messages, 1 << 32);
        assert!(!subjects.take(0, 7));
        assert_eq!(subjects.state(0).messages, (1 << 32) - 7);
        assert_eq!((subjects.text(0), subjects.find(b"many")), (&b"many"[..], Some(0)));
        assert!(subjects.take(0, 1 << 32));
    }

    #[test]
    fn a_subject_with_one_message_takes_twenty_bytes_beside_its_text() {
        let mut subjects = Subjects::default();
        for number in 1..=100_000_u64 {
            let mut known = SubjectId::MAX;
            subjects.add(&number.to_le_bytes(), number, &mut known);
            // One in a hundred is written over.
            if number.is_multiple_of(100) {
                subjects.add(&number.to_le_bytes(), number, &mut known);
                assert_eq!(subjects.state(known).messages, 2);
                subjects.take(known, 1);
                subjects.set_first(known, number);
            }
        }
        assert_eq!(size_of::<Entry>() + size_of::<u32>(), 20);
        assert_eq!(subjects.several.bytes(), 0);
    }
}
