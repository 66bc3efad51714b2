//! The subscriptions of a session, by sid. Those of another server are named by filter and queue group.
//!
//! Only the session changes them. Other threads read a part at a time, so that a session with a million of
//! them does not have to wait for a reader of the list. They are ended a part at a time, so that no other session
//! waits for one that is closed.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::endpoint::Subscription;
use crate::interest::{Interested, touch_all};
use crate::sync::{Arc, Mutex};
use crate::table::{Drain, Place, Table};

/// See the module. Subscriptions that have had their last message may remain in the table for a while.
pub(crate) struct Sids {
    state: Mutex<State>,
    hasher: FixedState,
}

/// The name of a subscription among those of its session.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    /// Empty if the sid is the name.
    filter: &'a [u8],
    queue: Option<&'a [u8]>,
    sid: &'a [u8],
}

impl<'a> Name<'a> {
    /// Returns the name of interest of another server. `sid` tells it from other interest in the same.
    pub(crate) fn of_interest(filter: &'a [u8], queue: Option<&'a [u8]>, sid: &'a [u8]) -> Self {
        Self { filter, queue, sid }
    }

    pub(crate) fn of(subscription: &'a Subscription) -> Self {
        let sid = subscription.sid();
        if subscription.endpoint.kind.names_interest() {
            Self::of_interest(subscription.filter(), subscription.queue(), sid)
        } else {
            sid.into()
        }
    }

    /// Returns true if it is the name of this subscription.
    #[inline]
    fn is_of(&self, subscription: &Subscription) -> bool {
        let is_same_sid = subscription.sid() == self.sid;
        is_same_sid && (self.filter.is_empty() || self.is_interest_of(subscription))
    }

    fn is_interest_of(&self, subscription: &Subscription) -> bool {
        subscription.filter() == self.filter && subscription.queue() == self.queue
    }

    #[inline]
    fn hash(&self, hasher: &FixedState) -> u64 {
        if self.filter.is_empty() {
            return hasher.hash_one(self.sid);
        }
        hasher.hash_one((self.filter, self.queue, self.sid))
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(sid: &'a [u8]) -> Self {
        Self { filter: b"", queue: None, sid }
    }
}

#[derive(Default)]
struct State {
    table: Table<Arc<Subscription>>,
    /// The next part to be swept of subscriptions that have ended.
    sweep: Place,
}

impl Sids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Mutex::default(), hasher: FixedState::with_seed(seed) }
    }

    fn hash_of(&self, subscription: &Arc<Subscription>) -> u64 {
        Name::of(subscription).hash(&self.hasher)
    }

    /// Returns the subscription with that name, unless it has ended.
    pub(crate) fn get<'a>(&self, name: impl Into<Name<'a>>) -> Option<Arc<Subscription>> {
        let name = name.into();
        let hash = name.hash(&self.hasher);
        let is_it = |subscription: &Arc<Subscription>| name.is_of(subscription);
        let mut state = self.state.lock();
        let found = state.table.find(hash, is_it)?;
        if found.is_over() {
            state.table.remove(hash, is_it, |subscription| self.hash_of(subscription));
            return None;
        }
        Some(Arc::clone(found))
    }

    /// Adds a subscription whose name is not in use. `living` is the number of those that have not ended.
    pub(crate) fn insert(&self, subscription: Arc<Subscription>, living: usize) {
        let hash = self.hash_of(&subscription);
        self.add(&mut self.state.lock(), hash, subscription, living);
    }

    /// Adds the subscription that `make` returns, with the number of those that have not ended. `Err`: the one with that
    /// name, if it has not ended.
    pub(crate) fn get_or_insert(
        &self,
        name: Name<'_>,
        make: impl FnOnce() -> (Arc<Subscription>, usize),
    ) -> Result<Arc<Subscription>, Arc<Subscription>> {
        let hash = name.hash(&self.hasher);
        let is_it = |subscription: &Arc<Subscription>| name.is_of(subscription);
        let mut state = self.state.lock();
        if let Some(found) = state.table.find(hash, is_it) {
            if !found.is_over() {
                return Err(Arc::clone(found));
            }
            state.table.remove(hash, is_it, |subscription| self.hash_of(subscription));
        }
        let (new, living) = make();
        self.add(&mut state, hash, Arc::clone(&new), living);
        Ok(new)
    }

    fn add(&self, state: &mut State, hash: u64, subscription: Arc<Subscription>, living: usize) {
        let hash_of = |subscription: &Arc<Subscription>| self.hash_of(subscription);
        let State { table, sweep } = state;
        if table.len() > 2 * living + 64 {
            let is_kept = |subscription: &Arc<Subscription>| !subscription.is_over();
            *sweep = table.retain_part(*sweep, is_kept, hash_of).unwrap_or_default();
        }
        table.insert(hash, subscription, hash_of);
    }

    /// Removes a subscription, which the caller must end.
    pub(crate) fn remove<'a>(&self, name: impl Into<Name<'a>>) -> Option<Arc<Subscription>> {
        let name = name.into();
        let hash = name.hash(&self.hasher);
        let is_it = |subscription: &Arc<Subscription>| name.is_of(subscription);
        self.state.lock().table.remove(hash, is_it, |subscription| self.hash_of(subscription))
    }

    /// Removes all subscriptions. The caller must end them.
    pub(crate) fn take_all(&self) -> Drain<Arc<Subscription>> {
        std::mem::take(&mut self.state.lock().table).into_drain()
    }

    /// Returns the subscriptions of one part that have not ended, in no order, and the beginning of the next
    /// part. A walk through all parts returns each subscription that exists throughout once.
    pub(crate) fn part(&self, place: Place) -> (Vec<Arc<Subscription>>, Option<Place>) {
        let state = self.state.lock();
        let (part, next) = state.table.part(place, |subscription| self.hash_of(subscription));
        let part: Vec<&Arc<Subscription>> = part.collect();
        // Each of them is another place in memory. To clone one is a barrier, behind which no other is loaded.
        touch_all(part.iter().copied());
        (part.into_iter().filter(|one| !one.is_over()).cloned().collect(), next)
    }

    /// Returns the subscriptions that have not ended, at most `limit`, in no order. One that is added or removed
    /// meanwhile may be among them or not.
    pub(crate) fn list(&self, limit: usize) -> Vec<Arc<Subscription>> {
        let mut found = Vec::new();
        let mut place = Some(Place::default());
        while let Some(at) = place.filter(|_| found.len() < limit) {
            let (part, next) = self.part(at);
            found.extend(part.into_iter().take(limit - found.len()));
            place = next;
        }
        found
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state.lock().table.len()
    }
}
