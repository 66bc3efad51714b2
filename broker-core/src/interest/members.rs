//! The subscriptions with one filter.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::Interested;
use super::matches::Matches;
use crate::sync::Arc;
use crate::table::{Entry, Table};

/// The number of subscriptions up to which a removal searches the list.
const FEW: usize = 32;

/// The subscriptions with one filter: usually one, which takes no further memory.
pub(super) enum Members<S> {
    One(Arc<S>),
    Many(Box<Crowd<S>>),
}

impl<S: Interested> Members<S> {
    /// Returns one of them, for its filter.
    pub(super) fn first(&self) -> Option<&Arc<S>> {
        match self {
            Self::One(only) => Some(only),
            Self::Many(crowd) => crowd.first(),
        }
    }

    pub(super) fn insert(&mut self, subscription: Arc<S>, hasher: &FixedState) {
        match self {
            Self::Many(crowd) => crowd.insert(subscription, hasher),
            Self::One(first) => {
                let mut crowd = Crowd::default();
                crowd.insert(Arc::clone(first), hasher);
                crowd.insert(subscription, hasher);
                *self = Self::Many(Box::new(crowd));
            }
        }
    }

    #[inline]
    pub(super) fn collect(&self, matches: &mut Matches<S>) {
        match self {
            Self::One(only) => matches.add(only),
            Self::Many(crowd) => crowd.collect(matches),
        }
    }
}

/// Removes a subscription from a slot. Returns false if it was not there.
pub(super) fn remove<S: Interested>(
    place: &mut Option<Members<S>>,
    subscription: &Arc<S>,
    hasher: &FixedState,
) -> bool {
    match place {
        Some(Members::One(only)) if Arc::ptr_eq(only, subscription) => {
            *place = None;
            true
        }
        None | Some(Members::One(_)) => false,
        Some(Members::Many(crowd)) => {
            let removed = crowd.remove(subscription, hasher);
            if crowd.len() == 1 {
                *place = crowd.pop(hasher).map(Members::One);
            }
            removed
        }
    }
}

/// Several subscriptions. A removal takes one step, even among a million: one client may repeat a
/// subscription without limit.
pub(super) struct Crowd<S> {
    list: Vec<Arc<S>>,
    /// The position of each in the list, by its address; none while there are few.
    places: Option<Table<u32>>,
}

impl<S: Interested> Entry for Crowd<S> {
    fn touch(&self) -> usize {
        self.first().map_or(0, Entry::touch)
    }
}

impl<S> Default for Crowd<S> {
    fn default() -> Self {
        Self { list: Vec::new(), places: None }
    }
}

fn hash_of<S>(subscription: &Arc<S>, hasher: &FixedState) -> u64 {
    hasher.hash_one(Arc::as_ptr(subscription).addr())
}

impl<S: Interested> Crowd<S> {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn first(&self) -> Option<&Arc<S>> {
        self.list.first()
    }

    pub(super) fn insert(&mut self, subscription: Arc<S>, hasher: &FixedState) {
        self.list.push(subscription);
        let list = &self.list;
        if let Some(places) = &mut self.places {
            let at = list.len() - 1;
            let hash_at = |at: &u32| hash_of(&list[*at as usize], hasher);
            places.insert(hash_of(&list[at], hasher), at as u32, hash_at);
        } else if list.len() > FEW {
            let mut places = Table::default();
            let hash_at = |at: &u32| hash_of(&list[*at as usize], hasher);
            for at in 0..list.len() as u32 {
                places.insert(hash_at(&at), at, hash_at);
            }
            self.places = Some(places);
        }
    }

    /// Removes a subscription. Returns false if it was not there.
    pub(super) fn remove(&mut self, subscription: &Arc<S>, hasher: &FixedState) -> bool {
        let list = &self.list;
        let is_it = |at: usize| Arc::ptr_eq(&list[at], subscription);
        let at = match &self.places {
            None => (0..list.len()).find(|at| is_it(*at)),
            Some(places) => places
                .find(hash_of(subscription, hasher), |at| is_it(*at as usize))
                .map(|at| *at as usize),
        };
        let Some(at) = at else { return false };
        self.remove_at(at, hasher);
        true
    }

    pub(super) fn pop(&mut self, hasher: &FixedState) -> Option<Arc<S>> {
        let last = self.list.len().checked_sub(1)?;
        Some(self.remove_at(last, hasher))
    }

    /// Removes the subscription at a position; the last one takes its place.
    fn remove_at(&mut self, at: usize, hasher: &FixedState) -> Arc<S> {
        let list = &self.list;
        let last = list.len() - 1;
        if let Some(places) = &mut self.places {
            let hash_at = |at: &u32| hash_of(&list[*at as usize], hasher);
            places.remove(hash_of(&list[at], hasher), |other| *other as usize == at, hash_at);
            if let Some(moved) =
                places.find_mut(hash_of(&list[last], hasher), |other| *other as usize == last)
            {
                *moved = at as u32;
            }
        }
        // The list changes last: a split or merge of the table reads it at every position.
        let gone = self.list.swap_remove(at);
        if self.list.len() * 4 < self.list.capacity() && self.list.capacity() > FEW {
            self.list.shrink_to(self.list.len() * 2);
        }
        if self.list.len() <= FEW / 2 {
            self.places = None;
        }
        gone
    }

    #[inline]
    pub(super) fn collect(&self, matches: &mut Matches<S>) {
        self.list.iter().for_each(|subscription| matches.add(subscription));
    }
}
