//! Proxies that connect on behalf of clients.

use std::sync::Arc;

use broker_core::auth::Authenticator;
#[cfg(feature = "jwt")]
use broker_core::auth::TrustedProxies;
#[cfg(feature = "jwt")]
use broker_core::auth::nkey::PublicKey;

use super::{Options, OptionsError};

/// The trusted proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted {
    #[cfg(feature = "jwt")]
    keys: Vec<PublicKey>,
    /// Clients may have come through a proxy that was trusted before.
    #[cfg(feature = "jwt")]
    had_some: bool,
}

impl Trusted {
    /// Reads the keys.
    // NATS 2.14: auth.go validateProxies.
    #[cfg(feature = "jwt")]
    pub(super) fn of(options: &Options) -> Result<Self, OptionsError> {
        let keys = options.proxies.trusted.iter().map(|proxy| {
            let key = proxy.key.as_deref().unwrap_or_default();
            PublicKey::parse(key).map_err(|_| OptionsError::ProxyKey(key.to_owned()))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { had_some: !keys.is_empty(), keys })
    }

    /// Refuses proxies, whose signatures this build cannot check.
    #[cfg(not(feature = "jwt"))]
    pub(super) fn of(options: &Options) -> Result<Self, OptionsError> {
        match options.proxies.trusted.first() {
            Some(proxy) => Err(OptionsError::ProxyKey(proxy.key.clone().unwrap_or_default())),
            None => Ok(Self::default()),
        }
    }

    /// Replaces `before`.
    #[cfg(feature = "jwt")]
    pub(super) fn succeeding(self, before: &Self) -> Self {
        Self { had_some: self.had_some || before.had_some, ..self }
    }

    #[cfg(not(feature = "jwt"))]
    pub(super) fn succeeding(self, _: &Self) -> Self {
        self
    }

    /// Returns the authenticator for clients with and without proxies.
    #[cfg(feature = "jwt")]
    pub(super) fn around(&self, inner: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        if !self.had_some {
            return inner;
        }
        Arc::new(TrustedProxies::new(inner, self.keys.iter().copied()))
    }

    #[cfg(not(feature = "jwt"))]
    pub(super) fn around(&self, inner: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        inner
    }
}
