//! Grants with an end and limits of their own, and the nonce that a client signs.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::{Authenticator, Credentials, Decision, Grant, Nonce};
use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::{Broker, CloseReason, Limits, Options, PublishError, SubscribeError};
use common::{CONNECT, Party, World};

const EXPIRED: &str = "-ERR 'User Authentication Expired'\r\n";

/// Grants the same to all clients.
struct Always(Grant);

impl Authenticator for Always {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        self.0.clone().into()
    }

    fn review(&self, _: &Grant, _: &Credentials) -> Decision {
        self.0.clone().into()
    }
}

/// The time of day at which all brokers of these tests stand still.
fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn world(authenticator: impl Authenticator, limits: Limits) -> World {
    let options = Options { limits, ..Options::default() };
    World::of(Broker::with_authenticator(options, (Instant::now, today), authenticator))
}

fn granted(grant: Grant, limits: Limits) -> (World, Party) {
    let mut world = world(Always(grant), limits);
    let mut party = world.join();
    world.send(&mut party, "PING\r\n");
    assert!(party.read().starts_with("PONG\r\n"));
    (world, party)
}

fn review(world: &mut World, party: &mut Party, grant: Grant) {
    world.broker.set_authenticator(Always(grant));
    world.settle(party);
}

fn lives(seconds: u64) -> Grant {
    Grant::user("a").with_expiry(today() + Duration::from_secs(seconds))
}

/// Returns what the client is told, but for PINGs.
fn told(party: &Party) -> String {
    party.read().replace("PING\r\n", "")
}

#[test]
fn a_client_is_closed_when_its_grant_ends_and_not_before() {
    let (mut world, mut party) = granted(lives(10), Limits::default());
    world.wait(&mut party, Duration::from_millis(9_999));
    assert_eq!((told(&party), party.closing()), (String::new(), None));
    world.wait(&mut party, Duration::from_millis(1));
    assert_eq!(told(&party), EXPIRED);
    assert_eq!(party.closing(), Some(CloseReason::AuthenticationExpired));
    assert_eq!(CloseReason::AuthenticationExpired.to_string(), "Authentication Expired");
}

#[test]
fn a_grant_that_has_ended_grants_nothing() {
    let mut world = world(Always(lives(0)), Limits::default());
    let mut party = world.arrive();
    world.send(&mut party, format!("{CONNECT}PING\r\n"));
    assert_eq!(party.read(), EXPIRED);
    assert!(party.session.is_unauthenticated());

    let (mut world, mut party) = granted(lives(10), Limits::default());
    review(&mut world, &mut party, lives(0));
    assert_eq!(party.read(), EXPIRED);
}

#[test]
fn a_review_changes_the_end_of_a_grant() {
    for (grant, ends_after) in
        [(lives(5), Some(5)), (lives(20), Some(20)), (Grant::user("a"), None)]
    {
        let (mut world, mut party) = granted(lives(10), Limits::default());
        review(&mut world, &mut party, grant);
        let ends_after = ends_after.unwrap_or(1_000);
        world.wait(&mut party, Duration::from_millis(ends_after * 1_000 - 1));
        if ends_after == 1_000 {
            // PINGs are not answered here.
            assert_ne!(party.closing(), Some(CloseReason::AuthenticationExpired));
            continue;
        }
        assert_eq!((told(&party), party.closing()), (String::new(), None));
        world.wait(&mut party, Duration::from_millis(1));
        assert_eq!(told(&party), EXPIRED);
    }
}

#[test]
fn an_authenticator_sees_the_end_and_the_limits_that_are_held() {
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Option<Grant>>>);

    impl Authenticator for Noting {
        fn is_required(&self) -> bool {
            true
        }

        fn authenticate(&self, _: &Credentials) -> Decision {
            Grant::anonymous().into()
        }

        fn review(&self, held: &Grant, _: &Credentials) -> Decision {
            *self.0.lock().unwrap() = Some(held.clone());
            held.clone().into()
        }
    }

    let grant = lives(10).with_max_subscriptions(3).with_max_payload_bytes(7);
    let (mut world, mut party) = granted(grant.clone(), Limits::default());
    let noting = Noting::default();
    world.broker.set_authenticator(noting.clone());
    world.settle(&mut party);
    assert_eq!(*noting.0.lock().unwrap(), Some(grant));
}

#[test]
fn the_lower_limit_of_subscriptions_counts() {
    let of_server = |max| Limits { max_subscriptions: max, ..Limits::default() };
    for (of_grant, limits, max) in [
        (Some(2), of_server(None), 2),
        (Some(2), of_server(Some(3)), 2),
        (Some(3), of_server(Some(2)), 2),
        (None, of_server(Some(2)), 2),
    ] {
        let grant = of_grant.into_iter().fold(Grant::user("a"), Grant::with_max_subscriptions);
        let (mut world, mut party) = granted(grant.clone(), limits);
        for sid in 1..=max {
            world.send(&mut party, format!("SUB a {sid}\r\n"));
            assert_eq!(party.read(), "");
        }
        world.send(&mut party, "SUB a over\r\n");
        assert_eq!(party.read(), "-ERR 'maximum subscriptions exceeded'\r\n");
        assert_eq!(party.closing(), None);

        let client = world.broker.client_as(grant);
        let held: Vec<_> =
            (0..max).map(|_| futures_executor::block_on(client.subscribe("a")).unwrap()).collect();
        let refused = futures_executor::block_on(client.subscribe("a")).err();
        assert_eq!(refused, Some(SubscribeError::MaxSubscriptions));
        drop(held);
    }
}

#[test]
fn the_lower_limit_of_payloads_counts_and_info_says_so() {
    let of_server = |max_payload_bytes| Limits { max_payload_bytes, ..Limits::default() };
    for (of_grant, limits, max) in
        [(Some(5), of_server(100), 5), (Some(100), of_server(5), 5), (None, of_server(5), 5)]
    {
        let grant = of_grant.into_iter().fold(Grant::user("a"), Grant::with_max_payload_bytes);
        let mut world = world(Always(grant.clone()), limits);
        let mut party = world.arrive();
        world.send(&mut party, "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
        let info = party.read();
        assert!(info.contains(&format!("\"max_payload\":{max},")), "{info}");
        world.send(&mut party, "SUB a 1\r\nPUB a 5\r\n12345\r\n");
        assert_eq!(party.read(), "MSG a 1 5\r\n12345\r\n");
        world.send(&mut party, "PUB a 6\r\n123456\r\n");
        assert_eq!(party.read(), "-ERR 'Maximum Payload Violation'\r\n");

        let client = world.broker.client_as(grant);
        assert_eq!(futures_executor::block_on(client.publish("a", "12345".into())), Ok(()));
        let refused = futures_executor::block_on(client.publish("a", "123456".into()));
        assert_eq!(refused, Err(PublishError::MaxPayload { size: 6, limit: 5 }));
    }
}

#[test]
fn a_review_changes_the_limits_and_so_does_another_connect() {
    let (mut world, mut party) = granted(Grant::user("a"), Limits::default());
    world.send(&mut party, "SUB a 1\r\nSUB a 2\r\n");
    let less = Grant::user("a").with_max_subscriptions(1).with_max_payload_bytes(5);
    review(&mut world, &mut party, less);
    world.send(&mut party, "SUB a 3\r\n");
    assert_eq!(party.read(), "-ERR 'maximum subscriptions exceeded'\r\n");
    // New limits of the server leave those of the grant in force.
    world.broker.update_options(|options| options.limits.max_payload_bytes = 50);
    world.settle(&mut party);
    world.send(&mut party, "PUB b 5\r\n12345\r\n");
    assert_eq!((party.read(), party.closing()), (String::new(), None), "those that are there stay");

    world.broker.set_authenticator(Always(Grant::user("b")));
    world.send(&mut party, CONNECT);
    world.send(&mut party, "SUB a 3\r\nSUB a 4\r\nPUB b 6\r\n123456\r\n");
    assert_eq!((party.read(), party.closing()), (String::new(), None));
}

/// Notes the nonces that it is asked with.
#[derive(Clone, Default)]
struct Signed(Arc<Mutex<Vec<String>>>);

impl Authenticator for Signed {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        self.0.lock().unwrap().push(credentials.nonce.clone());
        Grant::user("a").into()
    }

    fn nonce_required(&self) -> bool {
        true
    }
}

fn arrival(random: u8, handshake: HandshakeOrder) -> Arrival {
    Arrival {
        nonce: Some(Nonce::from_random([random; Nonce::BYTES])),
        handshake,
        ..Arrival::default()
    }
}

#[test]
fn the_nonce_of_the_first_info_is_the_one_that_is_checked_whenever_the_client_connects() {
    for handshake in [HandshakeOrder::None, HandshakeOrder::AfterInfo, HandshakeOrder::BeforeInfo] {
        let signed = Signed::default();
        let mut world = World::with_auth(signed.clone());
        let mut party = world.arrive_by(arrival(7, handshake));
        if handshake != HandshakeOrder::None {
            party.session.handle_secured(None, world.now, &mut world.scratch);
        }
        let info = party.read();
        assert_eq!(info.matches("\"nonce\":\"BwcHBwcHBwcHBwc\"").count(), 1, "{info}");
        for _ in 0..2 {
            let connect = "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
            world.send(&mut party, connect);
            assert!(!party.read().contains("nonce"), "later ones have none, as in the reference");
        }
        assert_eq!(*signed.0.lock().unwrap(), ["BwcHBwcHBwcHBwc", "BwcHBwcHBwcHBwc"]);
    }
}

#[test]
fn a_nonce_that_was_not_shown_is_not_checked() {
    let mut world = World::new();
    let mut party = world.arrive_by(arrival(7, HandshakeOrder::None));
    assert!(!party.read().contains("nonce"), "nobody asks for it");
    let signed = Signed::default();
    world.broker.set_authenticator(signed.clone());
    world.settle(&mut party);
    world.send(&mut party, CONNECT);
    // Neither is there one if the driver brings none.
    let mut party = world.arrive();
    world.send(&mut party, CONNECT);
    let noted = signed.0.lock().unwrap();
    assert!(!noted.is_empty() && noted.iter().all(String::is_empty), "{noted:?}");
}
