//! The end of a client's grant.

use std::time::{Instant, SystemTime};

use super::{ClientSession, Phase};
use crate::auth::Grant;
use crate::clock::Clock;
use crate::endpoint::Scratch;
use crate::error::ClientFault;

/// The time at which a grant ends.
pub(super) struct Expiry {
    wall: SystemTime,
    /// The same on the clock of the session. Fixed with the grant: the wall clock may be set back.
    at: Instant,
}

impl Expiry {
    /// Returns the end of a grant that is given now. One that is too far away for the clock never comes.
    pub(super) fn of(grant: &Grant, clock: &dyn Clock, now: Instant) -> Option<Box<Self>> {
        let wall = grant.expires?;
        let left = wall.duration_since(clock.wall()).unwrap_or_default();
        Some(Box::new(Self { wall, at: now.checked_add(left)? }))
    }
}

impl ClientSession {
    pub(super) fn is_expired(&self, grant: &Grant) -> bool {
        grant.expires.is_some_and(|expires| expires <= self.shared.clock.wall())
    }

    fn expiry(&self) -> Option<&Expiry> {
        match &self.phase {
            Phase::Served(served) => served.expiry.as_deref(),
            Phase::Unauthenticated(_) | Phase::Checking(_) => None,
        }
    }

    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.expiry().map(|expiry| expiry.wall)
    }

    pub(super) fn expiry_timeout(&self) -> Option<Instant> {
        self.expiry().map(|expiry| expiry.at)
    }

    /// Closes the client if its grant has ended.
    pub(super) fn check_expiry(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.closing.is_none() && self.expiry_timeout().is_some_and(|at| now >= at) {
            self.fault(&ClientFault::AuthenticationExpired, scratch);
        }
    }
}
