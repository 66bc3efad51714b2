//! Changes under connected clients: limits, authenticators, permissions.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/log.rs"]
mod log;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::{
    AllowResponses, Authenticator, Credentials, Decision, Denied, Grant, NoAuth, Permissions,
    Token, User, Users,
};
use broker_core::{Broker, CloseReason, Limits, Options};
use common::{CONNECT, Party, World};
use log::lines_of;

fn users(list: impl IntoIterator<Item = User>) -> Users {
    Users::builder().users(list).build().unwrap()
}

fn all_users() -> [User; 2] {
    [User::new("a", "pa"), User::new("b", "pb")]
}

fn connect(user: &str, password: &str) -> String {
    format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\n")
}

/// Replaces the authenticator and lets the clients process the review.
fn review(world: &mut World, authenticator: impl Authenticator, parties: &mut [&mut Party]) {
    let before: Vec<_> = parties.iter().map(|party| party.write_handle.wakes()).collect();
    world.broker.set_authenticator(authenticator);
    for (party, before) in parties.iter_mut().zip(before) {
        assert!(party.write_handle.wakes() > before, "an idle connection is woken");
        world.settle(party);
    }
}

fn sent(party: &Party) -> (String, Option<CloseReason>) {
    (party.read(), party.closing())
}

fn nothing() -> (String, Option<CloseReason>) {
    (String::new(), None)
}

fn denied() -> (String, Option<CloseReason>) {
    ("-ERR 'Authorization Violation'\r\n".to_owned(), Some(CloseReason::AuthenticationViolation))
}

/// As nats-server 2.14.5.
#[test]
fn only_clients_of_removed_users_and_changed_passwords_are_closed() {
    let mut world = World::with_auth(users([
        User::new("stays", "pw"),
        User::new("gone", "pw"),
        User::new("changed", "pw"),
        User::new("moved", "pw"),
    ]));
    let [mut stays, mut gone, mut changed, mut moved] =
        ["stays", "gone", "changed", "moved"].map(|user| world.join_as(&connect(user, "pw")));
    let after = users([
        User::new("stays", "pw"),
        User::new("new", "pw"),
        User::new("changed", "other"),
        User::new("moved", "pw").account("OTHER"),
    ]);
    review(&mut world, after, &mut [&mut stays, &mut gone, &mut changed, &mut moved]);
    assert_eq!(sent(&stays), nothing());
    assert_eq!(sent(&gone), (String::new(), Some(CloseReason::UserRemoved)));
    assert_eq!(sent(&changed), denied());
    assert_eq!(sent(&moved), (String::new(), Some(CloseReason::UserRemoved)));
    assert_eq!(CloseReason::UserRemoved.to_string(), "Client Closed", "as in the reference");
    assert!(world.join_as(&connect("new", "pw")).closing().is_none());
    assert!(world.join_as(&connect("gone", "pw")).closing().is_some());
}

#[test]
fn an_unaffected_client_keeps_its_messages() {
    let mut world = World::with_auth(users(all_users()));
    let (mut a, mut b) = (world.join_as(&connect("a", "pa")), world.join_as(&connect("b", "pb")));
    world.send(&mut a, "SUB x 1\r\nSUB y q 2\r\n");
    world.send(&mut b, "PUB x 1\r\n1\r\n");
    review(&mut world, users(all_users()), &mut [&mut a, &mut b]);
    world.send(&mut b, "PUB x 1\r\n2\r\nPUB y 1\r\n3\r\n");
    assert_eq!(a.read(), "MSG x 1 1\r\n1\r\nMSG x 1 1\r\n2\r\nMSG y 2 1\r\n3\r\n");
}

/// As nats-server 2.14.5, except for the order.
#[test]
fn subscriptions_no_longer_allowed_end_with_an_error_to_the_client() {
    let mut world = World::with_auth(users(all_users()));
    let (mut a, mut b) = (world.join_as(&connect("a", "pa")), world.join_as(&connect("b", "pb")));
    world.send(&mut a, "SUB foo 1\r\nSUB bar q 2\r\nSUB baz 3\r\nSUB * 10\r\n");
    let only = Permissions::builder().subscribe_allow(["baz"]).build().unwrap();
    let after = || users([User::new("a", "pa").permissions(only.clone()), User::new("b", "pb")]);
    let lines = lines_of(|| review(&mut world, after(), &mut [&mut a, &mut b]));
    let expected = "-ERR 'Permissions Violation for Subscription to \"foo\" (sid \"1\")'\r\n\
                    -ERR 'Permissions Violation for Subscription to \"bar\" using queue \"q\" (sid \"2\")'\r\n\
                    -ERR 'Permissions Violation for Subscription to \"*\" (sid \"10\")'\r\n";
    assert_eq!(sent(&a), (expected.to_owned(), None));
    assert_eq!(
        lines,
        [
            r#"INFO  - Removed sub "foo" (sid "1") for User "a" - not authorized"#,
            r#"INFO  - Removed sub "bar" using queue "q" (sid "2") for User "a" - not authorized"#,
            r#"INFO  - Removed sub "*" (sid "10") for User "a" - not authorized"#,
        ]
    );
    for subject in ["foo", "bar", "baz", "qux"] {
        world.send(&mut b, format!("PUB {subject} 0\r\n\r\n"));
    }
    assert_eq!(a.read(), "MSG baz 3 0\r\n\r\n");
    world.send(&mut a, "SUB foo 1\r\n");
    assert!(a.read().starts_with("-ERR 'Permissions Violation for Subscription to \"foo\"'"));
    review(&mut world, after(), &mut [&mut a, &mut b]);
    assert_eq!(sent(&a), nothing(), "the same again changes nothing");
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn cached_publish_permissions_are_dropped() {
    let mut world = World::with_auth(users(all_users()));
    let (mut a, mut b) = (world.join_as(&connect("a", "pa")), world.join_as(&connect("b", "pb")));
    world.send(&mut b, "SUB x 1\r\n");
    let publish = "PUB x 0\r\n\r\n";
    world.send(&mut a, publish);
    assert_eq!(b.count(), 1);
    let no = Permissions::builder().publish_deny(["x"]).build().unwrap();
    let after = users([User::new("a", "pa").permissions(no), User::new("b", "pb")]);
    review(&mut world, after, &mut [&mut a, &mut b]);
    world.send(&mut a, publish);
    assert_eq!(
        (a.read().as_str(), b.count()),
        ("-ERR 'Permissions Violation for Publish to \"x\"'\r\n", 0)
    );
    review(&mut world, users(all_users()), &mut [&mut a, &mut b]);
    world.send(&mut a, publish);
    assert_eq!((a.read().as_str(), b.count()), ("", 1), "queued messages arrive too");
}

#[test]
fn a_subscription_allowed_in_part_gets_that_part() {
    let mut world = World::with_auth(users(all_users()));
    let (mut a, mut b) = (world.join_as(&connect("a", "pa")), world.join_as(&connect("b", "pb")));
    world.send(&mut a, "SUB x.* 1\r\n");
    let publish = "PUB x.y 0\r\n\r\nPUB x.secret 0\r\n\r\n";
    world.send(&mut b, publish);
    assert_eq!(a.count(), 2);
    let no = Permissions::builder().subscribe_deny(["x.secret"]).build().unwrap();
    let after = users([User::new("a", "pa").permissions(no), User::new("b", "pb")]);
    review(&mut world, after, &mut [&mut a, &mut b]);
    world.send(&mut b, publish);
    assert_eq!(a.read(), "MSG x.y 1 0\r\n\r\n");
    review(&mut world, users(all_users()), &mut [&mut a, &mut b]);
    world.send(&mut b, publish);
    assert_eq!(a.count(), 2);
}

#[test]
fn a_request_received_before_a_change_may_be_answered_after_it() {
    let service = |subject: &str| {
        let permissions = Permissions::builder()
            .publish_allow([subject])
            .allow_responses(AllowResponses::default())
            .build()
            .unwrap();
        users([User::new("a", "pa").permissions(permissions), User::new("b", "pb")])
    };
    let mut world = World::with_auth(service("one"));
    let (mut a, mut b) = (world.join_as(&connect("a", "pa")), world.join_as(&connect("b", "pb")));
    world.send(&mut a, "SUB ask 1\r\n");
    world.send(&mut b, "SUB inbox 1\r\nPUB ask inbox 0\r\n\r\n");
    review(&mut world, service("two"), &mut [&mut a, &mut b]);
    assert_eq!(a.count(), 1);
    world.send(&mut a, "PUB inbox 0\r\n\r\nPUB inbox 0\r\n\r\n");
    assert_eq!(a.read(), "-ERR 'Permissions Violation for Publish to \"inbox\"'\r\n", "only once");
    assert_eq!(b.count(), 1);
}

/// As nats-server 2.14.5.
#[test]
fn enabling_authentication_keeps_clients_with_valid_credentials_only() {
    let mut world = World::new();
    let says = [
        connect("a", "pa"),
        connect("a", "guess"),
        connect("nobody", "pa"),
        CONNECT.to_owned(),
        String::new(),
    ];
    let [mut right, mut wrong, mut unknown, mut nothing_shown, mut silent] =
        says.map(|received| world.join_as(&received));
    let parties = &mut [&mut right, &mut wrong, &mut unknown, &mut nothing_shown, &mut silent];
    review(&mut world, users(all_users()), parties);
    assert_eq!(sent(&right), nothing());
    assert_eq!(sent(&wrong), denied());
    assert_eq!(sent(&unknown), (String::new(), Some(CloseReason::UserRemoved)));
    assert_eq!(sent(&nothing_shown), denied());
    assert_eq!(sent(&silent), denied());
    review(&mut world, users(all_users()), &mut [&mut right]);
    assert_eq!(sent(&right), nothing(), "and is remembered");
}

/// nats-server 2.14.5 disconnects all clients that had presented a name.
#[test]
fn disabling_authentication_keeps_all_clients() {
    let permissions = Permissions::builder().publish_deny(["x"]).build().unwrap();
    let mut world = World::with_auth(users([User::new("a", "pa").permissions(permissions)]));
    let (mut a, mut unauthenticated) = (world.join_as(&connect("a", "pa")), world.arrive());
    review(&mut world, NoAuth, &mut [&mut a, &mut unauthenticated]);
    world.send(&mut a, "PUB x 0\r\n\r\nPING\r\n");
    assert_eq!(sent(&a), ("PONG\r\n".to_owned(), None));
    world.send(&mut unauthenticated, "PING\r\n");
    assert_eq!(
        sent(&unauthenticated),
        ("PONG\r\n".to_owned(), None),
        "a client without credentials is served"
    );
    review(&mut world, users(all_users()), &mut [&mut a]);
    assert_eq!(sent(&a), nothing(), "presented credentials are kept for later changes");
}

#[test]
fn a_client_with_a_token_stays_while_the_token_is_unchanged() {
    let mut world = World::with_auth(Token::new("abc"));
    let mut party = world.join_as("CONNECT {\"verbose\":false,\"auth_token\":\"abc\"}\r\n");
    review(&mut world, Token::new("abc"), &mut [&mut party]);
    assert_eq!(sent(&party), nothing());
    let lines = lines_of(|| review(&mut world, Token::new("abd"), &mut [&mut party]));
    assert_eq!(sent(&party), denied());
    assert_eq!(
        lines,
        ["ERROR pipe - cid:1 - \"$G/token\" - authentication error - Token \"[REDACTED]\""]
    );
}

#[test]
fn a_second_connect_without_a_password_keeps_the_user() {
    let mut world = World::with_auth(users(all_users()));
    let mut a = world.join_as(&connect("a", "pa"));
    world.send(&mut a, "CONNECT {\"echo\":false}\r\nPING\r\n");
    assert_eq!(sent(&a), ("PONG\r\n".to_owned(), None));
    world.send(&mut a, "CONNECT {\"user\":\"b\"}\r\n");
    assert_eq!(sent(&a), denied(), "another user's password is not accepted");
}

/// The previous authenticator had begun a slow check.
#[test]
fn a_check_under_way_is_repeated_by_the_new_authenticator() {
    let hash = bcrypt::hash("pa", 4).unwrap();
    let list = || users([User::new("a", &*hash)]);
    for (after, expected) in [(list(), nothing()), (users([User::new("a", "px")]), denied())] {
        let mut world = World::with_auth(list());
        let mut a = world.arrive();
        let received =
            a.session.receive(world.now, connect("a", "pa").as_bytes(), None, &mut world.scratch);
        assert!(received.used > 0);
        let check = a.session.take_check().unwrap();
        review(&mut world, after, &mut [&mut a]);
        a.session.handle_checked(check.run(), world.now, &mut world.scratch);
        assert_eq!(sent(&a), expected);
    }
}

/// An embedder's authenticator, which by default authenticates again.
struct MagicWord(&'static str);

impl Authenticator for MagicWord {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if credentials.password.expose() == self.0 {
            return Grant::user(&*credentials.user).into();
        }
        Denied::Credentials.into()
    }
}

#[test]
fn an_embedders_authenticator_gets_the_presented_credentials() {
    let mut world = World::with_auth(MagicWord("please"));
    let mut party = world.join_as(&connect("a", "please"));
    review(&mut world, MagicWord("please"), &mut [&mut party]);
    assert_eq!(sent(&party), nothing());
    review(&mut world, MagicWord("thanks"), &mut [&mut party]);
    assert_eq!(sent(&party), denied());
}

#[test]
fn limits_apply_to_connected_clients() {
    let mut world = World::new();
    let [mut long, mut large, mut well_behaved] = [(); 3].map(|()| world.join());
    world.broker.update_options(|options| {
        options.limits.max_control_line_bytes = 64;
        options.limits.max_payload_bytes = 10;
    });
    for party in [&mut long, &mut large, &mut well_behaved] {
        world.settle(party);
        assert_eq!(sent(party), nothing(), "no client gets another INFO");
    }
    world.send(&mut long, format!("SUB {} 1\r\n", "x".repeat(64)));
    assert_eq!(long.closing(), Some(CloseReason::MaxControlLineExceeded));
    world.send(&mut large, "PUB x 11\r\n");
    assert_eq!(large.closing(), Some(CloseReason::MaxPayloadExceeded));
    world.send(&mut well_behaved, "PUB x 10\r\n0123456789\r\nPING\r\n");
    assert_eq!(sent(&well_behaved), ("PONG\r\n".to_owned(), None));
    assert_eq!(world.broker.info().max_payload, 10);
}

#[test]
fn a_shorter_ping_interval_applies_at_once() {
    let mut world = World::new();
    let mut party = world.join();
    world.send(&mut party, "PING\r\n");
    world.wait(&mut party, Duration::from_secs(5));
    world.send(&mut party, "PONG\r\n");
    party.read();
    world.broker.update_options(|options| {
        options.limits.ping_interval = Duration::from_secs(1);
        options.limits.ping_max = 1;
    });
    world.settle(&mut party);
    world.wait(&mut party, Duration::from_millis(1100));
    assert_eq!(sent(&party), ("PING\r\n".to_owned(), None));
    world.wait(&mut party, Duration::from_secs(1));
    assert_eq!(party.closing(), Some(CloseReason::StaleConnection));
}

#[test]
fn a_lowered_maximum_closes_the_newest_connections() {
    let mut world = World::new();
    let _inside = world.broker.client();
    let mut parties = [(); 5].map(|()| world.join());
    let limits = Limits { max_connections: Some(2), ..Limits::default() };
    let mut excess = 0;
    let lines = lines_of(|| {
        excess = world.broker.apply(Options { limits, ..Options::default() }, None).excess;
    });
    assert_eq!(excess, 3);
    assert_eq!(lines, ["INFO  - Closed 3 connections to fall within max_connections"]);
    for party in &mut parties {
        world.settle(party);
    }
    let [older @ .., _, _, _] = &parties;
    assert!(older.iter().all(|party| sent(party) == nothing()));
    let error = "-ERR 'maximum connections exceeded'\r\n".to_owned();
    let told_so = (error, Some(CloseReason::MaxConnectionsExceeded));
    assert!(parties[2..].iter().all(|party| sent(party) == told_so));
    assert_eq!(parties.len() - excess, 2);
}

#[test]
fn name_and_seed_cannot_be_changed() {
    let options = Options { server_name: Some("one".into()), seed: 7, ..Options::default() };
    let broker = Broker::new(options, (Instant::now, SystemTime::now));
    broker.apply(Options { server_name: Some("two".into()), ..Options::default() }, None);
    let options = broker.options();
    assert_eq!((options.server_name.as_deref(), options.seed), (Some("one"), 7));
    assert_eq!(broker.info().server_name, "one");
}

#[test]
fn a_change_is_settled_when_all_sessions_have_applied_it_or_ended() {
    let mut world = World::with_auth(users(all_users()));
    let [mut one, two] = ["a", "b"].map(|user| world.join_as(&connect(user, &format!("p{user}"))));
    let mut applied = pin!(world.broker.set_authenticator(Arc::new(users(all_users()))).applied);
    let mut poll = || applied.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll(), Poll::Pending);
    world.settle(&mut one);
    assert_eq!(poll(), Poll::Pending, "one of two sessions has not applied it");
    drop(two);
    assert_eq!(poll(), Poll::Ready(()));
}

#[test]
fn a_change_that_concerns_no_session_is_settled() {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let _inside = broker.client();
    let applied = pin!(broker.update_options(|_| {}).applied);
    assert_eq!(applied.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}
