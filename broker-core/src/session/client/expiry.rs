//! The end of a client's grant.

use std::time::{Instant, SystemTime};

use super::{ClientSession, Phase};
use crate::auth::Grant;
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::session::expiry::Expiry;

impl ClientSession {
    pub(super) fn is_expired(&self, grant: &Grant) -> bool {
        grant.expires.is_some_and(|expires| expires <= self.shared.clock.wall())
    }

    fn expiry(&self) -> Option<Expiry> {
        match &self.phase {
            Phase::Served(served) => served.member.expiry(),
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
