//! Outgoing TLS connections: verification, and the errors of failures.

use std::sync::Arc;
use std::time::Duration;

use broker_net::testing::{Answer, TestListener};
use broker_net::{
    ClientCertificates, DialError, DialOptions, DialedConnection, Dialer, HandshakeFirst,
    ReadLineError, Server, TlsCertificate, TlsClientError, TlsClientOptions, TlsOptions,
    TlsVersion,
};
use rcgen::{PublicKeyData, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::authority::{Authority, Identity, sha256};
use crate::client::{Raw, in_time};

fn trusting(authority: &Authority) -> TlsClientOptions {
    let mut tls = TlsClientOptions::default();
    tls.ca = Some(authority.pem());
    tls
}

fn first(mut tls: TlsClientOptions) -> TlsClientOptions {
    tls.handshake_first = true;
    tls
}

async fn dial_at(server: &str, tls: TlsClientOptions) -> Result<DialedConnection, DialError> {
    let mut options = DialOptions::default();
    options.tls = Some(tls);
    in_time(Dialer::new(server, options)?.dial()).await
}

/// Performs a handshake with a listener that has this certificate.
async fn meet(
    server: &Identity,
    tls: TlsClientOptions,
) -> Result<DialedConnection, TlsClientError> {
    let options = TlsOptions::new(server.chain(), server.pem_key());
    meet_by(Answer::Tls(Box::new(options)), tls).await
}

async fn meet_by(
    answer: Answer,
    tls: TlsClientOptions,
) -> Result<DialedConnection, TlsClientError> {
    let listener = TestListener::start(answer).unwrap();
    match dial_at(&listener.address().to_string(), first(tls)).await {
        Ok(connection) => Ok(connection),
        Err(DialError::Tls { source, .. }) => Err(source),
        Err(error) => panic!("{error:?}"),
    }
}

async fn ping(connection: &mut DialedConnection) {
    connection.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    connection.flush().await.unwrap();
    assert_eq!(in_time(connection.read_line(100)).await.unwrap(), b"PONG");
}

#[tokio::test]
async fn the_handshake_precedes_or_follows_info() {
    let authority = Authority::new("ca");
    for is_first in [false, true] {
        let mut options = authority.options();
        if is_first {
            options.handshake_first = HandshakeFirst::Always;
        }
        let server = Server::builder().tls(options).bind().await.unwrap();
        let mut tls = trusting(&authority);
        tls.handshake_first = is_first;
        let mut connection = dial_at(&server.local_addr().to_string(), tls).await.unwrap();
        assert_eq!(connection.security().is_some(), is_first);
        let info = in_time(connection.read_line(64 << 10)).await.unwrap();
        assert!(info.starts_with(b"INFO {"));
        if !is_first {
            connection.secure().await.unwrap();
        }
        ping(&mut connection).await;
        let security = connection.security().unwrap();
        assert_eq!((security.is_first, security.version), (is_first, "1.3"));
        assert_eq!(security.peers.len(), 1);
        let again = connection.secure().await;
        assert!(matches!(again, Err(TlsClientError::NotOffered)), "{again:?}");
    }
}

/// Another program's TLS at 127.0.0.1.
fn acceptor(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
    let server = authority.server(&["127.0.0.1"]);
    let key = PrivateKeyDer::try_from(server.key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_dialled_connection_with_tls_is_served_as_an_accepted_one() {
    let authority = Authority::new("ca");
    let acceptor = acceptor(&authority, &[&rustls::version::TLS13]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Clients that connect to it must use TLS; those that it connects to have it already, or do without.
    let server = Server::builder().tls(authority.options()).bind().await.unwrap();
    let (connection, client) =
        tokio::join!(dial_at(&address, first(trusting(&authority))), async {
            acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()
        });
    server.serve(connection.unwrap());
    let mut client = Raw::new(client);
    assert!(client.line().await.starts_with("INFO {"));
    client.say("CONNECT {\"verbose\":false}\r\n").await;
    client.ping().await;
    let security = server.broker().connections()[0].security.clone().unwrap();
    assert_eq!((security.version, security.is_first), ("1.3", true));

    let mut dialer = Dialer::new(&address, DialOptions::default()).unwrap();
    let (connection, accepted) = tokio::join!(dialer.dial(), listener.accept());
    server.serve(connection.unwrap());
    let mut client = Raw::new(accepted.unwrap().0);
    let info = client.line().await;
    assert!(info.starts_with("INFO {") && !info.contains("tls_required"), "{info}");
    client.ping().await;
}

#[tokio::test]
async fn version_1_2_is_spoken_unless_it_is_too_old() {
    let authority = Authority::new("ca");
    let acceptor = acceptor(&authority, &[&rustls::version::TLS12]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let echo = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut tls) = acceptor.accept(stream).await {
                let mut line = [0; 5];
                tls.read_exact(&mut line).await.unwrap();
                tls.write_all(&line).await.unwrap();
                tls.shutdown().await.unwrap();
            }
        }
    });
    let mut connection = dial_at(&address, first(trusting(&authority))).await.unwrap();
    assert_eq!(connection.security().unwrap().version, "1.2");
    connection.write_all(b"echo\n").await.unwrap();
    connection.flush().await.unwrap();
    assert_eq!(in_time(connection.read_line(100)).await.unwrap(), b"echo");
    let mut strict = first(trusting(&authority));
    strict.min_version = TlsVersion::V1_3;
    let error = dial_at(&address, strict).await.unwrap_err();
    assert!(
        matches!(error, DialError::Tls { source: TlsClientError::Refused { .. }, .. }),
        "{error:?}"
    );
    echo.abort();
}

#[tokio::test]
async fn a_connection_without_options_for_tls_cannot_be_upgraded() {
    let listener = TestListener::start(Answer::STALL).unwrap();
    let address = listener.address().to_string();
    let mut connection =
        Dialer::new(&address, DialOptions::default()).unwrap().dial().await.unwrap();
    assert!(matches!(connection.secure().await, Err(TlsClientError::NotOffered)));
}

#[tokio::test]
async fn options_without_verification_are_refused_before_dialing() {
    let error = dial_at("127.0.0.1:1", TlsClientOptions::default()).await.unwrap_err();
    assert!(matches!(error, DialError::TlsOptions(_)), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let server = other.server(&["127.0.0.1"]);
    let error = meet(&server, trusting(&authority)).await.unwrap_err();
    assert!(matches!(error, TlsClientError::UnknownAuthority), "{error:?}");
    let mut insecure = trusting(&authority);
    insecure.insecure_skip_verify = true;
    assert!(meet(&server, insecure).await.is_ok());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_requested() {
    let authority = Authority::new("ca");
    let server = authority.server(&["nats.example"]);
    let error = meet(&server, trusting(&authority)).await.unwrap_err();
    assert!(
        matches!(&error, TlsClientError::WrongName { name } if name == "127.0.0.1"),
        "{error:?}"
    );
    let mut named = trusting(&authority);
    named.server_name = Some("nats.example".to_owned());
    assert!(meet(&server, named).await.is_ok());
}

#[tokio::test]
async fn an_expired_or_not_yet_valid_certificate_is_refused() {
    let authority = Authority::new("ca");
    let expired = authority.server_changed(&["127.0.0.1"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let early = authority.server_changed(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2099, 1, 1);
    });
    for server in [expired, early] {
        let error = meet(&server, trusting(&authority)).await.unwrap_err();
        assert!(matches!(error, TlsClientError::Expired), "{error:?}");
    }
}

#[tokio::test]
async fn only_a_pinned_key_is_accepted_even_without_other_verification() {
    let authority = Authority::new("ca");
    let server = authority.server(&["127.0.0.1"]);
    let pin = sha256(&server.key.subject_public_key_info());
    for insecure in [false, true] {
        let mut tls = trusting(&authority);
        tls.insecure_skip_verify = insecure;
        tls.pinned_certs = vec!["00".repeat(32)];
        let error = meet(&server, tls.clone()).await.unwrap_err();
        assert!(matches!(error, TlsClientError::NotPinned), "{error:?}");
        tls.pinned_certs.push(pin.clone());
        assert!(meet(&server, tls).await.is_ok());
    }
}

#[tokio::test]
async fn a_certificate_is_presented_to_a_server_that_requests_one() {
    let authority = Authority::new("ca");
    let mut options = authority.options();
    options.ca = Some(authority.pem());
    options.client_certificates = ClientCertificates::Verify;
    let server = Server::builder().tls(options).bind().await.unwrap();
    let address = server.local_addr().to_string();
    let client = authority.client(|_| {});
    let mut tls = trusting(&authority);
    tls.certificate = Some(TlsCertificate::new(client.chain(), client.pem_key()));
    let mut connection = dial_at(&address, tls).await.unwrap();
    in_time(connection.read_line(64 << 10)).await.unwrap();
    connection.secure().await.unwrap();
    ping(&mut connection).await;

    let mut connection = dial_at(&address, trusting(&authority)).await.unwrap();
    in_time(connection.read_line(64 << 10)).await.unwrap();
    // In TLS 1.3 the server reports only after the handshake that it has refused.
    connection.secure().await.unwrap();
    let refused = in_time(connection.read_line(100)).await.unwrap_err();
    let ReadLineError::Io(error) = &refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_response_other_than_tls_is_an_error() {
    let authority = Authority::new("ca");
    for said in ["INFO {}\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let answer = Answer::Say(said.as_bytes().to_vec());
        let error = meet_by(answer, trusting(&authority)).await.unwrap_err();
        assert!(matches!(error, TlsClientError::NotTls), "{error:?}");
    }
}

/// Such bytes could have been inserted by an attacker on the way.
#[tokio::test]
async fn unencrypted_bytes_after_info_are_never_taken_for_encrypted_ones() {
    let authority = Authority::new("ca");
    let answer = Answer::Say(b"INFO {}\r\n+OK\r\nMSG x 1 0\r\n".to_vec());
    let listener = TestListener::start(answer).unwrap();
    let dialed = dial_at(&listener.address().to_string(), trusting(&authority)).await;
    let mut connection = dialed.unwrap();
    connection.read_line(100).await.unwrap();
    let error = in_time(connection.secure()).await.unwrap_err();
    assert!(matches!(error, TlsClientError::NotTls), "{error:?}");
    let read = in_time(connection.read_line(100)).await;
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn a_close_and_a_reset_are_distinct_errors() {
    let authority = Authority::new("ca");
    let error = meet_by(Answer::Close, trusting(&authority)).await.unwrap_err();
    // The ClientHello reaches a closed socket, which resets the connection.
    assert!(matches!(error, TlsClientError::Closed | TlsClientError::Io(_)), "{error:?}");
    let listener = TestListener::start(Answer::Reset).unwrap();
    let dialed = dial_at(&listener.address().to_string(), first(trusting(&authority))).await;
    assert!(matches!(
        dialed.unwrap_err(),
        DialError::Connect { .. } | DialError::Tls { source: TlsClientError::Io(_), .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_server_times_out() {
    let authority = Authority::new("ca");
    let listener = TestListener::start(Answer::STALL).unwrap();
    let since = tokio::time::Instant::now();
    let mut options = DialOptions::default();
    options.connect_timeout = Duration::from_millis(2);
    options.tls = Some(first(trusting(&authority)));
    let dialed = Dialer::new(&listener.address().to_string(), options).unwrap().dial().await;
    let error = dialed.unwrap_err();
    assert!(matches!(error, DialError::Tls { source: TlsClientError::Timeout, .. }), "{error:?}");
    assert!((2_000..2_020).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_no_connection_behind() {
    let tls = first(trusting(&Authority::new("ca")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dialing = tokio::spawn(async move { dial_at(&address, tls).await.is_ok() });
    let (mut stream, _) = in_time(listener.accept()).await.unwrap();
    in_time(stream.read_exact(&mut [0; 8])).await.unwrap();
    dialing.abort();
    in_time(stream.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(dialing.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn incompatible_versions_are_refused_by_name() {
    let authority = Authority::new("ca");
    let server = authority.server(&["127.0.0.1"]);
    let mut options = TlsOptions::new(server.chain(), server.pem_key());
    options.curve_preferences = vec!["CurveP384".to_owned()];
    let mut tls = trusting(&authority);
    tls.curve_preferences = vec!["X25519".to_owned()];
    let error = meet_by(Answer::Tls(Box::new(options)), tls).await.unwrap_err();
    assert!(matches!(&error, TlsClientError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn messages_larger_than_a_record_pass_both_ways() {
    let authority = Authority::new("ca");
    let server = Server::builder().tls(authority.options()).bind().await.unwrap();
    let dialed = dial_at(&server.local_addr().to_string(), trusting(&authority)).await;
    let mut connection = dialed.unwrap();
    in_time(connection.read_line(64 << 10)).await.unwrap();
    connection.secure().await.unwrap();
    ping(&mut connection).await;
    let payload: Vec<u8> = (0..1 << 20).map(|at: u32| b'a' + (at % 23) as u8).collect();
    let head = format!("SUB x 1\r\nPUB x {}\r\n", payload.len());
    let sent = [head.as_bytes(), &payload, b"\r\n"].concat();
    let (mut from, mut to) = tokio::io::split(connection);
    let writing = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.flush().await.unwrap();
        to
    });
    let expected =
        [format!("MSG x 1 {}\r\n", payload.len()).as_bytes(), &payload, b"\r\n"].concat();
    let mut received = vec![0; expected.len()];
    in_time(from.read_exact(&mut received)).await.unwrap();
    assert!(received == expected);
    in_time(writing).await.unwrap();
}
