//! One session in several accounts, beside in-process clients.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_executor::block_on;

use super::*;
use crate::account::AccountConfig;
use crate::auth::{Grant, NoAuth};
use crate::endpoint::{Accepted, Destination, Kind, LocalQueues, OutCounts};
use crate::error::CloseReason;
use crate::interest::{Interested, Matches};
use crate::options::Options;
use crate::proto::Publish;
use crate::session::local::Client;
use crate::stats::Traffic;
use crate::sync::Mutex;
use crate::trace::Trace;
use crate::transport::TransportInfo;

/// A peer's queue: the frames delivered to it.
#[derive(Default)]
struct Frames(Mutex<Vec<String>>);

impl Destination for Frames {
    fn deliver(&self, _: &Subscription, _: &Run<'_>, _: bool, _: &mut Scratch) -> Accepted {
        panic!("a peer gets no message by subscription")
    }

    fn deliver_to_peer(
        &self,
        account: &str,
        run: &Run<'_>,
        queues: &[&[u8]],
        _: &mut Scratch,
    ) -> Accepted {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let queues: String = queues.iter().map(|queue| format!(" {}", text(queue))).collect();
        let frame = format!("{account} {}{queues}", text(run.subject));
        self.0.lock().extend(vec![frame; run.messages.len()]);
        Accepted { count: run.messages.len(), ..Accepted::NOTHING }
    }

    fn has_plenty_of_room(&self, _: &Subscription, _: usize, _: usize) -> bool {
        true
    }

    fn flush(&self, _: &mut Scratch) {}

    fn end_after(&self, _: &Subscription, _: u64) -> bool {
        false
    }

    fn finish(&self, _: CloseReason) {}

    fn close(&self, _: CloseReason) {}

    fn wake(&self) {}

    fn set_trace(&self, _: Option<Arc<Trace>>) {}

    fn counts(&self) -> OutCounts {
        OutCounts::default()
    }
}

struct World {
    shared: Arc<Shared>,
    frames: Arc<Frames>,
    accounts: Accounts,
    scratch: Scratch,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new((Instant::now, SystemTime::now));
        let shared = Arc::new(Shared::new(Options::default(), clock, Box::new(NoAuth)));
        let frames = Arc::new(Frames::default());
        let (id, seed) = shared.next_session();
        let destination = Arc::clone(&frames) as Arc<_>;
        let now = Instant::now();
        let (memory, kind) = (TransportInfo::Memory, Kind::Route);
        let endpoint = Arc::new(Endpoint::new(id, seed, None, memory, now, destination, kind));
        shared.register_local(&endpoint);
        let accounts = Accounts::new(Arc::clone(&shared), endpoint, seed);
        let mut scratch = Scratch::new();
        scratch.start(now);
        Self { shared, frames, accounts, scratch }
    }

    fn client(&self, account: &str) -> Client {
        Client::new(Arc::clone(&self.shared), Grant::anonymous().with_account(account))
    }

    fn wants(&mut self, account: &str, filter: &str) {
        let sid = filter.as_bytes();
        self.accounts.subscribe(account, (sid, None, sid), 1, false).unwrap();
    }

    /// Publishes one message of the peer.
    fn brings(&mut self, account: &str, subject: &str) {
        let body = Bytes::from_static(b"hello");
        let message = Publish {
            subject: subject.as_bytes(),
            reply: b"",
            header_len: None,
            body: &body,
            sizes: b"5",
            tail: None,
        };
        let messages = std::slice::from_ref(&message);
        let (subject, shared) = (message.subject, Some(&body));
        let run = Run { shown: None, subject, messages, shared, parsed: None, prefetched: None };
        self.accounts.publish(account, &run, Audience::All, &mut self.scratch).unwrap();
    }

    fn traffic(&self, account: &str) -> Traffic {
        self.shared.account_snapshots()[account].traffic
    }

    fn interest(&self, account: &str) -> usize {
        self.shared.account_snapshots()[account].interest.subscriptions
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.frames.0.lock())
    }
}

fn says(client: &Client, subject: &str) {
    block_on(client.publish(subject, Bytes::from_static(b"hello"))).unwrap();
}

#[test]
fn each_account_has_its_subscriptions_its_cache_and_its_counters() {
    let mut world = World::new();
    let (a, b) = (world.client("A"), world.client("B"));
    world.wants("A", "x");
    world.wants("B", ">");
    says(&a, "x");
    says(&b, "x");
    says(&a, "y");
    assert_eq!(world.take(), ["A x", "B x"]);
    let mut in_a = block_on(a.subscribe("z")).unwrap();
    let mut in_b = block_on(b.subscribe("z")).unwrap();
    for _ in 0..3 {
        world.brings("A", "z");
        world.brings("B", "z");
        world.brings("B", "z");
    }
    assert_eq!(std::iter::from_fn(|| in_a.try_next()).count(), 3);
    assert_eq!(std::iter::from_fn(|| in_b.try_next()).count(), 6);
    let (a, b) = (world.traffic("A"), world.traffic("B"));
    // Two messages of the client in A, and three of the peer; the peer received one of them.
    assert_eq!((a.in_messages, a.in_bytes, a.out_messages, a.out_bytes), (5, 25, 4, 20));
    assert_eq!((b.in_messages, b.out_messages), (7, 7));
    let look_ups = world.shared.account_snapshots()["B"].interest;
    assert_eq!(
        (look_ups.look_ups, look_ups.cached),
        (2, 2),
        "the client and the peer have one each"
    );
}

#[test]
fn an_account_that_is_left_frees_its_slot_with_its_last_subscription_and_keeps_its_totals() {
    let mut world = World::new();
    let client = world.client("A");
    for number in 0..1_000 {
        world.wants("A", &format!("x.{number}"));
    }
    says(&client, "x.7");
    let before = world.traffic("A");
    assert!(world.accounts.leave("A"));
    assert!(!world.accounts.leave("A"));
    let mut steps = 0;
    while world.accounts.step() {
        steps += 1;
        let slot = world.accounts.join("B").unwrap();
        assert_eq!(slot, 2, "the first slot is in use while subscriptions hold it");
    }
    assert!(steps >= 7, "{steps} slices");
    assert_eq!((world.interest("A"), world.traffic("A")), (0, before));
    world.accounts.leave("B");
    while world.accounts.step() {}
    assert!(world.accounts.join("C").unwrap() <= 2);
    says(&client, "x.7");
    assert_eq!(world.take(), ["A x.7"]);
}

#[test]
fn a_second_subscription_of_one_sid_changes_its_weight() {
    let mut world = World::new();
    for weight in [1, 5] {
        world.accounts.subscribe("A", (b"x", Some(b"q"), b"R"), weight, false).unwrap();
    }
    let mut matches = Matches::default();
    let account = world.shared.account(&"A".into());
    account.interest.collect(b"x", &mut matches);
    let weights: Vec<u32> = matches.peers()[0].queues.iter().map(|one| one.weight()).collect();
    assert_eq!(weights, [5]);
    assert!(world.accounts.unsubscribe("A", (b"x", Some(b"q"), b"R")));
    assert!(!world.accounts.unsubscribe("A", (b"x", Some(b"q"), b"R")));
    assert_eq!(world.interest("A"), 0);
}

#[test]
fn the_caches_of_all_accounts_together_are_bounded() {
    let mut world = World::new();
    world.accounts.max_cached_bytes = 2 << 20;
    let names: Vec<String> = (0..8).map(|number| format!("A{number}")).collect();
    let long = "x".repeat(480);
    for name in &names {
        for number in 0..1_500 {
            world.brings(name, &format!("{long}.{number}"));
        }
        let held = world.accounts.cached_bytes;
        assert!(held <= 2 << 20, "{held}");
    }
    let cached = |name: &String| world.shared.account_snapshots()[name.as_str()].interest.cached;
    let held = names.iter().filter(|name| cached(name) > 1_000).count();
    assert!((2..=3).contains(&held), "{held} caches of 600 KiB");
    world.accounts.forget();
    assert_eq!(world.accounts.cached_bytes, 0);
}

#[test]
fn a_session_leaves_an_account_that_is_removed_and_stays_in_the_others() {
    let mut world = World::new();
    let configure = |world: &World, names: &[&str]| {
        let accounts = names.iter().map(|name| AccountConfig::new(*name).into()).collect();
        world.shared.apply(|options, _| options.accounts = accounts)
    };
    configure(&world, &["A", "B"]);
    world.wants("A", "x");
    world.wants("B", "x");
    let endpoint = Arc::clone(&world.accounts.endpoint);
    endpoint.control.take();
    let report = configure(&world, &["B"]);
    assert_eq!((report.excess, report.removed), (0, 0), "the connection stays");
    assert!(endpoint.control.take().account_removed);
    world.accounts.leave_removed();
    while world.accounts.step() {}
    assert_eq!((world.interest("A"), world.interest("B")), (0, 1));
}

#[test]
fn a_session_that_is_dropped_leaves_no_interest() {
    let mut world = World::new();
    for account in ["A", "B"] {
        (0..300).for_each(|number| world.wants(account, &format!("x.{number}")));
    }
    let World { accounts, shared, .. } = world;
    drop(accounts);
    let snapshots = shared.account_snapshots();
    assert_eq!(
        (snapshots["A"].interest.subscriptions, snapshots["B"].interest.subscriptions),
        (0, 0)
    );
}

/// An import, or any other way by which a message of one account reaches another, does this.
#[test]
fn a_subscription_ends_in_its_own_account_if_its_last_message_is_of_another() {
    let world = World::new();
    let [a, b] = ["A", "B"].map(|name| world.shared.account(&name.into()));
    let client = world.client("B");
    let mut subscriber = block_on(client.subscribe("x")).unwrap();
    subscriber.unsubscribe_after(1);
    let mut matches = Matches::default();
    b.interest.collect(b"x", &mut matches);
    assert_eq!(matches.plain.len(), 1);
    let queues: Arc<dyn Destination> = Arc::new(LocalQueues::default());
    let now = Instant::now();
    let publisher = Endpoint::new(99, 99, None, TransportInfo::Memory, now, queues, Kind::Internal);
    let body = Bytes::from_static(b"hello");
    let message = Publish {
        subject: b"x",
        reply: b"",
        header_len: None,
        body: &body,
        sizes: b"5",
        tail: None,
    };
    let messages = std::slice::from_ref(&message);
    let run = Run {
        shown: None,
        subject: b"x",
        messages,
        shared: Some(&body),
        parsed: None,
        prefetched: None,
    };
    let (mut random, mut scratch) = (Random::new(1), Scratch::new());
    scratch.start(now);
    let from = publisher.as_sender();
    crate::routing::deliver(&a, from, &run, &matches, &mut random, &mut scratch, |_, _| ());
    assert!(subscriber.try_next().is_some());
    assert_eq!((world.interest("A"), world.interest("B")), (0, 0));
}

/// Another server names interest by filter, queue group and origin.
#[test]
fn interest_in_one_filter_is_told_apart_by_group_and_origin() {
    let mut world = World::new();
    type Texts = (&'static [u8], Option<&'static [u8]>, &'static [u8]);
    let all: [Texts; 4] =
        [(b"x", None, b"R"), (b"x", Some(b"q"), b"R"), (b"x", None, b"oL"), (b"xq", None, b"R")];
    for texts in all {
        world.accounts.subscribe("A", texts, 1, false).unwrap();
        world.accounts.subscribe("A", texts, 1, false).unwrap();
    }
    assert_eq!(world.interest("A"), 4);
    for (left, texts) in (0..4).rev().zip(all) {
        assert!(world.accounts.unsubscribe("A", texts));
        assert!(!world.accounts.unsubscribe("A", texts));
        assert_eq!(world.interest("A"), left);
    }
}
