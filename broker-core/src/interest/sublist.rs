//! All subscriptions of an account: those without wildcards in a hash table by subject, the others in
//! a trie by token. The trie has those to single reply subjects of services too: it tells whether there are any, which
//! the table could not (`siblings.rs`). Those to single subjects below inboxes are counted for the same reason.
//!
//! Most subscriptions have no wildcard, reply inboxes above all. A table finds them in one step,
//! whatever their number, and takes 10 to 20 bytes for each beside the subscription itself; the trie
//! holds only the few that need it.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::matches::Matches;
use super::members::Crowd;
use super::siblings;
use super::trie::Trie;
use super::{Interested, Prefetched, touch_all};
use crate::limits::BATCH_RUNS;
use crate::stats::InterestStats;
use crate::subject::{Token, tokens};
use crate::sync::Arc;
use crate::table::Table;

/// The subscriptions of an account by filter.
pub(super) struct Sublist<S> {
    /// One subscription of each filter, usually the only one.
    literal: Table<Arc<S>>,
    /// The others with that filter, if there are any.
    others: Table<Crowd<S>>,
    wildcard: Trie<S>,
    hasher: FixedState,
    /// The number of subscriptions in `literal` and `others` to single subjects below inboxes.
    below_inboxes: usize,
    len: usize,
    inserts: u64,
    removes: u64,
}

impl<S: Interested> Sublist<S> {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self {
            literal: Table::default(),
            others: Table::default(),
            wildcard: Trie::new(hasher.clone()),
            hasher,
            below_inboxes: 0,
            len: 0,
            inserts: 0,
            removes: 0,
        }
    }

    pub(super) fn stats(&self) -> InterestStats {
        InterestStats {
            subscriptions: self.len,
            inserts: self.inserts,
            removes: self.removes,
            ..InterestStats::default()
        }
    }

    #[cfg(test)]
    pub(super) fn trie_size(&self) -> (usize, usize) {
        self.wildcard.size()
    }

    pub(super) fn insert(&mut self, subscription: Arc<S>) {
        self.len += 1;
        self.inserts += 1;
        if is_in_trie(subscription.filter()) {
            self.wildcard.insert(subscription);
            return;
        }
        let filter = subscription.filter();
        self.below_inboxes += usize::from(siblings::is_below_inbox(filter));
        let hash = self.hasher.hash_one(filter);
        if self.literal.find(hash, |other| other.filter() == filter).is_none() {
            let hasher = &self.hasher;
            let hash_of = |other: &Arc<S>| hasher.hash_one(other.filter());
            return self.literal.insert(hash, subscription, hash_of);
        }
        if let Some(others) = self.others.find_mut(hash, |others| shared_filter(others) == filter) {
            return others.insert(subscription, &self.hasher);
        }
        let mut others = Crowd::default();
        others.insert(Arc::clone(&subscription), &self.hasher);
        let hasher = &self.hasher;
        self.others.insert(hash, others, |others| hasher.hash_one(shared_filter(others)));
    }

    /// Returns the number of subscriptions.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of filters without wildcards.
    pub(super) fn literal_filters(&self) -> usize {
        self.literal.len()
    }

    /// Removes a subscription. Returns false if it was not there.
    pub(super) fn remove(&mut self, subscription: &Arc<S>) -> bool {
        let filter = subscription.filter();
        let removed = if is_in_trie(filter) {
            self.wildcard.remove(subscription)
        } else {
            let removed = self.remove_literal(subscription);
            self.below_inboxes -= usize::from(removed && siblings::is_below_inbox(filter));
            removed
        };
        self.len -= usize::from(removed);
        self.removes += u64::from(removed);
        removed
    }

    fn remove_literal(&mut self, subscription: &Arc<S>) -> bool {
        let filter = subscription.filter();
        let hasher = &self.hasher;
        let hash = hasher.hash_one(filter);
        let hash_of = |other: &Arc<S>| hasher.hash_one(other.filter());
        let Some(others) = self.others.find_mut(hash, |others| shared_filter(others) == filter)
        else {
            let is_it = |other: &Arc<S>| Arc::ptr_eq(other, subscription);
            return self.literal.remove(hash, is_it, hash_of).is_some();
        };
        let one = self.literal.find_mut(hash, |other| other.filter() == filter);
        let Some(one) = one else { return false };
        let removed = if Arc::ptr_eq(one, subscription) {
            // Another subscription takes its place in the table.
            others.pop(hasher).map(|other| *one = other).is_some()
        } else {
            others.remove(subscription, hasher)
        };
        if others.len() == 0 {
            let is_it = |others: &Crowd<S>| others.len() == 0;
            let hash_of = |others: &Crowd<S>| hasher.hash_one(shared_filter(others));
            self.others.remove(hash, is_it, hash_of);
        }
        removed
    }

    /// See [`Interest::prefetch`](super::Interest::prefetch).
    pub(super) fn prefetch(&self, subjects: &[Prefetched]) {
        if self.literal.is_empty() {
            return;
        }
        let mut found = [None; BATCH_RUNS];
        for (place, subject) in found.iter_mut().zip(subjects) {
            *place = self.literal.find(subject.hash, |_| true);
        }
        touch_all(found.into_iter().flatten());
    }

    /// See [`Interest::is_same_for_siblings`](super::Interest::is_same_for_siblings).
    pub(super) fn is_same_for_siblings(&self, prefix: &[u8]) -> bool {
        // Subscriptions to single inboxes are many and short-lived, so that they are in the table, and only counted.
        let is_of_service = prefix.starts_with(siblings::SERVICES);
        (is_of_service || self.below_inboxes == 0) && !self.wildcard.tells_apart(prefix)
    }

    /// Adds the matches of `subject`, whose hash is `hash`.
    pub(super) fn collect(&self, hash: u64, subject: &[u8], matches: &mut Matches<S>) {
        if let Some(one) = self.literal.find(hash, |other| other.filter() == subject) {
            matches.add(one);
            if let Some(others) = self.others.find(hash, |other| shared_filter(other) == subject) {
                others.collect(matches);
            }
        }
        if !self.wildcard.is_empty() {
            self.wildcard.collect(subject, matches);
        }
    }
}

/// Returns true for filters that the trie has, not the table.
#[inline]
fn is_in_trie(filter: &[u8]) -> bool {
    filter.starts_with(siblings::SERVICES)
        || tokens(filter).any(|token| !matches!(Token::of(token), Token::Literal(_)))
}

/// Returns the filter that they share. An empty list, which is never stored, has the empty filter.
fn shared_filter<S: Interested>(others: &Crowd<S>) -> &[u8] {
    others.first().map_or(&[], |first| first.filter())
}
