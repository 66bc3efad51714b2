//! The cryptography library that the build has selected.

use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "tls"))]
use rustls::crypto::ring as library;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

pub(crate) fn default_provider() -> CryptoProvider {
    library::default_provider()
}

pub(super) fn all_curves() -> Vec<&'static dyn SupportedKxGroup> {
    library::ALL_KX_GROUPS.to_vec()
}

pub(super) fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    library::Ticketer::new()
}
