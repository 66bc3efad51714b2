//! The cryptography library that the build has chosen.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup};

#[cfg(feature = "tls")]
pub(crate) fn default_provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(feature = "tls")]
pub(super) fn all_curves() -> Vec<&'static dyn SupportedKxGroup> {
    rustls::crypto::aws_lc_rs::ALL_KX_GROUPS.to_vec()
}

#[cfg(feature = "tls")]
pub(super) fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new()
}

#[cfg(not(feature = "tls"))]
pub(crate) fn default_provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(not(feature = "tls"))]
pub(super) fn all_curves() -> Vec<&'static dyn SupportedKxGroup> {
    rustls::crypto::ring::ALL_KX_GROUPS.to_vec()
}

#[cfg(not(feature = "tls"))]
pub(super) fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    rustls::crypto::ring::Ticketer::new()
}
