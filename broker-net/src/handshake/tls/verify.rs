//! Verification of client certificates: signed by a trusted authority, not revoked, and with a pinned public key, if
//! any are configured.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::hash::Hash;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    VerifiedPath,
};

use super::issuer::{self, Issuer};
use super::server_name;
use super::x509;

thread_local! {
    /// The refused certificate: rustls returns the reason of a refusal, but not the certificate.
    static REFUSED: Cell<Option<String>> = const { Cell::new(None) };
}

/// Takes the certificate that this thread refused last.
pub(super) fn take_refused() -> Option<String> {
    REFUSED.take()
}

/// Verifies by webpki, then by the restrictions of the issuers, then by the pinned keys.
pub(super) struct Verifier {
    /// The trusted authorities.
    pub(super) roots: RootCertStore,
    /// Their further restrictions, in the same order.
    pub(super) issuers: Vec<Issuer>,
    /// Revocation lists; empty for no check.
    pub(super) lists: Vec<CertRevocationList<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// Pinned public keys; empty for no check.
    pub(super) pins: HashSet<[u8; 32]>,
    pub(super) sha256: &'static dyn Hash,
    /// The names of the authorities, by which clients choose a certificate.
    pub(super) hints: Vec<DistinguishedName>,
}

// NATS 2.14: errors.go ErrCertNotPinned.
#[derive(Debug, thiserror::Error)]
#[error("certificate not pinned")]
pub(super) struct NotPinned;

impl Verifier {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let lists: Vec<_> = self.lists.iter().collect();
        // The only error is an empty set of lists, for which there is no check.
        let revocation = RevocationOptionsBuilder::new(&lists).ok();
        let revocation =
            revocation.map(|asked| asked.with_depth(RevocationCheckDepth::EndEntity).build());
        let fault = RefCell::new(None);
        let check_path = |path: &VerifiedPath<'_>| {
            issuer::check_path(&self.roots.roots, &self.issuers, path, now).map_err(|found| {
                *fault.borrow_mut() = Some(found);
                webpki::Error::UnknownIssuer
            })
        };
        let verified = EndEntityCert::try_from(certificate).and_then(|parsed| {
            let verified = parsed.verify_for_usage(
                self.algorithms.all,
                &self.roots.roots,
                intermediates,
                now,
                KeyUsage::client_auth(),
                revocation,
                Some(&check_path),
            );
            verified.map(|_| ())
        });
        verified.map_err(|error| match fault.take() {
            Some(fault) => other(fault),
            None => refusal(error),
        })?;
        if x509::has_pin(certificate, &self.pins, self.sha256) {
            Ok(())
        } else {
            Err(other(NotPinned))
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("pins", &self.pins.len()).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verify(certificate, intermediates, now);
        if verified.is_err() {
            REFUSED.set(Some(x509::show(certificate, self.sha256)));
        }
        verified.map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The client has signed the messages as it sent them.
        let message = server_name::unhide(message);
        verify_tls12_signature(&message, certificate, signature, &self.algorithms)
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

pub(super) fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Maps to an error of rustls, which has an alert for each.
fn refusal(error: webpki::Error) -> Error {
    use webpki::Error as Is;
    let error = match error {
        Is::BadDer | Is::BadDerTime | Is::TrailingData(_) => CertificateError::BadEncoding,
        Is::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Is::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Is::CertRevoked => CertificateError::Revoked,
        Is::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        // The second: another authority than the trusted one of the same name.
        Is::UnknownIssuer | Is::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        Is::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        error => return other(error),
    };
    Error::InvalidCertificate(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_authority_of_the_same_name_is_unknown() {
        let expected = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(refusal(webpki::Error::InvalidSignatureForPublicKey), expected);
    }
}
