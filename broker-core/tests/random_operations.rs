//! Random operations of three clients under concurrent changes: nothing panics, each subscription
//! gets its messages in order and once, and nothing remains after all have left.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use broker_core::auth::{AllowResponses, Permissions, User, Users};
use broker_core::proto::reply::{Reply, parse};
use broker_core::{Broker, Limits, Options};
use common::{Party, World};
use proptest::prelude::*;

/// An operation of a client.
#[derive(Clone, Debug)]
enum Act {
    Say(String),
    /// Subject, reply, and whether it has headers; the payload is an increasing number.
    Publish(String, Option<String>, bool),
    /// Limits the bytes that the link accepts; `None` for no limit.
    Room(Option<usize>),
    Wait(u64),
    Leave,
    /// Changes the users to one of three lists.
    Change(usize),
    /// The server announces its end, upon which this client must disconnect.
    AnnounceEnd,
    Retire,
}

fn filter() -> impl Strategy<Value = String> {
    let token = prop_oneof![3 => "[ab]", 1 => "\\*", 1 => ">"];
    proptest::collection::vec(token, 1..4).prop_map(|tokens| tokens.join("."))
}

fn act() -> impl Strategy<Value = Act> {
    let subject = || proptest::collection::vec("[ab]", 1..4).prop_map(|tokens| tokens.join("."));
    let sid = 0..6u32;
    let subscribe =
        (filter(), proptest::option::of("[qr]"), sid.clone()).prop_map(|(filter, queue, sid)| {
            match queue {
                Some(queue) => format!("SUB {filter} {queue} {sid}\r\n"),
                None => format!("SUB {filter} {sid}\r\n"),
            }
        });
    let unsubscribe = (sid, 0..4u32).prop_map(|(sid, max)| match max {
        0 => format!("UNSUB {sid}\r\n"),
        max => format!("UNSUB {sid} {max}\r\n"),
    });
    let connect = ("[abc]", any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(user, verbose, echo, headers)| {
            format!(
                "CONNECT {{\"user\":\"{user}\",\"pass\":\"x\",\"verbose\":{verbose},\"echo\":{echo},\
                 \"headers\":{headers},\"no_responders\":{headers},\"pedantic\":false}}\r\n"
            )
        },
    );
    prop_oneof![
        6 => subscribe.prop_map(Act::Say),
        3 => unsubscribe.prop_map(Act::Say),
        2 => connect.prop_map(Act::Say),
        1 => Just(Act::Say("PING\r\nPONG\r\n".into())),
        1 => "[ -~]{1,9}\r\n".prop_map(Act::Say),
        9 => (subject(), proptest::option::of(subject()), any::<bool>())
            .prop_map(|(subject, reply, headers)| Act::Publish(subject, reply, headers)),
        2 => proptest::option::of(0..90usize).prop_map(Act::Room),
        1 => (0..200u64).prop_map(Act::Wait),
        1 => Just(Act::Leave),
        1 => (0..3usize).prop_map(Act::Change),
        1 => Just(Act::Retire),
        1 => proptest::bool::weighted(0.2)
            .prop_map(|ends| if ends { Act::AnnounceEnd } else { Act::Retire }),
    ]
}

fn world() -> World {
    let limits = Limits {
        max_pending_bytes: 300,
        max_pending_total_bytes: 700,
        max_subscriptions: Some(5),
        ping_interval: Duration::from_secs(60),
        ..Limits::default()
    };
    let options = Options { limits, ..Options::default() };
    World::of(Broker::with_authenticator(
        options,
        (std::time::Instant::now, std::time::SystemTime::now),
        users(0),
    ))
}

/// Returns one of three lists: the second has fewer permissions, the third other passwords and
/// accounts.
fn users(list: usize) -> Users {
    let responder = Permissions::builder()
        .publish_allow(["a.>"])
        .subscribe_deny(if list == 1 { ["b.>", "a.a"] } else { ["b.a", "a.* q"] })
        .allow_responses(AllowResponses::default());
    let users = [
        User::new("a", "x"),
        User::new("b", "x").account(if list == 2 { "C" } else { "B" }),
        User::new("c", if list == 2 { "y" } else { "x" }).permissions(responder.build().unwrap()),
    ];
    Users::builder().users(users).no_auth_user("a").build().unwrap()
}

/// A client slot, reused when its client has left.
struct Seat {
    party: Party,
    received: String,
    /// The last number received per subscription. A reused sid continues its count.
    last: HashMap<String, u64>,
}

impl Seat {
    fn new(world: &mut World) -> Self {
        Self { party: world.arrive(), received: String::new(), last: HashMap::new() }
    }

    /// Reads and checks the received messages.
    fn listen(&mut self) {
        self.received.push_str(&self.party.read());
        let mut used = 0;
        while let Some((reply, len)) = parse(&self.received.as_bytes()[used..]).unwrap() {
            used += len;
            if let Reply::Message { sid, payload, .. } = reply
                && !payload.is_empty()
            {
                let number = std::str::from_utf8(payload).unwrap().parse().unwrap();
                let sid = String::from_utf8(sid.to_vec()).unwrap();
                let before = self.last.insert(sid, number);
                assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
            }
        }
        self.received.drain(..used);
    }
}

fn play(acts: &[(usize, Act)]) {
    let mut world = world();
    let mut seats: Vec<_> = (0..3).map(|_| Seat::new(&mut world)).collect();
    for (number, (label, act)) in acts.iter().enumerate() {
        let seat = &mut seats[*label];
        match act {
            Act::Say(text) => world.send(&mut seat.party, text),
            Act::Publish(subject, reply, headers) => {
                let reply = reply.as_ref().map(|reply| format!(" {reply}")).unwrap_or_default();
                let payload = number.to_string();
                let len = payload.len();
                let text = match headers {
                    false => format!("PUB {subject}{reply} {len}\r\n{payload}\r\n"),
                    true => format!(
                        "HPUB {subject}{reply} 12 {}\r\nNATS/1.0\r\n\r\n{payload}\r\n",
                        12 + len
                    ),
                };
                world.send(&mut seat.party, text);
            }
            Act::Room(room) => {
                seat.party.write_handle.set_room(*room);
                seat.party.session.byte_queue().drain(world.now, true, &mut world.scratch);
            }
            Act::Wait(seconds) => world.wait(&mut seat.party, Duration::from_secs(*seconds)),
            Act::Leave => *seat = Seat::new(&mut world),
            Act::Change(list) => drop(world.broker.set_authenticator(users(*list))),
            Act::AnnounceEnd => drop(world.broker.announce_end()),
            Act::Retire => assert!(world.broker.retire(seat.party.session.id())),
        }
        for seat in &mut seats {
            world.settle(&mut seat.party);
            if seat.party.session.has_half_closed() {
                seat.party.session.byte_queue().release();
                seat.party.session.byte_queue().drain(world.now, true, &mut world.scratch);
            }
            seat.listen();
            if seat.party.closing().is_some() {
                *seat = Seat::new(&mut world);
            }
        }
        let stats = world.broker.stats();
        assert_eq!(stats.connections, 3);
        assert!(stats.subscriptions <= 15, "five for each at most");
        assert!(stats.pending_bytes <= 700);
    }
    drop(seats);
    let stats = world.broker.stats();
    assert_eq!((stats.connections, stats.subscriptions, stats.pending_bytes), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_remains_when_all_clients_have_left(
        acts in proptest::collection::vec((0..3usize, act()), 0..120)
    ) {
        play(&acts);
    }
}
