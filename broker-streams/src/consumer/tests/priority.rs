//! Priority groups.

use super::*;
use crate::config::PriorityPolicy;

fn grouped(priority_policy: PriorityPolicy) -> ConsumerConfig {
    ConsumerConfig { priority_policy, priority_groups: vec!["A".into()], ..pull_config() }
}

fn pin_of(sent: &Sent) -> String {
    let pin = sent.headers.lines().find_map(|line| line.strip_prefix("Nats-Pin-Id: "));
    pin.unwrap().to_owned()
}

#[test]
fn requests_must_fit_the_policy() {
    for (policy, payload, fault) in [
        (PriorityPolicy::None, "{\"min_pending\":1}", "Not a Overflow Priority consumer"),
        (PriorityPolicy::None, "{\"min_ack_pending\":1}", "Not a Overflow Priority consumer"),
        (PriorityPolicy::None, "{\"id\":\"x\"}", "Not a Pinned Client Priority consumer"),
        (PriorityPolicy::Overflow, "{\"priority\":10}", "Priority must be between 0 and 9"),
        (PriorityPolicy::Overflow, "{\"priority\":-1}", "Priority must be between 0 and 9"),
        (PriorityPolicy::Overflow, "{}", "Priority Group missing"),
        (PriorityPolicy::Prioritized, "{\"group\":\"B\"}", "Invalid Priority Group"),
    ] {
        let mut bench = Bench::new(grouped(policy), &[]);
        bench.request("r", payload);
        let expected = format!("NATS/1.0 400 Bad Request - {fault}\r\n\r\n");
        assert_eq!(bench.sent()[0].headers, expected);
    }
    // Without JSON there is no group to check.
    let mut bench = Bench::new(grouped(PriorityPolicy::Overflow), &["a"]);
    bench.request("r", "1");
    assert_eq!(bench.texts(), ["r: a"]);
}

#[test]
fn requests_wait_until_as_many_messages_wait() {
    let mut bench = Bench::new(grouped(PriorityPolicy::Overflow), &["a", "b", "c"]);
    bench.request("r", "{\"batch\":1,\"group\":\"A\",\"min_pending\":4}");
    assert_eq!(bench.texts(), [""; 0]);
    bench.publish(&["d"]);
    assert_eq!(bench.texts(), ["r: a"]);
    bench.request("r", "{\"batch\":5,\"group\":\"A\",\"min_ack_pending\":2}");
    assert_eq!(bench.texts(), [""; 0]);
    bench.request("s", "{\"batch\":1,\"group\":\"A\"}");
    assert_eq!(bench.texts(), ["s: b", "r: c", "r: d"]);
}

#[test]
fn the_lowest_number_of_priority_is_first() {
    let mut bench = Bench::new(grouped(PriorityPolicy::Prioritized), &[]);
    for (reply, priority) in [("x", 3), ("y", 1), ("z", 1)] {
        bench.request(reply, &format!("{{\"batch\":2,\"group\":\"A\",\"priority\":{priority}}}"));
    }
    bench.publish(&["1", "2", "3", "4", "5", "6"]);
    assert_eq!(bench.texts(), ["y: 1", "z: 2", "y: 3", "z: 4", "x: 5", "x: 6"]);
}

#[test]
fn a_pinned_client_receives_all_messages() {
    let config =
        ConsumerConfig { pinned_ttl: 10 * SECOND, ..grouped(PriorityPolicy::PinnedClient) };
    let mut bench = Bench::new(config, &["a"]);
    let request = "{\"batch\":2,\"group\":\"A\"}";
    bench.request("x", request);
    bench.request("y", request);
    let sent = bench.sent();
    let pin = pin_of(&sent[0]);
    assert_eq!(pin.len(), 22);
    assert_eq!(sent[0].headers, format!("NATS/1.0\r\nNats-Pin-Id: {pin}\r\n\r\n"));
    let (_, event) = bench.out.events.remove(0);
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.consumer_group_pinned");
    assert_eq!((&event["account"], &event["group"]), (&"A".into(), &"A".into()));
    assert_eq!(event["pinned_id"], pin);
    let group = &bench.info().priority_groups[0];
    assert_eq!((&*group.group, &group.pinned_client_id, group.pinned_ts), ("A", &pin, START));

    bench.publish(&["b"]);
    assert_eq!(bench.texts(), ["x: b"]);
    bench.publish(&["c"]);
    assert_eq!(bench.texts(), [""; 0]);
    bench.request("x", &format!("{{\"batch\":1,\"group\":\"A\",\"id\":\"{pin}\"}}"));
    assert_eq!(bench.texts(), ["x: c"]);
    bench.request("z", "{\"batch\":1,\"group\":\"A\",\"id\":\"other\"}");
    assert_eq!(bench.sent()[0].headers, "NATS/1.0 423 Nats-Pin-Id mismatch\r\n\r\n");

    // Without a request in time another client is pinned.
    bench.publish(&["d"]);
    bench.pass(10 * SECOND);
    let sent = bench.sent();
    assert_eq!((&*sent[0].to, &*sent[0].subject), ("y", "d"));
    assert_ne!(pin_of(&sent[0]), pin);
    let event = bench.out.events[0].1.clone();
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.consumer_group_unpinned");
    assert_eq!(event["reason"], "timeout");
    assert_eq!(bench.events(), ["UNPINNED", "PINNED"]);
}

#[test]
fn an_unpinned_client_learns_it() {
    let mut bench = Bench::new(grouped(PriorityPolicy::PinnedClient), &["a"]);
    bench.request("x", "{\"batch\":1,\"group\":\"A\"}");
    let pin = pin_of(&bench.sent()[0]);
    bench.request("x", &format!("{{\"batch\":7,\"group\":\"A\",\"id\":\"{pin}\"}}"));
    bench.request("y", "{\"batch\":1,\"group\":\"A\"}");
    assert!(bench.consumer.unpin("A", bench.now, &mut bench.out));
    assert_eq!(bench.out.events[1].1["reason"], "admin");
    bench.publish(&["b"]);
    let sent = bench.sent();
    let expected = "NATS/1.0 423 Nats-Wrong-Pin-Id\r\nNats-Pending-Messages: 7\r\nNats-Pending-Bytes: 0\r\n\r\n";
    assert_eq!((&*sent[0].to, &*sent[0].headers), ("x", expected));
    assert_eq!((&*sent[1].to, &*sent[1].subject), ("y", "b"));
}

#[test]
fn a_client_that_is_gone_is_not_pinned() {
    let mut bench = Bench::new(grouped(PriorityPolicy::PinnedClient), &[]);
    bench.request("gone", "{\"batch\":1,\"group\":\"A\"}");
    bench.request("y", "{\"batch\":1,\"group\":\"A\"}");
    bench.request("y", "{\"batch\":1,\"group\":\"A\",\"max_bytes\":1}");
    bench.out.deaf.insert("gone".into());
    bench.publish(&["a"]);
    let sent = bench.sent();
    assert_eq!((&*sent[0].to, &*sent[0].subject), ("y", "a"));
    assert_eq!(bench.info().priority_groups[0].pinned_client_id, pin_of(&sent[0]));
}

#[test]
fn a_waiting_request_keeps_no_long_texts() {
    let long = "x".repeat(1 << 20);
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("r", &format!("{{\"group\":\"{long}\"}}"));
    assert!(bench.consumer.requests.first().unwrap().group.is_none());
    let mut bench = Bench::new(grouped(PriorityPolicy::PinnedClient), &[]);
    bench.request("r", &format!("{{\"group\":\"A\",\"id\":\"{long}\"}}"));
    assert_eq!(bench.consumer.requests.first().unwrap().pin_id(), Some("-"));
    bench.publish(&["a"]);
    assert!(bench.sent()[0].headers.starts_with("NATS/1.0 423 Nats-Wrong-Pin-Id"));
}
