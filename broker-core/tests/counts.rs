//! Statistics beside traffic: waiting times, and messages by subject.

mod common;

use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::{Grant, Permissions};
use broker_core::latency::BOUNDS;
use broker_core::limits::MAX_COUNTED_SUBJECTS;
use broker_core::{Broker, Options, SubjectFilter};
use common::World;

#[expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
fn filters(texts: &[&str]) -> Vec<SubjectFilter> {
    texts.iter().map(|text| SubjectFilter::parse(text).unwrap()).collect()
}

fn counting(texts: &[&str]) -> World {
    let options = Options { counted_subjects: filters(texts), ..Options::default() };
    World::of(Broker::new(options, (Instant::now, SystemTime::now)))
}

/// Returns messages and bytes per filter.
fn counted(world: &World) -> Vec<(u64, u64)> {
    world.broker.counted_subjects().iter().map(|count| (count.messages, count.bytes)).collect()
}

#[test]
fn messages_are_counted_for_each_filter_that_their_subject_matches() {
    let mut world = counting(&["orders.>", "orders.*.eu", "stock"]);
    let mut publisher = world.join();
    world.send(&mut publisher, "PUB orders.1.eu 3\r\nabc\r\nPUB orders.1.eu 3\r\nabc\r\n");
    world.send(&mut publisher, "PUB orders 1\r\nx\r\nPUB stock 0\r\n\r\nPUB orders.2 1\r\nx\r\n");
    world.send(&mut publisher, "HPUB orders.1.eu 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    assert_eq!(counted(&world), [(4, 21), (3, 20), (1, 0)]);
    let names: Vec<_> =
        world.broker.counted_subjects().iter().map(|count| count.filter.to_string()).collect();
    assert_eq!(names, ["orders.>", "orders.*.eu", "stock"]);
}

#[test]
fn counts_of_ended_sessions_are_kept() {
    let mut world = counting(&["a"]);
    for _ in 0..40 {
        let mut publisher = world.join();
        world.send(&mut publisher, "PUB a 2\r\nhi\r\n");
    }
    assert_eq!(counted(&world), [(40, 80)]);
}

#[test]
fn messages_of_in_process_clients_count_too() {
    let world = counting(&["a.*"]);
    let client = world.broker.client();
    futures_executor::block_on(client.publish("a.b", "four".into())).unwrap();
    assert_eq!(counted(&world), [(1, 4)]);
}

#[test]
fn denied_messages_are_not_counted() {
    let world = counting(&[">"]);
    let permissions = Permissions::builder().publish_deny(["secret"]).build().unwrap();
    let client = world.broker.client_as(Grant::anonymous().with_permissions(permissions));
    assert!(futures_executor::block_on(client.publish("secret", "x".into())).is_err());
    futures_executor::block_on(client.publish("open", "xy".into())).unwrap();
    assert_eq!(counted(&world), [(1, 2)]);
}

#[test]
fn filters_beyond_the_maximum_are_ignored() {
    let names: Vec<String> = (0..=MAX_COUNTED_SUBJECTS).map(|one| format!("s.{one}")).collect();
    let mut world = counting(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut publisher = world.join();
    for name in &names {
        world.send(&mut publisher, format!("PUB {name} 1\r\nx\r\n"));
    }
    assert_eq!(counted(&world), [(1, 1); MAX_COUNTED_SUBJECTS]);
}

#[test]
fn without_filters_nothing_is_counted() {
    assert!(counting(&[]).broker.counted_subjects().is_empty());
}

#[test]
fn waiting_times_at_a_full_link_are_counted_when_messages_leave() {
    let mut world = World::new();
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(0));
    world.send(&mut publisher, "PUB x 2\r\nhi\r\n");
    world.now += Duration::from_millis(30);
    assert_eq!(world.broker.latencies().queue_wait.count(), 0, "it is still queued");
    slow.write_handle.set_room(None);
    slow.session.byte_queue().drain(world.now, true, &mut world.scratch);
    let waits = world.broker.latencies().queue_wait;
    assert_eq!((waits.count(), waits.sum), (1, Duration::from_millis(30)));
    let place = BOUNDS.iter().position(|bound| *bound == Duration::from_millis(50)).unwrap();
    assert_eq!(waits.counts[place], 1);
}

#[test]
fn a_message_that_leaves_at_once_has_no_waiting_time() {
    let mut world = World::new();
    let (mut fast, mut publisher) = (world.join(), world.join());
    world.send(&mut fast, "SUB x 1\r\n");
    world.send(&mut publisher, "PUB x 2\r\nhi\r\n");
    assert_eq!(fast.count(), 1);
    assert_eq!(world.broker.latencies().queue_wait.count(), 0);
}

#[test]
fn only_input_that_published_something_counts_as_such() {
    let mut world = World::new();
    let mut client = world.join();
    client.session.take_has_published();
    world.send(&mut client, "PING\r\nSUB a 1\r\n");
    assert!(!client.session.take_has_published());
    world.send(&mut client, "PUB a 1\r\nx\r\n");
    assert!(client.session.take_has_published());
    assert!(!client.session.take_has_published(), "it was asked");
    client.session.note_flush(Duration::from_micros(7));
    let flushes = world.broker.latencies().publish_to_flush;
    assert_eq!((flushes.count(), flushes.counts[0]), (1, 1));
}
