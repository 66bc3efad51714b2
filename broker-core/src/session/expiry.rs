//! The end of a grant.

use std::time::{Instant, SystemTime};

use crate::auth::Grant;
use crate::clock::Clock;

/// The time at which a grant ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Expiry {
    pub(super) wall: SystemTime,
    /// True if the account ends, and not only the grant.
    pub(super) is_of_account: bool,
    /// The same time on the clock of the session. Fixed with the grant: the wall clock may be set back.
    pub(super) at: Instant,
}

impl Expiry {
    /// Returns the end of a grant that is given now. One beyond the range of the clock never ends.
    pub(super) fn of(grant: &Grant, clock: &dyn Clock, now: Instant) -> Option<Self> {
        let of_grant = grant.expires.map(|wall| (wall, false));
        let of_account = grant.account_expires.map(|wall| (wall, true));
        let (wall, is_of_account) = of_grant.into_iter().chain(of_account).min()?;
        let left = wall.duration_since(clock.wall()).unwrap_or_default();
        Some(Self { wall, is_of_account, at: now.checked_add(left)? })
    }
}
