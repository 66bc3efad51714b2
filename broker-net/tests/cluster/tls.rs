//! TLS between servers.

use broker_core::auth::Secret;
use broker_net::testing::Certificates;
use broker_net::{RouteTls, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::log::Lines;
use crate::nodes::{
    address, dead_port, has_peers, in_time, options, options_to, peers, port, start_with, until,
    with_tls,
};

#[tokio::test]
async fn servers_with_certificates_of_one_authority_connect() {
    let authority = Certificates::new().unwrap();
    let a = start_with(with_tls(options(&[]), authority.route().unwrap())).await;
    let b = start_with(with_tls(options(&[port(&a)]), authority.route().unwrap())).await;
    let name = with_tls(options_to(&[("localhost", port(&a))]), authority.route().unwrap());
    let c = start_with(name).await;
    has_peers(&b, 1).await;
    has_peers(&c, 1).await;
    has_peers(&a, 2).await;
    assert!(a.status().cluster_tls_not_after() > Some(std::time::SystemTime::now()));
    assert_eq!(a.tls_not_after(), None);
}

#[tokio::test]
async fn nothing_is_sent_before_tls() {
    let authority = Certificates::new().unwrap();
    let server = start_with(with_tls(options(&[]), authority.route().unwrap())).await;
    let mut plain = TcpStream::connect(address(&server)).await.unwrap();
    plain.write_all(b"CONNECT {}\r\nPING\r\n").await.unwrap();
    let mut read = Vec::new();
    let _ = in_time(plain.read_to_end(&mut read)).await;
    assert!(!String::from_utf8_lossy(&read).contains("INFO"), "{read:?}");
    assert_eq!(peers(&server), 0);
}

/// Starts two servers that cannot agree on TLS, and returns them once the one that dials has failed with that text.
async fn fail(accepting: RouteTls, dialling: RouteTls, text: &str) {
    let (lines, _guard) = Lines::capture();
    let a = start_with(with_tls(options(&[]), accepting)).await;
    let b = start_with(with_tls(options(&[port(&a)]), dialling)).await;
    until(text, || !lines.with(text).is_empty()).await;
    assert_eq!((peers(&a), peers(&b)), (0, 0));
    assert!(lines.with("TLS route handshake error").iter().any(|line| line.contains("ERROR")));
}

#[tokio::test]
async fn each_side_refuses_certificates_of_another_authority() {
    let [one, other] = [(); 2].map(|()| Certificates::new().unwrap());
    fail(one.route().unwrap(), other.route().unwrap(), "the certificate of the server").await;
    // The dialling side accepts any, and the other side does not.
    let mut insecure = other.route().unwrap();
    insecure.insecure_skip_verify = true;
    fail(one.route().unwrap(), insecure, "TLS route handshake error").await;
}

#[tokio::test]
async fn the_dialled_name_must_be_in_the_certificate_unless_it_is_not_verified() {
    let authority = Certificates::new().unwrap();
    let elsewhere = || authority.route_at(["nats.example"]).unwrap();
    fail(elsewhere(), elsewhere(), "is not for 127.0.0.1").await;
    let mut insecure = elsewhere();
    insecure.insecure_skip_verify = true;
    let a = start_with(with_tls(options(&[]), elsewhere())).await;
    let b = start_with(with_tls(options(&[port(&a)]), insecure)).await;
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn pinned_certificates_are_required_of_both_sides() {
    let authority = Certificates::new().unwrap();
    let mut pinning = authority.route().unwrap();
    pinning.options.pinned_certs = vec!["00".repeat(32)];
    fail(authority.route().unwrap(), pinning.clone(), "is not pinned").await;
    fail(pinning, authority.route().unwrap(), "TLS route handshake error").await;
}

#[tokio::test]
async fn certificates_can_be_replaced_at_run_time() {
    let [one, other] = [(); 2].map(|()| Certificates::new().unwrap());
    let a = start_with(with_tls(options(&[]), one.route().unwrap())).await;
    let b = start_with(with_tls(options(&[port(&a)]), other.route().unwrap())).await;
    let mut bad = one.route().unwrap();
    bad.options.ca = None;
    let refused = b.apply(with_tls(b.options(), bad), None).await.unwrap_err();
    assert_eq!(refused.to_string(), "TLS cannot be offered");
    assert_eq!(peers(&b), 0);
    b.apply(with_tls(b.options(), one.route().unwrap()), None).await.unwrap();
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn options_that_verify_nothing_are_refused_at_the_start() {
    let mut tls = Certificates::new().unwrap().route().unwrap();
    tls.options.ca = None;
    let refused = with_tls(options(&[]), tls);
    let error = broker_net::Server::builder().options(refused).bind().await.unwrap_err();
    assert_eq!(error.way(), broker_net::ListenerKind::Routes);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("ca_file"), "{source}");
}

/// Admits other servers by their certificates: by this user's name, or by the hosts of the routes.
fn by_certificate(mut options: ServerOptions, user: Option<&str>) -> ServerOptions {
    let cluster = options.broker.cluster.as_mut().unwrap();
    cluster.credentials = user.map(|user| (user.to_owned(), Secret::from("never asked for")));
    cluster.maps_certificates = user.is_some();
    cluster.checks_known_urls = user.is_none();
    options
}

#[tokio::test]
async fn servers_are_identified_by_their_certificates() {
    let authority = Certificates::new().unwrap();
    let secure = |options| with_tls(options, authority.route().unwrap());
    let dead = dead_port().await;
    for (known, user, is_admitted) in [
        ("127.0.0.1", Some("localhost"), true),
        ("127.0.0.1", Some("other"), false),
        ("localhost", None, true),
        ("127.0.0.1", None, false),
    ] {
        let (lines, _guard) = Lines::capture();
        let accepting = by_certificate(options_to(&[(known, dead)]), user);
        let a = start_with(secure(accepting)).await;
        let b = start_with(secure(options(&[port(&a)]))).await;
        if is_admitted {
            has_peers(&a, 1).await;
            has_peers(&b, 1).await;
        } else {
            let text = "authentication error";
            until(text, || !lines.with(text).is_empty()).await;
            assert_eq!((peers(&a), peers(&b)), (0, 0), "{known} {user:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_closes_routes_to_servers_that_certificates_no_longer_admit() {
    let authority = Certificates::new().unwrap();
    let (lines, _guard) = Lines::capture();
    let a = start_with(with_tls(options(&[]), authority.route().unwrap())).await;
    let b = start_with(with_tls(options(&[port(&a)]), authority.route().unwrap())).await;
    has_peers(&a, 1).await;
    a.apply(by_certificate(a.options(), Some("localhost")), None).await.unwrap();
    assert!(lines.with("authentication error").is_empty());
    a.apply(by_certificate(a.options(), Some("other")), None).await.unwrap();
    has_peers(&a, 0).await;
    assert!(!lines.with("authentication error").is_empty());
    drop(b);
}

#[tokio::test]
async fn a_reload_closes_routes_to_servers_whose_keys_are_no_longer_pinned() {
    let authority = Certificates::new().unwrap();
    let (lines, _guard) = Lines::capture();
    let tls = authority.route().unwrap();
    let a = start_with(with_tls(options(&[]), tls.clone())).await;
    let b = start_with(with_tls(options(&[port(&a)]), authority.route().unwrap())).await;
    has_peers(&b, 1).await;
    has_peers(&a, 1).await;
    let mut pinning = tls.clone();
    pinning.options.pinned_certs = vec!["00".repeat(32)];
    a.apply(with_tls(a.options(), pinning), None).await.unwrap();
    has_peers(&a, 0).await;
    let text = "clients due to pinned certs reload";
    assert_eq!(lines.with(text).len(), 1);
    a.apply(with_tls(a.options(), tls), None).await.unwrap();
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
    assert_eq!(lines.with(text).len(), 1);
}
