//! Certificates change under connected clients.

use std::fs;
use std::path::Path;
use std::time::Duration;

use broker_net::{ApplyError, Pem, Server, TlsError, TlsOptions};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Identity};
use crate::client::{Raw, Tls, in_time, start};

/// Returns the certificate presented to a new client.
async fn shown(server: &Server, authority: &Authority) -> CertificateDer<'static> {
    let tls = Tls::join(server, authority.client_config(None)).await;
    tls.stream.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn options_of(identity: &Identity) -> TlsOptions {
    TlsOptions::new(identity.chain(), identity.pem_key())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_lost_when_certificates_change_under_load() {
    const CHANGES: usize = 50;
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut subscriber = Tls::join(&server, authority.client_config(None)).await;
    subscriber.say("SUB a 1\r\n").await;
    subscriber.ping().await;
    let mut publisher = Tls::join(&server, authority.client_config(None)).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let publishing = tokio::spawn(async move {
        let mut sent = 0;
        while !*stopped.borrow() {
            for _ in 0..100 {
                publisher.say(&format!("PUB a 8\r\n{sent:08}\r\n")).await;
                sent += 1;
            }
            publisher.ping().await;
        }
        publisher.say("PUB a 8\r\nthe last\r\n").await;
        publisher.ping().await;
        sent
    });
    let receiving = tokio::spawn(async move {
        let mut received = 0;
        loop {
            assert_eq!(subscriber.line().await, "MSG a 1 8\r\n");
            match &*subscriber.line().await {
                "the last\r\n" => return received,
                line => assert_eq!(line, format!("{received:08}\r\n")),
            }
            received += 1;
        }
    });
    for _ in 0..CHANGES {
        let identity = authority.server(&["localhost"]);
        server.set_tls(Some(options_of(&identity))).unwrap();
        assert!(shown(&server, &authority).await == *identity.certificate.der());
    }
    stop.send(true).unwrap();
    let sent = in_time(publishing).await.unwrap();
    assert_eq!(in_time(receiving).await.unwrap(), sent);
    assert_eq!(server.broker().stats().total_connections, 2 + CHANGES as u64);
}

#[tokio::test]
async fn an_invalid_certificate_changes_nothing() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let before = shown(&server, &authority).await;
    let mut broken = authority.options();
    broken.certificates.clear();
    assert_eq!(server.set_tls(Some(broken.clone())), Err(TlsError::NoCertificate));
    let mut options = server.options();
    options.tls = Some(broken);
    options.broker.limits.max_payload_bytes = 1;
    let error = server.apply(options, None).await.unwrap_err();
    assert_eq!(error, ApplyError::Tls(TlsError::NoCertificate));
    assert_eq!(server.broker().options().limits.max_payload_bytes, 1 << 20);
    assert!(shown(&server, &authority).await == before);
    assert!(server.options().tls.unwrap().build().is_ok());
}

#[tokio::test]
async fn tls_can_be_switched_on_and_off() {
    let authority = Authority::new("ca");
    let server = Server::builder().bind().await.unwrap();
    let mut plain = Raw::connect(&server).await;
    assert!(!plain.line().await.contains("tls_"));
    let mut options = server.options();
    options.tls = Some(authority.options());
    server.apply(options.clone(), None).await.unwrap();
    let mut tls = Tls::join(&server, authority.client_config(None)).await;
    assert!(server.tls_not_after().is_some());
    options.tls = None;
    server.apply(options, None).await.unwrap();
    let mut again = Raw::connect(&server).await;
    assert!(!again.line().await.contains("tls_"));
    assert_eq!(server.tls_not_after(), None);
    plain.ping().await;
    tls.ping().await;
    again.ping().await;
}

/// A client's old certificate must not be accepted through a resumed TLS session.
#[tokio::test]
async fn sessions_are_not_resumed_if_client_certificates_are_required() {
    use broker_net::ClientCertificates;
    let authority = Authority::new("ca");
    let mut options = authority.options();
    options.ca = Some(authority.pem());
    options.client_certificates = ClientCertificates::Verify;
    let server = Server::builder().tls(options.clone()).bind().await.unwrap();
    let client =
        authority.client(|params| params.serial_number = Some(rcgen::SerialNumber::from(7)));
    // The client would resume a session if it had received a ticket.
    let config = authority.client_config(Some(&client));
    for _ in 0..2 {
        let tls = Tls::join(&server, config.clone()).await;
        let kind = tls.stream.get_ref().get_ref().1.handshake_kind();
        assert_ne!(kind, Some(tokio_rustls::rustls::HandshakeKind::Resumed));
    }
    options.revoked = vec![authority.revoke(&[7])];
    server.set_tls(Some(options)).unwrap();
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    if let Ok(mut tls) = raw.upgrade(config).await {
        assert_eq!(tls.rest().await, "");
    }
}

/// Replaces files by renaming, as tools do.
fn exchange(path: &Path, contents: &Pem, text: &str) {
    assert!(contents.path().is_none());
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn changed_files_are_loaded_and_invalid_ones_are_not() {
    let authority = Authority::new("ca");
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let write = |identity: &Identity| {
        exchange(&chain, &identity.chain(), &identity.certificate.pem());
        exchange(&key, &identity.pem_key(), &identity.key.serialize_pem());
    };
    let first = authority.server(&["localhost"]);
    write(&first);
    let mut options = TlsOptions::new(&*chain, &*key);
    options.watch = true;
    let server = Server::builder().tls(options).bind().await.unwrap();
    let mut client = Tls::join(&server, authority.client_config(None)).await;
    let becomes = async |identity: &Identity| {
        let becoming = async {
            while shown(&server, &authority).await != *identity.certificate.der() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        in_time(becoming).await;
    };
    becomes(&first).await;
    // The chain is new and the key is not: the pair is invalid.
    let second = authority.server(&["localhost"]);
    exchange(&chain, &second.chain(), &second.certificate.pem());
    assert!(shown(&server, &authority).await == *first.certificate.der());
    exchange(&key, &second.pem_key(), &second.key.serialize_pem());
    becomes(&second).await;
    // A valid pair follows an invalid one.
    fs::write(&chain, "broken").unwrap();
    let third = authority.server(&["localhost"]);
    exchange(&key, &third.pem_key(), &third.key.serialize_pem());
    assert!(shown(&server, &authority).await == *second.certificate.der());
    exchange(&chain, &third.chain(), &third.certificate.pem());
    becomes(&third).await;
    client.ping().await;
}
