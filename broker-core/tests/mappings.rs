//! Mappings replace the subjects that clients publish to.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/log.rs"]
mod log;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, GLOBAL, Mapping};
use broker_core::auth::{Authenticator, Credentials, Decision, Grant, Permissions};
use broker_core::{Broker, Options, RawMessage, RequestError, Subject};
use common::{Party, World};
use futures_executor::block_on;
use log::lines_of;

fn options(mappings: Vec<Mapping>) -> Options {
    let account =
        mappings.into_iter().fold(AccountConfig::new(GLOBAL), AccountConfig::with_mapping);
    Options { accounts: vec![account.into()], ..Options::default() }
}

fn world(mappings: Vec<Mapping>) -> World {
    World::of(Broker::new(options(mappings), (Instant::now, SystemTime::now)))
}

fn to(source: &str, destination: &str) -> Mapping {
    Mapping::to(source, destination).unwrap()
}

/// Returns the subjects of the messages received since the last call.
fn subjects(party: &Party) -> Vec<String> {
    let text = party.read();
    let messages = text.lines().filter_map(|line| line.strip_prefix("MSG "));
    messages.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn receivers_get_the_subject_that_a_message_is_mapped_to() {
    let mut world = world(vec![to("foo", "bar"), to("in.*.>", "out.$1.>")]);
    let (mut sender, mut all, mut old) = (world.join(), world.join(), world.join());
    world.send(&mut all, "SUB > 1\r\n");
    world.send(&mut old, "SUB foo 1\r\nSUB in.> 2\r\n");
    world.send(&mut sender, "PUB foo rep 2\r\nhi\r\nPUB  in.a.b   1\r\nx\r\nPUB in.a 0\r\n\r\n");
    assert_eq!(all.read(), "MSG bar 1 rep 2\r\nhi\r\nMSG out.a.b 1 1\r\nx\r\nMSG in.a 1 0\r\n\r\n");
    assert_eq!(old.read(), "MSG in.a 2 0\r\n\r\n", "a mapped message keeps nothing behind");
    world.send(&mut sender, "HPUB foo 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    assert_eq!(all.read(), "HMSG bar 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
}

#[test]
fn destinations_for_a_cluster_replace_the_others_in_it() {
    let of = |cluster: Option<&str>| {
        let mapping = Mapping::builder("a").to("all", 100).to_in_cluster("east", "own", 100);
        let options = Options {
            cluster_name: cluster.map(str::to_owned),
            ..options(vec![mapping.build().unwrap()])
        };
        let mut world = World::of(Broker::new(options, (Instant::now, SystemTime::now)));
        let (mut sender, mut all) = (world.join(), world.join());
        world.send(&mut all, "SUB > 1\r\n");
        world.send(&mut sender, "PUB a 0\r\n\r\n");
        subjects(&all)
    };
    assert_eq!([Some("east"), Some("west"), None].map(of), [["own"], ["all"], ["all"]]);
}

#[test]
fn a_mapped_subject_is_not_mapped_again() {
    let mut world = world(vec![to("a", "b"), to("b", "a"), to("c.*", "c.{{random(1)}}")]);
    let (mut sender, mut all) = (world.join(), world.join());
    world.send(&mut all, "SUB > 1\r\n");
    for _ in 0..3 {
        world.send(&mut sender, "PUB a 0\r\n\r\nPUB b 0\r\n\r\nPUB c.x 0\r\n\r\nPUB c.0 0\r\n\r\n");
        assert_eq!(subjects(&all), ["b", "a", "c.0", "c.0"]);
    }
}

#[test]
fn weights_share_out_the_messages_in_their_order() {
    let weighted = Mapping::builder("w.*").to("x.$1", 50).to("y.{{random(3)}}.$1", 30);
    let mut world = world(vec![weighted.build().unwrap()]);
    let (mut sender, mut all) = (world.join(), world.join());
    world.send(&mut all, "SUB > 1\r\n");
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..100 {
        let burst: String =
            (0..100).map(|at| format!("PUB w.1 4\r\n{:04}\r\n", round + at)).collect();
        world.send(&mut sender, burst);
        let text = all.read();
        let lines: Vec<&str> = text.split("\r\n").collect();
        let mut numbers = Vec::new();
        for message in lines.chunks_exact(2) {
            let subject = message[0].split(' ').nth(1).unwrap();
            *counts.entry(subject.to_owned()).or_default() += 1;
            numbers.push(message[1].to_owned());
        }
        let expected: Vec<_> = (0..100).map(|at| format!("{:04}", round + at)).collect();
        assert_eq!(numbers, expected, "the order is that of the publisher");
    }
    let expected =
        [("w.1", 2_000), ("x.1", 5_000), ("y.0.1", 1_000), ("y.1.1", 1_000), ("y.2.1", 1_000)];
    assert!(counts.keys().map(String::as_str).eq(expected.map(|(subject, _)| subject)));
    for (subject, count) in expected {
        assert!(counts[subject].abs_diff(count) < 250, "{counts:?}");
    }
}

#[test]
fn a_lost_message_reaches_nobody_and_has_no_responders() {
    let mut world = world(vec![Mapping::builder("a").to("a", 0).build().unwrap()]);
    let (mut sender, mut all) = (world.join(), world.join());
    world.send(&mut all, "SUB > 1\r\nSUB a 2\r\n");
    world.send(&mut sender, "SUB rep 1\r\nPUB a 0\r\n\r\nPUB a rep 0\r\n\r\n");
    assert_eq!(all.read(), "");
    assert_eq!(sender.read(), "HMSG rep 1 32 32\r\nNATS/1.0 503\r\nNats-Subject: \r\n\r\n\r\n");
}

#[test]
fn no_responders_names_the_mapped_subject() {
    let mut world = world(vec![to("foo", "bar")]);
    let mut sender = world.join();
    world.send(&mut sender, "SUB r 1\r\nSUB foo 2\r\nPUB foo r 2\r\nhi\r\n");
    assert_eq!(sender.read(), "HMSG r 1 35 35\r\nNATS/1.0 503\r\nNats-Subject: bar\r\n\r\n\r\n");
}

/// A user who may publish to what its name says.
struct ByName;

impl Authenticator for ByName {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let permissions = Permissions::builder().publish_allow([credentials.user.to_string()]);
        Grant::user("x").with_permissions(permissions.build().unwrap()).into()
    }
}

// NATS 2.14: the permission is that of the mapped subject.
#[test]
fn the_permission_to_publish_is_that_of_the_mapped_subject() {
    let weighted = Mapping::builder("w").to("foo", 100).build().unwrap();
    let lossy = Mapping::builder("lossy").to("lossy", 0).build().unwrap();
    let random = to("r", "bar.{{random(1)}}");
    let options = options(vec![to("foo", "bar"), weighted, lossy, random]);
    let clock = (Instant::now, SystemTime::now);
    let mut world = World::of(Broker::with_authenticator(options, clock, ByName));
    let connect = |user: &str| {
        format!("CONNECT {{\"verbose\":false,\"pedantic\":false,\"user\":\"{user}\"}}\r\n")
    };
    let mut foo = world.join_as(&connect("foo"));
    let publish =
        "PUB foo 0\r\n\r\nPUB w 0\r\n\r\nPUB lossy 0\r\n\r\nPUB r 0\r\n\r\nPUB bar 0\r\n\r\n";
    for _ in 0..2 {
        world.send(&mut foo, publish);
        let denied =
            |subject| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n");
        assert_eq!(
            foo.read(),
            [denied("bar"), denied(""), denied("bar.0"), denied("bar")].concat()
        );
    }
    let mut bar = world.join_as(&connect("bar"));
    world.send(&mut bar, "PUB foo 0\r\n\r\n");
    assert_eq!(bar.read(), "");
}

#[test]
fn a_reload_changes_the_mappings_of_connected_clients() {
    let mut world = world(vec![]);
    let (mut sender, mut all) = (world.join(), world.join());
    world.send(&mut all, "SUB > 1\r\n");
    let local = world.broker.client();
    let weighted = Mapping::builder("a").to("x", 0).to("y", 100).build().unwrap();
    for (mappings, subject) in [
        (vec![], "a"),
        (vec![to("a", "b")], "b"),
        (vec![to("a", "b"), to("a", "c.d")], "c.d"),
        (vec![to("*", "$1.$1")], "a.a"),
        (vec![weighted], "y"),
        (vec![to("a", "{{random(1)}}")], "0"),
        (vec![to("b", "c")], "a"),
        (vec![], "a"),
    ] {
        world.broker.update_options(|now| now.accounts = options(mappings.clone()).accounts);
        // The client has not seen the update, which changes nothing for it.
        world.send(&mut sender, "PUB a 0\r\n\r\nPUB a 0\r\n\r\n");
        block_on(local.publish("a", "".into())).unwrap();
        assert_eq!(subjects(&all), [subject; 3], "{mappings:?}");
        assert_eq!((sender.read(), sender.closing()), (String::new(), None));
    }
}

#[test]
fn in_process_clients_and_handlers_publish_mapped_subjects() {
    let world = world(vec![to("ask", "service"), to("in.>", "out.>")]);
    let (client, other) = (world.broker.client(), world.broker.client());
    let mut inbox = block_on(other.subscribe("out.>")).unwrap();
    let within = Subject::parse("in.handler").unwrap();
    let handled =
        world.broker.handle(Grant::anonymous(), "service", None, move |message, context| {
            assert_eq!(message.subject(), b"service");
            context.respond(message, b"answer").unwrap();
            context.publish(&RawMessage::new(&within, b"")).unwrap();
        });
    let handled = handled.unwrap();
    let answer = block_on(client.request("ask", "".into())).unwrap();
    assert_eq!(&answer.payload[..], b"answer");
    block_on(client.publish("in.client", "".into())).unwrap();
    let mut batch = client.batch();
    batch.publish(&RawMessage::new(&Subject::parse("in.batch").unwrap(), b"")).unwrap();
    drop(batch);
    block_on(client.wait_for_room("in.x")).unwrap();
    for expected in ["out.handler", "out.client", "out.batch"] {
        assert_eq!(&*block_on(inbox.next()).unwrap().subject, expected);
    }
    drop(handled);
    let refused = block_on(client.request("ask", "".into()));
    assert!(matches!(refused, Err(RequestError::NoResponders)));
}

#[test]
fn queue_groups_get_mapped_messages_once() {
    let mut world = world(vec![to("jobs.*", "work.$1")]);
    let (mut sender, mut one, mut two) = (world.join(), world.join(), world.join());
    world.send(&mut one, "SUB work.* q 1\r\n");
    world.send(&mut two, "SUB work.* q 1\r\n");
    world.send(&mut sender, "PUB jobs.a 0\r\n\r\n".repeat(1_000));
    let (one, two) = (subjects(&one), subjects(&two));
    assert_eq!(one.len() + two.len(), 1_000);
    assert!(one.iter().chain(&two).all(|subject| subject == "work.a"));
    assert!(!one.is_empty() && !two.is_empty());
}

// NATS 2.14: parser.go: between the operation and its payload.
#[test]
fn a_mapping_is_traced_before_the_payload() {
    let mapped = Mapping::builder("w").to("v", 100).to("u", 0).build().unwrap();
    let mut options = options(vec![to("foo", "bar.{{partition(10)}}"), mapped]);
    options.trace = true;
    let mut world = World::of(Broker::new(options, (Instant::now, SystemTime::now)));
    let mut party = world.join();
    let lines = lines_of(|| world.send(&mut party, "PUB foo 2\r\nhi\r\nPUB w 1\r\nx\r\n"));
    let lines: Vec<&str> = lines.iter().map(|line| line.split(" - ").last().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "<<- [PUB foo 2]",
            "<<- [MAPPING foo -> bar.3]",
            "<<- MSG_PAYLOAD: [\"hi\"]",
            "<<- [PUB w 1]",
            "<<- [MAPPING w -> v]",
            "<<- MSG_PAYLOAD: [\"x\"]",
        ]
    );
}
