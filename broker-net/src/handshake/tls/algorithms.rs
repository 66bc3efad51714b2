//! Cipher suites and curves by the names that NATS gives them.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{NamedGroup, ProtocolVersion, SupportedCipherSuite};

use super::error::TlsError;
use super::provider::{all_curves, default_provider};
use super::server_name;

const SUITE: &str = "cipher suite";
const CURVE: &str = "curve";

/// Names of Go that NATS also accepts and natsd does not support: without forward secrecy, or with an encryption mode
/// that has been broken more than once.
// NATS 2.14: ciphersuites.go, crypto/tls.
const WEAK_SUITES: [&str; 15] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
];

/// Curves in the order of preference.
// NATS 2.14: ciphersuites.go curvePreferenceMap.
const CURVES: [(&str, NamedGroup); 5] = [
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
    ("CurveP521", NamedGroup::secp521r1),
];

/// The names of algorithms.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsAlgorithms {
    /// Cipher suites.
    pub cipher_suites: Vec<&'static str>,
    /// Key exchange groups.
    pub curves: Vec<&'static str>,
}

/// Returns the name that IANA and NATS use.
pub(super) fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    use rustls::CipherSuite as Suite;
    match suite.suite() {
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

pub(super) fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "unknown",
    }
}

/// Returns all supported names.
pub(super) fn names() -> TlsAlgorithms {
    let all = all_curves();
    let has = |group| all.iter().any(|supported| supported.name() == group);
    TlsAlgorithms {
        cipher_suites: default_provider().cipher_suites.into_iter().map(suite_name).collect(),
        curves: CURVES.iter().filter(|(_, group)| has(*group)).map(|(name, _)| *name).collect(),
    }
}

/// Returns the provider that the build has selected, restricted to the requested algorithms.
pub(super) fn provider(
    suites: &[String],
    curves: &[String],
) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = default_provider();
    provider.cipher_suites = server_name::suites();
    // rustls lists the most secure suite first; all are secure, and this one is the fastest.
    provider.cipher_suites.sort_by_key(|suite| !suite_name(*suite).contains("AES_128_GCM"));
    if !suites.is_empty() {
        provider.cipher_suites = choose_suites(&provider.cipher_suites, suites)?;
    }
    provider.kx_groups = choose_curves(&all_curves(), curves)?;
    Ok(Arc::new(provider))
}

/// As in the reference, the list applies to 1.2 only unless it names suites of 1.3 as well.
fn choose_suites(
    all: &[SupportedCipherSuite],
    names: &[String],
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        match all.iter().find(|suite| suite_name(**suite) == name) {
            Some(suite) => chosen.push(*suite),
            None if WEAK_SUITES.contains(&&**name) => {
                let reason =
                    "natsd offers only suites with forward secrecy and authenticated encryption";
                return Err(TlsError::Unsupported { what: SUITE, name: name.clone(), reason });
            }
            None => return Err(TlsError::Unknown { what: SUITE, name: name.clone() }),
        }
    }
    if chosen.iter().all(|suite| suite.tls13().is_none()) {
        chosen.extend(all.iter().filter(|suite| suite.tls13().is_some()));
    }
    Ok(chosen)
}

fn choose_curves(
    all: &[&'static dyn SupportedKxGroup],
    names: &[String],
) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsError> {
    let find = |group| all.iter().find(|supported| supported.name() == group).copied();
    if names.is_empty() {
        return Ok(CURVES.iter().filter_map(|(_, group)| find(*group)).collect());
    }
    let choose = |name: &String| match CURVES.iter().find(|(known, _)| known == name) {
        None => Err(TlsError::Unknown { what: CURVE, name: name.clone() }),
        Some((_, group)) => find(*group).ok_or_else(|| TlsError::Unsupported {
            what: CURVE,
            name: name.clone(),
            reason: "the library that natsd was built with does not have it",
        }),
    };
    names.iter().map(choose).collect()
}
