//! The end of a client's grant.

use std::time::{Instant, SystemTime};

use super::{ClientSession, Phase};
use crate::auth::Grant;
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::session::expiry::Expiry;

impl ClientSession {
    /// Returns the fault of a client whose grant has ended.
    pub(super) fn expired(&self, grant: &Grant) -> Option<ClientFault> {
        let now = self.shared.clock.wall();
        let is_over = |end: Option<SystemTime>| end.is_some_and(|end| end <= now);
        if is_over(grant.expires) {
            return Some(ClientFault::AuthenticationExpired);
        }
        is_over(grant.account_expires).then_some(ClientFault::AccountExpired)
    }

    fn expiry(&self) -> Option<Expiry> {
        match &self.phase {
            Phase::Served(served) => served.member.expiry(),
            Phase::Unauthenticated(_) | Phase::Checking(_) => None,
        }
    }

    /// Returns the ends of the grant and of the account. Of two only the first is known.
    pub(super) fn expires(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        match self.expiry() {
            None => (None, None),
            Some(expiry) if expiry.is_of_account => (None, Some(expiry.wall)),
            Some(expiry) => (Some(expiry.wall), None),
        }
    }

    pub(super) fn expiry_timeout(&self) -> Option<Instant> {
        self.expiry().map(|expiry| expiry.at)
    }

    /// Closes the client if its grant has ended.
    pub(super) fn check_expiry(&mut self, now: Instant, scratch: &mut Scratch) {
        let Some(expiry) = self.expiry().filter(|expiry| now >= expiry.at) else { return };
        if self.closing.is_none() {
            let fault = match expiry.is_of_account {
                true => ClientFault::AccountExpired,
                false => ClientFault::AuthenticationExpired,
            };
            self.fault(&fault, scratch);
        }
    }
}
