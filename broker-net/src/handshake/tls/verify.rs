//! Which client certificates are good: signed by whom they should be, not revoked, and with a public key
//! that is on a list, if there is one.

use std::cell::Cell;
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

thread_local! {
    /// rustls tells why a certificate was refused, but not which, and does not keep it.
    static REFUSED: Cell<Option<String>> = const { Cell::new(None) };
}

/// The certificate that this thread has refused last.
pub(super) fn take_refused() -> Option<String> {
    REFUSED.take()
}

/// Asks another verifier first, and then whether the key is on the list.
pub(super) struct Verifier {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Empty: any will do.
    pins: HashSet<[u8; 32]>,
    sha256: &'static dyn Hash,
}

// NATS 2.14: errors.go ErrCertNotPinned.
#[derive(Debug, thiserror::Error)]
#[error("certificate not pinned")]
struct NotPinned;

impl Verifier {
    pub(super) fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        pins: HashSet<[u8; 32]>,
        sha256: &'static dyn Hash,
    ) -> Self {
        Self { verifier, pins, sha256 }
    }

    fn has_pin(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.pins.is_empty() {
            return true;
        }
        let key = Parsed::new(certificate).and_then(|parsed| parsed.public_key());
        key.is_some_and(|key| self.pins.contains(&x509::digest(self.sha256, &key)))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("pins", &self.pins.len()).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(certificate, intermediates, now);
        let verified = verified.and_then(|verified| {
            let not_pinned = || CertificateError::Other(OtherError(Arc::new(NotPinned)));
            let has_pin = self.has_pin(certificate).then_some(verified);
            has_pin.ok_or_else(|| Error::InvalidCertificate(not_pinned()))
        });
        if verified.is_err() {
            REFUSED.set(Some(x509::show(certificate, self.sha256)));
        }
        verified
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
