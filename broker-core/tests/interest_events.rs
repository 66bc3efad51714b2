//! The interest events of an account, as sessions cause them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use broker_core::account::{AccountConfig, Export, Import};
use broker_core::auth::{Authenticator, Credentials, Decision, Grant};
use broker_core::endpoint::{Kind, Kinds};
use broker_core::{Broker, CloseReason, InterestChange, InterestEvents, Options, SubjectFilter};
use common::{Party, World};
use futures_executor::block_on;

/// Filter and queue group with the number of members.
type Interest = BTreeMap<(String, Option<String>), u32>;

/// A listener that accumulates events.
struct Recorder {
    events: InterestEvents,
    interest: Arc<Mutex<Interest>>,
}

impl Recorder {
    fn of(broker: &Broker, account: &str) -> Self {
        Self::of_kinds(broker, account, Kind::Route.is_told_of())
    }

    fn of_kinds(broker: &Broker, account: &str, kinds: Kinds) -> Self {
        let interest: Arc<Mutex<Interest>> = Arc::default();
        let theirs = Arc::clone(&interest);
        let note = move |change: &InterestChange<'_>| note(&mut theirs.lock().unwrap(), change);
        Self { events: broker.interest_events(account, kinds, note), interest }
    }

    fn now(&self) -> Interest {
        self.interest.lock().unwrap().clone()
    }

    fn plain(&self, filter: &str) -> bool {
        self.now().contains_key(&(filter.into(), None))
    }
}

fn note(interest: &mut Interest, change: &InterestChange<'_>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let key = (text(change.filter), change.queue.map(text));
    let before = match change.now {
        0 => interest.remove(&key),
        now => interest.insert(key, now),
    };
    assert_eq!(before.unwrap_or_default(), change.before);
}

/// Assigns each client to the account named like its user.
struct ByName;

impl Authenticator for ByName {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        Grant::user("x").with_account(&*credentials.user).into()
    }
}

fn connect(account: &str) -> String {
    format!("CONNECT {{\"verbose\":false,\"user\":\"{account}\"}}\r\n")
}

fn subscribe(world: &mut World, party: &mut Party, count: usize) {
    let subs: String = (0..count).map(|sid| format!("SUB s.{sid} {sid}\r\n")).collect();
    world.send(party, subs);
    while party.session.has_chores() {
        world.send(party, "");
    }
}

#[test]
fn events_of_a_subscription_precede_the_return_of_its_calls() {
    let mut world = World::new();
    let told = Recorder::of(&world.broker, "$G");
    let mut party = world.join();
    world.send(&mut party, "SUB a 1\r\nSUB b q 2\r\nSUB b q 3\r\n");
    assert!(told.plain("a"));
    assert_eq!(told.now()[&("b".into(), Some("q".into()))], 2);
    world.send(&mut party, "UNSUB 1 1\r\nPUB a 0\r\n\r\nUNSUB 3\r\n");
    assert!(!told.plain("a"), "it ended with its message");
    assert_eq!(told.now()[&("b".into(), Some("q".into()))], 1);
    drop(party);
    assert!(told.now().is_empty());
}

#[test]
fn a_late_listener_gets_a_snapshot_in_slices_under_concurrent_changes() {
    let mut world = World::with_auth(ByName);
    let [mut first, mut second, mut third, mut other] =
        ["A", "A", "A", "B"].map(|name| world.join_as(&connect(name)));
    for party in [&mut first, &mut second, &mut third, &mut other] {
        subscribe(&mut world, party, 3_000);
    }
    world.send(&mut second, "SUB only.second x 9999\r\n");
    world.send(&mut third, "SUB only.third 9999\r\n");
    let local = world.broker.client_as(Grant::anonymous().with_account("A"));
    let _local = block_on(local.subscribe("local.*")).unwrap();
    let mut told = Recorder::of(&world.broker, "A");
    let (mut slices, mut longest) = (0, 0);
    loop {
        slices += 1;
        let before = told.now().len();
        let has_more = told.events.catch_up();
        longest = longest.max(told.now().len() - before);
        if !has_more {
            break;
        }
        match slices {
            5 => world.send(&mut third, connect("B")),
            // It leaves during the snapshot, and another client connects.
            10 => _ = first.session.depart(CloseReason::ClientClosed),
            12 => world.send(&mut second, "SUB fresh 10000\r\nUNSUB 17\r\n"),
            _ => {}
        }
        assert!(slices < 10_000, "it ends");
    }
    while first.session.depart(CloseReason::ClientClosed) {}
    while third.session.has_chores() {
        world.send(&mut third, "");
    }
    assert!(slices > 40 && longest < 1_000, "{slices} slices, {longest} filters in one");
    let mut expected: Interest =
        (0..3_000).filter(|sid| *sid != 17).map(|sid| ((format!("s.{sid}"), None), 1)).collect();
    for filter in ["fresh", "local.*"] {
        expected.insert((filter.into(), None), 1);
    }
    expected.insert(("only.second".into(), Some("x".into())), 1);
    assert_eq!(told.now(), expected);
    let mut later = Recorder::of(&world.broker, "A");
    while later.events.catch_up() {}
    assert_eq!(later.now(), expected, "who comes later reads what is counted");
}

#[test]
fn a_listener_may_subscribe_in_the_observed_account() {
    let mut world = World::new();
    let client = world.broker.client();
    let (held, interest): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Interest>>) = Default::default();
    let (theirs, kept) = (Arc::clone(&interest), Arc::clone(&held));
    let _events = world.broker.interest_events("$G", Kinds::ALL, move |change| {
        note(&mut theirs.lock().unwrap(), change);
        if change.filter == b"ping" && change.now > 0 {
            let answer = block_on(client.subscribe("pong")).unwrap();
            kept.lock().unwrap().push(answer);
        }
    });
    let mut party = world.join();
    world.send(&mut party, "SUB ping 1\r\n");
    let told: Vec<_> = interest.lock().unwrap().keys().map(|(filter, _)| filter.clone()).collect();
    assert_eq!(told, ["ping", "pong"]);
    // Breaks the reference cycle of client, subscriber and broker.
    held.lock().unwrap().clear();
}

#[test]
fn a_dropped_listener_is_not_called_again() {
    let mut world = World::new();
    let told = Recorder::of(&world.broker, "$G");
    let mut party = world.join();
    world.send(&mut party, "SUB a 1\r\n");
    let Recorder { events, interest } = told;
    drop(events);
    world.send(&mut party, "SUB b 2\r\nUNSUB 1\r\n");
    assert_eq!(interest.lock().unwrap().len(), 1);
    assert_eq!(Arc::strong_count(&interest), 1);
}

/// In-process clients subscribe and unsubscribe on threads of their own while late listeners catch up.
#[test]
fn late_listeners_on_several_threads_agree_with_what_is_left() {
    let world = World::new();
    let kept = world.broker.client();
    let mut left: Vec<_> =
        (0..5_000).map(|id| block_on(kept.subscribe(format!("kept.{id}"))).unwrap()).collect();
    let broker = &world.broker;
    let told: Vec<Recorder> = std::thread::scope(|scope| {
        let churners: Vec<_> = (0..3)
            .map(|thread| {
                let client = broker.client();
                scope.spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    for round in 0..4_000 {
                        let subscriber = match round % 3 {
                            0 => block_on(client.queue_subscribe("jobs", "workers")).unwrap(),
                            1 => {
                                block_on(client.subscribe(format!("own.{thread}.{round}"))).unwrap()
                            }
                            _ => block_on(client.subscribe(format!("all.{}", round % 50))).unwrap(),
                        };
                        held.push_back(subscriber);
                        if held.len() > 100 {
                            held.pop_front();
                        }
                    }
                    held
                })
            })
            .collect();
        let listeners: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut told = Recorder::of(broker, "$G");
                    while told.events.catch_up() {}
                    told
                })
            })
            .collect();
        for churner in churners {
            left.extend(churner.join().unwrap());
        }
        listeners.into_iter().map(|listener| listener.join().unwrap()).collect()
    });
    let mut last = Recorder::of(&world.broker, "$G");
    while last.events.catch_up() {}
    let expected = last.now();
    assert_eq!(expected.keys().filter(|(filter, _)| filter.starts_with("kept")).count(), 5_000);
    assert_eq!(expected[&("jobs".into(), Some("workers".into()))], 102);
    for told in &told {
        assert_eq!(told.now(), expected);
    }
    drop(left);
    assert!(last.now().is_empty());
}

/// A broker whose account B imports the stream `s.>` and the service `svc` of account A.
fn sharing() -> World {
    let filter = |text| SubjectFilter::parse(text).unwrap();
    let a = AccountConfig::new("A")
        .with_export(Export::stream(filter("s.>")))
        .with_export(Export::service(filter("svc")));
    let b = AccountConfig::new("B")
        .with_import(Import::stream("A", filter("s.>")))
        .with_import(Import::service("A", filter("svc")));
    let options = Options { accounts: vec![a.into(), b.into()], ..Options::default() };
    let clock = (std::time::Instant::now, std::time::SystemTime::now);
    World::of(Broker::with_authenticator(options, clock, ByName))
}

#[test]
fn a_late_listener_is_told_in_slices_of_subscriptions_that_import_a_stream() {
    let mut world = sharing();
    let mut early = Recorder::of(&world.broker, "A");
    while early.events.catch_up() {}
    let [mut first, mut second] = ["B", "B"].map(|name| world.join_as(&connect(name)));
    subscribe(&mut world, &mut first, 3_000);
    world.send(&mut second, "SUB s.* q 1\r\nSUB s.5 2\r\nSUB other 3\r\n");
    assert_eq!(early.now().len(), 3_001);
    assert_eq!(early.now()[&("s.*".into(), Some("q".into()))], 1);
    drop(early);
    // No counts are kept now, so that the next listener is the first.
    let mut told = Recorder::of(&world.broker, "A");
    let (mut slices, mut longest) = (0, 0);
    loop {
        slices += 1;
        let before = told.now().len();
        let has_more = told.events.catch_up();
        longest = longest.max(told.now().len() - before);
        if !has_more {
            break;
        }
        match slices {
            3 => world.send(&mut first, "UNSUB 7\r\nSUB s.new 9999\r\n"),
            20 => world.send(&mut first, "UNSUB 8\r\nUNSUB 9\r\nSUB s.9 9998\r\n"),
            _ => {}
        }
        assert!(slices < 10_000, "it ends");
    }
    assert!(slices > 10 && longest < 1_000, "{slices} slices, {longest} filters in one");
    let numbers = (0..3_000).filter(|sid| ![7, 8].contains(sid));
    let mut expected: Interest = numbers.map(|number| ((format!("s.{number}"), None), 1)).collect();
    expected.insert(("s.new".into(), None), 1);
    expected.insert(("s.*".into(), Some("q".into())), 1);
    assert_eq!(told.now(), expected);
    let mut later = Recorder::of(&world.broker, "A");
    while later.events.catch_up() {}
    assert_eq!(later.now(), expected);
    while first.session.depart(CloseReason::ClientClosed) {}
    while second.session.depart(CloseReason::ClientClosed) {}
    assert!(told.now().is_empty() && later.now().is_empty());
}

#[test]
fn a_late_listener_is_told_of_imported_services_and_of_responses() {
    let mut world = sharing();
    let [mut service, mut client] = ["A", "B"].map(|name| world.join_as(&connect(name)));
    world.send(&mut service, "SUB svc 1\r\n");
    world.send(&mut client, "SUB r 1\r\nPUB svc r 0\r\n\r\n");
    let told = |kinds, account| {
        let mut late = Recorder::of_kinds(&world.broker, account, kinds);
        while late.events.catch_up() {}
        late.now().into_keys().map(|(filter, _)| filter).collect::<Vec<_>>()
    };
    assert_eq!(told(Kinds::ALL, "B"), ["r", "svc"]);
    assert_eq!(told(Kinds::ALL.without(Kind::Account), "B"), ["r"]);
    let exported = told(Kinds::ALL, "A");
    assert!(exported[0].starts_with("_R_."), "{exported:?}");
    assert_eq!(exported[1..], ["svc"]);
}
