//! Counts of messages by subject, for the few filters of
//! [`Options::counted_subjects`](crate::Options::counted_subjects).
//!
//! A session matches a subject against the filters when it first publishes to it, and keeps the result
//! in its cache. Without filters this costs nothing.

use crate::auth::Permissions;
use crate::limits::MAX_COUNTED_SUBJECTS;
use crate::proto::Publish;
use crate::subject::SubjectFilter;
use crate::sync::{Arc, AtomicU64, Ordering};

/// The number of groups of sessions that share counters, so that two cores seldom write to the same cache
/// line.
const GROUPS: usize = 16;

/// Messages to subjects that match a filter, from the clients of all accounts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SubjectCount {
    /// The filter.
    pub filter: SubjectFilter,
    /// The number of accepted messages.
    pub messages: u64,
    /// Their bytes, headers and payload.
    pub bytes: u64,
}

/// The filters and their counters.
#[derive(Debug)]
pub(crate) struct SubjectCounters {
    filters: Box<[SubjectFilter]>,
    groups: [Group; GROUPS],
}

/// A counter for each filter, apart from those of other groups.
#[derive(Debug)]
#[repr(align(128))]
struct Group(Box<[Counter]>);

#[derive(Debug, Default)]
struct Counter {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl SubjectCounters {
    /// Creates counters; returns `None` without filters.
    pub(crate) fn new(filters: &[SubjectFilter]) -> Option<Arc<Self>> {
        let filters: Box<[_]> = filters.iter().take(MAX_COUNTED_SUBJECTS).cloned().collect();
        let group = |_| Group(filters.iter().map(|_| Counter::default()).collect());
        let groups = std::array::from_fn(group);
        (!filters.is_empty()).then(|| Arc::new(Self { filters, groups }))
    }

    /// Returns one bit for each filter that matches.
    fn matching(&self, subject: &[u8]) -> u64 {
        let bit = |(place, filter): (usize, &SubjectFilter)| {
            u64::from(filter.matches_bytes(subject)) << place
        };
        self.filters.iter().enumerate().map(bit).sum()
    }

    pub(crate) fn counts(&self) -> Vec<SubjectCount> {
        let count = |(place, filter): (usize, &SubjectFilter)| {
            let sum = |of: fn(&Counter) -> &AtomicU64| {
                self.groups.iter().map(|group| of(&group.0[place]).load(Ordering::Relaxed)).sum()
            };
            SubjectCount {
                filter: filter.clone(),
                messages: sum(|counter| &counter.messages),
                bytes: sum(|counter| &counter.bytes),
            }
        };
        self.filters.iter().enumerate().map(count).collect()
    }
}

/// The verdict of a session on a subject: whether it may publish there, and the filters that count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict(u8);

impl Verdict {
    const REFUSED: Self = Self(0);
    pub(crate) const ALLOWED: Self = Self(1);
    /// Values from here on: allowed, and counted for a set of filters, by its number in the session.
    const FIRST_SET: u8 = 2;
    /// Counted, but the session has too many sets already.
    const ANY_SET: Self = Self(u8::MAX);

    pub(crate) fn is_allowed(self) -> bool {
        self != Self::REFUSED
    }

    fn is_counted(self) -> bool {
        self.0 >= Self::FIRST_SET
    }
}

/// The verdicts and counters of one session.
pub(crate) struct SubjectCounter {
    subjects: Option<Arc<SubjectCounters>>,
    group: usize,
    /// The sets of filters that its subjects match: few, because the subjects of one session are
    /// similar.
    sets: Vec<u64>,
}

impl SubjectCounter {
    pub(crate) fn new(subjects: Option<Arc<SubjectCounters>>, seed: u64) -> Self {
        Self { subjects, group: (seed % GROUPS as u64) as usize, sets: Vec::new() }
    }

    /// Returns the verdict on a subject that is not in the cache of the session.
    pub(crate) fn judge(
        &mut self,
        permissions: Option<&Arc<Permissions>>,
        subject: &[u8],
    ) -> Verdict {
        if !permissions.is_none_or(|permissions| permissions.may_publish(subject)) {
            return Verdict::REFUSED;
        }
        let set = self.subjects.as_ref().map_or(0, |subjects| subjects.matching(subject));
        if set == 0 {
            return Verdict::ALLOWED;
        }
        let place = self.sets.iter().position(|known| *known == set).unwrap_or(self.sets.len());
        let verdict = place.saturating_add(usize::from(Verdict::FIRST_SET));
        if verdict >= usize::from(Verdict::ANY_SET.0) {
            return Verdict::ANY_SET;
        }
        if place == self.sets.len() {
            self.sets.push(set);
        }
        Verdict(verdict as u8)
    }

    /// Counts accepted messages.
    #[inline]
    pub(crate) fn note(&self, verdict: Verdict, subject: &[u8], messages: usize, bytes: usize) {
        if verdict.is_counted() {
            let place = usize::from(verdict.0 - Verdict::FIRST_SET);
            self.add(self.sets.get(place).copied(), subject, messages, bytes);
        }
    }

    /// Counts one accepted message, whether the permissions or only `allow_responses` allow it.
    pub(crate) fn note_one(&self, verdict: Verdict, subject: &[u8], message: &Publish<'_>) {
        if verdict.is_allowed() {
            self.note(verdict, subject, 1, message.body.len());
        } else {
            self.note_unknown(subject, message.body.len());
        }
    }

    /// Counts a message that only `allow_responses` permits: its subject is not cached.
    pub(crate) fn note_unknown(&self, subject: &[u8], bytes: usize) {
        if self.subjects.is_some() {
            self.add(None, subject, 1, bytes);
        }
    }

    #[cold]
    fn add(&self, set: Option<u64>, subject: &[u8], messages: usize, bytes: usize) {
        let Some(subjects) = &self.subjects else { return };
        let mut set = set.unwrap_or_else(|| subjects.matching(subject));
        while set != 0 {
            let counter = &subjects.groups[self.group].0[set.trailing_zeros() as usize];
            counter.messages.fetch_add(messages as u64, Ordering::Relaxed);
            counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            set &= set - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(filters: &[&str]) -> Arc<SubjectCounters> {
        let filters: Vec<_> =
            filters.iter().map(|text| SubjectFilter::parse(text).unwrap()).collect();
        SubjectCounters::new(&filters).unwrap()
    }

    fn totals(subjects: &SubjectCounters) -> Vec<(u64, u64)> {
        subjects.counts().iter().map(|count| (count.messages, count.bytes)).collect()
    }

    #[test]
    fn a_message_counts_for_every_filter_that_it_matches() {
        let subjects = counted(&["a.>", "a.*", "b"]);
        let mut counting = SubjectCounter::new(Some(Arc::clone(&subjects)), 3);
        for (subject, messages) in [("a.x", 2), ("a.x.y", 1), ("b", 5), ("c", 7)] {
            let verdict = counting.judge(None, subject.as_bytes());
            assert_eq!(verdict.is_counted(), subject != "c");
            counting.note(verdict, subject.as_bytes(), messages, messages * 10);
        }
        assert_eq!(totals(&subjects), [(3, 30), (2, 20), (5, 50)]);
        assert_eq!(counting.sets.len(), 3);
    }

    #[test]
    fn a_session_with_too_many_sets_still_counts() {
        let filters: Vec<String> = (0..10).map(|bit| format!("{}*.>", "*.".repeat(bit))).collect();
        let names: Vec<&str> = filters.iter().map(String::as_str).collect();
        let literal: Vec<String> = (0..54).map(|one| format!("s{one}")).collect();
        let all: Vec<&str> = names.into_iter().chain(literal.iter().map(String::as_str)).collect();
        let subjects = counted(&all);
        let mut counting = SubjectCounter::new(Some(Arc::clone(&subjects)), 0);
        counting.sets = (1000..1000 + 253).collect();
        let verdict = counting.judge(None, b"s7");
        assert_eq!(verdict, Verdict::ANY_SET);
        counting.note(verdict, b"s7", 1, 1);
        assert_eq!(totals(&subjects)[17], (1, 1));
        assert_eq!(counting.sets.len(), 253);
    }

    #[test]
    fn no_filters_count_nothing_and_too_many_are_cut_off() {
        assert!(SubjectCounters::new(&[]).is_none());
        assert_eq!(SubjectCounter::new(None, 0).judge(None, b"a"), Verdict::ALLOWED);
        let many = vec![SubjectFilter::parse(">").unwrap(); MAX_COUNTED_SUBJECTS + 1];
        assert_eq!(SubjectCounters::new(&many).unwrap().counts().len(), MAX_COUNTED_SUBJECTS);
    }
}
