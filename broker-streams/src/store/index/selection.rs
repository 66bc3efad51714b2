//! The subjects that filters select, remembered.

use std::cell::RefCell;

use super::bits::Bits;
use super::subject_id::SubjectId;
use super::subjects::Subjects;
use crate::filters::Filters;

/// The most filters whose subjects a store remembers. More than that many consumers with wildcards on one stream share them; each filter costs
/// a bit for each subject of the stream, and one comparison for each new subject.
const REMEMBERED: usize = 16;

/// The subjects that a search is for.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// All.
    All,
    /// One.
    One(SubjectId),
    /// Several.
    Any(&'a Bits),
}

/// The subjects of the filters that were searched last.
#[derive(Default)]
pub(crate) struct Selections(RefCell<Vec<Selection>>);

struct Selection {
    filters: Filters,
    ids: Bits,
}

impl Selections {
    /// Calls `search` with the subjects that `filters` select; returns `None` if there are none.
    pub(crate) fn with<T>(
        &self,
        subjects: &Subjects,
        filters: &Filters,
        search: impl FnOnce(Wanted<'_>) -> T,
    ) -> Option<T> {
        if filters.is_all() {
            return Some(search(Wanted::All));
        }
        if let Some(literal) = filters.literal() {
            return subjects.find(literal).map(|id| search(Wanted::One(id)));
        }
        let mut known = self.0.borrow_mut();
        match known.iter().position(|selection| selection.filters == *filters) {
            Some(at) => known[..=at].rotate_right(1),
            None => {
                known.truncate(REMEMBERED - 1);
                known.insert(0, Selection::new(subjects, filters));
            }
        }
        Some(search(Wanted::Any(&known[0].ids)))
    }

    /// Returns true if the subjects of the filters need not be looked up one by one.
    pub(crate) fn knows(&self, filters: &Filters) -> bool {
        let is_simple = filters.is_all() || filters.literal().is_some();
        is_simple || self.0.borrow().iter().any(|selection| selection.filters == *filters)
    }

    /// Adds a new subject to the remembered ones.
    pub(crate) fn add(&mut self, id: SubjectId, text: &[u8]) {
        for selection in self.0.get_mut() {
            if selection.filters.matches(text) {
                selection.ids.insert(id as usize);
            }
        }
    }

    /// Removes a subject that has no more messages.
    pub(crate) fn remove(&mut self, id: SubjectId) {
        for selection in self.0.get_mut() {
            selection.ids.remove(id as usize);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.get_mut().clear();
    }
}

impl Selection {
    fn new(subjects: &Subjects, filters: &Filters) -> Self {
        let mut ids = Bits::default();
        if let Some(literals) = filters.literals() {
            let found = literals.iter().filter_map(|text| subjects.find(text));
            found.for_each(|id| ids.insert(id as usize));
            return Self { filters: filters.clone(), ids };
        }
        for (id, text, _) in subjects.iter() {
            if filters.matches(text) {
                ids.insert(id as usize);
            }
        }
        Self { filters: filters.clone(), ids }
    }
}
