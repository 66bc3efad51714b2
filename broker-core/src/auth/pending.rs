//! Decisions that are made later, elsewhere: by a service over the network, or by a person.

use std::fmt;
use std::time::Duration;

use super::{Denied, Grant};
use crate::limits::PENDING_DECISION;
use crate::sync::{Arc, Mutex};

/// A decision that is made later, by its [`Answer`], from any thread.
///
/// The session waits for it without holding a thread. Without an answer within the timeout, or if the answer is
/// dropped, the client is denied as [`Denied::Unavailable`].
///
/// ```
/// use std::time::Duration;
/// use broker_core::auth::{Authenticator, Credentials, Decision, Grant, Pending};
///
/// /// Decides on another thread.
/// struct Elsewhere;
///
/// impl Authenticator for Elsewhere {
///     fn is_required(&self) -> bool {
///         true
///     }
///
///     fn authenticate(&self, credentials: &Credentials) -> Decision {
///         let (pending, answer) = Pending::new(Duration::from_secs(2));
///         let user = credentials.user.clone();
///         std::thread::spawn(move || answer.decide(Ok(Grant::user(user))));
///         pending.into()
///     }
/// }
/// ```
#[must_use]
pub struct Pending {
    slot: Arc<Slot>,
    timeout: Duration,
}

/// The handle that answers a [`Pending`] decision. Dropped, it denies the client as [`Denied::Unavailable`].
pub struct Answer {
    slot: Arc<Slot>,
}

#[derive(Default)]
struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    result: Option<Result<Grant, Denied>>,
    /// Called once there is a result.
    notify: Option<Box<dyn FnOnce() + Send>>,
    is_decided: bool,
    /// True once the session has stopped waiting.
    is_unwanted: bool,
}

impl Pending {
    /// Creates a decision that waits no longer than `timeout`, nor than the time to authenticate at login, nor
    /// than a minute.
    pub fn new(timeout: Duration) -> (Self, Answer) {
        let slot = Arc::<Slot>::default();
        let timeout = timeout.min(PENDING_DECISION);
        (Self { slot: Arc::clone(&slot), timeout }, Answer { slot })
    }

    /// Returns the longest time that the session waits for the answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls `notify` once there is an answer, or at once if there is one already.
    pub(crate) fn notify(&self, notify: impl FnOnce() + Send + 'static) {
        let mut state = self.slot.0.lock();
        if !state.is_decided {
            state.notify = Some(Box::new(notify));
            return;
        }
        drop(state);
        notify();
    }

    /// Takes the answer, if there is one.
    pub(crate) fn take(&self) -> Option<Result<Grant, Denied>> {
        self.slot.0.lock().result.take()
    }
}

/// Frees what the session holds at once, before the answer arrives.
impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = self.slot.0.lock();
        state.is_unwanted = true;
        let left = (state.notify.take(), state.result.take());
        drop(state);
        drop(left);
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Answer {
    /// Sets the decision.
    pub fn decide(self, result: Result<Grant, Denied>) {
        self.slot.decide(result);
    }

    /// Returns true while the session waits. After that an answer has no effect.
    pub fn is_wanted(&self) -> bool {
        !self.slot.0.lock().is_unwanted
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.slot.decide(Err(Denied::Unavailable));
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl Slot {
    /// Sets the decision, unless there is one.
    fn decide(&self, result: Result<Grant, Denied>) {
        let mut state = self.0.lock();
        if state.is_unwanted || std::mem::replace(&mut state.is_decided, true) {
            return;
        }
        state.result = Some(result);
        let notify = state.notify.take();
        drop(state);
        if let Some(notify) = notify {
            notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicUsize, Ordering};

    fn counted(pending: &Pending) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        pending.notify(move || _ = counting.fetch_add(1, Ordering::Relaxed));
        count
    }

    #[test]
    fn the_first_answer_counts_and_notifies_once() {
        let (pending, answer) = Pending::new(Duration::from_secs(1));
        let count = counted(&pending);
        assert_eq!(pending.take(), None);
        assert!(answer.is_wanted());
        std::thread::spawn(move || answer.decide(Ok(Grant::user("a")))).join().unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(pending.take(), Some(Ok(Grant::user("a"))));
        assert_eq!(pending.take(), None, "an answer is taken once");
        assert_eq!(counted(&pending).load(Ordering::Relaxed), 1, "the answer exists already");
    }

    #[test]
    fn an_answer_that_is_dropped_denies() {
        let (pending, answer) = Pending::new(Duration::from_secs(1));
        let count = counted(&pending);
        drop(answer);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(pending.take(), Some(Err(Denied::Unavailable)));
    }

    #[test]
    fn a_dropped_decision_frees_its_notification() {
        let (pending, answer) = Pending::new(Duration::from_secs(1));
        let count = counted(&pending);
        drop(pending);
        assert!(!answer.is_wanted());
        assert_eq!(Arc::strong_count(&count), 1, "the notification is freed");
        answer.decide(Ok(Grant::anonymous()));
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_wait_for_an_answer_is_bounded() {
        assert_eq!(Pending::new(Duration::MAX).0.timeout(), PENDING_DECISION);
    }
}
