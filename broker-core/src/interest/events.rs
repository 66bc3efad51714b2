//! Events of interest: the first and the last subscriber of a filter, and each change of the number of members
//! of a queue group, told to listeners in order.
//!
//! A listener names the kinds of endpoints whose interest counts. Changes are noted with the interest locked and told
//! by the thread that made them, after the lock is released, one thread at a time. What waits for a slow
//! listener is brought up to date instead of added to (`pending.rs`).
//!
//! The counts that this takes are kept only while somebody listens. The first listener of an account has the
//! subscriptions counted that are there already, in slices: each subscription is marked when it is counted, so
//! that none is counted twice or forgotten, whatever comes and goes meanwhile. From then on the table of counts is
//! read part by part for every listener that comes: a change before the place that the reader has come to
//! is told, one behind it will be read.

use smallvec::SmallVec;

use super::counts::Counts;
use super::event_listener::{Call, EventListener};
use super::{Interest, Interested};
use crate::sync::Arc;

/// After so many countings in a row that were given up, the next is kept: a mark is a byte.
const GIVEN_UP: u8 = 250;

/// The part of an interest that knows of listeners.
pub(super) struct Events {
    counts: Option<Box<Counts>>,
    /// The mark of subscriptions that are counted, or would be. Not 0: that one is not in the interest.
    mark: u8,
    /// How many countings in a row were not finished.
    given_up: u8,
}

/// Listeners, to be told once the interest is not locked any more. Mostly there are none.
type Listeners = SmallVec<[Arc<EventListener>; 2]>;

/// Tells listeners what waits for them.
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

    #[inline]
    pub(super) fn insert<S: Interested>(&mut self, subscription: &S) {
        subscription.set_mark(self.mark);
        if let Some(counts) = &mut self.counts {
            counts.change(subscription, 0, subscription.weight());
        }
    }

    #[inline]
    pub(super) fn remove<S: Interested>(&mut self, subscription: &S) {
        let mark = subscription.mark();
        subscription.set_mark(0);
        if let Some(counts) = self.counts.as_mut().filter(|_| mark == self.mark) {
            counts.change(subscription, subscription.weight(), 0);
        }
    }

    pub(super) fn set_weight<S: Interested>(&mut self, subscription: &S, weight: u32) {
        let before = subscription.weight();
        subscription.set_weight(weight);
        if let Some(counts) = self.counts.as_mut().filter(|_| subscription.mark() == self.mark) {
            counts.change(subscription, before, weight);
        }
    }

    /// Counts a subscription that was there before the first listener.
    fn count<S: Interested>(&mut self, subscription: &S) {
        let mark = subscription.mark();
        if mark == 0 || mark == self.mark {
            return;
        }
        if let Some(counts) = &mut self.counts {
            subscription.set_mark(self.mark);
            counts.change(subscription, 0, subscription.weight());
        }
    }

    /// Adds a listener, and begins to count if it is the first.
    fn add(&mut self, listener: &Arc<EventListener>, make: impl FnOnce() -> Counts) {
        if self.counts.is_none() {
            self.mark = self.mark.checked_add(1).unwrap_or(1);
            self.counts = Some(Box::new(make()));
        }
        if let Some(counts) = &mut self.counts {
            listener.set_progress(counts.beginning());
            counts.listeners.push(Arc::clone(listener));
        }
    }

    /// Removes a listener. Returns the counts if it was the last, to be dropped without the lock.
    fn take_out(&mut self, listener: &Arc<EventListener>) -> Option<Box<Counts>> {
        let counts = self.counts.as_mut()?;
        counts.listeners.retain(|other| !Arc::ptr_eq(other, listener));
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
    /// Adds a listener to the interest of these kinds of endpoints, a bit each. It is told of all changes from now on,
    /// of what it has been told already. The caller has everything that is there [counted](Self::count) unless
    /// [it is](Self::is_counted), and then [told](Self::tell_part).
    pub(crate) fn listen(&self, kinds: u8, call: Call) -> Arc<EventListener> {
        let listener = Arc::new(EventListener::new(kinds, self.hasher(), call));
        let mut state = self.state.write();
        let is_empty = state.sublist.len() == 0;
        state.events.add(&listener, || Counts::new(self.hasher(), is_empty));
        listener
    }

    /// Ends what [`Self::listen`] has begun.
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

    /// Counts subscriptions, of which some may be counted already, or not in the interest.
    pub(crate) fn count(&self, subscriptions: &[Arc<S>]) {
        let mut state = self.state.write();
        subscriptions.iter().for_each(|subscription| state.events.count(&**subscription));
    }

    /// All subscriptions have been counted that were in the interest when the caller began to listen, but for
    /// those that leave it.
    pub(crate) fn finish_counting(&self) {
        let mut state = self.state.write();
        if let Some(counts) = &mut state.events.counts {
            counts.finish();
            state.events.given_up = 0;
        }
    }

    /// Tells a listener a part of what was there before it. Returns false if there is no more.
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
