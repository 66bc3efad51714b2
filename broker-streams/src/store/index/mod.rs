//! The messages that a store has, by sequence and by subject, without their bytes.
//!
//! The index answers all searches. What a message takes depends on the number of different subjects among the 65536 messages around it: nothing
//! if there is one subject or if each message has a new one, half a byte or less up to 15, 1 or 2 bytes up to 32768, and 4 bytes beyond. Where
//! messages are missing it takes 1 bit more.

mod bits;
mod column;
mod packed;
mod present;
mod selection;
mod several;
mod subject_id;
mod subjects;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;

use selection::{Selections, Wanted};
use window::{Window, number_of};

use super::SubjectState;
use crate::filters::Filters;

pub(crate) use bits::Bits;
pub(crate) use subject_id::SubjectId;
pub(crate) use subjects::Subjects;

/// The messages that are compared one by one, before all subjects of a filter with wildcards are looked up.
const NEAR: usize = 64;

/// The last windows, which are not packed: consumers that follow read them.
const UNPACKED_WINDOWS: usize = 4;

/// The index of a store.
#[derive(Default)]
pub(crate) struct Index {
    subjects: Subjects,
    selections: Selections,
    /// In order; those without messages are left out.
    windows: VecDeque<Window>,
    messages: u64,
    /// The first message; meaningless without messages.
    first: u64,
    /// The highest sequence that was used.
    last: u64,
}

impl Index {
    /// Adds a message with a sequence above the last.
    pub(crate) fn insert(&mut self, sequence: u64, subject: &[u8]) {
        let mut known = SubjectId::MAX;
        self.insert_known(sequence, subject, &mut known);
    }

    /// Adds a message with a sequence above the last, whose subject may have the number `known`: a message before it left it there.
    pub(crate) fn insert_known(&mut self, sequence: u64, subject: &[u8], known: &mut SubjectId) {
        debug_assert!(sequence > self.last || self.last == 0, "sequences only grow");
        let is_new = self.subjects.add(subject, sequence, known);
        let id = *known;
        if is_new {
            self.selections.add(id, subject);
        }
        if self.windows.back().is_none_or(|window| window.number() != number_of(sequence)) {
            if let Some(full) = self.windows.back_mut() {
                full.close();
            }
            self.windows.push_back(Window::around(sequence));
            self.pack_windows();
        }
        if let Some(window) = self.windows.back_mut() {
            window.insert(sequence, id);
        }
        if self.messages == 0 {
            self.first = sequence;
        }
        self.messages += 1;
        self.last = sequence;
    }

    /// Makes room for new subjects.
    pub(crate) fn reserve(&mut self, subjects: usize) {
        self.subjects.reserve(subjects);
    }

    /// Packs the windows that are neither new nor were read since the last time.
    fn pack_windows(&mut self) {
        let old = self.windows.len().saturating_sub(UNPACKED_WINDOWS);
        self.windows.range_mut(..old).for_each(Window::pack);
    }

    /// Raises the last sequence.
    pub(crate) fn skip_to(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Removes a message. Returns true if it was there.
    pub(crate) fn remove(&mut self, sequence: u64) -> bool {
        let Some(at) = self.window_of(sequence) else { return false };
        let Some(id) = self.windows[at].remove(sequence) else { return false };
        if self.windows[at].messages() == 0 {
            self.windows.remove(at);
        }
        self.messages -= 1;
        if sequence == self.first {
            self.first = self.next(Wanted::All, sequence).unwrap_or(0);
        }
        if self.subjects.take(id, 1) {
            self.selections.remove(id);
        } else if self.subjects.state(id).first == sequence {
            self.narrow_first(id, sequence + 1);
        } else if self.subjects.state(id).last == sequence {
            self.narrow_last(id);
        }
        true
    }

    /// Removes all messages before a sequence. Returns their number.
    pub(crate) fn remove_before(&mut self, sequence: u64) -> u64 {
        let before = self.messages;
        if sequence > self.last {
            self.clear();
            return before;
        }
        let mut changed = Bits::default();
        let mut next = self.next(Wanted::All, 0);
        while let Some(first) = next.filter(|first| *first < sequence) {
            // The first window, as the message is the first.
            let Some(id) = self.windows[0].remove(first) else { break };
            self.messages -= 1;
            changed.insert(id as usize);
            if self.subjects.take(id, 1) {
                self.selections.remove(id);
                changed.remove(id as usize);
            }
            if self.windows[0].messages() == 0 {
                self.windows.pop_front();
            }
            next = self.next(Wanted::All, first + 1);
        }
        for id in changed.iter() {
            self.narrow_first(id as SubjectId, sequence);
        }
        self.first = next.unwrap_or(0);
        before - self.messages
    }

    /// Removes all messages.
    pub(crate) fn clear(&mut self) {
        self.subjects = Subjects::default();
        self.selections.clear();
        self.windows.clear();
        self.messages = 0;
    }

    /// Returns the number of messages.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns the sequence of the first message; the one after the last sequence without messages.
    pub(crate) fn first(&self) -> u64 {
        if self.messages == 0 { self.last + 1 } else { self.first }
    }

    /// Returns the highest sequence that was used.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the number of subjects.
    pub(crate) fn subjects(&self) -> u64 {
        self.subjects.len() as u64
    }

    /// Returns true if there is a message with the sequence.
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.id_of(sequence).is_some()
    }

    /// Returns the subject of a message.
    pub(crate) fn subject_of(&self, sequence: u64) -> Option<&[u8]> {
        self.id_of(sequence).map(|id| self.subjects.text(id))
    }

    /// Returns the state of a subject.
    pub(crate) fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        self.subjects.find(subject).map(|id| self.subjects.state(id))
    }

    /// Calls `visit` with each selected subject, until it returns false.
    pub(crate) fn for_each_subject(
        &self,
        filters: &Filters,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> bool,
    ) {
        if let Some(literal) = filters.literal() {
            if let Some(id) = self.subjects.find(literal) {
                visit(literal, self.subjects.state(id));
            }
            return;
        }
        if let Some(literals) = filters.literals() {
            let mut found =
                literals.iter().filter_map(|text| Some((text, self.subjects.find(text)?)));
            found.all(|(text, id)| visit(text, self.subjects.state(id)));
            return;
        }
        let selected = |text: &[u8]| filters.is_all() || filters.matches(text);
        for (_, text, state) in self.subjects.iter() {
            if selected(text) && !visit(text, state) {
                return;
            }
        }
    }

    /// Returns the first selected message at or after `from`.
    pub(crate) fn next_match(&self, filters: &Filters, from: u64) -> Option<u64> {
        let from = from.max(self.first());
        if from > self.last {
            return None;
        }
        if self.selections.knows(filters) {
            return self.search(filters, |wanted| self.next(wanted, from)).flatten();
        }
        let mut near = from;
        for _ in 0..NEAR {
            near = self.next(Wanted::All, near)?;
            if self.subject_of(near).is_some_and(|subject| filters.matches(subject)) {
                return Some(near);
            }
            near += 1;
        }
        self.search(filters, |wanted| self.next(wanted, near)).flatten()
    }

    /// Returns the last selected message at or before `until`.
    pub(crate) fn previous_match(&self, filters: &Filters, until: u64) -> Option<u64> {
        if self.selections.knows(filters) {
            return self.search(filters, |wanted| self.previous(wanted, until)).flatten();
        }
        let mut near = until;
        for _ in 0..NEAR {
            near = self.previous(Wanted::All, near)?;
            if self.subject_of(near).is_some_and(|subject| filters.matches(subject)) {
                return Some(near);
            }
            near = near.checked_sub(1)?;
        }
        self.search(filters, |wanted| self.previous(wanted, near)).flatten()
    }

    /// Counts the selected messages at or after `from`; only the last of each subject if `last_per_subject`.
    pub(crate) fn count(&self, filters: &Filters, from: u64, last_per_subject: bool) -> u64 {
        self.search(filters, |wanted| match last_per_subject {
            true => self.count_lasts(wanted, from),
            false => self.count_all(wanted, from),
        })
        .unwrap_or(0)
    }

    /// Calls `visit` with the first and last sequence of each gap between the first message and the last sequence that was used, until it
    /// returns false.
    pub(crate) fn for_each_gap(&self, visit: &mut dyn FnMut(u64, u64) -> bool) {
        let mut expected = self.first();
        while let Some(next) = self.next(Wanted::All, expected) {
            if next > expected && !visit(expected, next - 1) {
                return;
            }
            let Some(at) = self.window_of(next) else { return };
            expected = self.windows[at].next_missing(next);
        }
        if expected <= self.last {
            visit(expected, self.last);
        }
    }

    fn search<T>(&self, filters: &Filters, search: impl FnOnce(Wanted<'_>) -> T) -> Option<T> {
        self.selections.with(&self.subjects, filters, search)
    }

    fn next(&self, wanted: Wanted<'_>, from: u64) -> Option<u64> {
        if let Wanted::One(id) = wanted {
            let state = self.subjects.state(id);
            if from <= state.first || from > state.last {
                return (from <= state.first).then_some(state.first);
            }
        }
        let at = self.windows.partition_point(|window| window.number() < number_of(from));
        self.windows.range(at..).find_map(|window| window.next(wanted, from))
    }

    fn previous(&self, wanted: Wanted<'_>, until: u64) -> Option<u64> {
        if let Wanted::One(id) = wanted {
            let state = self.subjects.state(id);
            if until >= state.last || until < state.first {
                return (until >= state.last).then_some(state.last);
            }
        }
        let end = self.windows.partition_point(|window| window.number() <= number_of(until));
        self.windows.range(..end).rev().find_map(|window| window.previous(wanted, until))
    }

    fn count_lasts(&self, wanted: Wanted<'_>, from: u64) -> u64 {
        let is_last = |id| u64::from(self.subjects.state(id).last >= from);
        match wanted {
            Wanted::One(id) => is_last(id),
            Wanted::Any(ids) => ids.iter().map(|id| is_last(id as SubjectId)).sum(),
            Wanted::All => self.subjects.iter().map(|(id, ..)| is_last(id)).sum(),
        }
    }

    fn count_all(&self, wanted: Wanted<'_>, from: u64) -> u64 {
        let total = || match wanted {
            Wanted::All => self.messages,
            Wanted::One(id) => self.subjects.state(id).messages,
            Wanted::Any(ids) => {
                ids.iter().map(|id| self.subjects.state(id as SubjectId).messages).sum()
            }
        };
        if from <= self.first() {
            return total();
        }
        let at = self.windows.partition_point(|window| window.number() < number_of(from));
        let count = |window: &Window, from| window.count(wanted, from) as u64;
        if at < self.windows.len() / 2 {
            // Fewer windows lie before than behind.
            let before: u64 = self.windows.range(..at).map(|window| count(window, 0)).sum();
            let within = |window: &Window| count(window, 0) - count(window, from);
            total() - before - self.windows.get(at).map_or(0, within)
        } else {
            self.windows.range(at..).map(|window| count(window, from)).sum()
        }
    }

    /// Finds the first message of a subject again after all before `from` were removed.
    fn narrow_first(&mut self, id: SubjectId, from: u64) {
        let state = self.subjects.state(id);
        if state.first < from {
            let next = if state.messages > 1 { self.next(Wanted::One(id), from) } else { None };
            self.subjects.set_first(id, next.unwrap_or(state.last));
        }
    }

    /// Finds the last message of a subject again after the last one was removed.
    fn narrow_last(&mut self, id: SubjectId) {
        let state = self.subjects.state(id);
        let previous = match state.messages {
            0 | 1 => None,
            _ => self.previous(Wanted::One(id), state.last - 1),
        };
        self.subjects.set_last(id, previous.unwrap_or(state.first));
    }

    fn window_of(&self, sequence: u64) -> Option<usize> {
        self.windows.binary_search_by_key(&number_of(sequence), Window::number).ok()
    }

    fn id_of(&self, sequence: u64) -> Option<SubjectId> {
        self.windows[self.window_of(sequence)?].get(sequence)
    }
}
