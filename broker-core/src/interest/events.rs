//! Events of interest: the first and the last subscriber of a filter, and each change of the number of members
//! of a queue group, passed to listeners in order.
//!
//! A listener selects the kinds of endpoints whose interest counts. Changes are noted with the interest locked, and
//! passed on by the thread that made them after the lock is released, one thread at a time. The pending changes of a
//! slow listener are updated in place instead of added to (`pending.rs`).
//!
//! The counts are kept only while there are listeners, and only of the kinds of endpoints that one of them has selected:
//! a server of a cluster so keeps none of the interest of other servers, which is most of what it has. The first listener
//! of an account, or to a kind, has the existing subscriptions counted, in slices: each subscription is marked when it is counted, so
//! that none is counted twice or missed, whatever is added and removed meanwhile. The first listener of an account receives plain
//! filters as it counts them. When all are counted, the table of counts is
//! read part by part for every new listener: a change before the current place of the reader is passed on as an
//! event, one behind it will be read.

use smallvec::SmallVec;

use super::counts::Counts;
use super::event_listener::{EventListener, ListenerCall};
use super::{Interest, Interested, State};
use crate::sync::Arc;

/// The number of consecutive unfinished counts after which the next is kept: a mark is a byte.
const GIVEN_UP: u8 = 250;

/// The mark of a subscription that no listener has asked for, by the kind of its endpoint.
const NOT_COUNTED: u8 = u8::MAX;

/// The listeners of an interest and their counts.
pub(super) struct Events {
    counts: Option<Box<Counts>>,
    /// The mark of counted subscriptions. Not 0, which marks a subscription outside the interest.
    mark: u8,
    /// The number of consecutive counts that were not finished.
    given_up: u8,
}

/// Listeners to call once the interest is unlocked. Usually there are none.
type Listeners = SmallVec<[Arc<EventListener>; 2]>;

/// Passes the pending changes to listeners.
#[inline]
pub(super) fn tell(listeners: &Listeners, may_wait: bool) {
    listeners.iter().for_each(|listener| listener.tell(may_wait));
}

#[cold]
fn copied(counts: &Counts) -> Listeners {
    counts.listeners.iter().cloned().collect()
}

impl Default for Events {
    fn default() -> Self {
        Self { counts: None, mark: 1, given_up: 0 }
    }
}

impl Events {
    /// Returns all listeners.
    #[inline]
    pub(super) fn listeners(&self) -> Listeners {
        match &self.counts {
            None => Listeners::new(),
            Some(counts) => copied(counts),
        }
    }

    /// Counts a new subscription. Returns true if listeners may have to be told.
    #[inline]
    pub(super) fn insert<S: Interested>(&mut self, subscription: &S) -> bool {
        let Some(counts) = &mut self.counts else {
            subscription.set_mark(self.mark);
            return false;
        };
        let is_counted = counts.wants(subscription.kind_bit());
        subscription.set_mark(if is_counted { self.mark } else { NOT_COUNTED });
        if is_counted {
            counts.change(subscription, 0, subscription.weight());
        }
        is_counted
    }

    /// Counts the end of a subscription. Returns true if listeners may have to be told.
    #[inline]
    pub(super) fn remove<S: Interested>(&mut self, subscription: &S) -> bool {
        let mark = subscription.mark();
        subscription.set_mark(0);
        let Some(counts) = self.counts.as_mut().filter(|_| mark == self.mark) else { return false };
        counts.change(subscription, subscription.weight(), 0);
        true
    }

    pub(super) fn set_weight<S: Interested>(&mut self, subscription: &S, weight: u32) {
        let before = subscription.weight();
        subscription.set_weight(weight);
        if let Some(counts) = self.counts.as_mut().filter(|_| subscription.mark() == self.mark) {
            counts.change(subscription, before, weight);
        }
    }

    /// Counts a subscription from before the first listener. `by` is the listener that counts.
    fn count<S: Interested>(&mut self, by: &Arc<EventListener>, subscription: &S) {
        let mark = subscription.mark();
        if mark == 0 || mark == self.mark {
            return;
        }
        if let Some(counts) = &mut self.counts
            && counts.wants(subscription.kind_bit())
        {
            subscription.set_mark(self.mark);
            counts.count(by, subscription);
        }
    }

    /// Adds a listener, and starts to count if it is the first. `is_empty`: there are no subscriptions.
    fn add(
        &mut self,
        listener: &Arc<EventListener>,
        is_empty: bool,
        make: impl FnOnce() -> Counts,
    ) {
        if self.counts.is_none() {
            self.mark = if self.mark + 1 < NOT_COUNTED { self.mark + 1 } else { 1 };
            self.counts = Some(Box::new(make()));
        }
        if let Some(counts) = &mut self.counts {
            counts.add(listener, is_empty);
        }
    }

    /// Removes a listener. Returns the counts if it was the last, to be dropped without the lock.
    fn take_out(&mut self, listener: &Arc<EventListener>) -> Option<Box<Counts>> {
        let counts = self.counts.as_mut()?;
        counts.remove(listener);
        if !counts.listeners.is_empty() {
            return None;
        }
        self.given_up = if counts.is_whole { 0 } else { self.given_up + 1 };
        if self.given_up > GIVEN_UP {
            self.given_up = GIVEN_UP;
            return None;
        }
        self.counts.take()
    }
}

impl<S: Interested> Interest<S> {
    /// Adds a listener to the interest of these kinds of endpoints, one bit each. It receives all changes from now on
    /// to interest that it has received already. The caller must have the existing subscriptions [counted](Self::count)
    /// unless [they are](Self::is_counted), and then [passed on](Self::tell_part).
    pub(crate) fn listen(&self, kinds: u8, call: ListenerCall) -> Arc<EventListener> {
        let listener = Arc::new(EventListener::new(kinds, call));
        let mut state = self.state.write();
        let State { sublist, events } = &mut *state;
        let is_empty = sublist.len() == 0;
        let filters = sublist.literal_filters();
        events.add(&listener, is_empty, || Counts::new(self.hasher(), is_empty, filters));
        drop(state);
        listener
    }

    /// Removes a listener that [`Self::listen`] added.
    pub(crate) fn stop_listening(&self, listener: &Arc<EventListener>) {
        let counts = self.state.write().events.take_out(listener);
        drop(counts);
        listener.close();
    }

    /// Returns true if the subscriptions from before the first listener are counted.
    pub(crate) fn is_counted(&self) -> bool {
        let state = self.state.read();
        state.events.counts.as_ref().is_none_or(|counts| counts.is_whole)
    }

    /// Counts subscriptions. Some may be counted already, or not be in the interest. `by` is the listener for which they are
    /// counted; if it is the first one, it receives the plain filters among them.
    pub(crate) fn count(&self, by: &Arc<EventListener>, subscriptions: &[Arc<S>]) {
        // Before the lock, so that no other thread waits for memory.
        super::touch_all(subscriptions.iter());
        let letters = subscriptions.iter().filter_map(|one| one.filter().first());
        std::hint::black_box(letters.fold(0, |all, letter| all ^ letter));
        let mut state = self.state.write();
        state.events.counts.iter().for_each(|counts| counts.touch(subscriptions));
        subscriptions.iter().for_each(|subscription| state.events.count(by, &**subscription));
        drop(state);
        by.tell(true);
    }

    /// Marks the counts as complete. All subscriptions that were in the interest when the caller began to listen have
    /// been counted, except those that were removed since.
    pub(crate) fn finish_counting(&self) {
        let mut state = self.state.write();
        if let Some(counts) = &mut state.events.counts {
            counts.finish();
            state.events.given_up = 0;
        }
    }

    /// Passes a part of the existing interest to a listener. Returns false if there is no more.
    pub(crate) fn tell_part(&self, listener: &Arc<EventListener>) -> bool {
        let state = self.state.read();
        let has_more =
            state.events.counts.as_ref().is_some_and(|counts| counts.note_part(listener));
        drop(state);
        listener.tell(true);
        has_more
    }
}

#[cfg(test)]
mod tests;
