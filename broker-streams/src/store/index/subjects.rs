//! The subjects of a store, with the state of each.

use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::store::SubjectState;

/// The number of a subject, which its first message gives it and its last message takes along: numbers are used again.
pub(crate) type SubjectId = u32;

/// The bytes of removed texts that are kept at least.
const SPARE_TEXT: usize = 64 * 1024;

/// The table of subjects.
#[derive(Default)]
pub(crate) struct Subjects {
    entries: Vec<Entry>,
    texts: Texts,
    by_text: HashTable<SubjectId>,
    free: Vec<SubjectId>,
    hasher: foldhash::fast::RandomState,
}

/// One subject; one without messages is free.
struct Entry {
    text: Text,
    /// Of the text: a table that grows need not read the texts.
    hash: u32,
    state: SubjectState,
}

/// The place and the length of a text, in 40 and 24 bits.
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
        Self(((at as u64) << 24) | length as u64)
    }

    fn len(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }
}

impl Texts {
    fn get(&self, text: Text) -> &[u8] {
        let at = (text.0 >> 24) as usize;
        &self.bytes[at..at + text.len()]
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
        let hash = self.hash(text);
        let same = |id: &SubjectId| {
            let entry = &self.entries[*id as usize];
            entry.hash == hash && self.texts.get(entry.text) == text
        };
        self.by_text.find(spread(hash), same).copied()
    }

    fn hash(&self, text: &[u8]) -> u32 {
        self.hasher.hash_one(text) as u32
    }

    /// Adds a message, with a sequence above those of all others. Returns the number of its subject, and true if it is new.
    pub(crate) fn add(&mut self, text: &[u8], sequence: u64) -> (SubjectId, bool) {
        if let Some(id) = self.find(text) {
            let state = &mut self.entries[id as usize].state;
            state.messages += 1;
            state.last = sequence;
            return (id, false);
        }
        let state = SubjectState { messages: 1, first: sequence, last: sequence };
        (self.create(text, state), true)
    }

    /// Adds a subject that is not in the table.
    pub(crate) fn create(&mut self, text: &[u8], state: SubjectState) -> SubjectId {
        let hash = self.hash(text);
        let entry = Entry { text: self.texts.add(text), hash, state };
        let id = self.free.pop().unwrap_or(self.entries.len() as SubjectId);
        match self.entries.get_mut(id as usize) {
            Some(free) => *free = entry,
            None => self.entries.push(entry),
        }
        let entries = &self.entries;
        self.by_text.insert_unique(spread(hash), id, |id| spread(entries[*id as usize].hash));
        id
    }

    /// Counts messages out. Returns true if none is left: the number is free then.
    pub(crate) fn take(&mut self, id: SubjectId, messages: u64) -> bool {
        let state = &mut self.entries[id as usize].state;
        state.messages = state.messages.saturating_sub(messages);
        if state.messages > 0 {
            return false;
        }
        let entry = &mut self.entries[id as usize];
        let text = std::mem::take(&mut entry.text);
        if let Ok(place) = self.by_text.find_entry(spread(entry.hash), |other| *other == id) {
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
            entry.text = texts.add(self.texts.get(entry.text));
        }
        self.texts = texts;
    }

    /// Returns the text of a subject.
    pub(crate) fn text(&self, id: SubjectId) -> &[u8] {
        self.texts.get(self.entries[id as usize].text)
    }

    /// Returns the state of a subject.
    pub(crate) fn state(&self, id: SubjectId) -> SubjectState {
        self.entries[id as usize].state
    }

    /// Returns the state of a subject, to be changed.
    pub(crate) fn state_mut(&mut self, id: SubjectId) -> &mut SubjectState {
        &mut self.entries[id as usize].state
    }

    /// Returns the number of subjects with messages.
    pub(crate) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Returns the subjects with messages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SubjectId, &[u8], SubjectState)> {
        let all = self.entries.iter().enumerate();
        let used = all.filter(|(_, entry)| entry.state.messages > 0);
        used.map(|(id, entry)| (id as SubjectId, self.texts.get(entry.text), entry.state))
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
            subjects.add(&text(number), number);
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
        assert_eq!(subjects.add(b"a", 1), (0, true));
        assert_eq!(subjects.add(b"b", 2), (1, true));
        assert_eq!(subjects.add(b"a", 3), (0, false));
        assert_eq!(subjects.state(0), SubjectState { messages: 2, first: 1, last: 3 });
        assert!(!subjects.take(0, 1) && subjects.take(0, 1));
        assert_eq!((subjects.find(b"a"), subjects.len()), (None, 1));
        assert_eq!(subjects.add(b"c", 4), (0, true));
        let all: Vec<_> = subjects.iter().map(|(id, text, _)| (id, text.to_vec())).collect();
        assert_eq!(all, [(0, b"c".to_vec()), (1, b"b".to_vec())]);
    }
}
