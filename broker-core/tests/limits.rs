//! Each limit at one below, at, and one above.

mod common;

use std::time::Duration;

use broker_core::auth::Token;
use broker_core::{Broker, CloseReason, Limits, Options};
use common::{Party, World};

fn world(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    World::with_limits(limits)
}

/// Sends `text` from a client that is not verbose, and returns the response and the close reason.
fn sent(world: &mut World, text: &str) -> (String, Option<CloseReason>) {
    let mut party = world.join();
    world.send(&mut party, text);
    (party.read(), party.closing())
}

fn nothing() -> (String, Option<CloseReason>) {
    (String::new(), None)
}

#[test]
fn max_control_line() {
    let mut world = world(|limits| limits.max_control_line_bytes = 100);
    let end = Some(CloseReason::MaxControlLineExceeded);
    let error = "-ERR 'maximum control line exceeded'\r\n".to_owned();
    for (bytes, expected) in [(99, nothing()), (100, nothing()), (101, (error, end))] {
        // The subject is followed by ` 1`.
        let subscribe = format!("SUB {} 1\r\n", "x".repeat(bytes - 2));
        assert_eq!(sent(&mut world, &subscribe), expected, "{bytes}");
        let unfinished = format!("SUB {}", "x".repeat(bytes));
        assert_eq!(sent(&mut world, &unfinished), expected, "{bytes}, unfinished");
        let publish = format!("PUB {} 0\r\n\r\n", "x".repeat(bytes - 2));
        assert_eq!(sent(&mut world, &publish), expected, "{bytes}, PUB");
    }
}

#[test]
fn max_payload() {
    let mut world = world(|limits| limits.max_payload_bytes = 50);
    let end = Some(CloseReason::MaxPayloadExceeded);
    let error = "-ERR 'Maximum Payload Violation'\r\n".to_owned();
    for (bytes, expected) in [(49, nothing()), (50, nothing()), (51, (error, end))] {
        let payload = "x".repeat(bytes);
        assert_eq!(sent(&mut world, &format!("PUB a {bytes}\r\n{payload}\r\n")), expected);
        let headers = format!("HPUB a 20 {bytes}\r\n{payload}\r\n");
        assert_eq!(sent(&mut world, &headers), expected, "headers count");
        assert_eq!(sent(&mut world, &format!("PUB a {bytes}\r\n")), expected, "before it comes");
    }
}

#[test]
fn max_connections() {
    let mut world = world(|limits| limits.max_connections = Some(2));
    let first = world.arrive();
    let second = world.arrive();
    assert_eq!((first.closing(), second.closing()), (None, None));
    let third = refused(&mut world);
    assert!(third.read().ends_with("\r\n-ERR 'maximum connections exceeded'\r\n"));
    assert_eq!(third.closing(), Some(CloseReason::MaxConnectionsExceeded));
    drop(third);
    assert_eq!(world.broker.stats().connections, 2, "a refused one frees no place");
    assert!(refused(&mut world).closing().is_some());
    drop(first);
    assert_eq!(world.arrive().closing(), None, "room again");
}

/// Opens a connection without discarding its INFO.
fn refused(world: &mut World) -> Party {
    let write_handle = common::Memory::default();
    let arrival = broker_core::session::client::Arrival::default();
    let session =
        world.broker.open(arrival, Box::new(write_handle.clone()), world.now, &mut world.scratch);
    Party::of(session, write_handle)
}

#[test]
fn max_subscriptions() {
    let mut world = world(|limits| limits.max_subscriptions = Some(3));
    let mut client = world.join();
    for sid in 1..=3 {
        world.send(&mut client, format!("SUB a {sid}\r\n"));
        assert_eq!(client.read(), "", "{sid}");
    }
    world.send(&mut client, "SUB a 4\r\n");
    assert_eq!(client.read(), "-ERR 'maximum subscriptions exceeded'\r\n");
    assert_eq!(client.closing(), None);
    world.send(&mut client, "UNSUB 2\r\nSUB a 4\r\nPUB a 0\r\n\r\n");
    assert_eq!(client.count(), 3, "room again");
    world.send(&mut client, "UNSUB 4 2\r\nPUB a 0\r\n\r\nSUB b 5\r\n");
    assert_eq!(client.count(), 3, "also without input");
    assert_eq!(world.broker.stats().subscriptions, 3);
}

#[test]
fn max_subscription_tokens() {
    let mut world = world(|limits| limits.max_subscription_tokens = Some(3));
    let error = "-ERR 'Permissions Violation for Subscription to \"a.b.c.d\", too many tokens'\r\n";
    for (filter, expected) in [("a.b", ""), ("a.b.c", ""), ("a.*.>", ""), ("a.b.c.d", error)] {
        assert_eq!(sent(&mut world, &format!("SUB {filter} 1\r\n")), (expected.into(), None));
    }
}

#[test]
fn ping_interval_and_ping_max() {
    let second = Duration::from_secs(1);
    let mut world = world(|limits| {
        limits.ping_interval = 60 * second;
        limits.ping_max = 2;
    });
    let mut client = world.join();
    // The early PING that measures the round-trip time.
    world.wait(&mut client, 3 * second);
    assert_eq!(client.read(), "PING\r\n");
    world.send(&mut client, "PONG\r\n");
    world.wait(&mut client, 56 * second);
    assert_eq!(client.read(), "");
    for _ in 0..2 {
        world.wait(&mut client, 60 * second);
        assert_eq!((client.read().as_str(), client.closing()), ("PING\r\n", None));
    }
    world.wait(&mut client, 60 * second);
    assert_eq!(client.read(), "-ERR 'Stale Connection'\r\n");
    assert_eq!(client.closing(), Some(CloseReason::StaleConnection));
}

#[test]
fn a_busy_client_is_not_pinged() {
    let second = Duration::from_secs(1);
    let mut world = world(|limits| limits.ping_interval = 60 * second);
    let mut client = world.join();
    world.wait(&mut client, 3 * second);
    world.send(&mut client, "PONG\r\n");
    client.read();
    for received in ["PUB a 0\r\n\r\n", "SUB a 1\r\n", "UNSUB 1\r\n", "PING\r\n"].repeat(5) {
        world.wait(&mut client, 30 * second);
        world.send(&mut client, received);
        assert!(!client.read().contains("PING"));
    }
}

#[test]
fn auth_timeout() {
    let moment = Duration::from_millis(1);
    let timeout = Duration::from_secs(3);
    let limits = Limits { auth_timeout: timeout, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let broker = Broker::with_authenticator(
        options,
        (std::time::Instant::now, std::time::SystemTime::now),
        Token::new("t"),
    );
    let mut world = World::of(broker);
    for (late, expected) in [
        (timeout - moment, None),
        (timeout, Some(CloseReason::AuthenticationTimeout)),
        (timeout + moment, Some(CloseReason::AuthenticationTimeout)),
    ] {
        let mut client = world.arrive();
        world.wait(&mut client, late);
        assert_eq!(client.closing(), expected, "{late:?}");
        let mut known = world.join_as("CONNECT {\"auth_token\":\"t\",\"verbose\":false}\r\n");
        world.wait(&mut known, late);
        assert_eq!(known.closing(), None);
    }
}

#[test]
fn the_read_limit_of_an_unauthenticated_client_suffices_for_a_control_line() {
    let client = |max_control_line_bytes: usize| {
        let limits = Limits { max_control_line_bytes, ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let broker = Broker::with_authenticator(
            options,
            (std::time::Instant::now, std::time::SystemTime::now),
            Token::new("t"),
        );
        World::of(broker).arrive().session.read_limit()
    };
    assert!((4096..=16 << 10).contains(&client(4096)));
    assert!(client(100_000) > 100_000, "a longer control line is configured");
    let mut world = World::new();
    assert_eq!(world.join().session.read_limit(), usize::MAX);
}

#[test]
fn without_limits_there_are_none() {
    let mut world = world(|limits| {
        limits.max_connections = None;
        limits.max_subscriptions = None;
    });
    let mut clients: Vec<_> = (0..100).map(|_| world.join()).collect();
    let many: String = (0..1000).map(|sid| format!("SUB a.{sid} {sid}\r\n")).collect();
    world.send(&mut clients[0], many);
    assert_eq!(clients[0].read(), "");
    let stats = world.broker.stats();
    assert_eq!((stats.connections, stats.subscriptions), (100, 1000));
}
