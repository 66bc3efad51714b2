//! The authenticator of a test broker, with injected failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant};

/// The number of authentications still to be rejected.
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

/// Rejects injected failures, then delegates to the configured authenticator.
pub(super) struct FailingAuthenticator {
    pub(super) acceptor: Arc<AuthFailures>,
    pub(super) behind: Arc<dyn Authenticator>,
}

impl Authenticator for FailingAuthenticator {
    /// So that every client is asked.
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

    fn may_name(&self, account: &str) -> bool {
        self.behind.may_name(account)
    }

    fn configures_accounts(&self) -> bool {
        self.behind.configures_accounts()
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
    fn the_requested_number_of_authentications_fails() {
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
