//! Messages that are published together.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use broker_core::auth::Permissions;
use broker_core::{Limits, Options, PublishError, RawMessage, Subject};
use bytes::Bytes;
use futures_executor::block_on;

use crate::common::World;
use crate::{Flag, broker, client_who};

/// Receivers may keep the memory of a batch for long.
#[test]
fn a_small_batch_behind_a_large_one_has_little_memory() {
    let client = broker().client();
    let mut received = block_on(client.subscribe("a")).unwrap();
    let a = Subject::parse("a").unwrap();
    let mut memory_of_batches_of = |count: usize| {
        let mut batch = client.batch();
        for _ in 0..count {
            batch.publish(&RawMessage::new(&a, &[b'x'; 1000])).unwrap();
        }
        drop(batch);
        let mut messages: Vec<_> = std::iter::from_fn(|| received.try_next()).collect();
        assert_eq!(messages.len(), count);
        let first = messages.swap_remove(0).payload;
        drop(messages);
        first.try_into_mut().unwrap().capacity()
    };
    assert!(memory_of_batches_of(60) > 50_000);
    assert!(memory_of_batches_of(2) < 4_000);
    assert!(memory_of_batches_of(2) < 8_000);
}

#[test]
fn a_batch_is_published_in_order_and_at_once() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut wire = world.join();
    world.send(&mut wire, "SUB a 1\r\nSUB b 2\r\n");
    let mut all = block_on(client.subscribe(">")).unwrap();
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    assert!(pin!(all.next()).poll(&mut Context::from_waker(&waker)).is_pending());
    let [a, b, r] = ["a", "b", "r"].map(|text| Subject::parse(text).unwrap());
    let block = b"NATS/1.0\r\nA:  b\r\n\r\n";
    let mut batch = client.batch();
    batch.publish(&RawMessage::new(&a, b"one")).unwrap();
    batch.publish(&RawMessage::new(&a, b"second").with_reply(&r)).unwrap();
    batch.publish(&RawMessage::new(&b, b"heads").with_headers(block)).unwrap();
    batch.publish(&RawMessage::new(&b, b"").with_reply(&r).with_headers(block)).unwrap();
    batch.publish(&RawMessage::new(&a, b"last")).unwrap();
    assert_eq!((wire.read(), flag.0.load(Ordering::SeqCst)), (String::new(), false));
    batch.flush().unwrap();
    assert!(flag.0.load(Ordering::SeqCst));
    assert_eq!(
        wire.read(),
        "MSG a 1 3\r\none\r\nMSG a 1 r 6\r\nsecond\r\nHMSG b 2 19 24\r\nNATS/1.0\r\nA:  b\r\n\r\nheads\r\n\
         HMSG b 2 r 19 19\r\nNATS/1.0\r\nA:  b\r\n\r\n\r\nMSG a 1 4\r\nlast\r\n"
    );
    let here: Vec<_> = std::iter::from_fn(|| all.try_next()).collect();
    let payloads: Vec<_> = here.iter().map(|message| &message.payload[..]).collect();
    assert_eq!(payloads, [&b"one"[..], b"second", b"heads", b"", b"last"]);
    assert_eq!(here[3].headers.as_ref().unwrap().get("A"), Some("b"));
    assert_eq!((here[3].reply.as_deref(), here[4].reply.as_deref()), (Some("r"), None));
    batch.publish(&RawMessage::new(&a, b"dropped")).unwrap();
    drop(batch);
    assert_eq!(wire.read(), "MSG a 1 7\r\ndropped\r\n", "what is left is published");
}

#[test]
fn a_batch_publishes_by_itself_when_it_is_large() {
    let client = broker().client();
    let mut inbox = block_on(client.subscribe("a.*")).unwrap();
    let subjects: Vec<Subject> = (0..3).map(|at| format!("a.{at}").parse().unwrap()).collect();
    let (small, large) = ([b'x'; 100], Bytes::from(vec![b'y'; 100_000]));
    let mut batch = client.batch();
    for _ in 0..1_024 {
        assert_eq!(inbox.try_next(), None);
        batch.publish(&RawMessage::new(&subjects[0], b"")).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| inbox.try_next()).count(), 1_024);
    for at in 0..660 {
        batch.publish(&RawMessage::new(&subjects[at % 3], &small)).unwrap();
    }
    let here = std::iter::from_fn(|| inbox.try_next()).count();
    assert!((500..660).contains(&here), "after 64 KiB: {here}");
    batch.publish(&RawMessage::with_shared_payload(&subjects[1], &large)).unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| inbox.try_next()).collect();
    assert_eq!(rest.len(), 661 - here, "behind those before it");
    assert_eq!(rest.last().unwrap().payload.as_ptr(), large.as_ptr(), "shared");
}

#[test]
fn a_batch_publishes_allowed_messages_and_returns_the_first_error() {
    let broker = broker();
    let permissions = Permissions::builder().publish_deny(["no"]).build().unwrap();
    let client = client_who(&broker, permissions);
    let mut all = block_on(broker.client().subscribe(">")).unwrap();
    let [yes, no] = ["yes", "no"].map(|text| Subject::parse(text).unwrap());
    let limits = Limits { max_payload_bytes: 20, ..Limits::default() };
    broker.apply(Options { limits, ..Options::default() }, None);
    let mut batch = client.batch();
    for (subject, size) in [(&yes, 1), (&no, 2), (&yes, 21), (&yes, 3)] {
        batch.publish(&RawMessage::new(subject, &[b'x'; 21][..size])).unwrap();
    }
    assert_eq!(batch.flush(), Err(PublishError::Denied(no.clone())));
    let sizes: Vec<_> =
        std::iter::from_fn(|| all.try_next()).map(|one| one.payload.len()).collect();
    assert_eq!(sizes, [1, 3]);
    batch.publish(&RawMessage::new(&yes, &[0; 21])).unwrap();
    assert_eq!(batch.flush(), Err(PublishError::MaxPayload { size: 21, limit: 20 }));
    assert_eq!(batch.flush(), Ok(()), "it is empty");
    // Trace-only: it reaches no subscriber.
    let broker = self::broker();
    let client = broker.client();
    let mut all = block_on(client.subscribe("yes")).unwrap();
    let trace = b"NATS/1.0\r\nNats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n\r\n";
    let mut batch = client.batch();
    batch.publish(&RawMessage::new(&yes, b"before")).unwrap();
    batch.publish(&RawMessage::new(&yes, b"traced").with_headers(trace)).unwrap();
    batch.publish(&RawMessage::new(&yes, b"after")).unwrap();
    drop(batch);
    let payloads: Vec<_> = std::iter::from_fn(|| all.try_next()).map(|one| one.payload).collect();
    assert_eq!(payloads, ["before", "after"]);
}

#[test]
fn each_request_of_a_batch_without_responders_is_answered() {
    let client = broker().client();
    let mut answers = block_on(client.subscribe("answers")).unwrap();
    let [nowhere, reply] = ["nowhere", "answers"].map(|text| Subject::parse(text).unwrap());
    let mut batch = client.batch();
    for _ in 0..3 {
        batch.publish(&RawMessage::new(&nowhere, b"x").with_reply(&reply)).unwrap();
    }
    batch.flush().unwrap();
    let all: Vec<_> = std::iter::from_fn(|| answers.try_next()).collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|one| one.headers.as_ref().unwrap().status() == Some(503)));
}
