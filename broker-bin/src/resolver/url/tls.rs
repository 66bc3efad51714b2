//! Connections to the server, with TLS for `https`.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "tls"))]
use tokio_rustls::rustls::crypto::ring as library;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::base::Base;

/// The certificates of `resolver_tls`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ResolverTls {
    /// The authorities of the server; those of the system if `None`.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate for a server that asks for one, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// Whether the server's certificate is not verified.
    pub(crate) is_insecure: bool,
}

/// The certificates cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct ResolverTlsError {
    path: String,
    reason: String,
}

impl ResolverTlsError {
    fn new(path: &Path, reason: &dyn ToString) -> Self {
        Self { path: path.display().to_string(), reason: reason.to_string() }
    }
}

impl ResolverTls {
    /// Reads the files.
    pub(crate) fn build(&self) -> Result<ClientConfig, ResolverTlsError> {
        let failed = ResolverTlsError::new;
        let read = |path: &PathBuf| {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            certificates.map_err(|error| failed(path, &error))
        };
        // The process may have both libraries, and then no default.
        let provider = Arc::new(library::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(Path::new(""), &error))?;
        let builder = match self.is_insecure {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            false => builder.with_root_certificates(self.roots(&read)?),
        };
        let Some((certificate, key)) = &self.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = read(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
        builder.with_client_auth_cert(chain, private).map_err(|error| failed(certificate, &error))
    }

    fn roots(
        &self,
        read: &dyn Fn(&PathBuf) -> Result<Vec<CertificateDer<'static>>, ResolverTlsError>,
    ) -> Result<RootCertStore, ResolverTlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in read(path)? {
                    roots.add(certificate).map_err(|error| ResolverTlsError::new(path, &error))?;
                }
            }
            None => {
                // Certificates of the system that rustls cannot read are of no use.
                let native = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(native.certs);
            }
        }
        Ok(roots)
    }
}

/// Accepts the certificate of any server that holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects.
pub(super) struct Connector {
    tls: ResolverTls,
    /// Made for the first connection: the certificates of the system are many.
    config: OnceLock<Result<TlsConnector, ResolverTlsError>>,
}

impl Connector {
    pub(super) fn new(tls: ResolverTls) -> Self {
        Self { tls, config: OnceLock::new() }
    }

    pub(super) async fn connect(&self, base: &Base) -> io::Result<Stream> {
        let tcp = TcpStream::connect((&*base.host, base.port)).await?;
        tcp.set_nodelay(true)?;
        if !base.is_tls {
            return Ok(Stream::Plain(tcp));
        }
        let make = || self.tls.build().map(|config| TlsConnector::from(Arc::new(config)));
        let connector = self.config.get_or_init(make).clone().map_err(io::Error::other)?;
        let name = ServerName::try_from(base.host.clone()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(connector.connect(name, tcp).await?)))
    }
}

/// A connection, with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
