//! Generated certificates.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::handshake::tls::default_provider;
use crate::{ClientCertificates, RouteTls, TlsOptions};

/// The server's names and addresses.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A test authority, which signs the certificates of a server and its clients.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::{Certificates, TestBroker};
///
/// let certificates = Certificates::new()?;
/// let broker = TestBroker::builder().tls(certificates.server()?).start().await?;
///
/// let options = async_nats::ConnectOptions::new().tls_client_config(certificates.client_config()?);
/// let client = options.connect(broker.url()).await?;
/// assert!(broker.url().starts_with("tls://"));
/// # Ok(()) }
/// ```
pub struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    authority: rcgen::Certificate,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    der: (CertificateDer<'static>, Vec<u8>),
}

/// `Debug` omits the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A certificate could not be generated or used.
#[derive(Debug, thiserror::Error)]
#[error("could not generate a certificate")]
pub struct CertificateError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<rustls::Error> for CertificateError {
    fn from(error: rustls::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Certificates {
    /// Creates an authority, which no other program trusts.
    ///
    /// # Errors
    ///
    /// Returns [`CertificateError`] if no randomness is available.
    pub fn new() -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = named("authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), authority })
    }

    /// The authority's certificate in PEM, for others to trust.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// Returns TLS options of a server at `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn server(&self) -> Result<TlsOptions, CertificateError> {
        self.server_at(HERE)
    }

    /// TLS for a server at other names and addresses.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], or if something is neither a name nor an address.
    pub fn server_at<N: Into<String>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<TlsOptions, CertificateError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let Identity { certificate, key, .. } = self.sign(&params)?;
        Ok(TlsOptions::new(certificate.into_bytes(), key.into_bytes()))
    }

    /// Like [`Self::server`], requiring client certificates of this authority.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn server_that_verifies(&self) -> Result<TlsOptions, CertificateError> {
        let mut options = self.server()?;
        options.ca = Some(self.authority().into_bytes().into());
        options.client_certificates = ClientCertificates::Verify;
        Ok(options)
    }

    /// Returns TLS options of routes, for a server at `localhost`, `127.0.0.1` and `::1`. Servers with certificates of one
    /// authority accept each other.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn route(&self) -> Result<RouteTls, CertificateError> {
        self.route_at(HERE)
    }

    /// Like [`Self::route`], for a server at other names and addresses.
    ///
    /// # Errors
    ///
    /// See [`Self::server_at`].
    pub fn route_at<N: Into<String>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<RouteTls, CertificateError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let Identity { certificate, key, .. } = self.sign(&params)?;
        let mut options = TlsOptions::new(certificate.into_bytes(), key.into_bytes());
        options.ca = Some(self.authority().into_bytes().into());
        Ok(RouteTls::new(options))
    }

    /// Issues a certificate for a client of that name.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn client(&self, name: &str) -> Result<Identity, CertificateError> {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// Returns a client configuration that trusts this authority.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn client_config(&self) -> Result<ClientConfig, CertificateError> {
        Ok(self.trusting()?.with_no_client_auth())
    }

    /// Like [`Self::client_config`], with a client certificate.
    ///
    /// # Errors
    ///
    /// See [`Self::new`]; also if the certificate cannot be used.
    pub fn client_config_of(&self, client: &Identity) -> Result<ClientConfig, CertificateError> {
        let (certificate, key) = client.der.clone();
        let key = PrivateKeyDer::try_from(key).map_err(|error| CertificateError(error.into()))?;
        Ok(self.trusting()?.with_client_auth_cert(vec![certificate], key)?)
    }

    fn trusting(
        &self,
    ) -> Result<
        rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
        CertificateError,
    > {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), key.serialize_der()),
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
