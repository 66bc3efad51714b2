//! Successful and failed TLS handshakes.

use std::time::{Duration, Instant};

use broker_net::{HandshakeFirst, Server, TlsOptions};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::Authority;
use crate::client::{Raw, Tls, in_time, start};

async fn start_with(authority: &Authority, change: impl FnOnce(&mut TlsOptions)) -> Server {
    let mut options = authority.options();
    change(&mut options);
    Server::builder().tls(options).bind().await.unwrap()
}

#[tokio::test]
async fn info_requires_tls_and_everything_else_is_encrypted() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut raw = Raw::connect(&server).await;
    let info = raw.line().await;
    assert!(info.contains("\"tls_required\":true"), "{info}");
    assert!(!info.contains("tls_verify") && !info.contains("tls_available"), "{info}");
    let mut tls = raw.upgrade(authority.client_config(None)).await.unwrap();
    tls.say("CONNECT {\"verbose\":true}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\n").await;
    for expected in ["+OK\r\n", "+OK\r\n", "+OK\r\n", "MSG a 1 2\r\n", "hi\r\n"] {
        assert_eq!(tls.line().await, expected);
    }
}

#[tokio::test]
async fn async_nats_connects_by_tls() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    assert_eq!(server.url(), format!("tls://{}", server.local_addr()));
    let config = authority.client_config(None).as_ref().clone();
    let client =
        in_time(async_nats::ConnectOptions::new().tls_client_config(config).connect(server.url()))
            .await
            .unwrap();
    let mut messages = client.subscribe("a").await.unwrap();
    client.publish("a", "hi".into()).await.unwrap();
    assert_eq!(in_time(messages.next()).await.unwrap().payload, "hi");
}

#[tokio::test]
async fn a_client_that_continues_without_tls_gets_an_error() {
    let server = start(&Authority::new("ca")).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    raw.say("CONNECT {}\r\nPING\r\n").await;
    assert_eq!(raw.rest().await, "-ERR 'Secure Connection - TLS Required'\r\n");
}

#[tokio::test]
async fn a_silent_client_is_closed_after_the_timeout() {
    let timeout = Duration::from_millis(100);
    let server = start_with(&Authority::new("ca"), |options| options.timeout = timeout).await;
    let begin = Instant::now();
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    assert_eq!(raw.rest().await, "-ERR 'Secure Connection - TLS Required'\r\n");
    assert!(begin.elapsed() >= timeout);
}

#[tokio::test]
async fn an_incomplete_handshake_is_closed_after_the_timeout() {
    let timeout = Duration::from_millis(100);
    let server = start_with(&Authority::new("ca"), |options| options.timeout = timeout).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    // A record of 512 bytes, of which 5 are sent.
    raw.stream.get_mut().write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03").await.unwrap();
    assert_eq!(raw.rest().await, "");
    assert_eq!(server.broker().stats().connections, 0);
}

#[tokio::test]
async fn invalid_handshake_input_ends_the_connection_with_an_alert() {
    let server = start(&Authority::new("ca")).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    raw.stream.get_mut().write_all(b"\x16\x03\x01\x00\x04\x09\x00\x00\x00").await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time(raw.stream.read_to_end(&mut rest)).await;
    assert_eq!(rest.first(), Some(&0x15), "an alert: {rest:?}");
}

/// rustls returns an error again for input it could not process; it must not be called again.
#[tokio::test]
async fn a_record_of_an_unknown_version_is_answered_by_one_alert() {
    let server = start(&Authority::new("ca")).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    raw.stream.get_mut().write_all(b"\x16\x16\x16\x16\0\0\0\0\xec\x49\x17").await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time(raw.stream.read_to_end(&mut rest)).await;
    assert!(matches!(rest[..], [0x15, 0x03, _, 0, 2, 2, _]), "one fatal alert: {rest:?}");
}

/// A handshake message may have 64 KiB; no ClientHello needs that.
#[tokio::test]
async fn an_endless_client_hello_is_refused() {
    let server = start(&Authority::new("ca")).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    let begin = Instant::now();
    let mut record = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff\x03\x03".to_vec();
    record.resize(5 + 0x4000, 0);
    let _ = raw.stream.get_mut().write_all(&record).await;
    raw.rest().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "before the timeout");
}

#[tokio::test]
async fn with_optional_tls_the_first_byte_decides() {
    let authority = Authority::new("ca");
    let server = start_with(&authority, |options| options.allow_non_tls = true).await;
    assert!(server.url().starts_with("nats://"));
    let mut plain = Raw::connect(&server).await;
    let info = plain.line().await;
    assert!(info.contains("\"tls_available\":true") && !info.contains("tls_required"), "{info}");
    plain.say("CONNECT {\"verbose\":false}\r\nSUB a 1\r\n").await;
    plain.ping().await;
    let mut tls = Tls::join(&server, authority.client_config(None)).await;
    tls.say("PUB a 2\r\nhi\r\n").await;
    assert_eq!([plain.line().await, plain.line().await], ["MSG a 1 2\r\n", "hi\r\n"]);
}

#[tokio::test]
async fn with_optional_tls_a_silent_client_stays() {
    let authority = Authority::new("ca");
    let server = start_with(&authority, |options| {
        options.allow_non_tls = true;
        options.timeout = Duration::from_millis(20);
    })
    .await;
    let mut plain = Raw::connect(&server).await;
    plain.line().await;
    // Longer than the timeout: no event shows that it has passed.
    tokio::time::sleep(Duration::from_millis(60)).await;
    plain.ping().await;
}

#[tokio::test]
async fn the_handshake_may_precede_info() {
    let authority = Authority::new("ca");
    let server = start_with(&authority, |options| {
        options.handshake_first = HandshakeFirst::Always;
        options.allow_non_tls = true;
    })
    .await;
    let tls = Raw::connect(&server).await.upgrade(authority.client_config(None)).await;
    let mut tls = tls.unwrap();
    let info = tls.line().await;
    assert!(info.starts_with("INFO ") && info.contains("\"tls_required\":true"), "{info}");
    tls.ping().await;
    let mut plain = Raw::connect(&server).await;
    plain.say("CONNECT {}\r\n").await;
    assert_eq!(plain.rest().await, "-ERR 'Secure Connection - TLS Required'\r\n");
}

#[tokio::test]
async fn a_client_that_waits_for_info_gets_it_if_the_early_handshake_is_optional() {
    let authority = Authority::new("ca");
    let wait = Duration::from_millis(50);
    let server = start_with(&authority, |options| {
        options.handshake_first = HandshakeFirst::Within(wait);
    })
    .await;
    let begin = Instant::now();
    let mut patient = Tls::join(&server, authority.client_config(None)).await;
    assert!(begin.elapsed() >= wait);
    patient.ping().await;
    let eager = Raw::connect(&server).await.upgrade(authority.client_config(None)).await;
    let mut eager = eager.unwrap();
    assert!(eager.line().await.starts_with("INFO "));
    eager.ping().await;
}

#[tokio::test]
async fn handshakes_beyond_the_rate_limit_are_refused_unencrypted() {
    let authority = Authority::new("ca");
    let server = start_with(&authority, |options| options.connection_rate_limit = Some(1)).await;
    let _first = Tls::join(&server, authority.client_config(None)).await;
    let mut second = Raw::connect(&server).await;
    second.line().await;
    second.stream.get_mut().write_all(b"\x16").await.unwrap();
    let told = "-ERR 'Connection throttling is active. Please try again later.'\r\n";
    assert_eq!(second.rest().await, told);
}

#[tokio::test]
async fn the_first_operations_may_come_together_with_the_end_of_the_handshake() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    for _ in 0..50 {
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        let mut tls = raw.upgrade(authority.client_config(None)).await.unwrap();
        tls.say("CONNECT {\"verbose\":false}\r\nPING\r\n").await;
        assert_eq!(tls.line().await, "PONG\r\n");
    }
}

#[tokio::test]
async fn both_tls_versions_are_supported_and_reported() {
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    for (version, name) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let config = authority.client_config_of(version);
        let mut tls = Tls::join(&server, config).await;
        let cid = server.broker().stats().total_connections;
        let security = server.broker().security(cid).unwrap();
        assert_eq!(security.version, name);
        let suite = tls.stream.get_ref().get_ref().1.negotiated_cipher_suite().unwrap();
        let suite = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
        assert_eq!(security.cipher_suite, suite);
        assert!(!security.is_first && security.peers.is_empty());
        tls.ping().await;
    }
}

#[tokio::test]
async fn post_quantum_key_exchange_is_supported() {
    use tokio_rustls::rustls::crypto::aws_lc_rs::{self, kx_group};
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut provider = aws_lc_rs::default_provider();
    // As Go's clients and browsers do.
    provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519];
    let config = authority.client_config_with(provider, None);
    let tls = Tls::join(&server, config.into()).await;
    let group = tls.stream.get_ref().get_ref().1.negotiated_key_exchange_group().unwrap();
    let expected = if cfg!(feature = "tls") { "X25519MLKEM768" } else { "X25519" };
    assert_eq!(format!("{:?}", group.name()), expected);
}

#[tokio::test]
async fn an_ending_server_does_not_wait_for_handshakes() {
    let server = start(&Authority::new("ca")).await;
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    let begin = Instant::now();
    in_time(server.shutdown()).await;
    assert_eq!(raw.rest().await, "");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn authentication_has_its_own_timeout_after_the_handshake() {
    use broker_core::auth::{User, Users};
    let authority = Authority::new("ca");
    let users = Users::builder().user(User::new("a", "pw")).build().unwrap();
    let limits = broker_core::Limits {
        auth_timeout: Duration::from_millis(50),
        ..broker_core::Limits::default()
    };
    let mut options = authority.options();
    options.timeout = Duration::from_secs(60);
    let server =
        Server::builder().tls(options).authenticator(users).limits(limits).bind().await.unwrap();
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut tls = raw.upgrade(authority.client_config(None)).await.unwrap();
    assert_eq!(tls.line().await, "-ERR 'Authentication Timeout'\r\n");
}
