//! Options of TLS as a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::algorithms::{self, TlsAlgorithms};
use super::error::TlsError;

/// TLS for clients, with the options of NATS's `tls {…}`. Only a certificate is required.
///
/// ```
/// use broker_net::{ClientCertificates, TlsOptions};
///
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
/// # let (certificate, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
/// let mut options = TlsOptions::new(certificate, key);
/// options.allow_non_tls = true;
/// let config = options.build()?;
/// assert!(config.not_after() > Some(std::time::SystemTime::now()));
/// # Ok::<(), broker_net::TlsError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The server's certificates. The server presents the one that holds the name the client asks for, or else the
    /// first. `cert_file` and `key_file`; `certs`.
    pub certificates: Vec<TlsCertificate>,
    /// The authorities that sign client certificates. `ca_file`.
    pub ca: Option<Pem>,
    /// The requirement for client certificates. `verify`, `verify_and_map`.
    pub client_certificates: ClientCertificates,
    /// The accepted public keys of clients, as SHA-256 in 64 hexadecimal digits; empty to accept any. `pinned_certs`.
    pub pinned_certs: Vec<String>,
    /// Lists of revoked client certificates. If there is any list, then clients whose issuer has none are refused.
    /// (NATS has no such option.)
    pub revoked: Vec<Pem>,
    /// Maximum time of the handshake. `timeout`.
    pub timeout: Duration,
    /// The order of TLS and INFO. `handshake_first`.
    pub handshake_first: HandshakeFirst,
    /// Also accepts clients without TLS, recognized by their first byte. `allow_non_tls`.
    pub allow_non_tls: bool,
    /// The limit of handshakes begun in a second; `None` for no limit. `connection_rate_limit`.
    pub connection_rate_limit: Option<u32>,
    /// The cipher suites by NATS's names; empty for the default: all that are secure. `cipher_suites`.
    pub cipher_suites: Vec<String>,
    /// The key exchange groups, in this order; empty for the default: `X25519MLKEM768` where the library has it,
    /// `X25519`, `CurveP256`, `CurveP384`. `curve_preferences`.
    pub curve_preferences: Vec<String>,
    /// The oldest accepted version. `min_version`.
    pub min_version: TlsVersion,
    /// Checks the files every second, and reloads those that have changed. (NATS has no such option.)
    pub watch: bool,
}

impl TlsOptions {
    /// Creates options with one certificate, and no requirement for clients.
    pub fn new(certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        Self {
            certificates: vec![TlsCertificate::new(certificate, key)],
            ca: None,
            client_certificates: ClientCertificates::Ignore,
            pinned_certs: Vec::new(),
            revoked: Vec::new(),
            // NATS 2.14: TLS_TIMEOUT.
            timeout: Duration::from_secs(2),
            handshake_first: HandshakeFirst::Never,
            allow_non_tls: false,
            connection_rate_limit: None,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            min_version: TlsVersion::V1_2,
            watch: false,
        }
    }

    /// Returns the algorithms offered unless [`Self::cipher_suites`] and [`Self::curve_preferences`] name others, the
    /// best first.
    pub fn default_algorithms() -> TlsAlgorithms {
        algorithms::names()
    }

    /// Returns all files that the options name.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let certificates = self.certificates.iter().flat_map(|certificate| {
            [&certificate.chain, &certificate.key].into_iter().chain(&certificate.ocsp_response)
        });
        certificates.chain(&self.ca).chain(&self.revoked).filter_map(Pem::path)
    }
}

/// A certificate with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsCertificate {
    /// The certificate, followed by those of its issuers that clients may not have.
    pub chain: Pem,
    /// The certificate's private key.
    pub key: Pem,
    /// The issuer's statement whether the certificate is still valid (OCSP, DER), which the server passes on to
    /// clients.
    pub ocsp_response: Option<Pem>,
}

impl TlsCertificate {
    /// Creates a certificate with its key.
    pub fn new(chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        Self { chain: chain.into(), key: key.into(), ocsp_response: None }
    }
}

/// PEM: a file, or the contents of one.
#[derive(Clone, Eq, PartialEq)]
pub struct Pem(Source);

#[derive(Clone, Eq, PartialEq)]
enum Source {
    File(PathBuf),
    Memory(Vec<u8>),
}

impl Pem {
    /// Creates a file, read when the options are built, and again when they are reloaded.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// Returns the path, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Memory(_) => None,
        }
    }

    /// Reads the contents. `what` names them in an error.
    pub(super) fn read(&self, what: &'static str) -> Result<Vec<u8>, TlsError> {
        match &self.0 {
            Source::Memory(bytes) => Ok(bytes.clone()),
            Source::File(path) => std::fs::read(path).map_err(|error| TlsError::Unreadable {
                what,
                path: path.clone(),
                reason: error.to_string(),
            }),
        }
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<Vec<u8>> for Pem {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Source::Memory(bytes))
    }
}

/// Formats the path. The contents are never shown, because they may be a key.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Memory(_) => f.write_str("(in memory)"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}

/// The requirement for client certificates.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Clients need no certificate, and none is verified.
    #[default]
    Ignore,
    /// Clients need a certificate signed by an authority of [`ca`](TlsOptions::ca).
    Verify,
    /// Clients need such a certificate, and it names the user.
    VerifyAndMap,
}

/// The order of TLS and INFO.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HandshakeFirst {
    /// INFO comes first, in the clear.
    #[default]
    Never,
    /// TLS comes first.
    Always,
    /// TLS comes first if the client begins with it within this time.
    Within(Duration),
}

impl HandshakeFirst {
    /// The value of `auto`.
    // NATS 2.14: DEFAULT_TLS_HANDSHAKE_FIRST_FALLBACK_DELAY.
    pub const AUTO: Self = Self::Within(Duration::from_millis(50));
}

/// A version of TLS. Older ones are not supported.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V1_2,
    /// 1.3
    V1_3,
}

/// Parses `1.2` or `1.3`.
impl std::str::FromStr for TlsVersion {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        match text {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => Err(TlsError::UnsupportedVersion(text.to_owned())),
        }
    }
}
