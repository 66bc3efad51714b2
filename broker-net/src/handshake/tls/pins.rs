//! Client certificates whose public keys are on a list.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::hash::Hash;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::x509::{self, Parsed};

/// Asks another verifier first, and then whether the key is on the list.
pub(super) struct Pinned {
    verifier: Arc<dyn ClientCertVerifier>,
    pins: HashSet<[u8; 32]>,
    sha256: &'static dyn Hash,
}

// NATS 2.14: errors.go ErrCertNotPinned.
#[derive(Debug, thiserror::Error)]
#[error("certificate not pinned")]
struct NotPinned;

impl Pinned {
    pub(super) fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        pins: HashSet<[u8; 32]>,
        sha256: &'static dyn Hash,
    ) -> Self {
        Self { verifier, pins, sha256 }
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        let key = Parsed::new(certificate).and_then(|parsed| parsed.public_key());
        key.is_some_and(|key| self.pins.contains(&x509::digest(self.sha256, &key)))
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("pins", &self.pins.len()).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(certificate, intermediates, now)?;
        if !self.holds(certificate) {
            let error = CertificateError::Other(OtherError(Arc::new(NotPinned)));
            return Err(Error::InvalidCertificate(error));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
