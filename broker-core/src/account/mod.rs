//! Accounts: isolated subject spaces.
//!
//! Imports, exports and mappings will stand in this folder; they act where a message enters
//! ([`crate::session`]) and where it is delivered, and need nothing of another account but its
//! interest.

mod ending;
mod interest_events;

pub(crate) use ending::Ending;
pub use interest_events::InterestEvents;

use crate::endpoint::{AccountMembership, Endpoint, SubjectSpace, Subscription};
use crate::interest::Interest;
use crate::sync::{Arc, AtomicU64};

pub use crate::auth::GLOBAL_ACCOUNT as GLOBAL;

/// The account of the system.
pub const SYSTEM: &str = "$SYS";

/// One isolated subject space.
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    pub(crate) interest: Interest<Subscription>,
    /// The number of reply permissions that were lost because a client had too many.
    pub(crate) lost_replies: AtomicU64,
    #[cfg(feature = "testing")]
    pub(crate) seam: Arc<crate::probe::Seam>,
}

impl Account {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.into(),
            interest: Interest::new(seed),
            lost_replies: AtomicU64::new(0),
            #[cfg(feature = "testing")]
            seam: Arc::default(),
        }
    }

    /// Shares the probe of the broker.
    #[cfg(feature = "testing")]
    pub(crate) fn with_seam(self, seam: &Arc<crate::probe::Seam>) -> Self {
        Self { seam: Arc::clone(seam), ..self }
    }
}

impl Account {
    /// Makes it the account of a client.
    pub(crate) fn admit(self: &Arc<Self>, endpoint: &Endpoint) {
        let membership = AccountMembership::begin(Arc::clone(self) as Arc<_>, endpoint);
        endpoint.membership.store(Some(Arc::new(membership)));
    }
}

impl SubjectSpace for Account {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn remove(&self, subscriptions: &[Arc<Subscription>]) {
        self.interest.remove(subscriptions);
    }
}
