//! Two and three servers.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::account::{AccountConfig, GLOBAL, Mapping};
use broker_core::cluster::{RoutePermissions, SubjectPermission};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::client::Arrival;
use broker_core::{CloseReason, Options, ServerMessage, Subscriber};
use futures_executor::block_on;

use super::mesh::{Mesh, options};
use super::network::{Dice, Network};

fn drain(subscriber: &mut Subscriber) -> Vec<String> {
    let messages = std::iter::from_fn(|| subscriber.try_next());
    messages.map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

#[test]
fn two_servers_have_a_pool_of_routes_and_one_for_the_system_account() {
    let mesh = Mesh::of(2);
    for node in 0..2 {
        assert_eq!((mesh.peers(node), mesh.routes(node)), (1, 4), "{node}");
    }
    let routes = mesh.nodes[1].broker.cluster().unwrap().routes();
    let account = routes.iter().filter(|route| route.account.as_deref() == Some("$SYS"));
    assert_eq!(account.count(), 1);
    let mut pool: Vec<_> = routes.iter().filter_map(|route| route.pool_index).collect();
    pool.sort_unstable();
    assert_eq!(pool, [0, 1, 2]);
    assert!(routes.iter().all(|route| route.remote_name == "n0" && route.is_configured));
}

/// A connection of a client that looks, when PONG is written, for the writes to other servers.
struct Witness<F> {
    is_written: F,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl<F: Fn() -> bool + Send + Sync + 'static> WriteHandle for Witness<F> {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>();
        if bytes.starts_with(b"PONG") {
            self.seen.lock().unwrap().push((self.is_written)());
        }
        Ok(bytes.len())
    }

    fn wake(&self) {}
}

#[test]
fn a_pong_follows_the_interest_that_other_servers_are_told_of() {
    let told = [
        ("SUB work workers 2\r\n", "RS+ $G work workers 2"),
        ("UNSUB 1\r\n", "RS- $G work workers"),
    ];
    for (line, text) in told {
        let mut mesh = Mesh::of(3);
        let (one, two) = (mesh.written(0, 1, text), mesh.written(0, 2, text));
        let seen = Arc::<Mutex<Vec<bool>>>::default();
        let witness = Witness { is_written: move || one() && two(), seen: Arc::clone(&seen) };
        let mut scratch = Scratch::new();
        let now = mesh.clock.now();
        let broker = mesh.nodes[0].broker.clone();
        let mut client = broker.open(Arrival::default(), Box::new(witness), now, &mut scratch);
        let first = b"CONNECT {\"verbose\":false}\r\nSUB work workers 1\r\n";
        client.receive(now, first, None, &mut scratch);
        mesh.settle();
        client.receive(now, format!("{line}PING\r\n").as_bytes(), None, &mut scratch);
        assert_eq!(*seen.lock().unwrap(), [true], "{line}");
    }
}

/// A message for the client has another thread write its PONG.
#[test]
fn a_pong_that_a_publisher_writes_follows_the_interest_too() {
    let mut mesh = Mesh::of(2);
    let seen = Arc::<Mutex<Vec<bool>>>::default();
    let is_written = mesh.written(0, 1, "RS+ $G work workers 1");
    let witness = Witness { is_written, seen: Arc::clone(&seen) };
    let (mut scratch, now) = (Scratch::new(), mesh.clock.now());
    let broker = mesh.nodes[0].broker.clone();
    let mut client = broker.open(Arrival::default(), Box::new(witness), now, &mut scratch);
    let first = b"CONNECT {\"verbose\":false}\r\nSUB news 1\r\n";
    client.receive(now, first, None, &mut scratch);
    mesh.settle();
    scratch.expect_more();
    client.receive(now, b"SUB work workers 2\r\nPING\r\n", None, &mut scratch);
    block_on(broker.client().publish("news", "one".into())).unwrap();
    assert_eq!(*seen.lock().unwrap(), [true]);
}

#[test]
fn a_server_that_knows_one_other_is_connected_to_all() {
    let all = vec![options(0, &[]), options(1, &[0]), options(2, &[0]), options(3, &[0])];
    let mut mesh = Mesh::start(all);
    mesh.pass(Duration::from_secs(3));
    for node in 0..4 {
        assert_eq!((mesh.peers(node), mesh.routes(node)), (3, 12), "{node}");
    }
}

#[test]
fn servers_that_dial_each_other_at_the_same_time_have_one_pool_at_once() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let limit = *dice.pick(&[2, 20, 100, 300]);
        let network = Network::random(&mut dice, 3, limit);
        let sizes = *dice.pick(&[[3, 3, 3], [1, 1, 1], [3, 5, 1]]);
        let all = (0..3).map(|node| {
            let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
            let mut options = options(node, &others);
            options.cluster.as_mut().unwrap().pool_size = Some(sizes[node]);
            options.seed = seed * 10 + node as u64;
            options
        });
        let mut mesh = Mesh::start_in(network, all.collect());
        let is_complete = |mesh: &Mesh| {
            let others = |node: usize| (0..3).filter(move |other| *other != node);
            let size = |node: usize, other: usize| usize::from(sizes[node].max(sizes[other])) + 1;
            (0..3).all(|node| {
                mesh.routes(node) == others(node).map(|other| size(node, other)).sum::<usize>()
            })
        };
        // The pool needs some round trips for each connection; that of the system account may collide once.
        mesh.pass(Duration::from_millis(6_000));
        assert!(is_complete(&mesh), "seed {seed}: {limit} ms, {sizes:?}");
        let before = mesh.connects;
        mesh.pass(Duration::from_secs(20));
        assert!(is_complete(&mesh), "seed {seed}");
        assert_eq!(mesh.connects, before, "seed {seed}: routes come and go");
        assert!(before <= 60, "seed {seed}: {before} connections were made");
    }
}

#[test]
fn messages_cross_to_where_there_is_interest() {
    let mut mesh = Mesh::of(3);
    let clients: Vec<_> = mesh.nodes.iter().map(|node| node.broker.client()).collect();
    let mut plain = block_on(clients[1].subscribe("orders.*")).unwrap();
    let mut queue = block_on(clients[2].queue_subscribe("orders.>", "q")).unwrap();
    mesh.settle();
    block_on(clients[0].publish("orders.eu", "one".into())).unwrap();
    mesh.settle();
    assert_eq!((drain(&mut plain), drain(&mut queue)), (vec!["one".into()], vec!["one".into()]));
    drop(plain);
    mesh.settle();
    block_on(clients[0].publish("orders.eu", "two".into())).unwrap();
    mesh.settle();
    assert_eq!(drain(&mut queue), ["two"]);
}

#[test]
fn a_queue_group_gets_each_message_once_wherever_its_members_are() {
    let mut mesh = Mesh::of(3);
    let clients: Vec<_> = mesh.nodes.iter().map(|node| node.broker.client()).collect();
    let join =
        |client: &broker_core::Client| block_on(client.queue_subscribe("work", "q")).unwrap();
    let mut members: Vec<_> = clients[1..].iter().map(join).collect();
    mesh.settle();
    for number in 0..100 {
        block_on(clients[0].publish("work", number.to_string().into())).unwrap();
    }
    mesh.settle();
    let counts: Vec<usize> = members.iter_mut().map(|member| drain(member).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 100);
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

#[test]
fn requests_are_answered_over_a_route_and_no_responders_is_told_at_once() {
    let mut mesh = Mesh::of(2);
    let [asking, answering] = [0, 1].map(|node| mesh.nodes[node].broker.client());
    let mut inbox = block_on(asking.subscribe("inbox")).unwrap();
    let mut requests = block_on(answering.subscribe("echo")).unwrap();
    mesh.settle();
    block_on(asking.publish_with_reply("echo", "inbox", "ping".into())).unwrap();
    mesh.settle();
    let request = requests.try_next().unwrap();
    block_on(answering.publish(request.reply.as_deref().unwrap(), "pong".into())).unwrap();
    mesh.settle();
    assert_eq!(drain(&mut inbox), ["pong"]);
    drop(requests);
    mesh.settle();
    let error = block_on(asking.request("echo", "ping".into())).unwrap_err();
    assert!(error.to_string().contains("no responders"), "{error}");
}

#[test]
fn interest_of_a_lost_server_vanishes_and_comes_back_with_it() {
    let mut mesh = Mesh::of(2);
    let publisher = mesh.nodes[0].broker.client();
    let held = block_on(mesh.nodes[1].broker.client().subscribe("a")).unwrap();
    mesh.settle();
    mesh.kill(1);
    mesh.settle();
    assert_eq!((mesh.peers(0), mesh.routes(0)), (0, 0));
    let refused = block_on(publisher.request("a", "x".into()));
    assert!(refused.is_err());
    drop(held);
    mesh.restart(1, options(1, &[0]));
    let mut again = block_on(mesh.nodes[1].broker.client().subscribe("a")).unwrap();
    mesh.pass(Duration::from_secs(3));
    assert_eq!((mesh.peers(0), mesh.routes(0)), (1, 4));
    block_on(publisher.publish("a", "back".into())).unwrap();
    mesh.settle();
    assert_eq!(drain(&mut again), ["back"]);
}

#[test]
fn a_partition_is_noticed_within_ten_seconds_and_heals() {
    let mut mesh = Mesh::of(3);
    mesh.cut(0, 1);
    mesh.pass(Duration::from_secs(10));
    assert_eq!([mesh.peers(0), mesh.peers(1), mesh.peers(2)], [1, 1, 2]);
    mesh.heal();
    mesh.pass(Duration::from_secs(2));
    assert_eq!([mesh.peers(0), mesh.peers(1), mesh.peers(2)], [2, 2, 2]);
}

#[test]
fn a_server_that_reads_nothing_is_a_slow_consumer_and_not_stale() {
    let mut mesh = Mesh::of(2);
    let broker = mesh.nodes[0].broker.clone();
    let _subscriber = block_on(mesh.nodes[1].broker.client().subscribe("a")).unwrap();
    mesh.settle();
    mesh.stop(1);
    let publisher = broker.client();
    block_on(publisher.publish("a", "x".into())).unwrap();
    mesh.pass(Duration::from_millis(9_900));
    let ends = |reason| {
        let closed = broker.closed_routes_by_reason();
        closed.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
    };
    assert_eq!((ends(CloseReason::SlowConsumerWriteDeadline), broker.stats().slow_routes), (0, 0));
    mesh.pass(Duration::from_millis(200));
    let slow = ends(CloseReason::SlowConsumerWriteDeadline);
    assert_eq!((slow, broker.stats().slow_routes), (1, 1));
}

#[test]
fn clients_are_told_the_addresses_of_all_servers() {
    let mut mesh = Mesh::of(3);
    let urls = |mesh: &Mesh| {
        let mut urls = mesh.nodes[0].broker.info().connect_urls;
        urls.sort();
        urls
    };
    assert_eq!(urls(&mesh), ["10.0.0.0:4222", "10.0.0.1:4222", "10.0.0.2:4222"]);
    mesh.kill(2);
    mesh.settle();
    assert_eq!(urls(&mesh), ["10.0.0.0:4222", "10.0.0.1:4222"]);
}

#[test]
fn a_server_in_lame_duck_mode_sends_its_clients_to_the_others_and_no_more_come() {
    let mut mesh = Mesh::of(3);
    let _applied = mesh.nodes[2].broker.announce_end();
    mesh.settle();
    let urls = |node: usize| {
        let mut urls = mesh.nodes[node].broker.info().connect_urls;
        urls.sort();
        urls
    };
    for node in 0..3 {
        assert_eq!(urls(node), ["10.0.0.0:4222", "10.0.0.1:4222"], "{node}");
    }
    assert!(mesh.nodes[2].broker.info().ldm);
    assert_eq!((mesh.peers(0), mesh.peers(2)), (2, 2), "its routes stay");
}

/// More than a session processes in one turn, and more than one queue takes at once.
#[test]
fn all_of_much_interest_arrives_at_once() {
    const SUBJECTS: usize = 30_000;
    let mut mesh = Mesh::start(vec![options(0, &[])]);
    let client = mesh.nodes[0].broker.client();
    let subject = |number: usize| format!("sensors.with.a.long.name.{number:05}");
    let mut all: Vec<Subscriber> =
        (0..SUBJECTS).map(|number| block_on(client.subscribe(subject(number))).unwrap()).collect();
    mesh.add(options(1, &[0]));
    let other = mesh.nodes[1].broker.client();
    for number in 0..SUBJECTS {
        block_on(other.publish(subject(number), "one".into())).unwrap();
    }
    mesh.settle();
    let arrived = all.iter_mut().filter_map(Subscriber::try_next).count();
    assert_eq!(arrived, SUBJECTS, "without another byte from the other server");
}

#[test]
fn reloaded_permissions_apply_to_the_interest_that_exists() {
    let mut mesh = Mesh::of(2);
    let publisher = mesh.nodes[0].broker.client();
    let subscriber = mesh.nodes[1].broker.client();
    let mut heard = ["a", "b"].map(|subject| block_on(subscriber.subscribe(subject)).unwrap());
    let mut arrives = |mesh: &mut Mesh| {
        mesh.settle();
        for subject in ["a", "b"] {
            block_on(publisher.publish(subject, "x".into())).unwrap();
        }
        mesh.settle();
        heard.each_mut().map(|subscriber| drain(subscriber).len())
    };
    let set = |mesh: &Mesh, node: usize, permissions| {
        let change = |options: &mut Options| {
            options.cluster.as_mut().unwrap().permissions = permissions;
        };
        let _ = mesh.nodes[node].broker.update_options(change);
    };
    let deny = |subject: &str| {
        Some(SubjectPermission { allow: Vec::new(), deny: vec![subject.to_owned()] })
    };
    assert_eq!(arrives(&mut mesh), [1, 1]);
    // The first server takes no interest in `b`.
    set(&mesh, 0, Some(RoutePermissions { import: None, export: deny("b") }));
    assert_eq!(arrives(&mut mesh), [1, 0]);
    set(&mesh, 0, None);
    assert_eq!(arrives(&mut mesh), [1, 1]);
    // The second server states no interest in `a`.
    set(&mesh, 1, Some(RoutePermissions { import: deny("a"), export: None }));
    assert_eq!(arrives(&mut mesh), [0, 1]);
    set(&mesh, 1, None);
    assert_eq!(arrives(&mut mesh), [1, 1]);
    assert_eq!((mesh.routes(0), mesh.connects), (4, 4), "no route is closed");
}

#[test]
fn only_the_interest_that_changed_permissions_concern_is_sent_again() {
    let mut mesh = Mesh::of(2);
    let publisher = mesh.nodes[0].broker.client();
    let subscriber = mesh.nodes[1].broker.client();
    let subscribe = |subject: &str| block_on(subscriber.subscribe(subject)).unwrap();
    let many: Vec<_> =
        (0..3000).map(|number| subscribe(&format!("one.of.many.subjects.{number}"))).collect();
    let mut heard = ["a", "b"].map(subscribe);
    let mut arrives = |mesh: &mut Mesh| {
        let before = mesh.network.bytes;
        mesh.settle();
        let bytes = mesh.network.bytes - before;
        for subject in ["a", "b"] {
            block_on(publisher.publish(subject, "x".into())).unwrap();
        }
        mesh.settle();
        (heard.each_mut().map(|subscriber| drain(subscriber).len()), bytes)
    };
    let set = |mesh: &Mesh, node: usize, permissions| {
        let change = |options: &mut Options| {
            options.cluster.as_mut().unwrap().permissions = permissions;
        };
        let _ = mesh.nodes[node].broker.update_options(change);
    };
    let deny = |subject: &str| {
        Some(SubjectPermission { allow: Vec::new(), deny: vec![subject.to_owned()] })
    };
    let (all, bytes) = arrives(&mut mesh);
    assert!(all == [1, 1] && bytes > 100_000, "{all:?} {bytes}");
    for (node, permissions, expected) in [
        (0, Some(RoutePermissions { import: None, export: deny("b") }), [1, 0]),
        (0, None, [1, 1]),
        (1, Some(RoutePermissions { import: deny("a"), export: None }), [0, 1]),
        (1, None, [1, 1]),
    ] {
        set(&mesh, node, permissions);
        let (heard, bytes) = arrives(&mut mesh);
        assert!(heard == expected && bytes < 20_000, "{heard:?} {bytes}");
    }
    // A second change before the first is carried out.
    set(&mesh, 1, Some(RoutePermissions { import: deny("a"), export: None }));
    set(&mesh, 1, Some(RoutePermissions { import: deny("b"), export: None }));
    assert_eq!(arrives(&mut mesh).0, [1, 0]);
    drop(many);
}

#[test]
fn mappings_follow_the_name_of_the_cluster() {
    let mut options = options(0, &[]);
    let mapping = Mapping::builder("a").to("all", 100).to_in_cluster("renamed", "own", 100);
    let account = AccountConfig::new(GLOBAL).with_mapping(mapping.build().unwrap());
    options.accounts = vec![account.into()];
    let mut mesh = Mesh::start(vec![options]);
    let client = mesh.nodes[0].broker.client();
    let mut all = block_on(client.subscribe(">")).unwrap();
    let mut subject = || {
        block_on(client.publish("a", "".into())).unwrap();
        all.try_next().map(|message| message.subject.to_string())
    };
    assert_eq!(subject().as_deref(), Some("all"));
    for (name, expected) in [("renamed", "own"), ("C", "all")] {
        let change = |options: &mut Options| {
            options.cluster.as_mut().unwrap().name = Some(name.into());
        };
        let _ = mesh.nodes[0].broker.update_options(change);
        mesh.pass(Duration::from_secs(1));
        assert_eq!(subject().as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_renamed_server_keeps_its_routes_and_needs_the_others_to_follow_for_new_ones() {
    let mut mesh = Mesh::of(2);
    let rename = |mesh: &Mesh, node: usize| {
        let change = |options: &mut Options| {
            options.cluster.as_mut().unwrap().name = Some("renamed".into());
        };
        let _ = mesh.nodes[node].broker.update_options(change);
    };
    rename(&mesh, 0);
    mesh.pass(Duration::from_secs(20));
    assert_eq!((mesh.routes(0), mesh.connects), (4, 4));
    assert_eq!(mesh.nodes[0].broker.info().cluster, "renamed", "clients are told");
    mesh.reset(0, 1, || true);
    mesh.pass(Duration::from_secs(5));
    assert_eq!((mesh.peers(0), mesh.peers(1)), (0, 0));
    let reconnects = |node: usize| mesh.nodes[node].broker.cluster().unwrap().reconnects();
    assert_eq!((reconnects(0), reconnects(1)), (0, 0));
    rename(&mesh, 1);
    mesh.pass(Duration::from_secs(5));
    assert_eq!((mesh.routes(0), mesh.routes(1)), (4, 4));
    let reconnects = |node: usize| mesh.nodes[node].broker.cluster().unwrap().reconnects();
    assert!((1..=4).contains(&(reconnects(0) + reconnects(1))));
}

#[test]
fn a_server_without_a_pool_has_one_route_until_it_has_one() {
    let without = |node: usize, dials: &[usize]| {
        let mut options = options(node, dials);
        options.cluster.as_mut().unwrap().pool_size = None;
        options
    };
    let mut mesh = Mesh::start(vec![without(0, &[]), options(1, &[0])]);
    mesh.pass(Duration::from_secs(5));
    assert_eq!((mesh.routes(0), mesh.routes(1)), (1, 1));
    let clients = [0, 1].map(|node| mesh.nodes[node].broker.client());
    let mut heard = [0, 1].map(|node: usize| block_on(clients[node].subscribe("a")).unwrap());
    mesh.settle();
    clients.iter().for_each(|client| block_on(client.publish("a", "x".into())).unwrap());
    mesh.settle();
    assert_eq!(heard.each_mut().map(|one| drain(one).len()), [2, 2]);
    mesh.kill(0);
    mesh.pass(Duration::from_secs(2));
    let mut again = options(0, &[]);
    again.seed = 77;
    mesh.restart(0, again);
    mesh.pass(Duration::from_secs(3));
    assert_eq!((mesh.routes(0), mesh.routes(1)), (4, 4));
}

/// Receivers behind a route see the subject that a message of a stream was stored with.
#[test]
fn the_subject_that_clients_see_crosses_routes() {
    let mut mesh = Mesh::of(2);
    let client = mesh.nodes[1].broker.client();
    let mut plain = block_on(client.subscribe("inbox.*")).unwrap();
    let mut member = block_on(client.queue_subscribe("inbox.1", "q")).unwrap();
    mesh.pass(Duration::from_secs(1));
    let mut publisher = mesh.nodes[0].broker.server_publisher("$G");
    let mut scratch = Scratch::new();
    mesh.nodes[0].broker.begin(&mut scratch);
    let subjects = ["orders.eu", "orders.us", "inbox.1"];
    for subject in subjects {
        let message = ServerMessage {
            to: b"inbox.1",
            subject: subject.as_bytes(),
            reply: b"$JS.ACK.S.C.1.2.3.4.5",
            headers: b"",
            payload: b"a",
        };
        assert!(publisher.publish(&message, &mut scratch));
    }
    assert!(publisher.has_interest(b"inbox.1", Some(b"q")));
    mesh.nodes[0].broker.flush(&mut scratch);
    mesh.pass(Duration::from_secs(1));
    for subscriber in [&mut plain, &mut member] {
        for subject in subjects {
            let seen = subscriber.try_next().unwrap();
            assert_eq!(&*seen.subject, subject);
            assert_eq!(seen.reply.as_deref(), Some("$JS.ACK.S.C.1.2.3.4.5"));
        }
    }
}
