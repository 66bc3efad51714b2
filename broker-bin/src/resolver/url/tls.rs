//! Connections to the server, with TLS for `https`.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::base::Base;

/// The certificates of `resolver_tls`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ResolverTls {
    /// The authorities of the server; those of the system if `None`.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate for a server that asks for one, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// The certificates cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct ResolverTlsError {
    path: String,
    reason: String,
}

impl ResolverTls {
    /// Reads the files.
    pub(crate) fn build(&self) -> Result<ClientConfig, ResolverTlsError> {
        let failed = |path: &PathBuf, reason: &dyn ToString| ResolverTlsError {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        let read = |path: &PathBuf| {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            certificates.map_err(|error| failed(path, &error))
        };
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in read(path)? {
                    roots.add(certificate).map_err(|error| failed(path, &error))?;
                }
            }
            None => {
                // Certificates of the system that rustls cannot read are of no use.
                let native = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(native.certs);
            }
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = &self.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = read(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
        builder.with_client_auth_cert(chain, private).map_err(|error| failed(certificate, &error))
    }
}

/// Connects.
pub(super) struct Connector {
    tls: ResolverTls,
    /// Made for the first connection: the certificates of the system are many.
    config: OnceLock<Result<TlsConnector, ResolverTlsError>>,
}

impl Connector {
    pub(super) fn new(tls: Option<ResolverTls>) -> Self {
        Self { tls: tls.unwrap_or_default(), config: OnceLock::new() }
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
