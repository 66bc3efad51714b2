//! Options of TLS between servers.

use super::client_options::TlsClientOptions;
use super::options::{ClientCertificates, HandshakeFirst, TlsOptions};

/// TLS of routes, with the options of NATS's `cluster { tls {…} }`. Both sides present the same certificate, and verify
/// that of the other: [`ca`](TlsOptions::ca) is required.
///
/// ```
/// use broker_net::{RouteTls, TlsOptions};
/// use std::path::Path;
///
/// let mut options = TlsOptions::new(Path::new("server.pem"), Path::new("key.pem"));
/// options.ca = Some(Path::new("ca.pem").into());
/// let tls = RouteTls::new(options);
/// assert!(!tls.insecure_skip_verify);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RouteTls {
    /// The options of both sides. TLS comes before any other byte, and no route goes without it, whatever they say about
    /// clients.
    pub options: TlsOptions,
    /// Accepts any certificate of a server that was dialled; servers that dial are verified nevertheless. `insecure`.
    pub insecure_skip_verify: bool,
}

impl RouteTls {
    /// Creates options by which both sides verify each other.
    pub fn new(options: TlsOptions) -> Self {
        Self { options, insecure_skip_verify: false }
    }

    /// Returns the options of the accepting side.
    // NATS 2.14: opts.go getTLSConfig.
    pub(in crate::handshake) fn server(&self) -> TlsOptions {
        TlsOptions {
            client_certificates: ClientCertificates::Verify,
            handshake_first: HandshakeFirst::Always,
            allow_non_tls: false,
            ..self.options.clone()
        }
    }

    /// Returns the options of the dialling side.
    pub(in crate::handshake) fn client(&self) -> TlsClientOptions {
        let options = &self.options;
        TlsClientOptions {
            ca: options.ca.clone(),
            certificate: options.certificates.first().cloned(),
            server_name: None,
            pinned_certs: options.pinned_certs.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            handshake_first: true,
            timeout: options.timeout,
            cipher_suites: options.cipher_suites.clone(),
            curve_preferences: options.curve_preferences.clone(),
            min_version: options.min_version,
        }
    }
}
