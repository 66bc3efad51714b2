//! The end of a grant.

use std::time::{Instant, SystemTime};

use crate::auth::Grant;
use crate::clock::Clock;

/// The time at which a grant ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Expiry {
    pub(super) wall: SystemTime,
    /// The same time on the clock of the session. Fixed with the grant: the wall clock may be set back.
    pub(super) at: Instant,
}

impl Expiry {
    /// Returns the end of a grant that is given now. One beyond the range of the clock never ends.
    pub(super) fn of(grant: &Grant, clock: &dyn Clock, now: Instant) -> Option<Self> {
        let wall = grant.expires?;
        let left = wall.duration_since(clock.wall()).unwrap_or_default();
        Some(Self { wall, at: now.checked_add(left)? })
    }
}
