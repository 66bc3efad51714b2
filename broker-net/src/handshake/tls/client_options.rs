//! Options of TLS as a client.

use std::time::Duration;

use super::options::{Pem, TlsCertificate, TlsVersion};

/// Options of TLS for dialled connections, with the names of NATS's `tls {…}` of routes and remotes.
///
/// The server is verified by [`ca`](Self::ca): certificates of the operating system are not consulted.
///
/// ```
/// use broker_net::{TlsCertificate, TlsClientOptions};
///
/// let mut options = TlsClientOptions::default();
/// options.ca = Some(std::path::Path::new("/etc/nats/ca.pem").into());
/// options.server_name = Some("nats.example".to_owned());
/// assert!(format!("{options:?}").contains("/etc/nats/ca.pem"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsClientOptions {
    /// The authorities that sign the server's certificate. `ca_file`.
    pub ca: Option<Pem>,
    /// The certificate presented to a server that asks for one, with its key. `cert_file` and `key_file`.
    pub certificate: Option<TlsCertificate>,
    /// The name, or address, that the server's certificate must hold; `None` for the dialled host.
    pub server_name: Option<String>,
    /// The accepted public keys of the server, as SHA-256 in 64 hexadecimal digits; empty to accept any.
    /// `pinned_certs`.
    pub pinned_certs: Vec<String>,
    /// Accepts any certificate of any name. An attacker on the path can then read and change all traffic, unless
    /// [`pinned_certs`](Self::pinned_certs) names the server's key. `insecure`.
    pub insecure_skip_verify: bool,
    /// Begins TLS at once, and not when [`DialedConnection::secure`](crate::DialedConnection::secure) is called:
    /// routes, and servers with `handshake_first`, are dialled so.
    pub handshake_first: bool,
    /// Maximum time of the handshake. `timeout`; the default is 2 seconds.
    pub timeout: Duration,
    /// The cipher suites by NATS's names; empty for the default. `cipher_suites`.
    pub cipher_suites: Vec<String>,
    /// The curves by NATS's names, in this order; empty for the default. `curve_preferences`.
    pub curve_preferences: Vec<String>,
    /// The oldest accepted version. `min_version`.
    pub min_version: TlsVersion,
}

impl Default for TlsClientOptions {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            server_name: None,
            pinned_certs: Vec::new(),
            insecure_skip_verify: false,
            handshake_first: false,
            // NATS 2.14: TLS_TIMEOUT.
            timeout: Duration::from_secs(2),
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            min_version: TlsVersion::V1_2,
        }
    }
}
