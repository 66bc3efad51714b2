//! The subjects of a store, with the state of each.

use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::store::SubjectState;

/// The number of a subject, which its first message gives it and its last message takes along: numbers are used again.
pub(crate) type SubjectId = u32;

/// The table of subjects.
#[derive(Default)]
pub(crate) struct Subjects {
    entries: Vec<Entry>,
    by_text: HashTable<SubjectId>,
    free: Vec<SubjectId>,
    hasher: foldhash::fast::RandomState,
}

/// One subject; one without messages is free.
struct Entry {
    text: Box<[u8]>,
    state: SubjectState,
}

impl Subjects {
    /// Returns the number of a subject with messages.
    pub(crate) fn find(&self, text: &[u8]) -> Option<SubjectId> {
        let entries = &self.entries;
        let same = |id: &SubjectId| &*entries[*id as usize].text == text;
        self.by_text.find(self.hasher.hash_one(text), same).copied()
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
        let entry = Entry { text: text.into(), state };
        let id = self.free.pop().unwrap_or(self.entries.len() as SubjectId);
        match self.entries.get_mut(id as usize) {
            Some(free) => *free = entry,
            None => self.entries.push(entry),
        }
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |id: &SubjectId| hasher.hash_one(&*entries[*id as usize].text);
        self.by_text.insert_unique(hasher.hash_one(text), id, hash);
        id
    }

    /// Counts messages out. Returns true if none is left: the number is free then.
    pub(crate) fn take(&mut self, id: SubjectId, messages: u64) -> bool {
        let state = &mut self.entries[id as usize].state;
        state.messages = state.messages.saturating_sub(messages);
        if state.messages > 0 {
            return false;
        }
        let text = std::mem::take(&mut self.entries[id as usize].text);
        if let Ok(entry) =
            self.by_text.find_entry(self.hasher.hash_one(&*text), |other| *other == id)
        {
            entry.remove();
        }
        self.free.push(id);
        true
    }

    /// Returns the text of a subject.
    pub(crate) fn text(&self, id: SubjectId) -> &[u8] {
        &self.entries[id as usize].text
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
        used.map(|(id, entry)| (id as SubjectId, &*entry.text, entry.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
