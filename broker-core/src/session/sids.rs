//! A session's own subscriptions, by the names that its party gave them.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::account::Account;
use crate::limits::UNSUBSCRIBE_BATCH;
use crate::subscription::Subscription;
use crate::sync::{Arc, Ordering};

/// See the module. Subscriptions that have had their last message may stand here for a while.
pub(super) struct Sids {
    table: HashTable<Arc<Subscription>>,
    hasher: FixedState,
}

impl Sids {
    pub(super) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    /// The subscription of that name, unless it has ended.
    pub(super) fn get(&mut self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let entry = self.table.find_entry(hash, |subscription| subscription.sid() == sid).ok()?;
        if entry.get().is_over() {
            entry.remove();
            return None;
        }
        Some(entry.into_mut())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.table.iter().filter(|subscription| !subscription.is_over())
    }

    /// Adds one whose name is not taken. `living` is how many have not ended.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>, living: usize) {
        if self.table.len() > 2 * living + 64 {
            self.table.retain(|subscription| !subscription.is_over());
            let hasher = &self.hasher;
            self.table.shrink_to(2 * living, |subscription| hasher.hash_one(subscription.sid()));
        }
        let hash = self.hasher.hash_one(subscription.sid());
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, subscription, |subscription| hasher.hash_one(subscription.sid()));
    }

    /// Takes one out, which must be ended by the caller.
    pub(super) fn remove(&mut self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let entry = self.table.find_entry(hash, |subscription| subscription.sid() == sid).ok()?;
        Some(entry.remove().0)
    }

    /// Ends all of them, some at a time, so that others who use the account get their turn.
    /// Tells `ended` of each.
    pub(super) fn end_all(&mut self, account: &Account, ended: impl Fn(&[u8])) {
        let mut batch = Vec::with_capacity(self.table.len().min(UNSUBSCRIBE_BATCH));
        for subscription in self.table.drain() {
            if subscription.end() {
                ended(subscription.sid());
                subscription.receiver.subscriptions.fetch_sub(1, Ordering::Relaxed);
                batch.push(subscription);
            }
            if batch.len() == UNSUBSCRIBE_BATCH {
                account.interest.remove(&batch);
                batch.clear();
            }
        }
        if !batch.is_empty() {
            account.interest.remove(&batch);
        }
        self.table = HashTable::new();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
