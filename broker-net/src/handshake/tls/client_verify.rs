//! Verification of a server's certificate: by authorities, and by its public key.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::Hash;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::verify::{NotPinned, other};
use super::x509;

/// Verifies the server before the dialling side sends its own certificate or any data.
pub(super) struct ServerVerifier {
    /// Authorities; `None` to accept any certificate.
    pub(super) by_roots: Option<Arc<WebPkiServerVerifier>>,
    /// Pinned public keys; empty to accept any.
    pub(super) pins: HashSet<[u8; 32]>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) sha256: &'static dyn Hash,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier")
            .field("is_verified", &self.by_roots.is_some())
            .field("pins", &self.pins.len())
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(by_roots) = &self.by_roots {
            by_roots.verify_server_cert(certificate, intermediates, name, ocsp_response, now)?;
        }
        if !x509::has_pin(certificate, &self.pins, self.sha256) {
            return Err(other(NotPinned));
        }
        Ok(ServerCertVerified::assertion())
    }

    // Checked even if any certificate is accepted: the server must have the key of the one it presents.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
