//! Without JWTs there are no auth callouts.

use std::sync::Arc;

use broker_core::auth::Authenticator;
use broker_net::ServerOptions;

use super::{Options, OptionsError};

/// No auth callout.
#[derive(Clone, Debug)]
pub(crate) struct Delegation;

impl Delegation {
    pub(super) fn of(_: &Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    pub(super) fn succeeding(self, _: &Self) -> Self {
        self
    }

    #[cfg(feature = "testing")]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(super) fn around(&self, inner: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        inner
    }

    pub(crate) fn introduce(&self, _: &mut ServerOptions) {}

    pub(crate) fn report(&self) {}
}
