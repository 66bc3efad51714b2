//! A publisher waits for a receiver that is slower than it is but keeps reading.

mod common;

use std::time::Duration;

use broker_core::auth::Grant;
use broker_core::{CloseReason, HandlerContext, HandlerSubscription, Limits, RawMessage};
use common::{Party, World};

const PENDING: Option<CloseReason> = Some(CloseReason::SlowConsumerPendingBytes);

/// Crowded from 16,000 bytes on, until 14,000 are left; a receiver must read 125 bytes to be waited
/// for.
const MAX_PENDING: usize = 128_000;

const LOOK: Duration = Duration::from_millis(100);

fn world() -> World {
    World::with_limits(Limits { max_pending_bytes: MAX_PENDING, ..Limits::default() })
}

/// A message of 1,000 bytes as delivered.
fn message() -> String {
    format!("PUB x 985\r\n{}\r\n", "x".repeat(985))
}

fn subscriber(world: &mut World) -> Party {
    let mut party = world.join();
    world.send(&mut party, "SUB x 1\r\n");
    party.write_handle.set_room(Some(0));
    party
}

fn reads(world: &mut World, party: &Party, bytes: usize) {
    party.write_handle.set_room(Some(bytes));
    party.session.byte_queue().drain(world.now, true, &mut world.scratch);
    party.write_handle.set_room(Some(0));
}

/// Connects a receiver that reads, with 16,000 bytes or slightly fewer queued.
fn crowd(world: &mut World, publisher: &mut Party) -> Party {
    let slow = subscriber(world);
    (0..8).for_each(|_| world.send(publisher, message()));
    reads(world, &slow, 125);
    (0..8).for_each(|_| world.send(publisher, message()));
    slow
}

/// Lets time pass, at most up to the session's next timeout.
fn pass(world: &mut World, party: &mut Party, time: Duration) {
    world.now += time;
    assert!(party.session.next_timeout() <= world.now, "the session has a timer");
    party.session.handle_timeout(world.now, &mut world.scratch);
}

#[test]
fn a_publisher_waits_for_a_receiver_that_reads_until_its_queue_is_shorter() {
    let mut world = world();
    let mut publisher = world.join();
    let slow = crowd(&mut world, &mut publisher);
    assert!(!publisher.session.is_patient(), "15,875 bytes wait");
    world.send(&mut publisher, message());
    assert!(publisher.session.is_patient(), "16,875 bytes wait");
    let wakes = publisher.write_handle.wakes();
    reads(&mut world, &slow, 2800);
    assert!(publisher.session.is_patient(), "14,075 bytes wait");
    assert_eq!(publisher.write_handle.wakes(), wakes);
    reads(&mut world, &slow, 100);
    assert_eq!(publisher.write_handle.wakes(), wakes + 1, "the session is woken");
    assert!(!publisher.session.is_patient());
    assert_eq!(slow.closing(), None);
}

#[test]
fn no_publisher_waits_for_a_receiver_that_does_not_read() {
    let mut world = world();
    let mut publisher = world.join();
    let stalled = subscriber(&mut world);
    // The bytes that the socket takes at first do not count as reading.
    stalled.write_handle.set_room(Some(4000));
    while stalled.closing().is_none() {
        world.send(&mut publisher, message());
        assert!(!publisher.session.is_patient());
    }
    assert_eq!(stalled.closing(), PENDING);
}

#[test]
fn a_receiver_that_stops_reading_is_waited_for_once() {
    let mut world = world();
    let mut publisher = world.join();
    let slow = crowd(&mut world, &mut publisher);
    world.send(&mut publisher, message());
    assert!(publisher.session.is_patient());
    pass(&mut world, &mut publisher, LOOK);
    assert!(!publisher.session.is_patient(), "it has read nothing");
    for _ in 0..10 {
        world.send(&mut publisher, message());
        assert!(!publisher.session.is_patient());
    }
    reads(&mut world, &slow, 125);
    world.send(&mut publisher, message());
    assert!(publisher.session.is_patient(), "it reads again");
}

#[test]
fn a_receiver_that_reads_little_delays_a_publisher_for_a_second_at_most() {
    let mut world = world();
    let mut publisher = world.join();
    let slow = crowd(&mut world, &mut publisher);
    world.send(&mut publisher, message());
    for look in 1..=10 {
        assert!(publisher.session.is_patient(), "{look}");
        reads(&mut world, &slow, 125);
        pass(&mut world, &mut publisher, LOOK);
    }
    assert!(!publisher.session.is_patient());
    world.send(&mut publisher, message());
    assert!(publisher.session.is_patient(), "with the next chunk it begins anew");
}

#[test]
fn all_is_delivered_to_a_receiver_that_reads_steadily_but_slower() {
    let mut world = world();
    let (mut slow, mut publisher) = (subscriber(&mut world), world.join());
    let mut held = 0;
    for number in 0..500 {
        world.send(&mut publisher, message());
        // It reads a tenth of the traffic, or half a message while the publisher waits.
        reads(&mut world, &slow, 100);
        while publisher.session.is_patient() {
            world.now += Duration::from_millis(1);
            reads(&mut world, &slow, 500);
            held += 1;
        }
        assert_eq!(slow.closing(), None, "{number}");
        assert!(slow.session.byte_queue().write_deadline().is_some());
    }
    assert!(held > 500);
    slow.write_handle.set_room(None);
    slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
    assert_eq!(slow.count(), 500);
    world.send(&mut slow, "PING\r\n");
}

#[test]
fn a_publisher_to_other_subjects_does_not_wait() {
    let mut world = world();
    let (mut publisher, mut other) = (world.join(), world.join());
    let _slow = crowd(&mut world, &mut publisher);
    world.send(&mut publisher, message());
    let _reader = subscriber(&mut world);
    world.send(&mut other, "PUB y 2\r\nhi\r\n");
    assert!(publisher.session.is_patient());
    assert!(!other.session.is_patient());
}

#[test]
fn a_client_does_not_wait_for_itself() {
    let mut world = world();
    let mut both = subscriber(&mut world);
    (0..8).for_each(|_| world.send(&mut both, message()));
    reads(&mut world, &both, 100);
    for _ in 0..20 {
        world.send(&mut both, message());
        assert!(!both.session.is_patient());
    }
}

#[test]
fn a_receiver_that_is_closed_or_leaves_releases_waiting_publishers() {
    for leaves in [false, true] {
        let mut world = world();
        let mut publisher = world.join();
        let slow = crowd(&mut world, &mut publisher);
        world.send(&mut publisher, message());
        assert!(publisher.session.is_patient());
        let wakes = publisher.write_handle.wakes();
        if leaves {
            drop(slow);
        } else {
            slow.session.byte_queue().cut(CloseReason::Kicked);
        }
        assert_eq!(publisher.write_handle.wakes(), wakes + 1);
        assert!(!publisher.session.is_patient());
    }
}

#[test]
fn many_publishers_are_resumed_a_few_at_a_time_in_order() {
    let mut world = world();
    let mut first = world.join();
    let slow = crowd(&mut world, &mut first);
    let mut publishers: Vec<_> = (0..10).map(|_| world.join()).collect();
    for publisher in &mut publishers {
        world.send(publisher, message());
        assert!(publisher.session.is_patient());
        // Asking again does not add another waiter.
        assert!(publisher.session.is_patient());
    }
    let before: Vec<_> =
        publishers.iter().map(|publisher| publisher.write_handle.wakes()).collect();
    let called = |publishers: &[Party]| -> Vec<usize> {
        let woken = |at: &usize| publishers[*at].write_handle.wakes() > before[*at];
        (0..publishers.len()).filter(woken).collect()
    };
    reads(&mut world, &slow, 12_000);
    assert_eq!(called(&publishers), [0, 1, 2, 3]);
    reads(&mut world, &slow, 100);
    assert_eq!(called(&publishers), [0, 1, 2, 3, 4, 5, 6, 7]);
    slow.write_handle.set_room(None);
    slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
    assert_eq!(called(&publishers).len(), 10);
}

/// A handler that is behind from its second message on.
#[allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
fn handler_behind(world: &World) -> HandlerSubscription {
    let mut count = 0;
    let handle = move |_: &RawMessage<'_>, context: &mut HandlerContext<'_>| {
        count += 1;
        if count > 1 {
            context.fall_behind();
        }
    };
    world.broker.handle(Grant::anonymous(), "x", None, handle).unwrap()
}

#[test]
fn publishers_wait_for_a_handler_that_is_behind_until_it_has_caught_up() {
    let mut world = world();
    let (mut publisher, mut second, mut other) = (world.join(), world.join(), world.join());
    let handler = handler_behind(&world);
    world.send(&mut publisher, message());
    assert!(!publisher.session.is_patient());
    for publisher in [&mut publisher, &mut second] {
        world.send(publisher, message());
        assert!(publisher.session.is_patient() && publisher.session.is_patient());
    }
    world.send(&mut other, "PUB y 2\r\nhi\r\n");
    assert!(!other.session.is_patient());
    let wakes = [&publisher, &second].map(|party| party.write_handle.wakes());
    handler.catch_up();
    for (publisher, wakes) in [&mut publisher, &mut second].into_iter().zip(wakes) {
        assert_eq!(publisher.write_handle.wakes(), wakes + 1, "once");
        assert!(!publisher.session.is_patient());
        world.send(publisher, message());
        assert!(publisher.session.is_patient(), "it is behind again");
    }
}

#[test]
fn a_handler_that_stays_behind_delays_a_publisher_for_a_second_at_most() {
    let mut world = world();
    let mut publisher = world.join();
    let handler = handler_behind(&world);
    for _ in 0..2 {
        world.send(&mut publisher, message());
    }
    for look in 1..=10 {
        assert!(publisher.session.is_patient(), "{look}");
        pass(&mut world, &mut publisher, LOOK);
    }
    assert!(!publisher.session.is_patient());
    world.send(&mut publisher, message());
    let wakes = publisher.write_handle.wakes();
    drop(handler);
    assert_eq!(publisher.write_handle.wakes(), wakes + 1, "nobody waits for one that has gone");
    assert!(!publisher.session.is_patient());
}
