//! Generates certificates.

use std::slice;
use std::sync::Arc;

use broker_net::{Pem, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Signs certificates.
pub(crate) struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
    /// The intermediate certificates.
    behind: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::changed(name, |_| {})
    }

    /// Creates one whose parameters are changed before signing.
    pub(crate) fn changed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name, change);
        let certificate = params.self_signed(&key).unwrap();
        Self { name: name.to_owned(), issuer: Issuer::new(params, key), certificate }
    }

    /// Issues another certificate for the same key.
    pub(crate) fn again(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::from_pem(&self.issuer.key().serialize_pem()).unwrap();
        let params = Self::params(&self.name, change);
        let certificate = params.self_signed(&key).unwrap();
        Self { name: self.name.clone(), issuer: Issuer::new(params, key), certificate }
    }

    /// Creates an intermediate authority below this one.
    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name, change);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { name: name.to_owned(), issuer: Issuer::new(params, key), certificate }
    }

    fn params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        params
    }

    pub(crate) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn is(&self, der: &[u8]) -> bool {
        **self.certificate.der() == *der
    }

    pub(crate) fn pem(&self) -> Pem {
        self.certificate_pem().into_bytes().into()
    }

    /// Issues a server certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        self.server_changed(names, |_| {})
    }

    /// Issues a server certificate whose parameters are changed before signing.
    pub(crate) fn server_changed(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        self.sign(&params)
    }

    /// Issues a client certificate whose parameters are changed before signing.
    pub(crate) fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.sign(&params)
    }

    /// Issues a client certificate for another identity's key.
    pub(crate) fn client_with_key(&self, of: &Identity) -> Identity {
        let key = KeyPair::from_pem(&of.key.serialize_pem()).unwrap();
        let certificate = CertificateParams::default().signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key, behind: Vec::new() }
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key, behind: Vec::new() }
    }

    /// Issues a revocation list with these serial numbers.
    pub(crate) fn revoke(&self, numbers: &[u64]) -> Pem {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap().into_bytes().into()
    }

    /// Returns server options with a certificate for `localhost` and 127.0.0.1.
    pub(crate) fn options(&self) -> TlsOptions {
        let server = self.server(&["localhost", "127.0.0.1"]);
        TlsOptions::new(server.chain(), server.pem_key())
    }

    /// Returns a client configuration that trusts this authority and presents `identity`, if any.
    pub(crate) fn client_config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        Arc::new(self.client_config_with(aws_lc_rs::default_provider(), identity))
    }

    /// Like [`client_config`](Self::client_config), for one TLS version.
    pub(crate) fn client_config_of(
        &self,
        version: &'static tokio_rustls::rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let roots = self.roots();
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }

    pub(crate) fn client_config_with(
        &self,
        provider: CryptoProvider,
        identity: Option<&Identity>,
    ) -> ClientConfig {
        let roots = self.roots();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.der();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

impl Identity {
    pub(crate) fn chain(&self) -> Pem {
        self.certificate.pem().into_bytes().into()
    }

    pub(crate) fn pem_key(&self) -> Pem {
        self.key.serialize_pem().into_bytes().into()
    }

    pub(crate) fn shown_with(mut self, authority: &Authority) -> Self {
        self.behind.push(authority.certificate.der().clone());
        self
    }

    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        ([slice::from_ref(self.certificate.der()), &self.behind].concat(), key)
    }
}

/// Returns the hexadecimal digest.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider.hash(bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
