//! What one session remembers of who wants the subjects it publishes to.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::matches::Matches;
use super::{Generation, Interest, Interested};
use crate::limits::{CACHED_BYTES, CACHED_SUBJECT_BYTES, CACHED_SUBJECTS};
use crate::random::Random;
use crate::sync::Arc;

/// Up to this many subjects all are remembered at once. A session that publishes to more may be one
/// that never repeats itself, so further ones get in by lot: those that return soon do.
const SURE_SUBJECTS: usize = 1024;
const LOT: usize = 4;

/// Remembers matches, and beside them whether the session may publish to the subject at all.
pub(crate) struct MatchCache<S> {
    /// Positions in `entries`, by the hash of the subject.
    index: HashTable<u32>,
    entries: Vec<Entry<S>>,
    /// Where the subject of the message before this one stands.
    last: usize,
    hasher: FixedState,
    random: Random,
    cost: usize,
    /// For answers that are not kept.
    unkept: Arc<Matches<S>>,
}

struct Entry<S> {
    subject: Box<[u8]>,
    hash: u64,
    generation: Generation,
    is_allowed: bool,
    matches: Arc<Matches<S>>,
}

/// What the cache knows of a subject.
pub(crate) struct Known<S> {
    pub(crate) is_allowed: bool,
    pub(crate) matches: Arc<Matches<S>>,
}

impl<S: Interested> MatchCache<S> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            last: 0,
            hasher: FixedState::with_seed(seed),
            random: Random::new(seed),
            cost: 0,
            unkept: Arc::default(),
        }
    }

    /// Forgets everything: because the session's account or permissions changed, or to save memory.
    pub(crate) fn clear(&mut self) {
        self.index = HashTable::new();
        self.entries = Vec::new();
        self.last = 0;
        self.cost = 0;
        self.unkept = Arc::default();
    }

    /// Who wants `subject`; `is_allowed` is asked when it is not known.
    #[inline]
    pub(crate) fn look_up(
        &mut self,
        interest: &Interest<S>,
        subject: &[u8],
        is_allowed: impl FnOnce() -> bool,
    ) -> Known<S> {
        if let Some(entry) = self.entries.get(self.last)
            && *entry.subject == *subject
            && interest.is_current(entry.generation)
        {
            return Known { is_allowed: entry.is_allowed, matches: Arc::clone(&entry.matches) };
        }
        self.look_up_other(interest, subject, is_allowed)
    }

    fn look_up_other(
        &mut self,
        interest: &Interest<S>,
        subject: &[u8],
        is_allowed: impl FnOnce() -> bool,
    ) -> Known<S> {
        let hash = self.hasher.hash_one(subject);
        let entries = &self.entries;
        let is_it = |at: &u32| *entries[*at as usize].subject == *subject;
        if let Some(at) = self.index.find(hash, is_it) {
            self.last = *at as usize;
            let entry = &mut self.entries[self.last];
            if !interest.is_current(entry.generation) {
                let matches = reuse(&mut entry.matches);
                let before = matches.cost();
                matches.clear();
                entry.generation = interest.collect(subject, matches);
                self.cost = self.cost + matches.cost() - before;
            }
            return Known { is_allowed: entry.is_allowed, matches: Arc::clone(&entry.matches) };
        }
        let is_allowed = is_allowed();
        let matches = reuse(&mut self.unkept);
        matches.clear();
        let generation = interest.collect(subject, matches);
        if !self.has_room_for(subject) {
            return Known { is_allowed, matches: Arc::clone(&self.unkept) };
        }
        let matches = std::mem::take(&mut self.unkept);
        self.insert(Entry {
            subject: subject.into(),
            hash,
            generation,
            is_allowed,
            matches: Arc::clone(&matches),
        });
        Known { is_allowed, matches }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.entries.len()
    }

    fn has_room_for(&mut self, subject: &[u8]) -> bool {
        subject.len() <= CACHED_SUBJECT_BYTES
            && (self.entries.len() < SURE_SUBJECTS || self.random.below(LOT) == 0)
    }

    fn insert(&mut self, entry: Entry<S>) {
        if self.cost > CACHED_BYTES {
            self.clear();
        }
        while self.entries.len() >= CACHED_SUBJECTS {
            let victim = self.random.below(self.entries.len());
            self.remove(victim);
        }
        self.cost += entry.cost();
        self.last = self.entries.len();
        let entries = &self.entries;
        self.index.insert_unique(entry.hash, self.last as u32, |at| entries[*at as usize].hash);
        self.entries.push(entry);
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.cost -= entry.cost();
        if let Ok(slot) = self.index.find_entry(entry.hash, |other| *other as usize == at) {
            slot.remove();
        }
        // The last entry has moved into the gap.
        let moved_from = self.entries.len() as u32;
        if let Some(moved) = self.entries.get(at)
            && let Some(slot) = self.index.find_mut(moved.hash, |other| *other == moved_from)
        {
            *slot = at as u32;
        }
    }
}

impl<S: Interested> Entry<S> {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.matches.cost()
    }
}

/// The matches to fill anew: the old ones' memory, unless somebody still reads it.
fn reuse<S: Interested>(matches: &mut Arc<Matches<S>>) -> &mut Matches<S> {
    if Arc::get_mut(matches).is_none() {
        *matches = Arc::default();
    }
    Arc::get_mut(matches).unwrap_or_else(|| unreachable!("nobody else has it yet"))
}
