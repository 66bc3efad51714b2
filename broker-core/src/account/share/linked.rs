//! The subscriptions in the interest of an account that no endpoint of the account lists: shadows of subscriptions in
//! accounts that import its streams, the services that it imports, the responses of those that it exports.
//!
//! A listener to the interest that is added later finds them here.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::account::Account;
use crate::endpoint::Subscription;
use crate::sync::{Arc, Mutex};
use crate::table::{Place, Table};

/// See the module. Its lock is held for one operation, and no other lock is taken meanwhile.
pub(super) struct LinkedSubscriptions {
    table: Mutex<Table<Arc<Subscription>>>,
    hasher: FixedState,
}

impl LinkedSubscriptions {
    pub(super) fn new(seed: u64) -> Self {
        Self { table: Mutex::default(), hasher: FixedState::with_seed(seed) }
    }

    fn hash_of(&self, subscription: &Arc<Subscription>) -> u64 {
        self.hasher.hash_one(Arc::as_ptr(subscription).addr())
    }

    fn insert(&self, subscription: &Arc<Subscription>) {
        let hash_of = |one: &Arc<Subscription>| self.hash_of(one);
        let hash = self.hash_of(subscription);
        self.table.lock().insert(hash, Arc::clone(subscription), hash_of);
    }

    fn remove(&self, subscription: &Arc<Subscription>) {
        let hash = self.hash_of(subscription);
        let is_it = |one: &Arc<Subscription>| Arc::ptr_eq(one, subscription);
        self.table.lock().remove(hash, is_it, |one| self.hash_of(one));
    }

    fn part(&self, place: Place) -> (Vec<Arc<Subscription>>, Option<Place>) {
        let table = self.table.lock();
        let (part, next) = table.part(place, |one| self.hash_of(one));
        (part.cloned().collect(), next)
    }
}

impl Account {
    /// Adds a linked subscription to its interest. It is listed first: a listener that is added meanwhile finds it in
    /// the list, or is told of it.
    pub(super) fn add_linked(&self, subscription: Arc<Subscription>) {
        self.sharing.share().linked.insert(&subscription);
        self.interest.insert(subscription);
    }

    /// Removes linked subscriptions from its interest. A listener that no longer finds them in the list has not counted
    /// them, and is not told of their end.
    pub(super) fn remove_linked(&self, subscriptions: &[Arc<Subscription>]) {
        let linked = &self.sharing.share().linked;
        subscriptions.iter().for_each(|one| linked.remove(one));
        self.interest.remove(subscriptions);
    }

    /// Returns the linked subscriptions of one part of the list, and the next part. A walk through all parts returns
    /// each subscription that exists throughout once.
    pub(crate) fn linked_part(&self, place: Place) -> (Vec<Arc<Subscription>>, Option<Place>) {
        self.sharing.share.get().map_or_else(Default::default, |share| share.linked.part(place))
    }
}
