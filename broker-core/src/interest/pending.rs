//! Pending changes of interest for one listener: the newest count of each filter and queue group.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::sync::Arc;
use crate::table::{Entry, Place, Table};

/// A filter and a queue group, shared by all that keep them.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Key {
    /// Kept, because a table that moves its entries would read the text of each to compute it.
    hash: u64,
    text: Arc<[u8]>,
    filter_len: usize,
}

impl Key {
    /// Creates a key with its [`hash`].
    pub(super) fn new(filter: &[u8], queue: Option<&[u8]>, hash: u64) -> Self {
        let text = queue.map_or_else(|| filter.into(), |queue| [filter, queue].concat().into());
        Self { hash, text, filter_len: filter.len() }
    }

    pub(super) fn filter(&self) -> &[u8] {
        &self.text[..self.filter_len]
    }

    pub(super) fn queue(&self) -> Option<&[u8]> {
        Some(&self.text[self.filter_len..]).filter(|queue| !queue.is_empty())
    }

    pub(super) fn is(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.filter() == filter && self.queue() == queue
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

/// It keeps its hash.
impl Entry for (Key, u64) {}

pub(super) fn hash(filter: &[u8], queue: Option<&[u8]>, hasher: &FixedState) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(filter);
    hasher.write(queue.unwrap_or_default());
    hasher.finish()
}

/// A change of the interest in a filter, plain or of one queue group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InterestChange<'a> {
    /// The text of a valid filter.
    pub filter: &'a [u8],
    /// The queue group; `None` for plain interest.
    pub queue: Option<&'a [u8]>,
    /// The count in the previous change; 0 for no interest.
    pub before: u32,
    /// 1 for plain interest; the number of members of a queue group; 0 after the last was removed.
    pub now: u32,
}

/// A pending change.
pub(super) struct Waiting {
    key: Key,
    before: u32,
    now: u32,
}

impl Waiting {
    pub(super) fn change(&self) -> InterestChange<'_> {
        let (filter, queue) = (self.key.filter(), self.key.queue());
        InterestChange { filter, queue, before: self.before, now: self.now }
    }
}

/// The part of the existing interest that a listener has received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Nothing: it is being counted.
    Nothing,
    /// Everything before that place in the table of counts.
    Before(Place),
    All,
}

/// The pending changes of one listener. At most one is pending for each filter and queue group that the listener has
/// received or that has members now, so that the size is bounded by the interest.
pub(super) struct Pending {
    pub(super) progress: Progress,
    /// Existing interest, pending for longer than all of `order`.
    existing: VecDeque<Waiting>,
    /// The number of the pending change of a filter and queue group.
    numbers: Table<(Key, u64)>,
    /// Ordered by the time since when they are pending.
    order: BTreeMap<u64, Waiting>,
    next: u64,
}

impl Pending {
    pub(super) fn new(progress: Progress) -> Self {
        Self {
            progress,
            existing: VecDeque::new(),
            numbers: Table::default(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.existing.len() + self.order.len()
    }

    /// Notes a change if the listener has received the filter already, or would not receive it otherwise.
    pub(super) fn note(&mut self, key: &Key, before: u32, now: u32) {
        let has_told = match self.progress {
            Progress::Nothing => false,
            Progress::Before(place) => place.is_behind(key.hash),
            Progress::All => true,
        };
        if has_told {
            self.add(key, before, now);
        }
    }

    /// Adds interest from before the listener, which it has not received. Usually no change is pending: then it needs no
    /// look-up, and what is added afterwards is passed afterwards.
    pub(super) fn add_existing(&mut self, key: &Key, now: u32) {
        if self.order.is_empty() {
            self.existing.push_back(Waiting { key: key.clone(), before: 0, now });
        } else {
            self.add(key, 0, now);
        }
    }

    /// Adds a change, or updates the pending one.
    pub(super) fn add(&mut self, key: &Key, before: u32, now: u32) {
        let known =
            self.numbers.find(key.hash, |(other, _)| other == key).map(|(_, number)| *number);
        if let Some(number) = known {
            if let Some(waiting) = self.order.get_mut(&number) {
                waiting.now = now;
                if waiting.before == now {
                    self.take(number);
                }
            }
            return;
        }
        let number = self.next;
        self.next += 1;
        self.order.insert(number, Waiting { key: key.clone(), before, now });
        self.numbers.insert(key.hash, (key.clone(), number), |(key, _)| key.hash);
    }

    /// Removes the oldest pending changes, at most `limit`, in order.
    pub(super) fn take_some(&mut self, limit: usize) -> SmallVec<[Waiting; 1]> {
        if !self.existing.is_empty() && self.existing.len() <= limit {
            return Vec::from(std::mem::take(&mut self.existing)).into();
        }
        if !self.existing.is_empty() {
            return self.existing.drain(..limit).collect();
        }
        let next = || {
            let (number, _) = self.order.first_key_value()?;
            self.take(*number)
        };
        std::iter::from_fn(next).take(limit).collect()
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.order.remove(&number)?;
        let is_it = |(_, other): &(Key, u64)| *other == number;
        self.numbers.remove(waiting.key.hash, is_it, |(key, _)| key.hash);
        Some(waiting)
    }
}
