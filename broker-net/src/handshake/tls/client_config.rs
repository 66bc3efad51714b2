//! Options of TLS as a client, read and checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::Hash;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::algorithms;
use super::client_options::TlsClientOptions;
use super::client_verify::ServerVerifier;
use super::config::{self, AUTHORITY, Named};
use super::error::TlsError;

/// [`TlsClientOptions`] with all files read, for one server.
pub(crate) struct TlsClientConfig {
    pub(super) client: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    pub(super) sha256: &'static dyn Hash,
    pub(crate) timeout: Duration,
    pub(crate) handshake_first: bool,
}

/// Shows no key.
impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TlsClientConfig {
    /// Reads the files, and checks that they are consistent. `host` is the dialled one.
    pub(crate) fn new(options: &TlsClientOptions, host: &str) -> Result<Self, TlsError> {
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let name = server_name(options.server_name.as_deref().unwrap_or(host))?;
        let provider = algorithms::provider(&options.cipher_suites, &options.curve_preferences)?;
        let sha256 = config::sha256()?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&config::versions(options.min_version))
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier(options, &provider, sha256)?));
        let mut client = match &options.certificate {
            Some(certificate) => {
                let key = Named::load(certificate, &provider)?.key;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
        };
        // A resumed session would not present the server's certificate again, which may have expired since.
        client.resumption = Resumption::disabled();
        let TlsClientOptions { timeout, handshake_first, .. } = *options;
        Ok(Self { client: Arc::new(client), name, sha256, timeout, handshake_first })
    }

    /// Returns the same configuration for another server.
    pub(crate) fn named(&self, host: &str) -> Result<Self, TlsError> {
        let Self { client, sha256, timeout, handshake_first, .. } = self;
        let (name, client) = (server_name(host)?, Arc::clone(client));
        let (sha256, timeout, handshake_first) = (*sha256, *timeout, *handshake_first);
        Ok(Self { client, name, sha256, timeout, handshake_first })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let invalid = |_| TlsError::InvalidServerName(name.to_owned());
    ServerName::try_from(name.to_owned()).map_err(invalid)
}

fn verifier(
    options: &TlsClientOptions,
    provider: &Arc<CryptoProvider>,
    sha256: &'static dyn Hash,
) -> Result<ServerVerifier, TlsError> {
    let algorithms = provider.signature_verification_algorithms;
    let pins = config::pins(&options.pinned_certs)?;
    if options.insecure_skip_verify {
        return Ok(ServerVerifier { by_roots: None, pins, algorithms, sha256 });
    }
    let authorities = options.ca.as_ref().ok_or(TlsError::NoServerAuthority)?;
    let mut roots = RootCertStore::empty();
    for (at, certificate) in config::read_chain(authorities, AUTHORITY)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| config::invalid(AUTHORITY, at + 1, authorities, error))?;
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let by_roots = builder.build().map_err(|error| TlsError::Unusable(error.to_string()))?;
    Ok(ServerVerifier { by_roots: Some(by_roots), pins, algorithms, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsCertificate;

    #[test]
    fn options_that_verify_nothing_or_name_nothing_are_refused() {
        let refused = |change: &dyn Fn(&mut TlsClientOptions), host| {
            let mut options = TlsClientOptions { insecure_skip_verify: true, ..Default::default() };
            change(&mut options);
            TlsClientConfig::new(&options, host).err()
        };
        assert_eq!(refused(&|_| {}, "nats.example"), None);
        assert_eq!(refused(&|_| {}, "127.0.0.1"), None);
        let name = |name: &str| Some(TlsError::InvalidServerName(name.to_owned()));
        assert_eq!(refused(&|_| {}, "a b"), name("a b"));
        let asks = |options: &mut TlsClientOptions| options.server_name = Some(String::from("*"));
        assert_eq!(refused(&asks, "nats.example"), name("*"));
        let verifies = |options: &mut TlsClientOptions| options.insecure_skip_verify = false;
        assert_eq!(refused(&verifies, "nats.example"), Some(TlsError::NoServerAuthority));
        let pins = |options: &mut TlsClientOptions| options.pinned_certs = vec!["12".to_owned()];
        assert_eq!(refused(&pins, "nats.example"), Some(TlsError::InvalidPin("12".to_owned())));
    }

    #[test]
    fn no_key_is_shown() {
        let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let pem = secret.as_bytes().to_vec();
        let certificate = TlsCertificate::new(pem.clone(), pem);
        let options = TlsClientOptions {
            certificate: Some(certificate),
            insecure_skip_verify: true,
            ..Default::default()
        };
        let error = TlsClientConfig::new(&options, "nats.example").unwrap_err();
        for shown in [format!("{options:?}"), format!("{error:?}"), error.to_string()] {
            assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"), "{shown}");
        }
    }
}
