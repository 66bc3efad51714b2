//! A slow consumer affects only itself.

mod common;

use std::time::Duration;

use broker_core::{CloseReason, Limits};
use common::World;

const PENDING: Option<CloseReason> = Some(CloseReason::SlowConsumerPendingBytes);
const DEADLINE: Option<CloseReason> = Some(CloseReason::SlowConsumerWriteDeadline);

fn message(bytes: usize) -> String {
    format!("PUB x {bytes}\r\n{}\r\n", "x".repeat(bytes))
}

#[test]
fn a_slow_consumer_is_closed_without_affecting_others() {
    let mut world = World::with_limits(Limits { max_pending_bytes: 10_000, ..Limits::default() });
    let (mut slow, mut fast, mut publisher) = (world.join(), world.join(), world.join());
    for party in [&mut slow, &mut fast] {
        world.send(party, "SUB x 1\r\n");
    }
    slow.write_handle.set_room(Some(0));
    for _ in 0..50 {
        world.send(&mut publisher, message(1000));
    }
    assert_eq!(slow.closing(), PENDING);
    assert_eq!(fast.count(), 50);
    assert_eq!((fast.closing(), publisher.closing()), (None, None));
    assert_eq!(world.broker.stats().pending_bytes, 0, "queued bytes are released");
    drop(slow);
    let stats = world.broker.stats();
    assert_eq!((stats.slow_consumers, stats.connections, stats.subscriptions), (1, 2, 1));
}

#[test]
fn exactly_max_pending_bytes_may_be_queued() {
    let delivered = "MSG x 1 100\r\n".len() + 100 + 2;
    for (short_by, expected) in [(0, None), (1, PENDING)] {
        // The decision counts the bytes queued and the payload to come.
        let max_pending_bytes = 9 * delivered + 100 - short_by;
        let mut world = World::with_limits(Limits { max_pending_bytes, ..Limits::default() });
        let (mut slow, mut publisher) = (world.join(), world.join());
        world.send(&mut slow, "SUB x 1\r\n");
        slow.write_handle.set_room(Some(0));
        for _ in 0..10 {
            world.send(&mut publisher, message(100));
        }
        assert_eq!(slow.closing(), expected);
    }
}

#[test]
fn queued_messages_leave_completely_and_in_order() {
    let mut world = World::new();
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(3));
    let mut expected = String::new();
    for bytes in [0, 1, 100, 20_000, 70_000, 5] {
        world.send(&mut publisher, message(bytes));
        expected += &message(bytes).replace("PUB x", "MSG x 1");
    }
    let mut seen = String::new();
    while seen.len() < expected.len() {
        slow.write_handle.set_room(Some(997));
        slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
        let control = slow.read();
        assert!(!control.is_empty());
        seen += &control;
    }
    assert!(seen == expected);
    assert_eq!(world.broker.stats().pending_bytes, 0);
}

#[test]
fn a_connection_is_woken_once_when_its_link_is_full() {
    let mut world = World::new();
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(10));
    for _ in 0..100 {
        world.send(&mut publisher, message(10));
    }
    assert_eq!(slow.write_handle.wakes(), 1);
}

#[test]
fn a_client_that_reads_nothing_by_the_deadline_is_closed_and_a_slow_one_is_not() {
    let mut world = World::new();
    let deadline = Limits::default().write_deadline;
    let (mut stuck, mut slow, mut publisher) = (world.join(), world.join(), world.join());
    for party in [&mut stuck, &mut slow] {
        world.send(party, "SUB x 1\r\n");
        party.write_handle.set_room(Some(0));
    }
    world.send(&mut publisher, message(100));
    let moment = Duration::from_millis(1);
    world.now += deadline - moment;
    slow.write_handle.set_room(Some(1 << 20));
    slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
    slow.write_handle.set_room(Some(0));
    world.send(&mut publisher, message(100));
    for party in [&mut stuck, &mut slow] {
        party.session.handle_timeout(world.now, &mut world.scratch);
        assert_eq!(party.closing(), None);
    }
    world.now += moment;
    for party in [&mut stuck, &mut slow] {
        party.session.handle_timeout(world.now, &mut world.scratch);
    }
    assert_eq!((stuck.closing(), slow.closing()), (DEADLINE, None));
}

#[test]
fn beyond_the_total_limit_the_longest_queue_is_closed() {
    let limits = Limits { max_pending_total_bytes: 10_000, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let mut publisher = world.join();
    let mut slow: Vec<_> = (0..10).map(|_| world.join()).collect();
    for (number, party) in slow.iter_mut().enumerate() {
        let subjects = if number == 7 { "SUB x 1\r\nSUB * 2\r\n" } else { "SUB x 1\r\n" };
        world.send(party, subjects);
        party.write_handle.set_room(Some(0));
    }
    while slow.iter().all(|party| party.closing().is_none()) {
        world.send(&mut publisher, message(100));
    }
    let cut: Vec<usize> = (0..10).filter(|number| slow[*number].closing().is_some()).collect();
    assert_eq!(cut, [7]);
    assert_eq!(slow[7].closing(), PENDING);
}

#[test]
fn a_client_that_sends_requests_and_never_reads_is_limited_too() {
    let mut world = World::with_limits(Limits { max_pending_bytes: 1000, ..Limits::default() });
    let mut client = world.join();
    client.write_handle.set_room(Some(0));
    for _ in 0..1000 {
        world.send(&mut client, "PING\r\n");
    }
    assert_eq!(client.closing(), PENDING);
}

#[test]
fn an_ended_session_releases_its_link_though_publishers_cache_it() {
    let mut world = World::new();
    let (mut subscriber, mut publisher) = (world.join(), world.join());
    world.send(&mut subscriber, "SUB x 1\r\n");
    world.send(&mut publisher, message(1));
    let write_handle = subscriber.write_handle.clone();
    assert_eq!(write_handle.holders(), 3, "the session's, the party's and this one");
    drop(subscriber);
    assert_eq!(write_handle.holders(), 1);
}
