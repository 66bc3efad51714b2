//! The number of subscriptions of each filter and queue group, kept only while there are listeners.

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::Interested;
use super::event_listener::EventListener;
use super::pending::{Key, Progress, hash};
use crate::sync::Arc;
use crate::table::{self, Table};

/// The counts of one interest, with its listeners.
pub(super) struct Counts {
    table: Table<Entry>,
    hasher: FixedState,
    pub(super) listeners: Vec<Arc<EventListener>>,
    /// The listener that came when nothing was counted.
    first: Option<Arc<EventListener>>,
    /// The kinds of endpoints whose subscriptions are counted: those that a listener has asked for.
    kinds: u8,
    /// True once the subscriptions from before the first listener are counted too.
    pub(super) is_whole: bool,
}

/// The members of one filter and queue group, by kind of endpoint.
struct Entry {
    key: Key,
    members: SmallVec<[(u8, u64); 1]>,
    /// The first listener has received it when it was counted, and receives all of its changes.
    is_first_told: bool,
}

/// Its key keeps its hash.
impl table::Entry for Entry {}

impl Entry {
    /// Returns the count for a listener to these kinds.
    fn count(&self, kinds: u8) -> u32 {
        let counted = self.members.iter().filter(|(kind, _)| kind & kinds != 0);
        let sum: u64 = counted.map(|(_, count)| *count).sum();
        let most = if self.key.queue().is_none() { 1 } else { u32::MAX };
        u32::try_from(sum).unwrap_or(u32::MAX).min(most)
    }

    /// Returns true if this listener receives its changes, whatever part of the interest it has received.
    fn is_told_to(
        &self,
        listener: &Arc<EventListener>,
        first: Option<&Arc<EventListener>>,
    ) -> bool {
        self.is_first_told && first.is_some_and(|first| Arc::ptr_eq(first, listener))
    }

    fn change(&mut self, kind: u8, before: u64, now: u64) {
        let place = self.members.iter().position(|(other, _)| *other == kind);
        let place = place.unwrap_or_else(|| {
            self.members.push((kind, 0));
            self.members.len() - 1
        });
        let count = &mut self.members[place].1;
        *count = (*count + now).saturating_sub(before);
        if *count == 0 {
            self.members.swap_remove(place);
        }
    }
}

impl Counts {
    /// `expected`: about the number of filters that will be counted.
    pub(super) fn new(hasher: FixedState, is_whole: bool, expected: usize) -> Self {
        let (table, listeners) = (Table::for_entries(expected), Vec::new());
        Self { table, hasher, listeners, first: None, kinds: 0, is_whole }
    }

    /// Returns true if subscriptions of that kind of endpoint are counted: all are while existing ones are being counted,
    /// because a listener to other kinds may come meanwhile.
    pub(super) fn wants(&self, kind: u8) -> bool {
        !self.is_whole || self.kinds & kind != 0
    }

    /// Adds a listener. Subscriptions of kinds that no listener has asked for before are still to be counted, unless
    /// `is_empty`: there are no subscriptions.
    pub(super) fn add(&mut self, listener: &Arc<EventListener>, is_empty: bool) {
        let more = listener.kinds & !self.kinds;
        self.kinds |= more;
        self.is_whole &= more == 0 || is_empty;
        listener.set_progress(self.beginning());
        if self.listeners.is_empty() && self.table.is_empty() {
            self.first = Some(Arc::clone(listener));
        }
        self.listeners.push(Arc::clone(listener));
    }

    pub(super) fn remove(&mut self, listener: &Arc<EventListener>) {
        self.listeners.retain(|other| !Arc::ptr_eq(other, listener));
        self.first.take_if(|first| Arc::ptr_eq(first, listener));
    }

    /// Changes the weight of a subscription, 0 for not counted, and notes the change for
    /// listeners.
    pub(super) fn change<S: Interested>(&mut self, subscription: &S, before: u32, now: u32) {
        self.change_by(None, subscription, before, now);
    }

    /// Counts a subscription from before the first listener. If `by`, the listener that counts, is that one, it receives a plain
    /// filter now: so the interest is sent while it is counted. The members of a queue group are passed on when all are counted,
    /// to send one number instead of many.
    pub(super) fn count<S: Interested>(&mut self, by: &Arc<EventListener>, subscription: &S) {
        let by = Some(by).filter(|_| subscription.queue().is_none());
        self.change_by(by, subscription, 0, subscription.weight());
    }

    fn change_by<S: Interested>(
        &mut self,
        by: Option<&Arc<EventListener>>,
        subscription: &S,
        before: u32,
        now: u32,
    ) {
        let (filter, queue) = (subscription.filter(), subscription.queue());
        let kind = subscription.kind_bit();
        let hash = hash(filter, queue, &self.hasher);
        let hash_of = |entry: &Entry| entry.key.hash();
        let is_it = |entry: &Entry| entry.key.is(filter, queue);
        let mut new = None;
        let entry = match self.table.find_mut(hash, is_it) {
            Some(known) => known,
            None => new.insert(Entry {
                key: Key::new(filter, queue, hash),
                members: SmallVec::new(),
                is_first_told: false,
            }),
        };
        let told: SmallVec<[u32; 4]> =
            self.listeners.iter().map(|listener| entry.count(listener.kinds)).collect();
        entry.change(kind, before.into(), now.into());
        let first = self.first.as_ref();
        let by_first = first.filter(|first| by.is_some_and(|by| Arc::ptr_eq(first, by)));
        for (listener, told) in self.listeners.iter().zip(told) {
            let count = entry.count(listener.kinds);
            if count == told {
                continue;
            }
            if entry.is_told_to(listener, first) {
                listener.add(&entry.key, told, count);
            } else if told == 0 && by_first.is_some_and(|first| Arc::ptr_eq(first, listener)) {
                entry.is_first_told = true;
                listener.add_existing(&entry.key, count);
            } else {
                listener.note(&entry.key, told, count);
            }
        }
        let is_gone = entry.members.is_empty();
        match new {
            Some(entry) if !is_gone => self.table.insert(hash, entry, hash_of),
            None if is_gone => _ = self.table.remove(hash, is_it, hash_of),
            _ => {}
        }
    }

    /// Loads the places of subscriptions that will be counted next. None of these loads depends on another, so that the processor
    /// runs them at the same time.
    pub(super) fn touch<S: Interested>(&self, subscriptions: &[Arc<S>]) {
        let places = subscriptions.iter().filter(|subscription| {
            let hash = hash(subscription.filter(), subscription.queue(), &self.hasher);
            self.table.find(hash, |_| true).is_some()
        });
        std::hint::black_box(places.count());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Marks the counts as complete: everything from before the first listener is counted.
    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_whole, true) {
            let waits = |listener: &&Arc<EventListener>| listener.progress() == Progress::Nothing;
            for listener in self.listeners.iter().filter(waits) {
                listener.set_progress(self.beginning());
            }
        }
    }

    /// Returns the progress of a new listener.
    fn beginning(&self) -> Progress {
        match self.is_whole {
            true if self.table.is_empty() => Progress::All,
            true => Progress::Before(Default::default()),
            false => Progress::Nothing,
        }
    }

    /// Notes one part of the table for a listener that has not received it. Returns true if there are more.
    pub(super) fn note_part(&self, listener: &Arc<EventListener>) -> bool {
        let Progress::Before(place) = listener.progress() else { return false };
        let (part, next) = self.table.part(place, |entry| entry.key.hash());
        let is_new = |entry: &&Entry| !entry.is_told_to(listener, self.first.as_ref());
        let counted = part.filter(is_new).map(|entry| (&entry.key, entry.count(listener.kinds)));
        let progress = next.map_or(Progress::All, Progress::Before);
        listener.note_part(counted.filter(|(_, count)| *count > 0), progress);
        next.is_some()
    }
}
