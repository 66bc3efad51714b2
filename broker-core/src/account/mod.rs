//! An account: one isolated subject space.
//!
//! Imports, exports and mappings will stand in this folder; they act where a message enters
//! ([`crate::session`]) and where it is delivered, and need nothing of another account but its
//! interest.

use crate::interest::Interest;
use crate::subscription::Subscription;
use crate::sync::{Arc, AtomicUsize};

pub use crate::auth::GLOBAL_ACCOUNT as GLOBAL;

/// The account of the system.
pub const SYSTEM: &str = "$SYS";

/// See the module.
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    pub(crate) interest: Interest<Subscription>,
    /// Sessions that are in it now.
    pub(crate) sessions: AtomicUsize,
}

impl Account {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self { name: name.into(), interest: Interest::new(seed), sessions: AtomicUsize::new(0) }
    }
}
