//! TLS options, read and checked: ready for handshakes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::Hash;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use webpki::OwnedCertRevocationList;

use super::algorithms;
use super::error::TlsError;
use super::expiry::Term;
use super::file_watch::Seen;
use super::issuer::Issuer;
use super::options::{
    ClientCertificates, HandshakeFirst, Pem, TlsCertificate, TlsOptions, TlsVersion,
};
use super::provider;
use super::verify::Verifier;
use super::x509::{self, Parsed};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
pub(super) const AUTHORITY: &str = "certificate of an authority";
const REVOKED: &str = "list of revoked certificates";
const OCSP: &str = "OCSP response";

/// The key sizes that the cryptography libraries sign with: aws-lc up to 8192 bits, ring up to 4096.
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = if cfg!(feature = "tls") { 8192 } else { 4096 };

/// [`TlsOptions`] with all files read, and found to be consistent.
#[derive(Clone)]
pub struct TlsConfig {
    pub(super) server: Arc<ServerConfig>,
    pub(super) sha256: &'static dyn Hash,
    /// The authorities for certificates of clients.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) timeout: Duration,
    pub(super) handshake_first: HandshakeFirst,
    pub(super) allow_non_tls: bool,
    pub(super) client_certificates: ClientCertificates,
    pub(super) connection_rate_limit: Option<u32>,
    /// The validity of the certificates.
    pub(super) terms: Vec<Term>,
    /// The state of the files before they were read.
    pub(super) seen: Option<Seen>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl TlsOptions {
    /// Reads the files, and checks that they are consistent.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the fault, and never shows a key.
    pub fn build(&self) -> Result<TlsConfig, TlsError> {
        TlsConfig::new(self)
    }
}

impl TlsConfig {
    pub(super) fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let seen = options.watch.then(|| Seen::look(options));
        let provider = algorithms::provider(&options.cipher_suites, &options.curve_preferences)?;
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let sha256 = sha256()?;
        let resolver = ByName::new(&options.certificates, &provider)?;
        let terms = resolver.0.iter().filter_map(|named| named.term.clone()).collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(options.min_version))
            .map_err(unusable)?;
        let authorities = authorities(options)?;
        let verifier = verifier(options, &authorities, &provider, sha256)?;
        let may_resume = verifier.is_none();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::new(resolver));
        server.ignore_client_order = true;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        if may_resume {
            server.ticketer = provider::ticketer().map_err(unusable)?;
            server.send_tls13_tickets = 1;
        } else {
            // A resumed session would not present its certificate again, which may have been revoked or have expired
            // since.
            server.send_tls13_tickets = 0;
        }
        Ok(Self {
            server: Arc::new(server),
            sha256,
            authorities,
            timeout: options.timeout,
            handshake_first: options.handshake_first,
            allow_non_tls: options.allow_non_tls,
            client_certificates: options.client_certificates,
            connection_rate_limit: options.connection_rate_limit,
            terms,
            seen,
        })
    }

    /// Returns the earliest expiry of the certificates.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.terms.iter().map(|term| term.not_after).min()
    }

    /// Returns the configuration of rustls, for a listener of the embedding program.
    pub fn rustls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(super) fn verifies(&self) -> bool {
        self.client_certificates != ClientCertificates::Ignore
    }

    pub(in crate::handshake) fn maps(&self) -> bool {
        self.client_certificates == ClientCertificates::VerifyAndMap
    }
}

/// The hash function of pins and fingerprints.
pub(super) fn sha256() -> Result<&'static dyn Hash, TlsError> {
    x509::sha256(&*algorithms::provider(&[], &[])?)
        .ok_or_else(|| TlsError::Unusable("there is no SHA-256".to_owned()))
}

/// Returns the versions from the oldest accepted one on.
pub(super) fn versions(min: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match min {
        TlsVersion::V1_2 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => vec![&rustls::version::TLS13],
    }
}

/// The server's certificates by name.
#[derive(Debug)]
struct ByName(Vec<Named>);

#[derive(Debug)]
pub(super) struct Named {
    /// Lower case; may begin with `*.`.
    names: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
    term: Option<Term>,
}

impl ByName {
    fn new(certificates: &[TlsCertificate], provider: &CryptoProvider) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        certificates
            .iter()
            .map(|certificate| Named::load(certificate, provider))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let can_sign = |named: &&Named| named.key.key.choose_scheme(schemes).is_some();
        let name = hello.server_name().map(str::to_lowercase);
        let asked_for =
            name.and_then(|name| self.0.iter().filter(can_sign).find(|n| n.holds(&name)));
        let named = asked_for.or_else(|| self.0.iter().find(can_sign)).or(self.0.first())?;
        Some(Arc::clone(&named.key))
    }
}

impl Named {
    pub(super) fn load(
        certificate: &TlsCertificate,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = read_chain(&certificate.chain, CERTIFICATE)?;
        let key = read_key(&certificate.key, provider)?;
        let mut key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::KeyMismatch {
                    chain: certificate.chain.to_string(),
                    key: certificate.key.to_string(),
                });
            }
            Err(error) => return Err(invalid(CERTIFICATE, 1, &certificate.chain, error)),
        }
        if let Some(response) = &certificate.ocsp_response {
            key.ocsp = Some(response.read(OCSP)?);
        }
        let parsed = key.cert.first().and_then(Parsed::new);
        let names = parsed.as_ref().map(Parsed::names).unwrap_or_default().dns_names;
        Ok(Self {
            names: names.iter().map(|name| name.to_lowercase()).collect(),
            term: parsed.as_ref().map(|parsed| Term {
                name: certificate.chain.to_string(),
                not_before: parsed.not_before(),
                not_after: parsed.not_after(),
            }),
            key: Arc::new(key),
        })
    }

    /// Returns true if it is for this host.
    fn holds(&self, host: &str) -> bool {
        let domain = host.split_once('.').map(|(_, domain)| domain);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(wild) => domain == Some(wild),
            None => name == host,
        })
    }
}

pub(super) fn read_chain(
    pem: &Pem,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = pem.read(what)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).enumerate();
    let chain = certificates
        .map(|(at, certificate)| {
            certificate.map_err(|error| invalid(what, at + 1, pem, describe(&error)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() {
        return Err(TlsError::Missing { what, name: pem.to_string() });
    }
    Ok(chain)
}

fn read_key(
    pem: &Pem,
    provider: &CryptoProvider,
) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsError> {
    let bytes = pem.read(KEY)?;
    let name = || pem.to_string();
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => key,
        Err(PemError::NoItemsFound) if is_encrypted(&bytes) => {
            return Err(TlsError::EncryptedKey { name: name() });
        }
        Err(PemError::NoItemsFound) => return Err(TlsError::Missing { what: KEY, name: name() }),
        Err(_) if is_encrypted(&bytes) => return Err(TlsError::EncryptedKey { name: name() }),
        // The parser's message could hold a part of the key.
        Err(_) => return Err(invalid(KEY, 1, pem, "it is no PEM")),
    };
    let rsa_bits = x509::rsa_bits(&key);
    provider.key_provider.load_private_key(key).map_err(|_| match rsa_bits {
        Some(bits) if bits < MIN_RSA_BITS => {
            let reason =
                format!("it is an RSA key of {bits} bits, and at least {MIN_RSA_BITS} are needed");
            invalid(KEY, 1, pem, reason)
        }
        Some(bits) if bits > MAX_RSA_BITS => {
            let reason = format!(
                "it is an RSA key of {bits} bits, and at most {MAX_RSA_BITS} are supported"
            );
            invalid(KEY, 1, pem, reason)
        }
        _ => invalid(KEY, 1, pem, "it is damaged, or of a kind that nothing can be signed with"),
    })
}

fn is_encrypted(pem: &[u8]) -> bool {
    let holds = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED")
}

/// Describes a PEM error without showing contents.
fn describe(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "its end is missing",
        PemError::Base64Decode(_) => "it is not encoded in base64",
        _ => "it is no PEM",
    }
}

pub(super) fn invalid(
    what: &'static str,
    number: usize,
    pem: &Pem,
    reason: impl fmt::Display,
) -> TlsError {
    TlsError::Invalid { what, number, name: pem.to_string(), reason: reason.to_string() }
}

/// Reads the certificates of the authorities for clients, if clients must present a certificate.
fn authorities(options: &TlsOptions) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match &options.ca {
        Some(pem) if options.client_certificates != ClientCertificates::Ignore => {
            read_chain(pem, AUTHORITY)
        }
        _ => Ok(Vec::new()),
    }
}

fn verifier(
    options: &TlsOptions,
    certificates: &[CertificateDer<'static>],
    provider: &CryptoProvider,
    sha256: &'static dyn Hash,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let pins = pins(&options.pinned_certs)?;
    if options.client_certificates == ClientCertificates::Ignore {
        return match (pins.is_empty(), options.revoked.is_empty()) {
            (false, _) => Err(TlsError::NeedsVerify("pinned_certs")),
            (_, false) => Err(TlsError::NeedsVerify("a list of revoked certificates")),
            (true, true) => Ok(None),
        };
    }
    let authorities = options.ca.as_ref().ok_or(TlsError::NoAuthority)?;
    let mut roots = RootCertStore::empty();
    let mut issuers = Vec::new();
    for (at, certificate) in certificates.iter().enumerate() {
        let invalid = |reason: &dyn fmt::Display| invalid(AUTHORITY, at + 1, authorities, reason);
        let issuer = Issuer::new(certificate);
        roots.add(certificate.clone()).map_err(|error| invalid(&error))?;
        issuers.push(issuer.ok_or_else(|| invalid(&"it breaks the rules"))?);
    }
    let mut lists = Vec::new();
    for pem in &options.revoked {
        let bytes = pem.read(REVOKED)?;
        let before = lists.len();
        for (at, list) in CertificateRevocationListDer::pem_slice_iter(&bytes).enumerate() {
            let invalid = |reason: &dyn fmt::Display| invalid(REVOKED, at + 1, pem, reason);
            let list = list.map_err(|error| invalid(&describe(&error)))?;
            let list = OwnedCertRevocationList::from_der(&list).map_err(|error| invalid(&error))?;
            lists.push(list.into());
        }
        if lists.len() == before {
            return Err(TlsError::Missing { what: REVOKED, name: pem.to_string() });
        }
    }
    let algorithms = provider.signature_verification_algorithms;
    let hints = roots.subjects();
    Ok(Some(Arc::new(Verifier { roots, issuers, lists, algorithms, pins, sha256, hints })))
}

pub(in crate::handshake) fn pins(texts: &[String]) -> Result<HashSet<[u8; 32]>, TlsError> {
    let pin = |text: &String| {
        let mut pin = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(TlsError::InvalidPin(text.clone()));
        }
        for (at, byte) in pin.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
        }
        Ok(pin)
    };
    texts.iter().map(pin).collect()
}
