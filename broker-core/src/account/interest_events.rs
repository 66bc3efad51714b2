//! Events of the interest of one account: the existing interest, in slices, and every change.

use std::fmt;

use super::Account;
use crate::endpoint::{Endpoint, Kinds, Subscription};
use crate::interest::{EventListener, ListenerCall};
use crate::limits::{PATIENCE_SLICES, SLICE, UNSUBSCRIBE_BATCH};
use crate::sync::Arc;
use crate::table::Place;

/// A registered listener to the interest of one account. Dropping it removes the listener. Plain interest in a filter
/// changes with its first and last subscription, that of a queue group with the number of its members.
///
/// The sum of all calls is the state of the interest: the counts from before the listener, which
/// [`Self::catch_up`] passes to it, and each change. For a filter and queue group it receives the newest count; a
/// slow listener does not receive every count in between.
///
/// The thread that changes the interest calls it without holding a lock, and continues when it returns: so a
/// subscription has been passed to it when SUB returns. It may subscribe and unsubscribe. It must neither publish
/// nor wait.
///
/// See [`Broker::interest_events`](crate::Broker::interest_events).
pub struct InterestEvents {
    account: Arc<Account>,
    listener: Arc<EventListener>,
    counting: Option<Counting>,
}

impl fmt::Debug for InterestEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterestEvents")
            .field("account", &self.account.name)
            .finish_non_exhaustive()
    }
}

impl InterestEvents {
    /// Adds a listener. Calls `endpoints` for all endpoints if there is interest that is not counted yet.
    pub(crate) fn new(
        account: Arc<Account>,
        kinds: Kinds,
        call: ListenerCall,
        endpoints: impl FnOnce() -> Vec<Arc<Endpoint>>,
    ) -> Self {
        let listener = account.interest.listen(kinds.bits(), call);
        let counting =
            (!account.interest.is_counted()).then(|| Counting::new(endpoints().into_iter()));
        Self { account, listener, counting }
    }

    /// Passes a slice of the existing interest to the listener. Returns false if there is no more. Until then, call it
    /// again, and let other work run in between. Changes of interest that was passed already are passed meanwhile.
    pub fn catch_up(&mut self) -> bool {
        let Some(counting) = &mut self.counting else {
            return self.account.interest.tell_part(&self.listener);
        };
        if !self.account.interest.is_counted() {
            if counting.step(&self.account, &self.listener) {
                return true;
            }
            self.account.interest.finish_counting();
        }
        self.counting = None;
        true
    }
}

impl Drop for InterestEvents {
    fn drop(&mut self) {
        self.account.interest.stop_listening(&self.listener);
    }
}

/// Counts the subscriptions of all endpoints in an account, and those that stand for others.
struct Counting {
    /// The next part of the [linked](Account::linked_part) subscriptions, which are counted first.
    linked: Option<Place>,
    endpoints: std::vec::IntoIter<Arc<Endpoint>>,
    /// The tables of the current endpoint, by slot of its account, and the next place in the first of them.
    tables: Vec<(Arc<Endpoint>, u16)>,
    place: Place,
    /// Read, and not counted yet.
    found: Vec<Arc<Subscription>>,
    /// The number of consecutive slices that were skipped in favour of other threads.
    waited: u8,
}

impl Counting {
    fn new(endpoints: std::vec::IntoIter<Arc<Endpoint>>) -> Self {
        let (tables, found) = (Vec::new(), Vec::new());
        let (linked, place) = (Some(Place::default()), Place::default());
        Self { linked, endpoints, tables, place, found, waited: 0 }
    }

    /// Counts at most [`SLICE`] of them. Returns false if there are no more.
    fn step(&mut self, account: &Arc<Account>, by: &Arc<EventListener>) -> bool {
        if self.found.is_empty() {
            return self.read(account);
        }
        if account.interest.is_waited_for() && self.waited < PATIENCE_SLICES {
            self.waited += 1;
            return true;
        }
        self.waited = 0;
        let slice = self.found.split_off(self.found.len().saturating_sub(SLICE));
        slice.chunks(UNSUBSCRIBE_BATCH).for_each(|batch| account.interest.count(by, batch));
        true
    }

    /// Reads one part of a table, or finds the next endpoint that has one. Returns false if there is none.
    fn read(&mut self, account: &Arc<Account>) -> bool {
        if let Some(place) = self.linked {
            (self.found, self.linked) = account.linked_part(place);
            return true;
        }
        let Some((endpoint, slot)) = self.tables.last() else { return self.next_endpoint(account) };
        let membership = endpoint.membership_in(*slot).filter(|it| it.is_in(account));
        let Some(membership) = membership else {
            self.next_table();
            return true;
        };
        let (part, next) = membership.sids(endpoint).part(self.place);
        // A client that has moved to another account has no subscriptions in this one, but others in its table.
        let is_same = endpoint.membership_in(*slot).is_some_and(|it| Arc::ptr_eq(&it, &membership));
        if is_same {
            self.found = part;
        }
        match next.filter(|_| is_same) {
            Some(next) => self.place = next,
            None => self.next_table(),
        }
        true
    }

    fn next_table(&mut self) {
        self.tables.pop();
        self.place = Place::default();
    }

    fn next_endpoint(&mut self, account: &Arc<Account>) -> bool {
        for endpoint in self.endpoints.by_ref().take(SLICE) {
            self.tables = endpoint
                .slots()
                .filter(|slot| endpoint.membership_in(*slot).is_some_and(|it| it.is_in(account)))
                .map(|slot| (Arc::clone(&endpoint), slot))
                .collect();
            if !self.tables.is_empty() {
                return true;
            }
        }
        self.endpoints.len() > 0
    }
}
