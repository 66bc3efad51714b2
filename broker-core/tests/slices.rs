//! Work that grows with what a client holds is done in slices. These tests count work, not time.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use broker_core::auth::{Permissions, User, Users};
use broker_core::{Applied, CloseReason};
use common::{CONNECT, Party, World};

/// Maximum number of subscriptions that end per slice.
const SLICE: usize = 128;

/// Maximum number of subscriptions per part of a session's table.
const PART: usize = 1000;

const COUNT: usize = 20_000;

fn subscribe(world: &mut World, party: &mut Party, filter: impl Fn(usize) -> String) {
    for number in 0..COUNT {
        world.send(party, format!("SUB {} {number}\r\n", filter(number)));
    }
    assert_eq!(world.broker.stats().subscriptions, COUNT);
}

/// Repeats `go_on` until nothing is left to do, and returns the maximum number of subscriptions
/// ended per step.
fn most_ended_at_once(world: &World, mut go_on: impl FnMut() -> bool) -> usize {
    let mut most = 0;
    let mut before = world.broker.stats().subscriptions;
    loop {
        let has_more = go_on();
        let now = world.broker.stats().subscriptions;
        most = most.max(before - now);
        before = now;
        if !has_more {
            return most;
        }
    }
}

fn is_ready(applied: &mut Applied) -> bool {
    pin!(applied).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn an_ending_session_removes_its_subscriptions_in_slices() {
    let filters: [fn(usize) -> String; 4] = [
        |number| format!("x.{number}"),
        |number| format!("x.{number}.*"),
        |_| "x".to_owned(),
        |_| "x.>".to_owned(),
    ];
    for filter in filters {
        let mut world = World::new();
        let mut a = world.join();
        subscribe(&mut world, &mut a, filter);
        let most = most_ended_at_once(&world, || a.session.depart(CloseReason::ClientClosed));
        assert!(most <= SLICE, "{most} at once");
        let stats = world.broker.stats();
        assert_eq!((stats.subscriptions, stats.connections), (0, 0));
    }
}

#[test]
fn everything_else_of_a_session_ends_with_the_first_slice() {
    let mut world = World::new();
    let (mut a, mut b) = (world.join(), world.join());
    subscribe(&mut world, &mut a, |number| format!("x.{number}"));
    assert!(a.session.depart(CloseReason::ClientClosed), "there is more to end");
    assert_eq!(world.broker.stats().connections, 1);
    assert_eq!(world.broker.closed_connections().len(), 1);
    for number in 0..COUNT {
        world.send(&mut b, format!("PUB x.{number} b 0\r\n\r\n"));
    }
    assert_eq!(a.read(), "", "nothing is delivered any more");
    drop(a);
    assert_eq!(world.broker.stats().subscriptions, 0, "the rest ends when it is dropped");
    assert_eq!(world.broker.closed_connections().len(), 1);
}

#[test]
fn a_second_connect_is_handled_when_all_subscriptions_have_ended() {
    let mut world = World::new();
    let (mut a, mut b) = (world.join(), world.join());
    subscribe(&mut world, &mut a, |number| format!("x.{number}"));
    a.read();
    world.send(&mut a, format!("{CONNECT}PING\r\nSUB new 1\r\n"));
    assert!(a.session.has_chores());
    assert_eq!(a.read(), "", "further input waits");
    let (now, mut slices) = (world.now, 0);
    let most = {
        let mut before = world.broker.stats().subscriptions;
        let mut most = 0;
        while a.session.has_chores() {
            a.session.do_chores(now, &mut world.scratch);
            slices += 1;
            let now = world.broker.stats().subscriptions;
            most = most.max(before - now);
            before = now;
        }
        most
    };
    assert!(most <= SLICE, "{most} at once");
    assert!(slices >= COUNT / SLICE - 1, "{slices}");
    assert_eq!(world.broker.stats().subscriptions, 0);
    world.send(&mut a, "");
    assert_eq!(a.read(), "PONG\r\n");
    world.send(&mut b, "PUB new 2\r\nhi\r\n");
    assert_eq!(a.read(), "MSG new 1 2\r\nhi\r\n");
}

/// Otherwise the driver would run chores without knowing that input waits for them.
#[test]
fn updates_wait_until_chores_are_done() {
    let mut world = World::new();
    let mut a = world.join();
    subscribe(&mut world, &mut a, |number| format!("x.{number}"));
    world.send(&mut a, CONNECT);
    assert!(a.session.has_chores());
    let mut applied = world.broker.update_options(|options| options.trace_headers = true).applied;
    let now = world.now;
    while a.session.has_chores() {
        assert!(!a.session.has_update());
        a.session.do_chores(now, &mut world.scratch);
    }
    assert!(a.session.has_update());
    a.session.handle_update(now, &mut world.scratch);
    assert!(is_ready(&mut applied));
}

#[test]
fn a_chunk_full_of_subscriptions_is_handled_in_turns() {
    let mut world = World::new();
    let mut a = world.join();
    let chunk: String = (0..COUNT).map(|number| format!("SUB x.{number} {number}\r\n")).collect();
    world.send(&mut a, chunk);
    let mut before = 0;
    while a.session.has_chores() {
        let now = world.broker.stats().subscriptions;
        assert!(now - before <= 1024, "{now} after {before}");
        before = now;
        world.send(&mut a, "");
    }
    assert_eq!(world.broker.stats().subscriptions, COUNT);
}

/// A driver that does not run chores completes them by passing the input again.
#[test]
fn input_passed_again_continues_with_the_rest() {
    let mut world = World::new();
    let mut a = world.join();
    subscribe(&mut world, &mut a, |number| format!("x.{number}"));
    a.read();
    world.send(&mut a, format!("{CONNECT}PING\r\n"));
    for _ in 0..COUNT / SLICE + 2 {
        world.send(&mut a, "");
    }
    assert_eq!(a.read(), "PONG\r\n");
    assert_eq!(world.broker.stats().subscriptions, 0);
}

fn users(deny: &str) -> Users {
    let permissions = Permissions::builder().subscribe_deny([deny]).build().unwrap();
    Users::builder().user(User::new("a", "a").permissions(permissions)).build().unwrap()
}

#[test]
fn subscriptions_are_reviewed_in_slices_when_permissions_change() {
    let mut world = World::with_auth(users("none"));
    let mut a = world.arrive();
    world.send(&mut a, "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"a\"}\r\n");
    subscribe(&mut world, &mut a, |number| format!("x.{}.{number}", number % 2));
    a.read();
    let mut applied = world.broker.set_authenticator(users("x.1.>")).applied;
    let (now, broker) = (world.now, world.broker.clone());
    a.session.handle_update(now, &mut world.scratch);
    let most = most_ended_at_once(&world, || {
        assert_eq!(is_ready(&mut applied), !a.session.has_chores(), "settled when it is done");
        a.session.do_chores(now, &mut broker_core::endpoint::Scratch::new());
        a.session.has_chores()
    });
    assert!(is_ready(&mut applied));
    assert!(most <= PART, "{most} at once");
    assert_eq!(broker.stats().subscriptions, COUNT / 2);
    assert_eq!(a.read().lines().filter(|line| line.starts_with("-ERR")).count(), COUNT / 2);
}

#[test]
fn lame_duck_mode_examines_subscriptions_in_slices() {
    let mut world = World::new();
    let mut a = world.join();
    subscribe(&mut world, &mut a, |number| format!("_INBOX.{number}"));
    let mut applied = world.broker.announce_end();
    let now = world.now;
    a.session.handle_update(now, &mut world.scratch);
    let mut slices = 1;
    while a.session.has_chores() {
        assert!(!is_ready(&mut applied));
        a.session.do_chores(now, &mut world.scratch);
        slices += 1;
    }
    assert!(is_ready(&mut applied));
    assert!(slices >= COUNT / PART, "{slices}");
    assert_eq!(world.broker.lame_duck_order().others, [a.session.id()]);
}

#[test]
fn a_retired_client_gets_all_held_messages_when_its_subscriptions_have_ended() {
    let mut world = World::new();
    let mut a = world.join();
    subscribe(&mut world, &mut a, |number| format!("x.{number}"));
    drop(world.broker.announce_end());
    let mut now = world.now;
    a.session.handle_update(now, &mut world.scratch);
    while a.session.has_chores() {
        a.session.do_chores(now, &mut world.scratch);
    }
    world.broker.retire(a.session.id());
    a.session.handle_update(now, &mut world.scratch);
    while !a.session.has_half_closed() && a.session.closing().is_none() {
        now = a.session.next_timeout();
        a.session.handle_timeout(now, &mut world.scratch);
    }
    assert!(a.session.has_chores(), "its subscriptions have begun to end");
    assert_eq!(a.session.closing(), None);
    while a.session.has_chores() {
        a.session.do_chores(now, &mut world.scratch);
    }
    assert_eq!(world.broker.stats().subscriptions, 0);
    assert_eq!(a.session.closing(), Some(CloseReason::ServerShutdown));
}
