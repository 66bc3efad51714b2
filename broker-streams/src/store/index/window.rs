//! 65536 sequences of a store.

use super::column::{Column, Search};
use super::present::Present;
use super::selection::Wanted;
use super::subject_id::SubjectId;

/// The bits of a sequence that tell the messages of a window apart.
const LOW_BITS: u32 = 16;

/// The messages whose sequences have the same high bits.
pub(crate) struct Window {
    /// The high bits of the sequences.
    number: u64,
    present: Present,
    messages: usize,
    subjects: Column,
    /// The attempt to pack it was made.
    is_packed: bool,
}

/// Returns the high bits of a sequence.
pub(crate) fn number_of(sequence: u64) -> u64 {
    sequence >> LOW_BITS
}

impl Window {
    /// Creates the window of a sequence.
    pub(crate) fn around(sequence: u64) -> Self {
        let (present, subjects) = (Present::Range(0..0), Column::Open(Vec::new()));
        let number = number_of(sequence);
        Self { number, present, messages: 0, subjects, is_packed: false }
    }

    /// Returns the high bits of its sequences.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the number of messages.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Adds a message.
    pub(crate) fn insert(&mut self, sequence: u64, id: SubjectId) {
        let low = low(sequence);
        self.present.insert(low);
        self.messages += 1;
        self.subjects.set(low, id);
    }

    /// Removes a message. Returns its subject, if it was there.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<SubjectId> {
        let id = self.get(sequence)?;
        self.present.remove(low(sequence));
        self.messages -= 1;
        self.subjects.clear(low(sequence));
        Some(id)
    }

    /// Returns the subject of a message, if it is there.
    pub(crate) fn get(&self, sequence: u64) -> Option<SubjectId> {
        let here = number_of(sequence) == self.number && self.present.contains(low(sequence));
        here.then(|| self.subjects.get(low(sequence)))
    }

    /// Takes the form for a window without further messages.
    pub(crate) fn close(&mut self) {
        self.subjects.close();
    }

    /// Takes less room until it is read. It is changed rarely.
    pub(crate) fn pack(&mut self) {
        if !std::mem::replace(&mut self.is_packed, true) {
            self.subjects.pack();
        }
        self.subjects.forget();
    }

    /// Returns the first wanted message at or after `from`, which may lie before the window.
    pub(crate) fn next(&self, wanted: Wanted<'_>, from: u64) -> Option<u64> {
        let from = self.low_from(from)?;
        let found = self.subjects.search(wanted).next(from, &self.present);
        found.map(|low| self.sequence(low))
    }

    /// Returns the last wanted message at or before `until`, which may lie behind the window.
    pub(crate) fn previous(&self, wanted: Wanted<'_>, until: u64) -> Option<u64> {
        if until < self.sequence(0) {
            return None;
        }
        let until = low(until.min(self.sequence((1 << LOW_BITS) - 1)));
        let found = self.subjects.search(wanted).previous(until, &self.present);
        found.map(|low| self.sequence(low))
    }

    /// Counts the wanted messages at or after `from`, which may lie before the window.
    pub(crate) fn count(&self, wanted: Wanted<'_>, from: u64) -> usize {
        let Some(from) = self.low_from(from) else { return 0 };
        match self.subjects.search(wanted) {
            Search::All if from == 0 => self.messages,
            search => search.count(from, &self.present),
        }
    }

    /// Returns the first sequence at or after `from` without a message; it may lie behind the window.
    pub(crate) fn next_missing(&self, from: u64) -> u64 {
        self.low_from(from).map_or(from, |low| self.sequence(self.present.next_missing(low)))
    }

    /// Returns true if it has the packed form.
    #[cfg(test)]
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.subjects, Column::Packed(..))
    }

    /// Returns true if it has the form for new subjects.
    #[cfg(test)]
    pub(crate) fn is_row(&self) -> bool {
        matches!(self.subjects, Column::Row(_))
    }

    fn low_from(&self, from: u64) -> Option<usize> {
        (number_of(from) <= self.number).then(|| low(from.max(self.sequence(0))))
    }

    fn sequence(&self, low: usize) -> u64 {
        (self.number << LOW_BITS) + low as u64
    }
}

fn low(sequence: u64) -> usize {
    (sequence & ((1 << LOW_BITS) - 1)) as usize
}
