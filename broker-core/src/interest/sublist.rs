//! All subscriptions of an account: those without wildcards in a hash table by subject, the others in
//! a trie by token.
//!
//! Most subscriptions have no wildcard, reply inboxes above all. A table finds them in one step
//! however many there are, and takes about 20 bytes for each beside the subscription itself; the trie
//! is left to the few that need it.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Interested;
use super::matches::Matches;
use crate::subject::{Token, tokens};
use crate::sync::Arc;
use std::hash::BuildHasher;

/// See the module.
pub(super) struct Sublist<S> {
    literal: HashTable<Members<S>>,
    wildcard: Node<S>,
    /// Seeded, so that nobody can choose subjects that meet in one slot.
    hasher: FixedState,
    len: usize,
}

impl<S: Interested> Sublist<S> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            literal: HashTable::new(),
            wildcard: Node::default(),
            hasher: FixedState::with_seed(seed),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, subscription: Arc<S>) {
        self.len += 1;
        if is_wildcard(subscription.filter()) {
            self.wildcard.insert(subscription);
            return;
        }
        let filter = subscription.filter();
        let hash = self.hasher.hash_one(filter);
        let entry = self.literal.entry(
            hash,
            |members| members.filter() == filter,
            |members| self.hasher.hash_one(members.filter()),
        );
        match entry {
            Entry::Occupied(mut members) => members.get_mut().insert(subscription),
            Entry::Vacant(slot) => {
                slot.insert(Members::One(subscription));
            }
        }
    }

    pub(super) fn remove(&mut self, subscription: &Arc<S>) {
        let filter = subscription.filter();
        let removed = if is_wildcard(filter) {
            let path: Vec<&[u8]> = tokens(filter).collect();
            self.wildcard.remove(&path, subscription)
        } else {
            let hash = self.hasher.hash_one(filter);
            match self.literal.find_entry(hash, |members| members.filter() == filter) {
                Ok(mut entry) => {
                    let removed = entry.get_mut().remove(subscription);
                    if entry.get().is_empty() {
                        entry.remove();
                    }
                    removed
                }
                Err(_) => false,
            }
        };
        self.len -= usize::from(removed);
        // A burst of subscriptions must not hold its table for ever.
        if self.literal.len() * 8 < self.literal.capacity() && self.literal.capacity() > 1024 {
            let half = self.literal.capacity() / 2;
            self.literal.shrink_to(half, |members| self.hasher.hash_one(members.filter()));
        }
    }

    pub(super) fn collect(&self, subject: &[u8], matches: &mut Matches<S>) {
        let hash = self.hasher.hash_one(subject);
        if let Some(members) = self.literal.find(hash, |members| members.filter() == subject) {
            members.collect(matches);
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

/// The subscriptions with one filter: mostly one, and that one costs nothing more.
enum Members<S> {
    None,
    One(Arc<S>),
    /// Boxed, so that the table, which is mostly of the other kind, is small.
    #[expect(clippy::box_collection, reason = "a pointer, so that the others are no larger")]
    Many(Box<Vec<Arc<S>>>),
}

impl<S: Interested> Members<S> {
    /// Empty members, which never stay in the table, have an empty filter, which nobody can have.
    fn filter(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::One(subscription) => subscription.filter(),
            Self::Many(subscriptions) => subscriptions.first().map_or(&[], |first| first.filter()),
        }
    }

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
            Self::One(first) => Self::Many(Box::new(vec![first, subscription])),
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
                for subscription in subscriptions.iter() {
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
