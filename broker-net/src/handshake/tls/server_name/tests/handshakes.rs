//! Whole handshakes of clients that ask for a name that is not a host name, as a client does that was given an
//! address by mistake.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SignatureAlgorithm,
    SignatureScheme, SupportedProtocolVersion, version,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::suites::mapping;
use crate::testing::{Certificates, Identity};
use crate::{Server, ServerBuilder};

/// A name that rustls would not send, and one of the same length that it accepts in its place.
const SENT: &[u8] = b"nats:4222";
const GIVEN: &str = "nats-4222";

/// A timeout far longer than a handshake.
const SOON: Duration = Duration::from_secs(10);

fn with_name_sent(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = Cow::Borrowed(bytes);
    // Matches the name in a hello, behind its kind and length; not the one in the server's certificate.
    let given = [&[0, 0, 9], GIVEN.as_bytes()].concat();
    if let Some(at) = bytes.windows(given.len()).position(|window| window == given) {
        bytes.to_mut()[at + 3..at + given.len()].copy_from_slice(SENT);
    }
    bytes
}

/// Splits a hello into records of the given size.
fn in_records(bytes: &[u8], piece_bytes: usize) -> Vec<u8> {
    let mut split = Vec::new();
    let mut rest = bytes;
    while let Some((&[kind, major, minor, high, low], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(usize::from(u16::from_be_bytes([high, low])));
        let is_hello = kind == 0x16
            && payload.len() > 4
            && payload[..2] == [1, 0]
            && usize::from(u16::from_be_bytes([payload[2], payload[3]])) + 4 == payload.len();
        let piece_bytes = if is_hello { piece_bytes } else { usize::MAX };
        for piece in payload.chunks(piece_bytes) {
            let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
            split.extend_from_slice(&[&[kind, major, minor], &len[..], piece].concat());
        }
        rest = behind;
    }
    split
}

/// Sends the one name in place of the other, in records of the given size, one piece at a time.
#[derive(Debug)]
struct Mistyping {
    stream: TcpStream,
    piece_bytes: usize,
    unsent: Vec<u8>,
}

impl Mistyping {
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let most = self.unsent.len().min(self.piece_bytes);
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[..most]))?;
        self.unsent.drain(..sent);
        // Yields between two pieces, so that the server processes each.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Mistyping {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece_bytes = self.piece_bytes;
        self.unsent.extend_from_slice(&in_records(&with_name_sent(bytes), piece_bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unsent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Mistyping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let _ = self.poll_unsent(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Signs the bytes that were sent: in 1.2 a client signs all messages, and not a hash of them.
#[derive(Debug)]
struct MistypingKey(Arc<dyn SigningKey>);

#[derive(Debug)]
struct MistypingSigner(Box<dyn Signer>);

impl SigningKey for MistypingKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(MistypingSigner(self.0.choose_scheme(offered)?)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl Signer for MistypingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(&with_name_sent(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// A client and its differences from others.
struct Client {
    config: Arc<ClientConfig>,
    name: &'static str,
    piece_bytes: usize,
}

fn config(
    certificates: &Certificates,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups.to_vec();
    let suites = provider.cipher_suites.into_iter();
    provider.cipher_suites = suites.map(|suite| mapping(suite, with_name_sent)).collect();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificates.authority().as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key, .. }) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
            let key = CertifiedKey::new(vec![certificate], Arc::new(MistypingKey(key)));
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    })
}

impl Client {
    /// Runs the handshake after INFO, and exchanges PING and PONG.
    async fn join(&self, server: &Server) -> TlsStream<Mistyping> {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut info = String::new();
        BufReader::with_capacity(1, &mut stream).read_line(&mut info).await.unwrap();
        assert!(info.starts_with("INFO "));
        let stream = Mistyping { stream, piece_bytes: self.piece_bytes, unsent: Vec::new() };
        let name = ServerName::try_from(self.name).unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let mut tls = timeout(SOON, connecting).await.unwrap().unwrap();
        tls.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
        tls.flush().await.unwrap();
        let mut pong = String::new();
        // The session ticket arrives before PONG.
        let mut reader = BufReader::with_capacity(1, &mut tls);
        timeout(SOON, reader.read_line(&mut pong)).await.unwrap().unwrap();
        assert_eq!(pong, "PONG\r\n");
        tls
    }
}

fn kind(tls: &TlsStream<Mistyping>) -> HandshakeKind {
    tls.get_ref().1.handshake_kind().unwrap()
}

fn builder(certificates: &Certificates, verifies: bool) -> ServerBuilder {
    let mut options = certificates.server_at([GIVEN, "localhost", "127.0.0.1"]).unwrap();
    // A client that offers a share of neither group, and supports one, is asked for another hello.
    options.curve_preferences = vec!["X25519".to_owned(), "CurveP256".to_owned()];
    if verifies {
        options.ca = Some(certificates.authority().into_bytes().into());
        options.client_certificates = crate::ClientCertificates::Verify;
    }
    Server::builder().tls(options)
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const V1_2: &[&SupportedProtocolVersion] = &[&version::TLS12];
const V1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn usual() -> Vec<&'static dyn SupportedKxGroup> {
    aws_lc_rs::DEFAULT_KX_GROUPS.to_vec()
}

fn retried() -> Vec<&'static dyn SupportedKxGroup> {
    vec![aws_lc_rs::kx_group::SECP384R1, aws_lc_rs::kx_group::X25519]
}

#[tokio::test]
async fn the_name_is_ignored_and_the_session_resumed_for_any_fragmentation() {
    let certificates = Certificates::new().unwrap();
    let server = builder(&certificates, false).bind().await.unwrap();
    for (versions, groups, is_retried) in [
        (BOTH, usual(), false),
        (V1_3, usual(), false),
        (V1_2, usual(), false),
        (V1_3, retried(), true),
    ] {
        // All at once; in records of 61 bytes sent one by one; and each byte by itself.
        for piece_bytes in [usize::MAX, 61, 1] {
            let config = config(&certificates, None, versions, &groups);
            let client = Client { config, name: GIVEN, piece_bytes };
            let first = client.join(&server).await;
            let full = if is_retried {
                HandshakeKind::FullWithHelloRetryRequest
            } else {
                HandshakeKind::Full
            };
            assert_eq!(kind(&first), full);
            let expected =
                if versions == V1_2 { ProtocolVersion::TLSv1_2 } else { ProtocolVersion::TLSv1_3 };
            assert_eq!(first.get_ref().1.protocol_version(), Some(expected));
            let second = client.join(&server).await;
            assert_eq!(kind(&second), HandshakeKind::Resumed, "{piece_bytes}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_verifies_over_the_bytes_sent() {
    let certificates = Certificates::new().unwrap();
    let server = builder(&certificates, true).bind().await.unwrap();
    let identity = certificates.client("client").unwrap();
    for (versions, groups) in [(V1_2, usual()), (V1_3, usual()), (V1_3, retried())] {
        for piece_bytes in [usize::MAX, 61] {
            let config = config(&certificates, Some(&identity), versions, &groups);
            Client { config, name: GIVEN, piece_bytes }.join(&server).await;
        }
    }
}

#[tokio::test]
async fn host_names_and_missing_names_are_unchanged_for_any_fragmentation() {
    let certificates = Certificates::new().unwrap();
    let server = builder(&certificates, false).bind().await.unwrap();
    // A client sends no name for an address.
    for name in ["localhost", "127.0.0.1"] {
        for (versions, groups) in [(V1_2, usual()), (V1_3, usual()), (V1_3, retried())] {
            for piece_bytes in [usize::MAX, 61, 1] {
                let config = config(&certificates, None, versions, &groups);
                Client { config, name, piece_bytes }.join(&server).await;
            }
        }
    }
}
