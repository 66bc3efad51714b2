//! A session's own subscriptions, by the names that its party gave them.
//!
//! Only the session changes them. Others look, a part at a time, so that a session with a million of
//! them does not have to wait for somebody who reads the list; and they end a part at a time, so that
//! nobody has to wait for a session that goes.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::account::Account;
use crate::limits::{PATIENCE_SLICES, SLICE, UNSUBSCRIBE_BATCH};
use crate::subscription::Subscription;
use crate::sync::{Arc, Mutex, Ordering};
use crate::table::{Drain, Place, Table};

/// See the module. Subscriptions that have had their last message may stand here for a while.
pub(crate) struct Sids {
    state: Mutex<State>,
    hasher: FixedState,
}

#[derive(Default)]
struct State {
    table: Table<Arc<Subscription>>,
    /// Where to look next for those that have ended.
    sweep: Place,
}

impl Sids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Mutex::default(), hasher: FixedState::with_seed(seed) }
    }

    fn hash_of(&self, subscription: &Arc<Subscription>) -> u64 {
        self.hasher.hash_one(subscription.sid())
    }

    /// The subscription of that name, unless it has ended.
    pub(crate) fn get(&self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let mut state = self.state.lock();
        let found = state.table.find(hash, |subscription| subscription.sid() == sid)?;
        if found.is_over() {
            let is_it = |subscription: &Arc<Subscription>| subscription.sid() == sid;
            state.table.remove(hash, is_it, |subscription| self.hash_of(subscription));
            return None;
        }
        Some(Arc::clone(found))
    }

    /// Adds one whose name is not taken. `living` is how many have not ended.
    pub(crate) fn insert(&self, subscription: Arc<Subscription>, living: usize) {
        let hash_of = |subscription: &Arc<Subscription>| self.hash_of(subscription);
        let mut state = self.state.lock();
        let State { table, sweep } = &mut *state;
        if table.len() > 2 * living + 64 {
            let is_kept = |subscription: &Arc<Subscription>| !subscription.is_over();
            *sweep = table.retain_part(*sweep, is_kept, hash_of).unwrap_or_default();
        }
        table.insert(hash_of(&subscription), subscription, hash_of);
    }

    /// Takes one out, which must be ended by the caller.
    pub(crate) fn remove(&self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let is_it = |subscription: &Arc<Subscription>| subscription.sid() == sid;
        self.state.lock().table.remove(hash, is_it, |subscription| self.hash_of(subscription))
    }

    /// Takes all of them out, to be ended in `account`, where they are.
    pub(crate) fn take_all(&self, account: &Arc<Account>) -> Ending {
        let table = std::mem::take(&mut self.state.lock().table);
        Ending { account: Arc::clone(account), left: table.into_drain(), waited: 0 }
    }

    /// Those of one part that have not ended, in no order, and where the next part begins. Whoever goes
    /// through all parts sees each that stays meanwhile once.
    pub(crate) fn part(&self, place: Place) -> (Vec<Arc<Subscription>>, Option<Place>) {
        let state = self.state.lock();
        let (part, next) = state.table.part(place, |subscription| self.hash_of(subscription));
        (part.filter(|one| !one.is_over()).cloned().collect(), next)
    }

    /// Those that have not ended, at most `limit`, in no order. One that comes or goes meanwhile may be
    /// among them or not.
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

/// Subscriptions that their session has given up, and that end a slice at a time.
pub(crate) struct Ending {
    account: Arc<Account>,
    left: Drain<Arc<Subscription>>,
    /// How often in a row others were let have the interest.
    waited: u8,
}

impl Ending {
    /// Ends [`SLICE`] of them at most. Tells `ended` of each. False if there are no more.
    ///
    /// While others wait for the account's interest it does nothing, so that they get it before more is
    /// taken out; but not for ever.
    pub(crate) fn step(&mut self, ended: impl Fn(&[u8])) -> bool {
        if self.account.interest.is_waited_for() && self.waited < PATIENCE_SLICES {
            self.waited += 1;
            return true;
        }
        self.waited = 0;
        let mut batch = Vec::with_capacity(UNSUBSCRIBE_BATCH);
        for number in 1..=SLICE {
            let next = self.left.next();
            let is_last = next.is_none();
            if let Some(subscription) = next
                && subscription.end()
            {
                ended(subscription.sid());
                subscription.receiver.subscriptions.fetch_sub(1, Ordering::Relaxed);
                batch.push(subscription);
            }
            if !batch.is_empty() && (is_last || number == SLICE || batch.len() == UNSUBSCRIBE_BATCH)
            {
                self.account.interest.remove(&batch);
                batch.clear();
            }
            if is_last {
                return false;
            }
        }
        true
    }
}
