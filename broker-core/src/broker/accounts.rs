//! Accounts that are configured one by one.

use std::time::{Instant, SystemTime};

use super::Broker;
use crate::account::AccountConfig;
use crate::shared::Shared;
use crate::sync::{Arc, Weak};

impl Broker {
    /// Configures one account: makes it, or replaces its limits, exports, imports and mappings. It remains when
    /// [`Self::apply`] replaces the configured accounts, of which it must not be one. If a limit allows fewer connections
    /// than there are, the newest are closed with an error.
    ///
    /// For accounts that are known one after the other, when they are needed.
    pub fn configure_account(&self, config: &AccountConfig) {
        self.shared.configure_account(config);
    }

    /// Has the authenticator [review](crate::auth::Authenticator::review) the clients in an account.
    pub fn review_account(&self, name: &str) {
        self.shared.review_account(name);
    }

    /// Sets the function that [`Self::do_periodic`] calls. It replaces the previous one.
    pub fn set_periodic(&self, periodic: impl Fn() + Send + Sync + 'static) {
        self.shared.periodic.store(Some(Arc::new(Box::new(periodic))));
    }

    /// Does what is due by the clock without an event of a connection. Ends requests to services of other accounts that
    /// were not answered in time, and publishes the failure of those whose response time is measured; ends activations
    /// that have expired. Call it about once a second.
    pub fn do_periodic(&self, now: Instant) {
        self.shared.expire_responses(now);
        if let Some(periodic) = &*self.shared.periodic.load() {
            periodic();
        }
    }

    /// Returns the time of day of the broker's clock.
    pub fn wall(&self) -> SystemTime {
        self.shared.clock.wall()
    }

    /// Returns a handle that does not keep the broker.
    pub fn downgrade(&self) -> WeakBroker {
        WeakBroker(Arc::downgrade(&self.shared))
    }
}

/// A handle of a broker that does not keep it.
#[derive(Clone)]
pub struct WeakBroker(Weak<Shared>);

impl WeakBroker {
    /// Returns the broker, if it still exists.
    pub fn upgrade(&self) -> Option<Broker> {
        self.0.upgrade().map(|shared| Broker { shared })
    }
}

impl std::fmt::Debug for WeakBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakBroker")
    }
}
