//! The rules that all kinds of sessions share, on bare members of an account.

use std::time::{Instant, SystemTime};

use super::member::{Member, SubscribeRefusal};
use super::publisher::{PublishObserver, Publisher, may_trace_to};
use crate::auth::{Grant, NoAuth, Permissions};
use crate::endpoint::{Endpoint, Kind, LocalQueues, Run, Scratch};
use crate::error::ClientFault;
use crate::options::Options;
use crate::proto::Publish;
use crate::shared::Shared;
use crate::sync::Arc;
use crate::transport::TransportInfo;

fn member_with(kind: Kind, options: Options, grant: Grant) -> Member {
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(options, clock, Box::new(NoAuth)));
    let (id, seed) = shared.next_session();
    let queues = Arc::new(LocalQueues::default());
    let now = shared.clock.now();
    let endpoint = Endpoint::new(id, seed, None, TransportInfo::Memory, now, queues, kind);
    Member::join(&shared, &Arc::new(endpoint), grant)
}

fn member(kind: Kind) -> Member {
    member_with(kind, Options::default(), Grant::anonymous())
}

#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: Vec<ClientFault>,
}

impl PublishObserver for Seen {
    fn accepted(&mut self, _: &mut Scratch) {
        self.accepted += 1;
    }

    fn refused(&mut self, fault: &ClientFault, _: &mut Scratch) {
        self.refused.push(fault.clone());
    }

    fn no_responders(&mut self, _: &[u8], _: &Publish<'_>, _: &mut Scratch) {}
}

fn publish(member: &Member, subject: &str, reply: &str) -> Seen {
    let message = Publish {
        subject: subject.as_bytes(),
        reply: reply.as_bytes(),
        header_len: None,
        body: b"",
        sizes: b"0",
        tail: None,
    };
    let messages = std::slice::from_ref(&message);
    let run = Run {
        shown: None,
        subject: message.subject,
        messages,
        shared: None,
        parsed: None,
        prefetched: None,
    };
    let mut seen = Seen::default();
    let mut scratch = Scratch::new();
    scratch.start(member.endpoint.since);
    Publisher::new(1, None).publish(member, &run, &mut seen, &mut scratch);
    seen
}

#[test]
fn reserved_subjects_and_groups_are_for_servers_only() {
    let reserved = [("$NRG.group", ""), ("_GR_.x", ""), ("a", "_R_.x"), ("a", "$JS.ACK.x")];
    for kind in [Kind::Client, Kind::Internal, Kind::Mqtt] {
        let member = member(kind);
        let refusal = member.subscribe(b"a", Some(b"_sys_"), b"1").err();
        assert_eq!(refusal, Some(SubscribeRefusal::Denied), "{kind:?}");
        assert!(!may_trace_to(&member, b"_GR_.x"), "{kind:?}");
        for (subject, reply) in reserved {
            let seen = publish(&member, subject, reply);
            assert_eq!((seen.accepted, seen.refused.len()), (0, 1), "{kind:?} {subject} {reply}");
        }
    }
    for kind in [Kind::System, Kind::Route, Kind::Leaf, Kind::Gateway] {
        let member = member(kind);
        assert!(member.subscribe(b"a", Some(b"_sys_"), b"1").is_ok(), "{kind:?}");
        assert!(may_trace_to(&member, b"_GR_.x"), "{kind:?}");
        for (subject, reply) in reserved {
            let seen = publish(&member, subject, reply);
            assert_eq!((seen.accepted, seen.refused), (1, vec![]), "{kind:?} {subject} {reply}");
        }
    }
}

#[test]
fn a_subscription_is_refused_for_the_first_reason_in_the_order_of_nats() {
    let permissions = Permissions::builder().subscribe_deny(["no.>"]).build().unwrap();
    let mut options = Options::default();
    options.limits.max_subscription_tokens = Some(3);
    options.limits.max_subscriptions = Some(1);
    let grant = Grant::anonymous().with_permissions(permissions);
    let member = member_with(Kind::Client, options, grant);
    let refusal =
        |filter: &str, sid: &str| member.subscribe(filter.as_bytes(), None, sid.as_bytes()).err();
    assert_eq!(refusal("no.way.a.b", "1"), Some(SubscribeRefusal::Denied));
    assert_eq!(refusal("a.b.c..", "1"), Some(SubscribeRefusal::TooManyTokens));
    assert_eq!(refusal("a..b", "1"), Some(SubscribeRefusal::InvalidFilter));
    assert_eq!(refusal("a", "1"), None, "refused subscriptions do not count");
    assert_eq!(refusal("a..b", "1"), Some(SubscribeRefusal::MaxSubscriptions));
    assert_eq!(refusal("b", "2"), Some(SubscribeRefusal::MaxSubscriptions));
}

#[test]
fn a_sid_that_is_taken_keeps_its_subscription() {
    let member = member(Kind::Client);
    let first = member.subscribe(b"a", None, b"1").unwrap();
    for filter in ["b", "b..c"] {
        assert!(Arc::ptr_eq(&member.subscribe(filter.as_bytes(), None, b"1").unwrap(), &first));
    }
    assert!(Arc::ptr_eq(&member.own_subscription(b"a").unwrap(), &first));
    assert!(member.own_subscription(b"b").is_none());
    assert!(member.unsubscribe(&first, None));
    assert!(member.own_subscription(b"a").is_none());
    assert!(!Arc::ptr_eq(&member.subscribe(b"b", None, b"1").unwrap(), &first));
}
