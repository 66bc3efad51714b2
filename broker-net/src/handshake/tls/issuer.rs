//! Certificates that may sign those of clients.
//!
//! webpki knows only name and key of an authority, and does not check whether the key of an intermediate may sign.
//! The reference reads all of their certificates, and refuses what they do not allow.

use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::VerifiedPath;
use x509_cert::certificate::Version;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::x509::Parsed;

const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const CLIENTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// The critical extensions supported in the certificate of an authority: key usage, other names, constraints (basic
/// ones and names), places of revocation lists, policies, purposes.
const UNDERSTOOD: [&str; 7] =
    ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.32", "2.5.29.37"];

/// The restrictions in the certificate of an authority beyond its name and key.
pub(super) struct Issuer {
    subject: String,
    not_before: UnixTime,
    not_after: UnixTime,
    /// Maximum certificates between it and a client.
    most_between: Option<usize>,
    /// The reason why it may sign no certificate at any time.
    fault: Option<&'static str>,
}

/// The reason why an issuer may not sign the certificate of a client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("its issuer {subject} {reason}")]
pub(super) struct IssuerFault {
    subject: String,
    reason: &'static str,
}

impl Issuer {
    /// Returns `None` if the certificate is malformed.
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = Parsed::new(certificate)?;
        let validity = parsed.0.tbs_certificate.validity;
        let constraints = parsed.0.tbs_certificate.get::<BasicConstraints>().ok()?;
        let most_between = constraints.as_ref().and_then(|(_, of)| of.path_len_constraint);
        Some(Self {
            subject: parsed.subject().to_string(),
            not_before: unix_time(validity.not_before.to_system_time()),
            not_after: unix_time(validity.not_after.to_system_time()),
            most_between: most_between.map(usize::from),
            fault: fault(&parsed, constraints.map(|(_, of)| of.ca)),
        })
    }

    /// Checks that it allows this path of issuers at this time.
    pub(super) fn allows(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), IssuerFault> {
        let between = path.intermediate_certificates().count();
        let reason = if self.fault.is_some() {
            self.fault
        } else if now > self.not_after {
            Some("has expired")
        } else if now < self.not_before {
            Some("is not valid yet")
        } else if self.most_between.is_some_and(|most| between > most) {
            Some("does not allow that many others in between")
        } else {
            None
        };
        reason.map_or(Ok(()), |reason| Err(IssuerFault { subject: self.subject.clone(), reason }))
    }
}

/// Checks that each issuer between a client and the authority may sign certificates.
pub(super) fn check_path(
    roots: &[TrustAnchor<'_>],
    issuers: &[Issuer],
    path: &VerifiedPath<'_>,
    now: UnixTime,
) -> Result<(), IssuerFault> {
    for between in path.intermediate_certificates() {
        let parsed = Parsed::new(&between.der());
        if !parsed.as_ref().is_some_and(may_sign) {
            let subject = parsed.map(|parsed| parsed.subject().to_string()).unwrap_or_default();
            return Err(IssuerFault { subject, reason: "has a key that may not sign" });
        }
    }
    let anchor = path.anchor();
    // An authority may have several certificates, an old one and a new one.
    let same = roots.iter().zip(issuers).filter(|(root, _)| *root == anchor);
    let mut fault = Ok(());
    for (_, issuer) in same {
        fault = issuer.allows(path, now);
        if fault.is_ok() {
            break;
        }
    }
    fault
}

/// `is_authority`: the value in its basic constraints, if it has any.
// NATS 2.14: crypto/x509 CheckSignatureFrom and isValid, of the Go that it is built with.
fn fault(parsed: &Parsed, is_authority: Option<bool>) -> Option<&'static str> {
    let certificate = &parsed.0.tbs_certificate;
    let extensions = certificate.extensions.as_deref().unwrap_or_default();
    let is_odd = |oid: &ObjectIdentifier| !UNDERSTOOD.contains(&&*oid.to_string());
    if is_authority == Some(false) || is_authority.is_none() && certificate.version == Version::V3 {
        Some("is no authority")
    } else if !may_sign(parsed) {
        Some("has a key that may not sign")
    } else if !is_for_clients(parsed) {
        Some("is not for clients")
    } else if extensions.iter().any(|of| of.critical && is_odd(&of.extn_id)) {
        Some("demands something that is not understood")
    } else {
        None
    }
}

/// Returns true if the key may sign: also if the certificate does not restrict its usage.
fn may_sign(parsed: &Parsed) -> bool {
    match parsed.0.tbs_certificate.get::<KeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Err(_) => false,
    }
}

fn is_for_clients(parsed: &Parsed) -> bool {
    match parsed.0.tbs_certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, ExtendedKeyUsage(purposes)))) => {
            purposes.iter().any(|purpose| [ANY_PURPOSE, CLIENTS].contains(purpose))
        }
        Err(_) => false,
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
