//! How a connection is secured.

use crate::auth::Certificate;
use crate::sync::Arc;

/// What the carrier of a connection says of its TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Security {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// As IANA calls it: `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: &'static str,
    /// The handshake came before INFO.
    pub is_first: bool,
    /// The certificates that the client showed, its own first.
    pub peers: Vec<PeerCertificate>,
    /// The names in its own.
    pub certificate: Option<Arc<Certificate>>,
}

/// A certificate as monitoring shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// Whose it is.
    pub subject: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub spki_sha256: [u8; 32],
    /// SHA-256 of all of it.
    pub sha256: [u8; 32],
}
