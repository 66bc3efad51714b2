//! Peers with an encoder of their own, beside local subscribers.

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::endpoint::{Accepted, Destination, Endpoint, Kind, LocalQueues, OutCounts};
use crate::error::CloseReason;
use crate::routing::deliver::deliver_to_local;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::trace::Trace;
use crate::transport::TransportInfo;

/// The frames that a peer was sent, and the number of calls.
#[derive(Default)]
struct Frames(Mutex<(Vec<String>, usize)>, AtomicBool);

impl Frames {
    /// Takes no more.
    fn end(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

impl Destination for Frames {
    fn deliver(&self, _: &Subscription, _: &Run<'_>, _: bool, _: &mut Scratch) -> Accepted {
        panic!("a peer gets no message by subscription")
    }

    fn deliver_to_peer(
        &self,
        account: &str,
        run: &Run<'_>,
        queues: &[&[u8]],
        _scratch: &mut Scratch,
    ) -> Accepted {
        if self.1.load(Ordering::Relaxed) {
            return Accepted::NOTHING;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let queues: String = queues.iter().map(|queue| format!(" {}", text(queue))).collect();
        let mut frames = self.0.lock();
        frames.1 += 1;
        for message in run.messages {
            let body = text(message.body);
            frames.0.push(format!("RMSG {account} {}{queues} {body}", text(run.subject)));
        }
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

fn endpoint(id: u64, kind: Kind, destination: Arc<dyn Destination>) -> Arc<Endpoint> {
    let transport = TransportInfo::Memory;
    Arc::new(Endpoint::new(id, id, None, transport, Instant::now(), destination, kind))
}

struct Peer {
    frames: Arc<Frames>,
    endpoint: Arc<Endpoint>,
}

impl Peer {
    fn new(id: u64, kind: Kind) -> Self {
        let frames = Arc::new(Frames::default());
        Self { endpoint: endpoint(id, kind, Arc::clone(&frames) as Arc<_>), frames }
    }

    fn wants(&self, account: &Account, filter: &str, queue: Option<(&str, u32)>) {
        let name = queue.map(|(name, _)| name.as_bytes());
        let endpoint = Arc::clone(&self.endpoint);
        let subscription = Subscription::new(endpoint, filter.as_bytes(), name, b"", false);
        let subscription = subscription.with_weight(queue.map_or(1, |(_, weight)| weight));
        account.interest.insert(Arc::new(subscription));
    }

    /// Returns the frames since the last call, and the number of deliveries that contained them.
    fn take(&self) -> (Vec<String>, usize) {
        std::mem::take(&mut *self.frames.0.lock())
    }
}

/// A member that ends between the moment in which it is picked and that in which it is delivered to.
struct Leaving;

impl Leaving {
    fn joins(account: &Account, id: u64, queue: &str) {
        let endpoint = endpoint(id, Kind::Client, Arc::new(Self));
        let subscription =
            Subscription::new(endpoint, b"orders.*", Some(queue.as_bytes()), b"1", false);
        account.interest.insert(Arc::new(subscription));
    }
}

impl Destination for Leaving {
    fn deliver(&self, _: &Subscription, _: &Run<'_>, _: bool, _: &mut Scratch) -> Accepted {
        Accepted::NOTHING
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

/// A subscriber in this process.
struct Local {
    queues: Arc<LocalQueues>,
    subscription: Arc<Subscription>,
}

impl Local {
    fn new(account: &Account, id: u64, filter: &str, queue: Option<&str>) -> Self {
        let queues = Arc::new(LocalQueues::default());
        let endpoint = endpoint(id, Kind::Client, Arc::clone(&queues) as Arc<_>);
        let (filter, queue) = (filter.as_bytes(), queue.map(str::as_bytes));
        let messages = queues.open();
        let subscription = Subscription::with_queue(endpoint, filter, queue, &messages, false);
        let subscription = Arc::new(subscription);
        account.interest.insert(Arc::clone(&subscription));
        Self { queues, subscription }
    }

    fn count(&self) -> u64 {
        assert_eq!(self.queues.counts().messages, self.subscription.delivered());
        self.subscription.delivered()
    }
}

const CLIENT: Sender = Sender { id: 1000, kind: Kind::Client, echo: true, is_served: false };

/// Publishes so many messages in one run; returns the number that reached no receiver.
fn publish(account: &Account, from: Sender, audience: Audience<'_>, messages: usize) -> usize {
    publish_by(messages, account, |run, matches, random, scratch, nobody| {
        deliver_with_peers(account, from, run, (matches, audience), random, scratch, |_, _| {
            *nobody += 1;
        });
    })
}

/// As [`publish`], to matches that contain no peers.
fn publish_here(account: &Account, messages: usize) -> usize {
    publish_by(messages, account, |run, matches, random, scratch, nobody| {
        deliver_to_local(account, CLIENT, run, matches, random, scratch, |_, _| *nobody += 1);
    })
}

fn publish_by(
    messages: usize,
    account: &Account,
    deliver: impl FnOnce(&Run<'_>, &Matches<Subscription>, &mut Random, &mut Scratch, &mut usize),
) -> usize {
    let body = Bytes::from_static(b"hello");
    let message = Publish {
        subject: b"orders.eu",
        reply: b"",
        header_len: None,
        body: &body,
        sizes: b"5",
        tail: None,
    };
    let messages = vec![message; messages];
    let run = Run {
        shown: None,
        subject: b"orders.eu",
        messages: &messages,
        shared: Some(&body),
        parsed: None,
        prefetched: None,
    };
    let (mut matches, mut nobody) = (Matches::default(), 0);
    account.interest.collect(b"orders.eu", &mut matches);
    let (mut random, mut scratch) = (Random::new(7), Scratch::new());
    deliver(&run, &matches, &mut random, &mut scratch, &mut nobody);
    nobody
}

#[test]
fn a_peer_in_two_accounts_gets_one_frame_a_message_with_its_queues() {
    let (a, b) = (Account::new("A", 1), Account::new("B", 2));
    let peer = Peer::new(1, Kind::Route);
    peer.wants(&a, "orders.*", None);
    peer.wants(&a, "orders.>", None);
    peer.wants(&a, "orders.eu", Some(("q2", 1)));
    peer.wants(&a, "orders.*", Some(("q1", 3)));
    peer.wants(&b, ">", None);
    assert_eq!(publish(&a, CLIENT, Audience::All, 1), 0);
    assert_eq!(peer.take().0, ["RMSG A orders.eu q1 q2 hello"]);
    assert_eq!(publish(&b, CLIENT, Audience::All, 1), 0);
    assert_eq!(peer.take().0, ["RMSG B orders.eu hello"]);
}

#[test]
fn members_of_a_queue_group_here_and_behind_servers_of_the_cluster_are_equal() {
    let account = Account::new("A", 1);
    let peer = Peer::new(1, Kind::Route);
    peer.wants(&account, "orders.*", Some(("q", 3)));
    let member = Local::new(&account, 2, "orders.*", Some("q"));
    assert_eq!(publish(&account, CLIENT, Audience::All, 1000), 0);
    let (frames, _) = peer.take();
    assert_eq!(member.count() as usize + frames.len(), 1000);
    assert!((200..300).contains(&member.count()), "{} of 1000", member.count());
}

#[test]
fn local_members_of_a_queue_group_are_preferred_to_leaf_nodes() {
    let account = Account::new("A", 1);
    let leaf = Peer::new(1, Kind::Leaf);
    leaf.wants(&account, "orders.*", None);
    leaf.wants(&account, "orders.*", Some(("q", 100)));
    let member = Local::new(&account, 2, "orders.*", Some("q"));
    assert_eq!(publish(&account, CLIENT, Audience::All, 50), 0);
    assert_eq!(member.count(), 50);
    assert_eq!(leaf.take().0, vec!["RMSG A orders.eu hello"; 50]);
}

#[test]
fn the_messages_of_a_queue_group_are_sent_to_a_peer_as_a_run() {
    let account = Account::new("A", 1);
    let peer = Peer::new(1, Kind::Route);
    peer.wants(&account, "orders.*", Some(("q", 1)));
    let _member = Local::new(&account, 2, "orders.*", Some("q"));
    publish(&account, CLIENT, Audience::All, 100);
    assert_eq!(peer.take().1, 1);
}

#[test]
fn peers_are_picked_by_the_number_of_their_members_and_each_message_by_one() {
    let account = Account::new("A", 1);
    let (one, three) = (Peer::new(1, Kind::Route), Peer::new(2, Kind::Route));
    one.wants(&account, "orders.*", Some(("q", 1)));
    three.wants(&account, "orders.*", Some(("q", 3)));
    assert_eq!(publish(&account, CLIENT, Audience::All, 1000), 0);
    let (one, three) = (one.take().0.len(), three.take().0.len());
    assert_eq!(one + three, 1000);
    assert!((200..300).contains(&one), "{one} of 1000, a quarter is expected");
}

#[test]
fn a_run_stays_a_run_beside_a_peer() {
    let account = Account::new("A", 1);
    let peer = Peer::new(1, Kind::Route);
    peer.wants(&account, "orders.*", None);
    let local = Local::new(&account, 2, "orders.eu", None);
    assert_eq!(publish(&account, CLIENT, Audience::All, 500), 0);
    assert_eq!(local.count(), 500);
    let (frames, calls) = peer.take();
    assert_eq!((frames.len(), calls), (500, 1));
}

#[test]
fn a_message_takes_one_hop_and_never_goes_back() {
    let account = Account::new("A", 1);
    let (route, leaf) = (Peer::new(1, Kind::Route), Peer::new(2, Kind::Leaf));
    for peer in [&route, &leaf] {
        peer.wants(&account, "orders.*", None);
        peer.wants(&account, "orders.*", Some(("q", 1)));
    }
    let local = Local::new(&account, 3, "orders.eu", None);
    let from_route = Sender { id: 9, kind: Kind::Route, echo: true, is_served: false };
    publish(&account, from_route, Audience::All, 1);
    assert_eq!((route.take().0.len(), leaf.take().0.len(), local.count()), (0, 1, 1));
    let from_leaf = Sender { id: 2, kind: Kind::Leaf, echo: true, is_served: false };
    publish(&account, from_leaf, Audience::All, 1);
    assert_eq!(route.take().0, ["RMSG A orders.eu q hello"]);
    assert_eq!((leaf.take().0.len(), local.count()), (0, 2));
}

#[test]
fn an_audience_of_queues_reaches_their_members_only() {
    let account = Account::new("A", 1);
    let route = Peer::new(1, Kind::Route);
    route.wants(&account, "orders.*", None);
    let plain = Local::new(&account, 2, "orders.eu", None);
    let [q, r] =
        [(3, "q"), (4, "r")].map(|(id, queue)| Local::new(&account, id, "orders.eu", Some(queue)));
    let from = Sender { id: 9, kind: Kind::Route, echo: true, is_served: false };
    publish(&account, from, Audience::Queues { plain: false, names: &[b"q"] }, 10);
    assert_eq!((plain.count(), q.count(), r.count()), (0, 10, 0));
    publish(&account, from, Audience::Queues { plain: true, names: &[b"r"] }, 1);
    assert_eq!((plain.count(), q.count(), r.count()), (1, 10, 1));
    assert_eq!(publish(&account, from, Audience::Queues { plain: false, names: &[] }, 2), 2);
}

#[test]
fn a_message_for_a_group_whose_members_have_gone_goes_on_to_another_server() {
    let account = Account::new("A", 1);
    let (sender, other) = (Peer::new(1, Kind::Route), Peer::new(2, Kind::Route));
    let from = Sender { id: 1, kind: Kind::Route, echo: true, is_served: false };
    let to_q = Audience::Queues { plain: true, names: &[b"q"] };
    sender.wants(&account, "orders.*", Some(("q", 9)));
    publish(&account, from, to_q, 2);
    assert_eq!(sender.take().0, ["RMSG A orders.eu q hello"; 2], "no other server has members");
    other.wants(&account, "orders.*", Some(("q", 1)));
    publish(&account, from, to_q, 2);
    assert_eq!((sender.take().0.len(), other.take().0.len()), (0, 2));
    other.wants(&account, "orders.>", None);
    publish(&account, from, to_q, 2);
    assert_eq!((sender.take().0.len(), other.take().0.len()), (2, 0), "it has the message already");
    let member = Local::new(&account, 3, "orders.*", Some("q"));
    publish(&account, from, to_q, 2);
    assert_eq!((sender.take().0.len(), other.take().0.len(), member.count()), (0, 0, 2));
}

#[test]
fn a_peer_with_a_group_of_no_members_gets_nothing_for_it() {
    let account = Account::new("A", 1);
    let (none, two) = (Peer::new(1, Kind::Route), Peer::new(2, Kind::Route));
    none.wants(&account, "orders.*", Some(("q", 0)));
    assert_eq!(publish(&account, CLIENT, Audience::All, 5), 5);
    two.wants(&account, "orders.*", Some(("q", 2)));
    assert_eq!(publish(&account, CLIENT, Audience::All, 50), 0);
    assert_eq!((none.take().0.len(), two.take().0.len()), (0, 50));
}

#[test]
fn what_the_last_member_does_not_take_any_more_goes_to_another_server_or_has_no_receiver() {
    let account = Account::new("A", 1);
    Leaving::joins(&account, 1, "q");
    assert_eq!(publish_here(&account, 20), 20);
    let other = Local::new(&account, 2, "orders.*", Some("q"));
    assert_eq!((publish_here(&account, 20), other.count()), (0, 20));
    let second = Local::new(&account, 3, "orders.*", Some("r"));
    assert_eq!((publish_here(&account, 20), second.count()), (0, 20));

    let account = Account::new("A", 1);
    Leaving::joins(&account, 1, "q");
    Leaving::joins(&account, 2, "r");
    assert_eq!(publish_here(&account, 20), 20);
    assert_eq!(publish(&account, CLIENT, Audience::All, 20), 20);
    let peer = Peer::new(3, Kind::Route);
    peer.wants(&account, "orders.*", Some(("q", 1)));
    assert_eq!(publish(&account, CLIENT, Audience::All, 20), 0);
    assert_eq!(peer.take().0.len(), 20);
}

/// A session ends its interest in slices; meanwhile its queue is closed.
#[test]
fn what_a_lost_route_does_not_take_goes_to_another_member() {
    let account = Account::new("A", 1);
    let lost = Peer::new(1, Kind::Route);
    lost.wants(&account, "orders.*", Some(("q", 1)));
    lost.frames.end();
    assert_eq!(publish(&account, CLIENT, Audience::All, 20), 20);
    let other = Peer::new(2, Kind::Route);
    other.wants(&account, "orders.*", Some(("q", 1)));
    assert_eq!(publish(&account, CLIENT, Audience::All, 20), 0);
    assert_eq!(other.take().0, ["RMSG A orders.eu q hello"; 20]);
    other.wants(&account, "orders.>", None);
    assert_eq!(publish(&account, CLIENT, Audience::All, 20), 0);
    assert_eq!(other.take().0.len(), 20, "each message once");
    let member = Local::new(&account, 3, "orders.*", Some("q"));
    other.frames.end();
    assert_eq!((publish(&account, CLIENT, Audience::All, 20), member.count()), (0, 20));
}
