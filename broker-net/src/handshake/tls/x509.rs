//! The contents of certificates: names, validity, keys.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use broker_core::auth::{Certificate, DistinguishedName};
use broker_core::{PeerCertificate, Security};
use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::Hash;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{
    BmpString, Ia5StringRef, OctetStringRef, PrintableStringRef, TeletexStringRef, UintRef,
    Utf8StringRef,
};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::AlgorithmIdentifierRef;

/// A parsed certificate.
pub(super) struct Parsed(pub(super) x509_cert::Certificate);

impl Parsed {
    /// Returns `None` if it is malformed; the library that verified it may be more lenient.
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Option<Self> {
        x509_cert::Certificate::from_der(certificate).ok().map(Self)
    }

    /// Returns the beginning of its validity.
    pub(super) fn not_before(&self) -> SystemTime {
        self.0.tbs_certificate.validity.not_before.to_system_time()
    }

    /// Returns the end of its validity.
    pub(super) fn not_after(&self) -> SystemTime {
        self.0.tbs_certificate.validity.not_after.to_system_time()
    }

    pub(super) fn names(&self) -> Certificate {
        let mut names = Certificate::default();
        names.subject = self.subject();
        let alternatives = self.0.tbs_certificate.get::<SubjectAltName>();
        let Ok(Some((_, SubjectAltName(alternatives)))) = alternatives else { return names };
        for alternative in alternatives {
            match alternative {
                GeneralName::Rfc822Name(name) => names.emails.push(name.to_string()),
                GeneralName::DnsName(name) => names.dns_names.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(uri) => names.uris.push(plain(uri.as_str())),
                _ => {}
            }
        }
        names
    }

    pub(super) fn subject(&self) -> DistinguishedName {
        let rdns = &self.0.tbs_certificate.subject.0;
        DistinguishedName::from_attributes(
            rdns.iter().map(|rdn| {
                rdn.0.iter().map(|attribute| (attribute.oid.to_string(), text(attribute)))
            }),
        )
    }

    /// Returns the public key with its algorithm, which pins are digests of.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        self.0.tbs_certificate.subject_public_key_info.to_der().ok()
    }
}

/// Formats a URI as Go does: the scheme in lower case.
fn plain(uri: &str) -> String {
    match uri.split_once(':') {
        Some((scheme, rest)) => format!("{}:{rest}", scheme.to_ascii_lowercase()),
        None => uri.to_owned(),
    }
}

/// Returns the value as text, whatever its string type; in hexadecimal if it is not text.
fn text(attribute: &AttributeTypeAndValue) -> String {
    let value = &attribute.value;
    let text = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::PrintableString => {
            value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.to_string())
        }
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::TeletexString => {
            value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.to_string())
        }
        Tag::BmpString => value.decode_as::<BmpString>().ok().map(|text| text.to_string()),
        _ => None,
    };
    text.unwrap_or_else(|| {
        let hex = value.value().iter().map(|byte| format!("{byte:02x}"));
        hex.fold(String::from("#"), |all, byte| all + &byte)
    })
}

/// Returns the size of an RSA key; `None` for other keys.
pub(super) fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    match key {
        PrivateKeyDer::Pkcs1(key) => modulus_bits(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => inner_key(key.secret_pkcs8_der()).and_then(modulus_bits),
        _ => return None,
    }
    .ok()
}

/// Reads the RSAPrivateKey of RFC 8017.
fn modulus_bits(der: &[u8]) -> x509_cert::der::Result<usize> {
    SliceReader::new(der)?.sequence(|key| {
        u8::decode(key)?;
        let modulus = UintRef::decode(key)?;
        key.read_slice(key.remaining_len())?;
        let zeros = modulus.as_bytes().first().map_or(0, |first| first.leading_zeros());
        Ok(modulus.as_bytes().len() * 8 - zeros as usize)
    })
}

/// Reads the PrivateKeyInfo of RFC 5208.
fn inner_key(der: &[u8]) -> x509_cert::der::Result<&[u8]> {
    SliceReader::new(der)?.sequence(|info| {
        u8::decode(info)?;
        AlgorithmIdentifierRef::decode(info)?;
        let key = OctetStringRef::decode(info)?;
        info.read_slice(info.remaining_len())?;
        Ok(key.as_bytes())
    })
}

/// Returns SHA-256, which every provider has.
pub(super) fn sha256(provider: &CryptoProvider) -> Option<&'static dyn Hash> {
    use rustls::crypto::hash::HashAlgorithm::SHA256;
    let hashes = provider.cipher_suites.iter().map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    hashes.into_iter().find(|hash| hash.algorithm() == SHA256)
}

pub(super) fn digest(hash: &dyn Hash, bytes: &[u8]) -> [u8; 32] {
    hash.hash(bytes).as_ref().try_into().unwrap_or_default()
}

/// Returns true if the public key of a certificate is pinned, or none is.
pub(super) fn has_pin(
    certificate: &CertificateDer<'_>,
    pins: &HashSet<[u8; 32]>,
    sha256: &dyn Hash,
) -> bool {
    if pins.is_empty() {
        return true;
    }
    let key = Parsed::new(certificate).and_then(|parsed| parsed.public_key());
    key.is_some_and(|key| pins.contains(&digest(sha256, &key)))
}

/// Formats a certificate as the reference logs one that it refuses.
pub(super) fn show(certificate: &CertificateDer<'_>, hash: &dyn Hash) -> String {
    let subject = Parsed::new(certificate).map(|parsed| parsed.subject().to_string());
    let digest = digest(hash, certificate).map(|byte| format!("{byte:02x}")).concat();
    format!("{} SHA-256: {digest}", subject.unwrap_or_default())
}

/// Completes a verified chain with the authority that has issued its last certificate.
fn complete(chain: &[CertificateDer<'_>], authorities: &[CertificateDer<'static>]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    let names = |certificate: &CertificateDer<'_>| {
        let Parsed(parsed) = Parsed::new(certificate)?;
        Some((parsed.tbs_certificate.subject, parsed.tbs_certificate.issuer))
    };
    if let Some((subject, issuer)) = chain.last().and_then(names)
        && subject != issuer
    {
        let is_issuer = |authority: &&CertificateDer<'static>| {
            names(authority).is_some_and(|(subject, _)| subject == issuer)
        };
        all.extend(authorities.iter().find(is_issuer).map(|authority| authority.to_vec()));
    }
    all
}

/// Describes a verified certificate chain, the end entity first.
pub(super) fn describe(
    security: &mut Security,
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'static>],
    hash: &dyn Hash,
) {
    if !chain.is_empty() {
        security.verified_chain = Arc::new(complete(chain, authorities));
    }
    for (at, certificate) in chain.iter().enumerate() {
        let parsed = Parsed::new(certificate);
        let names = parsed.as_ref().map(Parsed::names).unwrap_or_default();
        let mut peer = PeerCertificate::default();
        peer.subject = names.subject.to_string();
        peer.sha256 = digest(hash, certificate);
        let key = parsed.as_ref().and_then(Parsed::public_key);
        peer.spki_sha256 = key.map(|key| digest(hash, &key)).unwrap_or_default();
        security.peers.push(peer);
        if at == 0 && parsed.is_some() {
            security.certificate = Some(names.into());
        }
    }
}
