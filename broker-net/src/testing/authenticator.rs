//! Who is let in, unless a test wants it otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant};

/// How many are still to be turned away, whatever they show.
#[derive(Debug, Default)]
pub(super) struct AuthFailures(AtomicUsize);

impl AuthFailures {
    pub(super) fn turn_away(&self, count: usize) {
        self.0.store(count, Ordering::Release);
    }

    fn is_shut(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    fn turns_one_away(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.0.try_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }
}

/// Asks the door, then the one that decides.
pub(super) struct FailingAuthenticator {
    pub(super) acceptor: Arc<AuthFailures>,
    pub(super) behind: Arc<dyn Authenticator>,
}

impl Authenticator for FailingAuthenticator {
    /// So that nobody is let in without being asked.
    fn is_required(&self) -> bool {
        self.acceptor.is_shut() || self.behind.is_required()
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if self.acceptor.turns_one_away() {
            return Denied::Credentials.into();
        }
        self.behind.authenticate(credentials)
    }

    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        self.behind.review(held, credentials)
    }

    fn nonce_required(&self) -> bool {
        self.behind.nonce_required()
    }
}

#[cfg(test)]
mod tests {
    use broker_core::auth::NoAuth;

    use super::*;

    #[test]
    fn as_many_as_asked_for_are_turned_away_and_then_nobody() {
        let acceptor = Arc::new(AuthFailures::default());
        let keeper =
            FailingAuthenticator { acceptor: Arc::clone(&acceptor), behind: Arc::new(NoAuth) };
        let asks = || keeper.authenticate(&Credentials::default()).resolve();
        assert!(!keeper.is_required() && asks().is_ok());
        acceptor.turn_away(2);
        assert!(keeper.is_required());
        assert_eq!((asks(), asks()), (Err(Denied::Credentials), Err(Denied::Credentials)));
        assert!(!keeper.is_required() && asks().is_ok());
    }
}
