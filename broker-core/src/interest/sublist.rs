//! All subscriptions of an account: those without wildcards in a hash table by subject, the others in
//! a trie by token.
//!
//! Most subscriptions have no wildcard, reply inboxes above all. A table finds them in one step
//! however many there are, and takes 10 to 20 bytes for each beside the subscription itself; the trie
//! is left to the few that need it.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::matches::Matches;
use super::{Interested, Prefetched, touch_all};
use crate::limits::BATCH_RUNS;
use crate::stats::InterestStats;
use crate::subject::{Token, tokens};
use crate::sync::Arc;
use std::hash::BuildHasher;

/// See the module.
pub(super) struct Sublist<S> {
    /// One subscription of each filter, mostly the only one.
    literal: HashTable<Arc<S>>,
    /// The others with that filter, if there are any.
    others: HashTable<Vec<Arc<S>>>,
    wildcard: Node<S>,
    hasher: FixedState,
    len: usize,
    inserts: u64,
    removes: u64,
}

impl<S: Interested> Sublist<S> {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self {
            literal: HashTable::new(),
            others: HashTable::new(),
            wildcard: Node::default(),
            hasher,
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

    pub(super) fn insert(&mut self, subscription: Arc<S>) {
        self.len += 1;
        self.inserts += 1;
        if is_wildcard(subscription.filter()) {
            self.wildcard.insert(subscription);
            return;
        }
        let filter = subscription.filter();
        let hash = self.hasher.hash_one(filter);
        let hash_of = |other: &Arc<S>| self.hasher.hash_one(other.filter());
        match self.literal.entry(hash, |other| other.filter() == filter, hash_of) {
            Entry::Vacant(slot) => {
                slot.insert(subscription);
            }
            Entry::Occupied(_) => {
                let hash_of = |others: &Vec<Arc<S>>| self.hasher.hash_one(shared_filter(others));
                self.others
                    .entry(hash, |others| shared_filter(others) == filter, hash_of)
                    .or_insert_with(Vec::new)
                    .get_mut()
                    .push(Arc::clone(&subscription));
            }
        }
    }

    pub(super) fn remove(&mut self, subscription: &Arc<S>) {
        let filter = subscription.filter();
        let removed = if is_wildcard(filter) {
            let path: Vec<&[u8]> = tokens(filter).collect();
            self.wildcard.remove(&path, subscription)
        } else {
            self.remove_literal(subscription)
        };
        self.len -= usize::from(removed);
        self.removes += u64::from(removed);
        // A burst of subscriptions must not hold its table for ever.
        let hasher = &self.hasher;
        shrink(&mut self.literal, |other| hasher.hash_one(other.filter()));
        shrink(&mut self.others, |others| hasher.hash_one(shared_filter(others)));
    }

    fn remove_literal(&mut self, subscription: &Arc<S>) -> bool {
        let filter = subscription.filter();
        let hash = self.hasher.hash_one(filter);
        let Ok(mut one) = self.literal.find_entry(hash, |other| other.filter() == filter) else {
            return false;
        };
        let others = self.others.find_entry(hash, |others| shared_filter(others) == filter);
        let Ok(mut others) = others else {
            let is_it = Arc::ptr_eq(one.get(), subscription);
            if is_it {
                one.remove();
            }
            return is_it;
        };
        let list = others.get_mut();
        let removed = if Arc::ptr_eq(one.get(), subscription) {
            // Its place in the table goes to another.
            list.pop().map(|other| *one.get_mut() = other)
        } else {
            let at = list.iter().position(|other| Arc::ptr_eq(other, subscription));
            at.map(|at| drop(list.swap_remove(at)))
        };
        if list.is_empty() {
            others.remove();
        }
        removed.is_some()
    }

    /// See [`Interest::prefetch`](super::Interest::foresee).
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

    /// `hash`: the subject's.
    pub(super) fn collect(&self, hash: u64, subject: &[u8], matches: &mut Matches<S>) {
        if let Some(one) = self.literal.find(hash, |other| other.filter() == subject) {
            matches.add(one);
            if let Some(others) = self.others.find(hash, |other| shared_filter(other) == subject) {
                others.iter().for_each(|other| matches.add(other));
            }
        }
        // NATS 2.14: a subject with an empty token matches nothing.
        if !self.wildcard.is_empty() && tokens(subject).all(|token| !token.is_empty()) {
            self.wildcard.collect(tokens(subject), matches);
        }
    }
}

fn is_wildcard(filter: &[u8]) -> bool {
    tokens(filter).any(|token| !matches!(Token::of(token), Token::Literal(_)))
}

/// The filter that they all have. A list without any, which is never kept, has that of nobody.
fn shared_filter<S: Interested>(others: &[Arc<S>]) -> &[u8] {
    others.first().map_or(&[], |first| first.filter())
}

fn shrink<T>(table: &mut HashTable<T>, hash_of: impl Fn(&T) -> u64) {
    if table.len() * 8 < table.capacity() && table.capacity() > 1024 {
        table.shrink_to(table.capacity() / 2, hash_of);
    }
}

/// The subscriptions with one filter: mostly one, and that one costs nothing more.
enum Members<S> {
    None,
    One(Arc<S>),
    Many(Vec<Arc<S>>),
}

impl<S: Interested> Members<S> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(subscriptions) => subscriptions.is_empty(),
        }
    }

    fn insert(&mut self, subscription: Arc<S>) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(subscription),
            Self::One(first) => Self::Many(vec![first, subscription]),
            Self::Many(mut subscriptions) => {
                subscriptions.push(subscription);
                Self::Many(subscriptions)
            }
        };
    }

    fn remove(&mut self, subscription: &Arc<S>) -> bool {
        match self {
            Self::One(only) if Arc::ptr_eq(only, subscription) => {
                *self = Self::None;
                true
            }
            Self::None | Self::One(_) => false,
            Self::Many(subscriptions) => {
                let is_it = |other: &Arc<S>| Arc::ptr_eq(other, subscription);
                let Some(at) = subscriptions.iter().position(is_it) else { return false };
                subscriptions.swap_remove(at);
                if subscriptions.len() == 1
                    && let Some(last) = subscriptions.pop()
                {
                    *self = Self::One(last);
                }
                true
            }
        }
    }

    fn collect(&self, matches: &mut Matches<S>) {
        match self {
            Self::None => {}
            Self::One(subscription) => matches.add(subscription),
            Self::Many(subscriptions) => {
                for subscription in subscriptions {
                    matches.add(subscription);
                }
            }
        }
    }
}

/// A node of the trie: what filters go on with after the tokens that lead here.
struct Node<S> {
    literal: HashMap<Box<[u8]>, Node<S>, FixedState>,
    partial: Option<Box<Node<S>>>,
    /// Filters that end here.
    ending: Members<S>,
    /// Filters whose last token, right behind here, is `>`.
    full: Members<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            literal: HashMap::default(),
            partial: None,
            ending: Members::None,
            full: Members::None,
        }
    }
}

impl<S: Interested> Node<S> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.partial.is_none()
            && self.ending.is_empty()
            && self.full.is_empty()
    }

    fn insert(&mut self, subscription: Arc<S>) {
        let owned = Arc::clone(&subscription);
        let mut node = self;
        for token in tokens(owned.filter()) {
            node = match Token::of(token) {
                Token::Full => return node.full.insert(subscription),
                Token::Partial => node.partial.get_or_insert_default(),
                Token::Literal(text) => node.literal.entry(text.into()).or_default(),
            };
        }
        node.ending.insert(subscription);
    }

    /// Recursion is as deep as the filter has tokens, which a control line bounds to some thousands
    /// of small frames.
    fn remove(&mut self, rest: &[&[u8]], subscription: &Arc<S>) -> bool {
        let Some((token, rest)) = rest.split_first() else {
            return self.ending.remove(subscription);
        };
        match Token::of(token) {
            Token::Full => self.full.remove(subscription),
            Token::Partial => {
                let Some(node) = &mut self.partial else { return false };
                let removed = node.remove(rest, subscription);
                if node.is_empty() {
                    self.partial = None;
                }
                removed
            }
            Token::Literal(text) => {
                let Some(node) = self.literal.get_mut(text) else { return false };
                let removed = node.remove(rest, subscription);
                if node.is_empty() {
                    self.literal.remove(text);
                }
                removed
            }
        }
    }

    fn collect<'a>(
        &self,
        mut rest: impl Iterator<Item = &'a [u8]> + Clone,
        matches: &mut Matches<S>,
    ) {
        let Some(token) = rest.next() else { return self.ending.collect(matches) };
        self.full.collect(matches);
        if let Some(node) = &self.partial {
            node.collect(rest.clone(), matches);
        }
        if !self.literal.is_empty()
            && let Some(node) = self.literal.get(token)
        {
            node.collect(rest, matches);
        }
    }
}
