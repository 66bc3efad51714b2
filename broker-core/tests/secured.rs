//! Sessions whose transport requires a TLS handshake first.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

mod common;

use std::time::Duration;

use broker_core::auth::{NoAuth, Token, User, Users};
use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::{Broker, ClientFault, CloseReason, Limits, Options, Security};
use common::{Party, World};

fn world(authenticator: impl broker_core::auth::Authenticator) -> World {
    let limits = Limits { auth_timeout: Duration::from_secs(2), ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    World::of(Broker::with_authenticator(
        options,
        (std::time::Instant::now, std::time::SystemTime::now),
        authenticator,
    ))
}

fn arrive(world: &mut World, handshake: HandshakeOrder) -> Party {
    world.arrive_by(Arrival { handshake, ..Arrival::default() })
}

fn security() -> Security {
    let mut security = Security::default();
    (security.version, security.cipher_suite) = ("1.3", "TLS_AES_128_GCM_SHA256");
    security
}

#[test]
fn info_comes_before_or_after_the_handshake() {
    let mut world = world(NoAuth);
    let mut after = arrive(&mut world, HandshakeOrder::AfterInfo);
    assert!(after.read().starts_with("INFO "));
    let mut before = arrive(&mut world, HandshakeOrder::BeforeInfo);
    assert_eq!(before.read(), "");
    for party in [&mut after, &mut before] {
        party.session.handle_secured(Some(security()), world.now, &mut world.scratch);
        assert_eq!(world.broker.security(party.session.id()).as_deref(), Some(&security()));
    }
    assert_eq!(after.read(), "");
    let info = before.read();
    assert!(info.starts_with("INFO ") && info.contains("\"tls_required\":true"), "{info}");
}

#[test]
fn a_client_that_waits_for_info_gets_it_once() {
    let mut world = world(NoAuth);
    let mut party = arrive(&mut world, HandshakeOrder::BeforeInfo);
    party.session.greet(world.now, &mut world.scratch);
    assert!(party.read().starts_with("INFO "));
    party.session.handle_secured(Some(security()), world.now, &mut world.scratch);
    assert_eq!(party.read(), "");
}

/// A client that needs no credentials is not served either before the handshake is complete.
#[test]
fn no_client_is_served_before_the_handshake_is_complete() {
    let users = Users::builder().user(User::new("guest", "")).no_auth_user("guest");
    let mut world = world(users.build().unwrap());
    let mut party = arrive(&mut world, HandshakeOrder::AfterInfo);
    party.read();
    assert_ne!(party.session.read_limit(), usize::MAX, "the limit of an unauthenticated client");
    party.session.handle_secured(None, world.now, &mut world.scratch);
    assert_ne!(party.session.read_limit(), usize::MAX, "it has not published yet");
    world.send(&mut party, "PING\r\n");
    assert_eq!(party.read(), "PONG\r\n");
    assert_eq!(party.session.read_limit(), usize::MAX);
    assert_eq!(world.broker.security(party.session.id()), None);
}

#[test]
fn the_authentication_timeout_begins_after_the_handshake() {
    let mut world = world(Token::new("t"));
    let mut party = arrive(&mut world, HandshakeOrder::AfterInfo);
    party.read();
    world.now += Duration::from_secs(10);
    party.session.handle_secured(Some(security()), world.now, &mut world.scratch);
    assert_eq!(party.session.next_timeout(), world.now + Duration::from_secs(2));
    world.wait(&mut party, Duration::from_secs(2));
    assert_eq!(party.read(), "-ERR 'Authentication Timeout'\r\n");
}

#[test]
fn a_failed_handshake_is_explained_where_the_client_can_read_it() {
    let mut world = world(NoAuth);
    for (fault, sent, reason) in [
        (
            ClientFault::TlsRequired("timeout".into()),
            "-ERR 'Secure Connection - TLS Required'\r\n",
            CloseReason::TlsHandshakeFailure,
        ),
        (ClientFault::TlsHandshake("EOF".into()), "", CloseReason::TlsHandshakeFailure),
        (
            ClientFault::Throttled,
            "-ERR 'Connection throttling is active. Please try again later.'\r\n",
            CloseReason::MaxConnectionsExceeded,
        ),
    ] {
        let mut party = arrive(&mut world, HandshakeOrder::AfterInfo);
        party.read();
        party.session.handle_insecure(&fault, world.now, &mut world.scratch);
        assert_eq!(party.read(), sent);
        assert_eq!(party.session.closing(), Some(reason));
    }
}
