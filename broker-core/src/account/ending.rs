//! Removal of all subscriptions of a session, one slice at a time.

use super::Account;
use crate::endpoint::Subscription;
use crate::limits::{PATIENCE_SLICES, SLICE, UNSUBSCRIBE_BATCH};
use crate::sync::{Arc, Ordering};
use crate::table::Drain;

/// Subscriptions that their session has dropped, to be removed one slice at a time.
pub(crate) struct Ending {
    account: Arc<Account>,
    left: Drain<Arc<Subscription>>,
    /// The number of consecutive slices that were skipped in favour of other threads.
    waited: u8,
}

impl Ending {
    /// Takes the remaining subscriptions of a session in the interest of `account`.
    pub(crate) fn new(account: &Arc<Account>, left: Drain<Arc<Subscription>>) -> Self {
        Self { account: Arc::clone(account), left, waited: 0 }
    }

    /// Removes at most [`SLICE`] of them and calls `ended` with each sid. Returns false if there are no more.
    ///
    /// Does nothing while other threads wait for the account's interest, so that they get the lock first; but only
    /// [`PATIENCE_SLICES`] times in a row.
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
                subscription.endpoint.subscriptions.fetch_sub(1, Ordering::Relaxed);
                batch.push(subscription);
            }
            if !batch.is_empty() && (is_last || number == SLICE || batch.len() == UNSUBSCRIBE_BATCH)
            {
                self.account.remove_subscriptions(&batch);
                batch.clear();
            }
            if is_last {
                return false;
            }
        }
        true
    }
}
