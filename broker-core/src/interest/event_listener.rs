//! A listener to changes of interest, called after all locks are released.

use super::pending::{InterestChange, Key, Pending, Progress, Waiting};
use crate::limits::INTEREST_BATCH;
use crate::sync::{CallGate, Mutex};

/// The function to call with changes.
pub(crate) enum ListenerCall {
    /// Called with each of them.
    Each(Box<dyn Fn(&InterestChange<'_>) + Send + Sync>),
    /// Called with several of them, at most [`INTEREST_BATCH`], in order. It goes on with them if the listener is removed
    /// meanwhile.
    Several(Box<dyn Fn(&Changes<'_>) + Send + Sync>),
}

impl ListenerCall {
    pub(crate) fn each(call: impl Fn(&InterestChange<'_>) + Send + Sync + 'static) -> Self {
        Self::Each(Box::new(call))
    }

    pub(crate) fn several(call: impl Fn(&Changes<'_>) + Send + Sync + 'static) -> Self {
        Self::Several(Box::new(call))
    }
}

/// Changes in the order in which they were made; at least one.
pub(crate) struct Changes<'a>(&'a [Waiting]);

impl Changes<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = InterestChange<'_>> {
        self.0.iter().map(Waiting::change)
    }
}

/// A listener to the interest of some kinds of endpoints.
pub(crate) struct EventListener {
    /// The kinds of endpoints whose interest counts, one bit each.
    pub(super) kinds: u8,
    /// `None` once it is closed.
    pending: Mutex<Option<Pending>>,
    gate: CallGate,
    call: ListenerCall,
}

impl EventListener {
    pub(super) fn new(kinds: u8, call: ListenerCall) -> Self {
        let pending = Mutex::new(Some(Pending::new(Progress::Nothing)));
        Self { kinds, pending, gate: CallGate::default(), call }
    }

    /// Notes a change. The caller holds the lock of the interest, so that changes are in order.
    pub(super) fn note(&self, key: &Key, before: u32, now: u32) {
        if let Some(pending) = &mut *self.pending.lock() {
            pending.note(key, before, now);
        }
    }

    /// Notes a change of interest that the listener receives whatever its progress. The caller holds the lock of the interest.
    pub(super) fn add(&self, key: &Key, before: u32, now: u32) {
        if let Some(pending) = &mut *self.pending.lock() {
            pending.add(key, before, now);
        }
    }

    /// Notes interest from before the listener. The caller holds the lock of the interest.
    pub(super) fn add_existing(&self, key: &Key, now: u32) {
        if let Some(pending) = &mut *self.pending.lock() {
            pending.add_existing(key, now);
        }
    }

    /// Notes interest from before the listener, and that the listener has everything before `progress`. The caller
    /// holds the lock of the interest.
    pub(super) fn note_part<'a>(
        &self,
        part: impl Iterator<Item = (&'a Key, u32)>,
        progress: Progress,
    ) {
        let mut pending = self.pending.lock();
        let Some(pending) = &mut *pending else { return };
        for (key, now) in part {
            pending.add_existing(key, now);
        }
        pending.progress = progress;
    }

    pub(super) fn progress(&self) -> Progress {
        self.pending.lock().as_ref().map_or(Progress::All, |pending| pending.progress)
    }

    pub(super) fn set_progress(&self, progress: Progress) {
        if let Some(pending) = &mut *self.pending.lock() {
            pending.progress = progress;
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.pending.lock().as_ref().map_or(0, Pending::len)
    }

    /// Passes the pending changes to the listener, on one thread at a time. When it returns, the changes that were
    /// pending before have been passed. If the thread is within a listener already, or `may_wait` is false, it does not
    /// wait for another thread that is in a call: that thread passes the added changes too.
    pub(crate) fn tell(&self, may_wait: bool) {
        let mut pass = if may_wait { self.gate.enter() } else { self.gate.try_enter() };
        while let Some(turn) = pass {
            self.pass();
            drop(turn);
            if self.waiting() == 0 {
                return;
            }
            pass = self.gate.try_enter();
        }
    }

    /// Passes what is pending now. Changes added meanwhile are left to the threads that add them, if they wait.
    fn pass(&self) {
        let mut left = self.waiting();
        while left > 0 {
            let limit = match self.call {
                ListenerCall::Each(_) => 1,
                ListenerCall::Several(_) => left.min(INTEREST_BATCH),
            };
            let next = self.pending.lock().as_mut().map(|pending| pending.take_some(limit));
            let Some(next) = next.filter(|next| !next.is_empty()) else { return };
            match &self.call {
                ListenerCall::Each(call) => next.iter().for_each(|one| call(&one.change())),
                ListenerCall::Several(call) => call(&Changes(&next)),
            }
            left = left.saturating_sub(next.len());
        }
    }

    /// Drops the pending changes. When it returns, the listener is not called any more, unless the caller is within
    /// a call.
    pub(super) fn close(&self) {
        let pending = self.pending.lock().take();
        drop(pending);
        drop(self.gate.enter());
    }
}
