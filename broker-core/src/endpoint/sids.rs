//! A session's own subscriptions, by the names that its party gave them.
//!
//! Only the session changes them. Others look, a part at a time, so that a session with a million of
//! them does not have to wait for somebody who reads the list.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::endpoint::Subscription;
use crate::interest::Interest;
use crate::limits::UNSUBSCRIBE_BATCH;
use crate::sync::{Arc, Mutex, Ordering};

/// How many places of the table are looked at under one lock.
const LOOK_AT: usize = 4096;

/// How often a look is begun again because the table has grown or shrunk meanwhile.
const LOOKS: usize = 4;

/// See the module. Subscriptions that have had their last message may stand here for a while.
pub(crate) struct Sids {
    table: Mutex<HashTable<Arc<Subscription>>>,
    hasher: FixedState,
}

impl Sids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: Mutex::new(HashTable::new()), hasher: FixedState::with_seed(seed) }
    }

    /// The subscription of that name, unless it has ended.
    pub(crate) fn get(&self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let mut table = self.table.lock();
        let entry = table.find_entry(hash, |subscription| subscription.sid() == sid).ok()?;
        if entry.get().is_over() {
            entry.remove();
            return None;
        }
        Some(Arc::clone(entry.get()))
    }

    /// Adds one whose name is not taken. `living` is how many have not ended.
    pub(crate) fn insert(&self, subscription: Arc<Subscription>, living: usize) {
        let hasher = &self.hasher;
        let hash_of = |subscription: &Arc<Subscription>| hasher.hash_one(subscription.sid());
        let mut table = self.table.lock();
        if table.len() > 2 * living + 64 {
            table.retain(|subscription| !subscription.is_over());
            table.shrink_to(2 * living, hash_of);
        }
        table.insert_unique(hash_of(&subscription), subscription, hash_of);
    }

    /// Takes one out, which must be ended by the caller.
    pub(crate) fn remove(&self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let mut table = self.table.lock();
        let entry = table.find_entry(hash, |subscription| subscription.sid() == sid).ok()?;
        Some(entry.remove().0)
    }

    /// Ends all of them, some at a time, so that others who use the account get their turn.
    /// Tells `ended` of each.
    pub(crate) fn end_all(&self, interest: &Interest<Subscription>, ended: impl Fn(&[u8])) {
        let all = std::mem::take(&mut *self.table.lock());
        let mut batch = Vec::with_capacity(all.len().min(UNSUBSCRIBE_BATCH));
        for subscription in all {
            if subscription.end() {
                ended(subscription.sid());
                subscription.endpoint.subscriptions.fetch_sub(1, Ordering::Relaxed);
                batch.push(subscription);
            }
            if batch.len() == UNSUBSCRIBE_BATCH {
                interest.remove(&batch);
                batch.clear();
            }
        }
        if !batch.is_empty() {
            interest.remove(&batch);
        }
    }

    /// Those that have not ended, at most `limit`, in no order. One that comes or goes meanwhile may be
    /// among them or not.
    pub(crate) fn list(&self, limit: usize) -> Vec<Arc<Subscription>> {
        let mut found = Vec::new();
        for look in 1..=LOOKS {
            found.clear();
            // The last look is not interrupted.
            let step = if look < LOOKS { LOOK_AT } else { usize::MAX };
            if self.look(step, limit, &mut found) {
                break;
            }
        }
        found
    }

    /// False if the table was another one in the end.
    fn look(&self, step: usize, limit: usize, found: &mut Vec<Arc<Subscription>>) -> bool {
        let mut places = None;
        let mut at = 0_usize;
        loop {
            let table = self.table.lock();
            if places.is_some_and(|places| places != table.num_buckets()) {
                return false;
            }
            places = Some(table.num_buckets());
            let end = table.num_buckets().min(at.saturating_add(step));
            for place in at..end {
                if found.len() == limit {
                    return true;
                }
                found.extend(table.get_bucket(place).filter(|one| !one.is_over()).cloned());
            }
            if end == table.num_buckets() {
                return true;
            }
            at = end;
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }
}
