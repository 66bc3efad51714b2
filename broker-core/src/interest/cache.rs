//! The cache of one session for the matches of subjects that it publishes to.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::look_ups::LookUps;
use super::matches::Matches;
use super::siblings::Siblings;
use super::{Generation, Interest, Interested, touch_all};
use crate::limits::{BATCH_RUNS, CACHED_BYTES, CACHED_SUBJECT_BYTES, CACHED_SUBJECTS};
use crate::random::Random;
use crate::subject::{Mapped, is_same};
use crate::subject_counts::Verdict;
use crate::sync::Arc;

/// The number of subjects up to which all are cached at once. A session that publishes to more may never
/// repeat a subject, so further ones are admitted at random: a subject that is repeated soon gets in.
const ALWAYS_ADMITTED: usize = 1024;

/// One in this many subjects is admitted. If the cache is full and the session seldom repeats a subject, it is one
/// in `SPARSE_ADMISSION`: replacing an entry costs more than a look-up in the interest.
const ADMISSION: usize = 4;
const SPARSE_ADMISSION: usize = 64;

/// The number of look-ups after which the admission rate is chosen again.
const LOOK_UPS: usize = 4096;

/// Caches the matches of subjects, together with the permission to publish to them and the filters that count
/// them.
pub(crate) struct MatchCache<S> {
    /// Positions in `entries`, by the hash of the subject.
    index: HashTable<u32>,
    entries: Vec<Entry<S>>,
    /// The position of the previous message's subject in `entries`.
    last: usize,
    hasher: FixedState,
    random: Random,
    cost: usize,
    /// The number of deliveries that one message to each cached subject causes, in total.
    fan_out: usize,
    counts: Arc<LookUps>,
    admission: usize,
    /// Look-ups since the admission rate was last chosen, except repeats of the previous subject, and their hits.
    looked_up: usize,
    found: usize,
    /// The matches of a subject that is not cached.
    unkept: Matches<S>,
    /// The matches of reply subjects that are used once each.
    siblings: Option<Box<Siblings<S>>>,
    /// The position of the next entry to check for being out of date.
    sweep: usize,
    /// True if subjects are mapped.
    maps: bool,
}

/// A session that publishes to thousands of subjects waits for memory here, so that an entry is one cache line.
#[repr(align(64))]
struct Entry<S> {
    subject: Text,
    generation: Generation,
    matches: Matches<S>,
}

const _: () = assert!(size_of::<Entry<()>>() == 64);

/// A subject, inline if it is short, and its verdict, for which there is a byte left.
enum Text {
    Short { verdict: Verdict, len: u8, bytes: [u8; SHORT] },
    Long { verdict: Verdict, bytes: Box<[u8]> },
}

/// The longest inline subject: an entry remains one cache line.
const SHORT: usize = 21;

impl Text {
    #[inline]
    fn new(subject: &[u8], verdict: Verdict) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..subject.len()) {
            Some(place) => {
                place.copy_from_slice(subject);
                Self::Short { verdict, len: subject.len() as u8, bytes }
            }
            None => Self::Long { verdict, bytes: subject.into() },
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes, .. } => &bytes[..usize::from(*len)],
            Self::Long { bytes, .. } => bytes,
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Short { verdict, .. } | Self::Long { verdict, .. } => *verdict,
        }
    }

    /// Returns the size of its allocation, in bytes.
    fn cost(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long { bytes, .. } => bytes.len(),
        }
    }
}

/// The hash and the probable cache entry of a subject that is about to be looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefetched {
    pub(super) hash: u64,
    /// The probable position of its entry.
    at: u32,
}

const NOWHERE: u32 = u32::MAX;

/// The subjects of one batch.
pub(crate) type PrefetchedBatch = SmallVec<[Prefetched; BATCH_RUNS]>;

/// The result of a look-up.
pub(crate) struct Known<'a, S> {
    pub(crate) verdict: Verdict,
    pub(crate) matches: &'a Matches<S>,
}

impl<S: Interested> MatchCache<S> {
    /// `hasher` must be the [interest's](Interest::hasher).
    pub(crate) fn new(hasher: FixedState, seed: u64, counts: Arc<LookUps>) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            last: 0,
            hasher,
            random: Random::new(seed),
            cost: 0,
            fan_out: 0,
            counts,
            admission: ADMISSION,
            looked_up: 0,
            found: 0,
            unkept: Matches::default(),
            siblings: None,
            sweep: 0,
            maps: false,
        }
    }

    /// Sets whether the mappings of the account replace the subjects.
    pub(crate) fn with_mappings(mut self, maps: bool) -> Self {
        self.maps = maps;
        self
    }

    /// Returns the matches of `subject`, or of the subject that it is mapped to. Calls `judge` with that
    /// subject if it is not cached. `prefetched` is the result of [`Self::prefetch`] for it.
    #[inline(always)]
    pub(crate) fn look_up(
        &mut self,
        interest: &Interest<S>,
        subject: &[u8],
        prefetched: Option<Prefetched>,
        judge: impl FnMut(&[u8]) -> Verdict,
    ) -> Known<'_, S> {
        if prefetched.is_none() && self.is_at(self.last, interest, subject) {
            return self.entries[self.last].known();
        }
        self.look_up_other(interest, subject, prefetched, judge)
    }

    /// Returns the result of the last look-up, if it is that of `subject` and up to date.
    #[inline(always)]
    pub(crate) fn look_up_last(
        &self,
        interest: &Interest<S>,
        subject: &[u8],
    ) -> Option<Known<'_, S>> {
        let entry = self.entries.get(self.last)?;
        let is_it =
            is_same(entry.subject.bytes(), subject) && interest.is_current(entry.generation);
        if is_it { Some(entry.known()) } else { None }
    }

    /// Returns true if the entry at that position is for `subject` and up to date.
    #[inline(always)]
    fn is_at(&self, at: usize, interest: &Interest<S>, subject: &[u8]) -> bool {
        self.entries.get(at).is_some_and(|entry| {
            entry.subject.bytes() == subject && interest.is_current(entry.generation)
        })
    }

    #[inline(never)]
    fn look_up_other(
        &mut self,
        interest: &Interest<S>,
        subject: &[u8],
        prefetched: Option<Prefetched>,
        mut judge: impl FnMut(&[u8]) -> Verdict,
    ) -> Known<'_, S> {
        self.note_look_up();
        if self.siblings.as_mut().is_some_and(|siblings| siblings.include(subject, interest)) {
            self.counts.find();
            return Known { verdict: judge(subject), matches: self.of_siblings() };
        }
        if let Some(Prefetched { at, .. }) = prefetched
            && self.is_at(at as usize, interest, subject)
        {
            self.note_found();
            self.last = at as usize;
            return self.entries[self.last].known();
        }
        let hash =
            prefetched.map_or_else(|| self.hasher.hash_one(subject), |prefetched| prefetched.hash);
        let entries = &self.entries;
        let is_it = |at: &u32| entries[*at as usize].subject.bytes() == subject;
        if let Some(at) = self.index.find(hash, is_it) {
            let at = *at as usize;
            self.note_found();
            if interest.is_current(self.entries[at].generation)
                || self.renew(at, interest, hash, subject)
            {
                self.last = at;
                return self.entries[at].known();
            }
            self.remove(at);
        }
        let (verdict, generation) = self.resolve(interest, hash, subject, judge);
        self.counts.note_fan_out(self.unkept.fan_out());
        if self.unkept.is_used_once() {
            let is_kept = self.keep_siblings(interest, subject, generation);
            let matches = if is_kept { self.of_siblings() } else { &self.unkept };
            return Known { verdict, matches };
        }
        if !self.has_room_for(subject) {
            return Known { verdict, matches: &self.unkept };
        }
        self.forget_some(interest);
        let matches = std::mem::take(&mut self.unkept);
        let subject = Text::new(subject, verdict);
        self.insert(hash, Entry { subject, generation, matches });
        self.entries[self.last].known()
    }

    /// Keeps the matches of a reply subject that is used once, which were just collected, for its siblings. Returns false
    /// if it leaves them where they are.
    fn keep_siblings(
        &mut self,
        interest: &Interest<S>,
        subject: &[u8],
        generation: Generation,
    ) -> bool {
        if let Some(others) = &mut self.siblings
            && !others.give_way(interest)
        {
            return false;
        }
        // Checked after the generation was read: see `Interest::set_mappings`.
        let is_mapped = self.maps && interest.is_mapped();
        let siblings = if is_mapped {
            None
        } else {
            Siblings::of(subject, interest, generation, &mut self.unkept)
        };
        self.siblings = siblings.map(Box::new);
        self.siblings.is_some()
    }

    /// Returns the matches of the reply subject that was looked up last.
    fn of_siblings(&self) -> &Matches<S> {
        self.siblings.as_ref().map_or(&self.unkept, |siblings| &siblings.matches)
    }

    /// Brings an entry up to date. Returns false if it is, or may be, mapped: then its verdict may change too.
    fn renew(&mut self, at: usize, interest: &Interest<S>, hash: u64, subject: &[u8]) -> bool {
        let remembered = self.entries.len();
        let entry = &mut self.entries[at];
        if entry.matches.mapped().is_some() {
            return false;
        }
        let before = (entry.matches.cost(), entry.matches.fan_out());
        entry.matches.clear();
        entry.generation = interest.collect_hashed(hash, subject, &mut entry.matches);
        let after = (entry.matches.cost(), entry.matches.fan_out());
        self.cost = self.cost + after.0 - before.0;
        self.fan_out = self.fan_out + after.1 - before.1;
        self.counts.hold(remembered, self.fan_out);
        self.counts.note_fan_out(after.1);
        // Checked after the generation was read: see `Interest::set_mappings`.
        !self.maps || !interest.is_mapped()
    }

    /// Collects the matches of a subject in `unkept`.
    fn resolve(
        &mut self,
        interest: &Interest<S>,
        hash: u64,
        subject: &[u8],
        mut judge: impl FnMut(&[u8]) -> Verdict,
    ) -> (Verdict, Generation) {
        let verdict = judge(subject);
        self.unkept.clear();
        let generation = interest.collect_hashed(hash, subject, &mut self.unkept);
        // Checked after the generation was read: see `Interest::set_mappings`.
        if self.maps && interest.is_mapped() {
            return self.resolve_mapped(interest, hash, subject, judge);
        }
        (verdict, generation)
    }

    #[cold]
    fn resolve_mapped(
        &mut self,
        interest: &Interest<S>,
        hash: u64,
        subject: &[u8],
        mut judge: impl FnMut(&[u8]) -> Verdict,
    ) -> (Verdict, Generation) {
        loop {
            let mappings = interest.mappings();
            let mapped = mappings.as_ref().and_then(|mappings| mappings.map(subject));
            self.unkept.clear();
            let found = match &mapped {
                None => (judge(subject), interest.collect_hashed(hash, subject, &mut self.unkept)),
                Some(Mapped::To(to)) => (judge(to), interest.collect(to, &mut self.unkept)),
                // Each message has a verdict of its own.
                Some(Mapped::Among(_)) => (Verdict::ALLOWED, interest.generation(subject)),
            };
            if let Some(mapped) = mapped {
                self.unkept.set_mapped(mapped);
            }
            // Repeated if the mappings changed meanwhile: the generation may already be the new one.
            let address = |mappings: Option<Arc<_>>| mappings.as_ref().map(Arc::as_ptr);
            if address(interest.mappings()) == address(mappings) {
                return found;
            }
        }
    }

    /// Prefetches the entries of subjects that will be looked up next. With many subjects each look-up waits several
    /// times for memory, because each load depends on the one before; all of them together wait hardly longer
    /// than one. Returns an empty batch if the cache is small enough to be in the processor's caches.
    pub(crate) fn prefetch<'a>(
        &self,
        interest: &Interest<S>,
        subjects: impl Iterator<Item = &'a [u8]>,
    ) -> PrefetchedBatch {
        if self.entries.len() < ALWAYS_ADMITTED {
            return PrefetchedBatch::new();
        }
        let hash = |subject| Prefetched { hash: self.hasher.hash_one(subject), at: NOWHERE };
        let mut all: PrefetchedBatch = subjects.take(BATCH_RUNS).map(hash).collect();
        if self.admission == SPARSE_ADMISSION {
            interest.prefetch(&all);
            return all;
        }
        for one in &mut all {
            one.at = self.index.find(one.hash, |_| true).copied().unwrap_or(NOWHERE);
        }
        let entries = all.iter().filter_map(|one| self.entries.get(one.at as usize));
        touch_all(entries.filter_map(|entry| entry.matches.plain.first()));
        all
    }

    #[inline]
    fn note_found(&mut self) {
        self.found += 1;
        self.counts.find();
    }

    #[inline]
    fn note_look_up(&mut self) {
        self.counts.ask();
        self.looked_up += 1;
        if self.looked_up == LOOK_UPS {
            self.admission = if self.found < LOOK_UPS / 2 { SPARSE_ADMISSION } else { ADMISSION };
            (self.looked_up, self.found) = (0, 0);
        }
    }

    /// Drops entries that are out of date, which may keep closed subscribers alive: more of them than are
    /// added, so that they cannot accumulate.
    fn forget_some(&mut self, interest: &Interest<S>) {
        if self.siblings.as_ref().is_some_and(|siblings| !siblings.is_current(interest)) {
            self.siblings = None;
        }
        for _ in 0..2 {
            let at = if self.sweep < self.entries.len() { self.sweep } else { 0 };
            match self.entries.get(at) {
                Some(entry) if !interest.is_current(entry.generation) => self.remove(at),
                _ => self.sweep = at + 1,
            }
        }
    }

    /// Returns its approximate size in memory, in bytes.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.cost
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn has_room_for(&mut self, subject: &[u8]) -> bool {
        let admission = match self.entries.len() {
            0..ALWAYS_ADMITTED => 1,
            ALWAYS_ADMITTED..CACHED_SUBJECTS => ADMISSION,
            _ => self.admission,
        };
        subject.len() <= CACHED_SUBJECT_BYTES && self.random.below(admission) == 0
    }

    fn insert(&mut self, hash: u64, entry: Entry<S>) {
        // Each insertion evicts only as much as it adds, so that no single message pays for many.
        while self.entries.len() >= CACHED_SUBJECTS
            || (self.cost > CACHED_BYTES && !self.entries.is_empty())
        {
            let victim = self.random.below(self.entries.len());
            self.remove(victim);
        }
        self.cost += entry.cost();
        self.fan_out += entry.matches.fan_out();
        self.last = self.entries.len();
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash_of = |at: &u32| hasher.hash_one(entries[*at as usize].subject.bytes());
        self.index.insert_unique(hash, self.last as u32, hash_of);
        self.entries.push(entry);
        self.counts.hold(self.entries.len(), self.fan_out);
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.cost -= entry.cost();
        self.fan_out -= entry.matches.fan_out();
        let hash = self.hasher.hash_one(entry.subject.bytes());
        if let Ok(slot) = self.index.find_entry(hash, |other| *other as usize == at) {
            slot.remove();
        }
        // The last entry has moved into the gap.
        let moved_from = self.entries.len() as u32;
        let Some(moved) = self.entries.get(at) else { return };
        let hash = self.hasher.hash_one(moved.subject.bytes());
        if let Some(slot) = self.index.find_mut(hash, |other| *other == moved_from) {
            *slot = at as u32;
        }
    }
}

impl<S: Interested> Entry<S> {
    fn known(&self) -> Known<'_, S> {
        Known { verdict: self.subject.verdict(), matches: &self.matches }
    }

    fn cost(&self) -> usize {
        size_of::<Self>() + self.subject.cost() + self.matches.cost()
    }
}

/// Removes the entries from the statistics; the look-ups remain counted.
impl<S> Drop for MatchCache<S> {
    fn drop(&mut self) {
        self.counts.hold(0, 0);
    }
}
