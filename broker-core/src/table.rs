//! A hash table whose every operation is bounded, whatever its number of entries.
//!
//! An ordinary hash table moves all of its entries when it is full, which takes a tenth of a second
//! with a million of them, under the lock that protects it. This one is made of parts of some hundred entries
//! and grows by splitting one part at a time (linear hashing): one insertion moves the entries of one part
//! at most. It shrinks in the same way, is dropped part by part ([`Drain`]), and can be read part by part
//! while it changes ([`Table::part`]).

use hashbrown::{HashTable, hash_table};
use smallvec::{SmallVec, smallvec};

/// The average number of entries of a part. Between two splits a part has at most twice as many, apart from
/// random variation, and 800 and a little more fit into the 896 that a table of 1,024 slots takes.
pub(crate) const PART: usize = 400;

/// The most entries that one operation moves or reads: those of a part. Six standard deviations above twice the
/// average.
#[cfg(test)]
pub(crate) const MOST: usize = 2 * PART + 6 * 29;

/// The most parts that one operation makes: 128 KiB without their entries.
const MOST_PARTS_AT_ONCE: usize = 4096;

/// An entry of a [`Table`].
pub(crate) trait Entry {
    /// Loads the memory that its hash is computed from, if that is elsewhere, so that it is in the processor's cache.
    fn touch(&self) -> usize {
        0
    }
}

/// The caller compares entries and passes their hashes, which are computed again when entries move.
pub(crate) struct Table<T> {
    /// Part `i` has the entries whose bits end in `i`, as a number of `mask`'s width, or of one bit less
    /// if the part of that number has not been split off yet.
    parts: SmallVec<[HashTable<T>; 1]>,
    /// A mask of ones as wide as the number of the last part.
    mask: u32,
    len: usize,
}

/// A position for reading part by part. Parts are read in the order of their reversed bits, so that the two halves
/// of a split part take the position of that part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place(u32);

impl Place {
    /// Returns true if an entry with that hash is before the place: [`Table::part`] has returned it if it
    /// existed.
    pub(crate) fn is_behind(self, hash: u64) -> bool {
        bits(hash).reverse_bits() < self.0
    }
}

/// A place in an array.
impl Entry for u32 {}

/// Returns the bits of a hash that select the part; the tables within the parts use others.
fn bits(hash: u64) -> u32 {
    (hash >> 24) as u32
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { parts: smallvec![HashTable::new()], mask: 0, len: 0 }
    }
}

impl<T: Entry> Table<T> {
    /// Returns a table that needs no splitting up to about so many entries. It has no memory for them yet.
    pub(crate) fn for_entries(expected: usize) -> Self {
        let parts = (expected / PART).clamp(1, MOST_PARTS_AT_ONCE);
        let last = (parts - 1) as u32;
        let mask = u32::MAX.checked_shr(last.leading_zeros()).unwrap_or_default();
        Self { parts: (0..parts).map(|_| HashTable::new()).collect(), mask, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn part_of(&self, bits: u32) -> usize {
        let at = (bits & self.mask) as usize;
        if at < self.parts.len() { at } else { (bits & (self.mask >> 1)) as usize }
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[self.part_of(bits(hash))].find(hash, is_it)
    }

    #[inline]
    pub(crate) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = self.part_of(bits(hash));
        self.parts[at].find_mut(hash, is_it)
    }

    /// Adds an entry, which must be new.
    pub(crate) fn insert(&mut self, hash: u64, value: T, hash_of: impl Fn(&T) -> u64) {
        let at = self.part_of(bits(hash));
        let part = &mut self.parts[at];
        if part.len() == part.capacity() {
            touch_all(part);
        }
        part.insert_unique(hash, value, &hash_of);
        self.len += 1;
        if self.len > self.parts.len() * PART {
            self.split(hash_of);
        }
    }

    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let at = self.part_of(bits(hash));
        let (value, _) = self.parts[at].find_entry(hash, is_it).ok()?.remove();
        self.len -= 1;
        self.settle(at, hash_of);
        Some(value)
    }

    /// Keeps the entries of one part for which `is_kept` returns true. Returns the next place.
    pub(crate) fn retain_part(
        &mut self,
        place: Place,
        is_kept: impl Fn(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<Place> {
        let (at, _, next) = self.at(place);
        let before = self.parts[at].len();
        self.parts[at].retain(|value| is_kept(value));
        self.len -= before - self.parts[at].len();
        self.settle(at, hash_of);
        next
    }

    /// Returns the entries of one part, and the next place. A caller that starts at the default place and continues
    /// until there is no next one sees each entry that stays meanwhile once, however the table changes.
    pub(crate) fn part(
        &self,
        place: Place,
        hash_of: impl Fn(&T) -> u64,
    ) -> (impl Iterator<Item = &T>, Option<Place>) {
        let (at, begin, next) = self.at(place);
        // Two parts may have been merged since, of which the first was read.
        let is_merged = begin != place;
        let is_new = move |value: &&T| !is_merged || bits(hash_of(value)).reverse_bits() >= place.0;
        (self.parts[at].iter().filter(is_new), next)
    }

    /// Returns the part of a place, the place at which that part begins, and the next place.
    fn at(&self, place: Place) -> (usize, Place, Option<Place>) {
        let at = self.part_of(place.0.reverse_bits());
        let (number, half) = (at as u32, self.mask.div_ceil(2));
        let is_whole = number < half && ((number + half) as usize) >= self.parts.len();
        let width = self.mask.count_ones() - u32::from(is_whole);
        if width == 0 {
            return (at, Place::default(), None);
        }
        let size = 1 << (32 - width);
        let begin = place.0 & !(size - 1);
        (at, Place(begin), begin.checked_add(size).map(Place))
    }

    /// Frees the memory of a burst, a little with each removal.
    fn settle(&mut self, at: usize, hash_of: impl Fn(&T) -> u64) {
        let part = &mut self.parts[at];
        if part.len() * 8 < part.capacity() && part.capacity() > PART {
            touch_all(part);
            part.shrink_to(part.capacity() / 2, &hash_of);
        }
        if self.len * 4 < (self.parts.len() - 1) * PART {
            self.merge(hash_of);
        }
    }

    /// Splits the next part in two.
    fn split(&mut self, hash_of: impl Fn(&T) -> u64) {
        let new = self.parts.len() as u32;
        if new > self.mask {
            self.mask = 2 * self.mask + 1;
        }
        let old = &mut self.parts[(new & (self.mask >> 1)) as usize];
        let all = std::mem::take(old);
        touch_all(&all);
        let mut other = HashTable::with_capacity(all.len() / 2);
        *old = HashTable::with_capacity(all.len() / 2);
        for value in all {
            let hash = hash_of(&value);
            let part = if bits(hash) & self.mask == new { &mut other } else { &mut *old };
            part.insert_unique(hash, value, &hash_of);
        }
        self.parts.push(other);
    }

    /// Merges the last part into the one that it was split from.
    fn merge(&mut self, hash_of: impl Fn(&T) -> u64) {
        if self.parts.len() < 2 {
            return;
        }
        let Some(last) = self.parts.pop() else { return };
        touch_all(&last);
        let number = self.parts.len() as u32;
        let into = &mut self.parts[(number & (self.mask >> 1)) as usize];
        for value in last {
            into.insert_unique(hash_of(&value), value, &hash_of);
        }
        if number <= self.mask.div_ceil(2) {
            self.mask >>= 1;
        }
        if self.parts.len() * 4 < self.parts.capacity() {
            self.parts.shrink_to_fit();
        }
    }

    /// Returns all entries. Each step drops one part at most.
    pub(crate) fn into_drain(self) -> Drain<T> {
        Drain { parts: self.parts, current: None }
    }
}

/// Loads what the hashes of all entries of a part are computed from. None of these loads depends on another, so that the
/// processor runs them at the same time; one after the other, they take most of the time of moving entries.
fn touch_all<T: Entry>(part: &HashTable<T>) {
    let sum = part.iter().fold(0, |sum: usize, entry| sum.wrapping_add(entry.touch()));
    std::hint::black_box(sum);
}

/// The iterator of [`Table::into_drain`].
pub(crate) struct Drain<T> {
    parts: SmallVec<[HashTable<T>; 1]>,
    current: Option<hash_table::IntoIter<T>>,
}

impl<T> Iterator for Drain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(value) = self.current.as_mut().and_then(Iterator::next) {
                return Some(value);
            }
            self.current = Some(self.parts.pop()?.into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;
    use proptest::prelude::*;

    use super::*;

    impl Entry for u64 {}

    fn hash(value: &u64) -> u64 {
        FixedState::with_seed(7).hash_one(value)
    }

    /// Reads all entries, part by part; calls `change` in between.
    fn read(table: &mut Table<u64>, mut change: impl FnMut(&mut Table<u64>)) -> Vec<u64> {
        let (mut seen, mut place) = (Vec::new(), Some(Place::default()));
        while let Some(at) = place {
            let (part, next) = table.part(at, hash);
            seen.extend(part);
            place = next;
            change(table);
        }
        seen
    }

    #[test]
    fn no_operation_moves_more_than_a_part() {
        let mut table = Table::default();
        let (hashed, most) = (Cell::new(0), Cell::new(0));
        let counting = |value: &u64| {
            hashed.set(hashed.get() + 1);
            hash(value)
        };
        let note = || most.set(most.get().max(hashed.replace(0)));
        for value in 0..100_000 {
            table.insert(hash(&value), value, counting);
            note();
        }
        // Moved once, and perhaps once more within the new part.
        assert!(most.get() <= 2 * MOST, "{} by an insertion", most.get());
        let biggest = table.parts.iter().map(HashTable::len).max();
        assert!(biggest <= Some(MOST), "{biggest:?}");
        most.set(0);
        for value in 0..100_000 {
            assert_eq!(table.remove(hash(&value), |other| *other == value, counting), Some(value));
            note();
        }
        assert!(most.get() <= 2 * MOST, "{} by a removal", most.get());
        assert_eq!((table.len(), table.parts.len(), table.mask), (0, 1, 0));
        assert!(table.parts[0].capacity() <= 2 * PART);
    }

    /// An entry that notes in which operation it was touched.
    struct Noting<'a> {
        value: u64,
        touched: Cell<u64>,
        operation: &'a Cell<u64>,
    }

    impl Entry for Noting<'_> {
        fn touch(&self) -> usize {
            self.touched.set(self.operation.get());
            0
        }
    }

    #[test]
    fn entries_are_loaded_before_an_operation_moves_them() {
        let (operation, hashed) = (Cell::new(0), Cell::new(0));
        let hash_of = |entry: &Noting<'_>| {
            hashed.set(hashed.get() + 1);
            assert_eq!(entry.touched.get(), operation.get(), "{} was not touched", entry.value);
            hash(&entry.value)
        };
        let mut table = Table::default();
        for value in 0..5_000 {
            operation.set(operation.get() + 1);
            let entry = Noting { value, touched: Cell::new(0), operation: &operation };
            table.insert(hash(&value), entry, hash_of);
        }
        let by_growing = hashed.replace(0);
        for value in 0..5_000 {
            operation.set(operation.get() + 1);
            assert!(table.remove(hash(&value), |entry| entry.value == value, hash_of).is_some());
        }
        assert!(by_growing > 5_000 && hashed.get() > 1_000, "{by_growing}, {hashed:?}");
    }

    #[test]
    fn a_table_for_many_entries_moves_none_from_part_to_part() {
        for expected in [0, 399, 400, 800, 2_000, 30_000, 51_199, 51_200] {
            let mut table = Table::for_entries(expected as usize);
            assert!(table.parts.iter().all(|part| part.capacity() == 0));
            let parts = table.parts.len();
            for value in 0..expected {
                table.insert(hash(&value), value, hash);
            }
            assert!(table.parts.len() <= parts + 1, "{expected}: {parts}");
            assert!(
                (0..expected).all(|value| table.find(hash(&value), |it| *it == value).is_some())
            );
            let mut seen = read(&mut table, |_| {});
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..expected), "{expected}");
            for value in 0..expected {
                assert_eq!(table.remove(hash(&value), |it| *it == value, hash), Some(value));
            }
            assert_eq!((table.parts.len(), table.mask), (1, 0));
        }
    }

    #[test]
    fn an_entry_that_stays_is_read_once_while_the_table_grows_and_shrinks() {
        for stays in [0, 1, 300, 401, 5_000, 70_000] {
            let mut table = Table::default();
            for value in 0..stays {
                table.insert(hash(&value), value, hash);
            }
            let expected: Vec<u64> = (0..stays).collect();
            let mut next = 1_000_000;
            let grow = |table: &mut Table<u64>| {
                for value in next..next + 1_000 {
                    table.insert(hash(&value), value, hash);
                }
                next += 1_000;
            };
            let stayed = |seen: Vec<u64>| {
                let mut seen: Vec<u64> = seen.into_iter().filter(|value| *value < stays).collect();
                seen.sort_unstable();
                seen
            };
            // Bounded, since reading follows the order of hashes, not the number of parts.
            if stays <= 5_000 {
                let mut rounds = 0;
                let mut grow = grow;
                let seen = read(&mut table, |table| {
                    rounds += 1;
                    if rounds < 50 {
                        grow(table);
                    }
                });
                assert_eq!(stayed(seen), expected, "growing beside {stays}");
            }
            let mut gone = 1_000_000;
            let seen = read(&mut table, |table| {
                for value in gone..gone + 2_000 {
                    table.remove(hash(&value), |other| *other == value, hash);
                }
                gone += 2_000;
            });
            assert_eq!(stayed(seen), expected, "shrinking to {stays}");
        }
    }

    /// A hash is computed from memory that the reader may not need otherwise.
    #[test]
    fn reading_computes_no_hashes_unless_parts_were_merged() {
        let mut table = Table::default();
        for value in 0..10_000 {
            table.insert(hash(&value), value, hash);
        }
        let hashed = Cell::new(0);
        let counting = |value: &u64| {
            hashed.set(hashed.get() + 1);
            hash(value)
        };
        let (mut seen, mut place) = (0, Some(Place::default()));
        while let Some(at) = place {
            let (part, next) = table.part(at, counting);
            seen += part.count();
            place = next;
        }
        assert_eq!((seen, hashed.get()), (10_000, 0));
    }

    #[test]
    fn parts_are_retained_and_drained() {
        let mut table = Table::default();
        for value in 0..10_000 {
            table.insert(hash(&value), value, hash);
        }
        let mut place = Some(Place::default());
        while let Some(at) = place {
            place = table.retain_part(at, |value| value % 10 == 0, hash);
        }
        assert_eq!(table.len(), 1_000);
        let left: HashSet<u64> = table.into_drain().collect();
        assert_eq!(left, (0..10_000).step_by(10).collect());
    }

    proptest! {
        #[test]
        fn a_table_agrees_with_a_set(steps in proptest::collection::vec((any::<bool>(), 0..3_000_u64), 1..6_000)) {
            let mut table = Table::default();
            let mut model = HashSet::new();
            for (is_insert, value) in steps {
                let is_it = |other: &u64| *other == value;
                prop_assert_eq!(table.find(hash(&value), is_it).copied(), model.get(&value).copied());
                if is_insert && model.insert(value) {
                    table.insert(hash(&value), value, hash);
                } else if !is_insert {
                    let removed = table.remove(hash(&value), is_it, hash);
                    prop_assert_eq!(removed.is_some(), model.remove(&value));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let seen = read(&mut table, |_| {});
            prop_assert_eq!(seen.len(), model.len());
            prop_assert_eq!(seen.into_iter().collect::<HashSet<_>>(), model);
        }
    }
}
