//! TLS parameters of a connection.

use crate::auth::Certificate;
use crate::sync::Arc;

/// TLS parameters of a connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Security {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The IANA name of the cipher suite: `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: &'static str,
    /// True if the handshake came before INFO.
    pub is_first: bool,
    /// The certificate chain of the client, the end entity first.
    pub peers: Vec<PeerCertificate>,
    /// The names in the end entity certificate.
    pub certificate: Option<Arc<Certificate>>,
    /// The verified certificates (DER), from the end entity to the authority. The session keeps them only for an
    /// authenticator that [reads](crate::auth::Authenticator::reads_certificates) them.
    pub verified_chain: Arc<Vec<Vec<u8>>>,
}

/// A certificate, as displayed by monitoring.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// The subject.
    pub subject: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub spki_sha256: [u8; 32],
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
}
