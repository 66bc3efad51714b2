//! Clients that request an invalid host name, as one does that was given an address by mistake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, hash};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    CipherSuiteCommon, ClientConfig, ProtocolVersion, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite, version,
};

use crate::authority::Authority;
use crate::client::{Raw, in_time};

/// A name that rustls would not send, and one of the same length that it accepts.
const SENT: &[u8] = b"nats:4222";
const GIVEN: &str = "nats-4222";

fn with_name_sent(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // As encoded in a ClientHello, after type and length; distinct from the server certificate's
    // encoding.
    let given = [&[0, 0, 9], GIVEN.as_bytes()].concat();
    if let Some(at) = bytes.windows(given.len()).position(|window| window == given) {
        bytes[at + 3..at + given.len()].copy_from_slice(SENT);
    }
    bytes
}

/// Replaces one name by the other in what the client sends. A ClientHello is written in one piece.
#[derive(Debug)]
struct Mistyping<S>(S);

impl<S: AsyncWrite + Unpin> AsyncWrite for Mistyping<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &with_name_sent(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mistyping<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

/// Hashes the bytes as sent.
struct MistypingHash(&'static dyn hash::Hash);

impl hash::Hash for MistypingHash {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(MistypingContext(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> hash::HashAlgorithm {
        self.0.algorithm()
    }
}

struct MistypingContext(Box<dyn hash::Context>);

impl hash::Context for MistypingContext {
    fn fork_finish(&self) -> hash::Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(&with_name_sent(data));
    }
}

fn mistyping(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |of: &CipherSuiteCommon| CipherSuiteCommon {
        suite: of.suite,
        hash_provider: Box::leak(Box::new(MistypingHash(of.hash_provider))),
        confidentiality_limit: of.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(of) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&of.common),
                prf_provider: of.prf_provider,
                kx: of.kx,
                sign: of.sign,
                aead_alg: of.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(of) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&of.common),
                hkdf_provider: of.hkdf_provider,
                aead_alg: of.aead_alg,
                quic: of.quic,
            })))
        }
    }
}

fn config(
    authority: &Authority,
    change: impl FnOnce(&mut CryptoProvider),
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = provider.cipher_suites.into_iter().map(mistyping).collect();
    change(&mut provider);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    builder
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth()
}

#[tokio::test]
async fn an_invalid_host_name_is_ignored() {
    let authority = Authority::new("ca");
    let mut options = authority.options();
    let server = authority.server(&[GIVEN]);
    options.certificates = vec![broker_net::TlsCertificate::new(server.chain(), server.pem_key())];
    options.curve_preferences = vec!["X25519".to_owned(), "CurveP256".to_owned()];
    let server = broker_net::Server::builder().tls(options).bind().await.unwrap();
    let all = || aws_lc_rs::DEFAULT_KX_GROUPS.to_vec();
    let both = [&version::TLS13, &version::TLS12];
    // A client that offers a share of one group and supports the other receives a
    // HelloRetryRequest.
    let retried = vec![aws_lc_rs::kx_group::SECP384R1, aws_lc_rs::kx_group::X25519];
    for (versions, groups) in
        [(&both[..], all()), (&both[..1], all()), (&both[1..], all()), (&both[..1], retried)]
    {
        let config = Arc::new(config(&authority, |provider| provider.kx_groups = groups, versions));
        // Twice: the second handshake resumes the session.
        for _ in 0..2 {
            let mut raw = Raw::connect(&server).await;
            raw.line().await;
            let stream = Mistyping(raw.stream.into_inner());
            let name = ServerName::try_from(GIVEN).unwrap();
            let connecting = TlsConnector::from(Arc::clone(&config)).connect(name, stream);
            let tls = in_time(connecting).await.unwrap();
            assert!(matches!(
                tls.get_ref().1.protocol_version(),
                Some(ProtocolVersion::TLSv1_2 | ProtocolVersion::TLSv1_3)
            ));
            let mut tls = Raw::new(tls);
            tls.say("CONNECT {\"verbose\":false}\r\n").await;
            tls.ping().await;
        }
    }
}
