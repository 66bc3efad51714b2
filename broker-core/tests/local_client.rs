//! The in-process client follows the same rules and the same router as clients on the wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Instant, SystemTime};

use broker_core::auth::{AllowResponses, Grant, Permissions};
use broker_core::limits::{LOCAL_QUEUE_MESSAGES, LOCAL_REQUESTS};
use broker_core::{
    Broker, Client, CloseReason, HeaderMap, Limits, Options, PublishError, RawMessage,
    RequestError, Subject, SubjectError, SubscribeError,
};
use bytes::Bytes;
use common::World;
use futures_executor::block_on;

fn broker() -> Broker {
    Broker::new(Options::default(), (Instant::now, SystemTime::now))
}

fn client_who(broker: &Broker, permissions: Permissions) -> Client {
    broker.client_as(Grant::user("x").with_permissions(permissions))
}

#[test]
fn a_message_arrives_with_all_its_parts() {
    let client = broker().client();
    block_on(async {
        let mut inbox = client.subscribe("a.*").await.unwrap();
        let headers: HeaderMap = [("Trace", "1"), ("Trace", "2")].into_iter().collect();
        client
            .publish_with_reply_and_headers("a.b", "r", headers.clone(), "hi".into())
            .await
            .unwrap();
        let message = inbox.next().await.unwrap();
        assert_eq!(&*message.subject, "a.b");
        assert_eq!(message.reply.as_deref(), Some("r"));
        assert_eq!((message.headers, message.payload), (Some(headers), Bytes::from("hi")));
        client.publish("a.c", Bytes::new()).await.unwrap();
        let message = inbox.next().await.unwrap();
        assert_eq!((message.reply, message.headers, message.payload), (None, None, Bytes::new()));
    });
}

#[test]
fn wire_clients_and_in_process_clients_exchange_messages() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut wire = world.join();
    let mut inbox = block_on(client.subscribe("from.wire")).unwrap();
    world.send(
        &mut wire,
        "SUB from.here 1\r\nHPUB from.wire r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n",
    );
    let message = inbox.try_next().unwrap();
    assert_eq!(message.reply.as_deref(), Some("r"));
    assert_eq!(message.headers.unwrap().get("A"), Some("b"));
    assert_eq!(message.payload, "hi");
    let headers: HeaderMap = [("A", "b")].into_iter().collect();
    block_on(async {
        client.publish("from.here", "plain".into()).await.unwrap();
        client.publish_with_reply("from.here", "r", "asks".into()).await.unwrap();
        client.publish_with_headers("from.here", headers, "heads".into()).await.unwrap();
    });
    assert_eq!(
        wire.read(),
        "MSG from.here 1 5\r\nplain\r\nMSG from.here 1 r 4\r\nasks\r\n\
         HMSG from.here 1 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nheads\r\n"
    );
}

#[test]
fn a_request_is_answered() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    let mut request = pin!(client.request("ask", "what".into()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    let asked = responder.read();
    let reply = asked.split(' ').nth(3).unwrap();
    assert!(reply.starts_with("_INBOX."), "{asked}");
    world.send(&mut responder, format!("PUB {reply} 4\r\nthat\r\n"));
    let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
    assert_eq!(answer.payload, "that");
    assert_eq!(world.broker.stats().subscriptions, 2, "one inbox for all requests");
}

#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    {
        let mut request = pin!(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let _second = pin!(client.request("ask", Bytes::new()));
        assert_eq!(world.broker.stats().subscriptions, 2);
    }
    // Late replies reach no later request.
    let late = responder.read();
    let mut request = pin!(client.request("ask", Bytes::new()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    for (asked, answer) in [(late, "late"), (responder.read(), "good")] {
        if let Some(reply) = asked.split(' ').nth(3) {
            world.send(&mut responder, format!("PUB {reply} 4\r\n{answer}\r\n"));
        }
    }
    let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
    assert_eq!(answer.payload, "good");
    assert_eq!(world.broker.stats().subscriptions, 2, "one inbox for all requests");
}

#[test]
fn an_inbox_ends_with_its_client() {
    let broker = broker();
    let client = broker.client();
    assert_eq!(block_on(client.request("ask", Bytes::new())), Err(RequestError::NoResponders));
    assert_eq!(broker.stats().subscriptions, 1);
    drop(client);
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn many_concurrent_requests_each_get_their_first_reply() {
    let broker = broker();
    let (client, service) = (broker.client(), broker.client());
    let mut asked = block_on(service.subscribe("ask")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut requests: Vec<_> = (0..500)
        .map(|number: u32| Box::pin(client.request("ask", number.to_string().into())))
        .collect();
    for request in &mut requests {
        assert!(request.as_mut().poll(&mut cx).is_pending());
    }
    let mut questions: Vec<_> = std::iter::from_fn(|| asked.try_next()).collect();
    questions.reverse();
    for question in questions {
        let reply = question.reply.unwrap();
        block_on(service.publish(reply.clone(), question.payload)).unwrap();
        block_on(service.publish(reply, "another".into())).unwrap();
    }
    for (number, request) in requests.iter_mut().enumerate() {
        let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
        assert_eq!(answer.payload, number.to_string());
    }
    assert_eq!(broker.stats().subscriptions, 2);
}

#[test]
fn the_number_of_pending_requests_is_limited() {
    let broker = broker();
    let client = broker.client();
    let _asked = block_on(broker.client().subscribe("ask")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::new();
    for _ in 0..LOCAL_REQUESTS {
        let mut request = Box::pin(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut cx).is_pending());
        waiting.push(request);
    }
    let one_more = block_on(client.request("ask", Bytes::new()));
    assert_eq!(one_more, Err(RequestError::TooManyRequests));
    waiting.pop();
    assert!(Box::pin(client.request("ask", Bytes::new())).as_mut().poll(&mut cx).is_pending());
}

#[test]
fn a_client_without_permission_for_a_wildcard_inbox_has_one_per_request() {
    let broker = broker();
    let mut asked = block_on(broker.client().subscribe("ask")).unwrap();
    let permissions = Permissions::builder().subscribe_allow(["_INBOX.*"]).build().unwrap();
    let client = client_who(&broker, permissions);
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut request = pin!(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut cx).is_pending());
        assert_eq!(broker.stats().subscriptions, 2);
        let reply = asked.try_next().unwrap().reply.unwrap();
        assert_eq!(reply.split('.').count(), 2, "{reply}");
        block_on(broker.client().publish(reply, "yes".into())).unwrap();
        let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
        assert_eq!(answer.payload, "yes");
    }
    assert_eq!(broker.stats().subscriptions, 1);
    let nowhere = block_on(client.request("nowhere", Bytes::new()));
    assert_eq!(nowhere, Err(RequestError::NoResponders));
    let denied = Permissions::builder().subscribe_deny(["_INBOX.>"]).build().unwrap();
    let asked = block_on(client_who(&broker, denied).request("ask", Bytes::new()));
    assert!(matches!(asked, Err(RequestError::Subscribe(SubscribeError::Denied(_)))), "{asked:?}");
    let limits = Limits { max_subscription_tokens: Some(2), ..Limits::default() };
    broker.apply(Options { limits, ..Options::default() }, None);
    let nowhere = block_on(broker.client().request("nowhere", Bytes::new()));
    assert_eq!(nowhere, Err(RequestError::NoResponders));
}

#[test]
fn messages_taken_by_a_reader_do_not_count_and_are_few() {
    let broker = broker();
    let client = broker.client();
    for (capacity, taken) in [(1, 1), (64, 1), (127, 1), (128, 2), (6_400, 64), (65_536, 64)] {
        let mut inbox = block_on(client.subscribe("a")).unwrap();
        inbox.set_capacity(capacity);
        let publish = || {
            for number in 0..capacity + 100 {
                client
                    .publish_raw(&RawMessage::new(
                        &"a".parse().unwrap(),
                        number.to_string().as_bytes(),
                    ))
                    .unwrap();
            }
        };
        publish();
        assert_eq!(inbox.dropped(), 100);
        assert_eq!(inbox.try_next().unwrap().payload, "0");
        publish();
        let dropped = 100 + (capacity + 100 - taken) as u64;
        assert_eq!(inbox.dropped(), dropped, "room for what was taken, capacity {capacity}");
        let rest: Vec<_> = std::iter::from_fn(|| inbox.try_next()).collect();
        assert_eq!(rest.len(), capacity - 1 + taken);
        let numbers: Vec<usize> = rest
            .iter()
            .map(|one| std::str::from_utf8(&one.payload).unwrap().parse().unwrap())
            .collect();
        assert!(numbers.iter().copied().eq((1..capacity).chain(0..taken)), "in order");
    }
}

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
fn a_look_at_an_empty_queue_does_not_replace_the_task_that_waits() {
    let client = broker().client();
    let mut received = block_on(client.subscribe("a")).unwrap();
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    assert!(pin!(received.next()).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(received.try_next().is_none());
    block_on(client.publish("a", "x".into())).unwrap();
    assert!(flag.0.load(Ordering::SeqCst), "its task is woken");
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

#[test]
fn unchanged_headers_are_forwarded_byte_for_byte() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut inbox = block_on(client.subscribe("in")).unwrap();
    let mut wire = world.join();
    let block = "NATS/1.0\r\nA:b \r\n spaced name :  c\r\n\r\n";
    let (head, size) = (block.len(), block.len() + 2);
    world.send(&mut wire, format!("SUB out 1\r\nHPUB in {head} {size}\r\n{block}hi\r\n"));
    let mut headers = inbox.try_next().unwrap().headers.unwrap();
    assert_eq!((headers.get("A"), headers.get(" spaced name ")), (Some("b"), Some("c")));
    block_on(client.publish_with_headers("out", headers.clone(), "hi".into())).unwrap();
    assert_eq!(wire.read(), format!("HMSG out 1 {head} {size}\r\n{block}hi\r\n"));
    headers.insert("A", "d");
    let changed = block_on(client.publish_with_headers("out", headers, "hi".into()));
    assert!(matches!(changed, Err(PublishError::Header(_))), "such a name cannot be written");
}

#[test]
fn a_request_without_responders_fails_at_once() {
    let client = broker().client();
    assert_eq!(block_on(client.request("ask", Bytes::new())), Err(RequestError::NoResponders));
    let headers: HeaderMap = [("A", "b")].into_iter().collect();
    let asked = block_on(client.request_with_headers("ask", headers, Bytes::new()));
    assert_eq!(asked, Err(RequestError::NoResponders));
}

#[test]
fn a_request_ends_when_the_broker_does() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    let mut request = pin!(client.request("ask", Bytes::new()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    world.broker.finish_all(CloseReason::ServerShutdown);
    assert_eq!(request.as_mut().poll(&mut cx), Poll::Ready(Err(RequestError::Closed)));
}

#[test]
fn a_queue_group_spans_wire_and_process() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut local = block_on(client.queue_subscribe("jobs", "workers")).unwrap();
    let mut wire = world.join();
    world.send(&mut wire, "SUB jobs workers 1\r\n");
    for _ in 0..200 {
        block_on(client.publish("jobs", Bytes::new())).unwrap();
    }
    let here = std::iter::from_fn(|| local.try_next()).count();
    assert_eq!(here + wire.count(), 200);
    assert!((50..150).contains(&here), "{here}");
}

#[test]
fn drain_ends_all_subscriptions_once_they_are_read() {
    let broker = broker();
    let (client, other) = (broker.client(), broker.client());
    block_on(async {
        let mut a = client.subscribe("a").await.unwrap();
        let mut b = client.subscribe("b").await.unwrap();
        other.publish("a", "1".into()).await.unwrap();
        client.drain().await;
        other.publish("a", "2".into()).await.unwrap();
        assert_eq!(a.next().await.unwrap().payload, "1");
        assert_eq!((a.next().await, b.next().await), (None, None));
        let answer = other.request("a", Bytes::new()).await;
        assert_eq!(answer, Err(RequestError::NoResponders), "it receives no more");
    });
    drop(other);
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn unsubscribe_leaves_queued_messages_readable() {
    let broker = broker();
    let client = broker.client();
    block_on(async {
        let mut inbox = client.subscribe("a").await.unwrap();
        client.publish("a", "1".into()).await.unwrap();
        inbox.unsubscribe().await;
        client.publish("a", "2".into()).await.unwrap();
        assert_eq!(inbox.next().await.unwrap().payload, "1");
        assert_eq!(inbox.next().await, None);
    });
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn unsubscribe_after_counts_from_the_beginning() {
    let broker = broker();
    let client = broker.client();
    block_on(async {
        let mut inbox = client.subscribe("a").await.unwrap();
        client.publish("a", "1".into()).await.unwrap();
        inbox.unsubscribe_after(3);
        for payload in ["2", "3", "4"] {
            client.publish("a", payload.into()).await.unwrap();
        }
        for expected in ["1", "2", "3"] {
            assert_eq!(inbox.next().await.unwrap().payload, expected);
        }
        assert_eq!(inbox.next().await, None);
        let mut inbox = client.subscribe("a").await.unwrap();
        client.publish("a", "1".into()).await.unwrap();
        inbox.unsubscribe_after(1);
        assert_eq!(inbox.next().await.unwrap().payload, "1");
        assert_eq!(inbox.next().await, None, "it had them already");
    });
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn a_dropped_subscriber_unsubscribes() {
    let broker = broker();
    let client = broker.client();
    let inbox = block_on(client.subscribe("a")).unwrap();
    assert_eq!(broker.stats().subscriptions, 1);
    drop(client);
    assert_eq!(broker.stats().subscriptions, 1, "a subscriber needs no client beside it");
    drop(inbox);
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn a_full_queue_drops_and_counts_messages() {
    let broker = broker();
    let client = broker.client();
    let mut inbox = block_on(client.subscribe("a")).unwrap();
    for number in 0..LOCAL_QUEUE_MESSAGES + 3 {
        block_on(client.publish("a", number.to_string().into())).unwrap();
    }
    assert_eq!(inbox.dropped(), 3);
    assert_eq!(inbox.try_next().unwrap().payload, "0", "the newest are dropped, not the oldest");
    block_on(client.publish("a", "after".into())).unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| inbox.try_next()).collect();
    assert_eq!((rest.len(), inbox.dropped()), (LOCAL_QUEUE_MESSAGES, 3));
    assert_eq!(rest.last().unwrap().payload, "after");
}

/// A message to the subject of the message before goes a shorter way if one subscription inside the process gets it.
#[test]
fn repeated_messages_follow_the_same_rules_as_the_first() {
    let broker = broker();
    let (client, reader) = (broker.client(), broker.client());
    let publish = |payload: &str| {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        block_on(client.publish("a", payload)).unwrap();
    };
    let mut inbox = block_on(reader.subscribe("a")).unwrap();
    publish("first");
    assert_eq!(inbox.try_next().unwrap().payload, "first");

    inbox.set_capacity(2);
    ["1", "2", "3", "4"].into_iter().for_each(publish);
    assert_eq!(inbox.dropped(), 2, "a full queue drops and counts");
    assert_eq!(inbox.try_next().unwrap().payload, "1");
    publish("5");
    let rest: Vec<Bytes> = std::iter::from_fn(|| inbox.try_next()).map(|one| one.payload).collect();
    assert_eq!((rest, inbox.dropped()), (vec!["2".into(), "5".into()], 2));

    let mut other = block_on(reader.subscribe(">")).unwrap();
    publish("both");
    assert_eq!(inbox.try_next().unwrap().payload, "both");
    assert_eq!(other.try_next().unwrap().payload, "both");
    drop(other);
    publish("one");
    assert_eq!(inbox.try_next().unwrap().payload, "one");

    let own = block_on(client.subscribe("own")).unwrap();
    for _ in 0..3 {
        block_on(client.publish("own", Bytes::new())).unwrap();
    }
    drop(own);
    inbox.unsubscribe_after(10);
    ["9", "10", "late"].into_iter().for_each(publish);
    let last: Vec<Bytes> = std::iter::from_fn(|| inbox.try_next()).map(|one| one.payload).collect();
    assert_eq!(last, ["9", "10"], "it ends after ten messages, dropped ones included");
    assert_eq!(block_on(inbox.next()), None);
    assert_eq!(broker.stats().subscriptions, 0);
    assert!(matches!(block_on(client.request("a", Bytes::new())), Err(RequestError::NoResponders)));
}

#[test]
fn repeated_requests_allow_a_response_each() {
    let broker = broker();
    let permissions = Permissions::builder()
        .publish_allow(["nothing"])
        .allow_responses(AllowResponses::new(1, None))
        .build()
        .unwrap();
    let (client, service) = (broker.client(), client_who(&broker, permissions));
    let mut requests = block_on(service.subscribe("service")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    for number in 0..5 {
        let mut asking = pin!(client.request("service", format!("{number}").into()));
        assert!(asking.as_mut().poll(&mut cx).is_pending());
        let request = requests.try_next().unwrap();
        let reply = request.reply.unwrap();
        block_on(service.publish(reply.clone(), request.payload)).unwrap();
        assert!(block_on(service.publish(reply, Bytes::new())).is_err(), "one response is allowed");
        let Poll::Ready(Ok(answer)) = asking.poll(&mut cx) else { panic!("no answer") };
        assert_eq!(answer.payload, format!("{number}"));
    }
}

#[test]
fn each_repeated_message_wakes_the_task_that_waits() {
    let broker = broker();
    let client = broker.client();
    let mut inbox = block_on(broker.client().subscribe("a")).unwrap();
    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..5 {
        let mut next = pin!(inbox.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        block_on(client.publish("a", Bytes::new())).unwrap();
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert!(next.poll(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn denied_operations_are_errors() {
    let broker = broker();
    let permissions = Permissions::builder().publish_deny(["no"]).subscribe_deny(["no", "q w"]);
    let client = client_who(&broker, permissions.build().unwrap());
    block_on(async {
        let denied = client.publish("no", Bytes::new()).await.unwrap_err();
        assert!(matches!(&denied, PublishError::Denied(subject) if &**subject == "no"));
        assert_eq!(denied.to_string(), "publishing to no is not allowed");
        let denied = client.request("no", Bytes::new()).await.unwrap_err();
        assert!(matches!(denied, RequestError::Publish(PublishError::Denied(_))));
        let denied = client.subscribe("no").await.err().unwrap();
        assert_eq!(denied.to_string(), "subscribing to no is not allowed");
        assert!(client.queue_subscribe("q", "w").await.is_err());
        assert!(client.queue_subscribe("q", "v").await.is_ok());
        let mut all = client.subscribe(">").await.unwrap();
        broker.client().publish("no", Bytes::new()).await.unwrap();
        broker.client().publish("yes", Bytes::new()).await.unwrap();
        assert_eq!(&*all.next().await.unwrap().subject, "yes", "no denied message is delivered");
    });
}

#[test]
fn operations_reserved_to_servers_are_denied() {
    let client = broker().client();
    block_on(async {
        for subject in ["_GR_.x", "$NRG.x"] {
            let denied = client.publish(subject, Bytes::new()).await;
            assert!(matches!(denied, Err(PublishError::Denied(_))), "{subject}");
        }
        let denied = client.publish_with_reply("a", "_R_.x", Bytes::new()).await;
        assert!(matches!(denied, Err(PublishError::Denied(_))));
        let denied = client.queue_subscribe("a", "_sys_").await;
        assert!(matches!(denied, Err(SubscribeError::Denied(_))));
    });
}

#[test]
fn invalid_arguments_are_errors() {
    let client = broker().client();
    block_on(async {
        for (subject, expected) in [
            ("", SubjectError::Empty),
            ("a..b", SubjectError::EmptyToken),
            ("a b", SubjectError::WhiteSpace),
            ("a.*", SubjectError::Wildcard),
        ] {
            let error = client.publish(subject, Bytes::new()).await;
            assert_eq!(error, Err(PublishError::Subject(expected)), "{subject:?}");
        }
        let headers: HeaderMap = [("a:b", "c")].into_iter().collect();
        let error = client.publish_with_headers("a", headers, Bytes::new()).await;
        assert!(matches!(error, Err(PublishError::Header(_))));
        for queue in ["", "a b"] {
            assert!(client.queue_subscribe("a", queue).await.is_err(), "{queue:?}");
        }
        let error = client.subscribe("a.>.b").await.err();
        assert_eq!(error, Some(SubscribeError::Filter(SubjectError::FullNotLast)));
    });
}

#[test]
fn the_limits_apply() {
    let limits = Limits {
        max_payload_bytes: 20,
        max_subscriptions: Some(2),
        max_subscription_tokens: Some(3),
        ..Limits::default()
    };
    let client =
        Broker::new(Options { limits, ..Options::default() }, (Instant::now, SystemTime::now))
            .client();
    block_on(async {
        client.publish("a", vec![0; 20].into()).await.unwrap();
        let error = client.publish("a", vec![0; 21].into()).await;
        assert_eq!(error, Err(PublishError::MaxPayload { size: 21, limit: 20 }));
        let headers: HeaderMap = [("A", "b")].into_iter().collect();
        let error = client.publish_with_headers("a", headers, vec![0; 3].into()).await;
        assert_eq!(error, Err(PublishError::MaxPayload { size: 21, limit: 20 }));
        assert!(client.subscribe("a.b.c").await.is_ok());
        let error = client.subscribe("a.b.c.d").await.err();
        assert_eq!(error, Some(SubscribeError::TooManyTokens));
        let first = client.subscribe("a").await.unwrap();
        let _second = client.subscribe("a").await.unwrap();
        let error = client.subscribe("a").await.err();
        assert_eq!(error, Some(SubscribeError::MaxSubscriptions));
        drop(first);
        assert!(client.subscribe("a").await.is_ok(), "room again");
    });
}

#[test]
fn many_threads_may_use_one_client() {
    const EACH: usize = 2_000;
    let client = broker().client();
    let mut inbox = block_on(client.subscribe("n.>")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let payload = number.to_string().into();
                    block_on(client.publish(format!("n.{thread}"), payload)).unwrap();
                    if number % 100 == 0 {
                        drop(block_on(client.subscribe("n.x")).unwrap());
                    }
                }
            });
        }
    });
    let mut next = [0; 4];
    while let Some(message) = inbox.try_next() {
        let thread: usize = message.subject[2..].parse().unwrap();
        assert_eq!(message.payload, next[thread].to_string(), "in order");
        next[thread] += 1;
    }
    assert_eq!(next, [EACH; 4]);
}

#[test]
fn a_reader_that_waits_is_woken_from_another_thread() {
    let client = broker().client();
    let mut inbox = block_on(client.subscribe("a")).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| block_on(inbox.next()));
        block_on(client.publish("a", "wake".into())).unwrap();
        assert_eq!(reader.join().unwrap().unwrap().payload, "wake");
    });
}

/// A waker that uses the client that wakes it.
struct Nested(Client, AtomicBool);

impl Wake for Nested {
    fn wake(self: Arc<Self>) {
        if !self.1.swap(true, Ordering::SeqCst) {
            let published = pin!(self.0.publish("b", "from the waker".into()));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(published.poll(&mut cx), Poll::Ready(Ok(()))));
        }
    }
}

#[test]
fn a_waker_may_use_the_client_it_is_woken_by() {
    let client = broker().client();
    let mut a = block_on(client.subscribe("a")).unwrap();
    let mut b = block_on(client.subscribe("b")).unwrap();
    let waker = Arc::new(Nested(client.clone(), AtomicBool::new(false))).into();
    assert!(pin!(a.next()).poll(&mut Context::from_waker(&waker)).is_pending());
    block_on(client.publish("a", Bytes::new())).unwrap();
    assert_eq!(b.try_next().unwrap().payload, "from the waker");
}

#[test]
fn in_process_clients_are_counted_but_are_no_connections() {
    let broker = broker();
    let client = broker.client();
    let inbox = block_on(client.subscribe("a")).unwrap();
    block_on(client.publish("a", "hello".into())).unwrap();
    let stats = broker.stats();
    assert_eq!((stats.connections, stats.total_connections, stats.subscriptions), (0, 0, 1));
    assert_eq!((stats.in_messages, stats.in_bytes), (1, 5));
    assert_eq!((stats.out_messages, stats.out_bytes), (1, 5));
    drop((client, inbox));
    let after = broker.stats();
    assert_eq!((after.in_messages, after.out_messages, after.subscriptions), (1, 1, 0));
}

/// A waker that sets a flag.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Returns true if the queue has room, without waiting.
fn has_room(client: &Client, subject: &str) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(client.wait_for_room(subject)).poll(&mut cx).is_ready()
}

#[test]
fn publishers_that_wait_for_room_lose_nothing() {
    const EACH: usize = 2_000;
    let broker = broker();
    let mut inbox = block_on(broker.client().subscribe("jobs.*")).unwrap();
    inbox.set_capacity(8);
    let publishers: Vec<_> = (0..4)
        .map(|at| {
            let client = broker.client();
            std::thread::spawn(move || {
                block_on(async {
                    for count in 0..EACH {
                        client.wait_for_room(format!("jobs.{at}")).await.unwrap();
                        client
                            .publish(format!("jobs.{at}"), count.to_string().into())
                            .await
                            .unwrap();
                    }
                });
            })
        })
        .collect();
    for _ in 0..4 * EACH {
        block_on(inbox.next()).unwrap();
    }
    assert_eq!((inbox.try_next(), inbox.dropped()), (None, 0));
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}

#[test]
fn there_is_room_while_all_plain_subscribers_and_one_of_each_group_have_some() {
    let client = broker().client();
    block_on(async {
        let mut plain = client.subscribe("x").await.unwrap();
        let mut one = client.queue_subscribe("x", "q").await.unwrap();
        let mut other = client.queue_subscribe("x", "q").await.unwrap();
        plain.set_capacity(100);
        one.set_capacity(2);
        other.set_capacity(2);
        assert!(has_room(&client, "x") && has_room(&client, "nobody"));
        for _ in 0..4 {
            client.publish("x", "".into()).await.unwrap();
        }
        assert!(!has_room(&client, "x"), "both members are full");
        assert_eq!((one.dropped(), other.dropped()), (0, 0));
        one.next().await.unwrap();
        assert!(has_room(&client, "x"), "one of them is not");
        plain.set_capacity(4);
        assert!(!has_room(&client, "x"), "the plain subscriber is");
        plain.next().await.unwrap();
        plain.next().await.unwrap();
        assert!(has_room(&client, "x"));
        assert!(matches!(client.wait_for_room("no subject").await, Err(SubjectError::WhiteSpace)));
    });
}

#[test]
fn waiting_for_room_ends_when_the_receivers_are_gone() {
    let broker = broker();
    let full = async || {
        let mut inbox = broker.client().subscribe("x").await.unwrap();
        inbox.set_capacity(1);
        broker.client().publish("x", "".into()).await.unwrap();
        inbox
    };
    let client = broker.client();
    block_on(async {
        let mut inbox = full().await;
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut waiting = pin!(client.wait_for_room("x"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        inbox.unsubscribe().await;
        assert!(flag.0.load(Ordering::SeqCst), "it has ended");
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());

        let inbox = full().await;
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut waiting = pin!(client.wait_for_room("x"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(inbox);
        assert!(flag.0.load(Ordering::SeqCst), "it was dropped");
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());

        let _inbox = full().await;
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut waiting = pin!(client.wait_for_room("x"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        broker.finish_all(CloseReason::ServerShutdown);
        assert!(flag.0.load(Ordering::SeqCst), "the broker ends");
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    });
}

#[test]
fn changed_limits_apply_to_the_next_message() {
    let broker = broker();
    let client = broker.client();
    let payload = Bytes::from_static(b"12345");
    block_on(client.publish("x", payload.clone())).unwrap();
    for (limit, fits) in [(4, false), (5, true), (4, false)] {
        let limits = Limits { max_payload_bytes: limit, ..Limits::default() };
        broker.apply(Options { limits, ..Options::default() }, None);
        assert_eq!(block_on(client.publish("x", payload.clone())).is_ok(), fits);
    }
}

/// Answers to one client are all matched by one search, unless a subscription tells them apart.
#[test]
fn observers_get_the_answers_that_match_their_subscriptions() {
    let mut world = World::new();
    let (requester, service) = (world.broker.client(), world.broker.client());
    let mut wire = world.join();
    block_on(async {
        let mut requests = service.subscribe("ask").await.unwrap();
        let mut seen = world.broker.client().subscribe("_INBOX.>").await.unwrap();
        for round in 0..12 {
            let mut asking = pin!(requester.request("ask", "?".into()));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(asking.as_mut().poll(cx).is_pending());
            let reply = requests.try_next().unwrap().reply.unwrap();
            let client = reply.rsplit_once('.').unwrap().0.to_owned();
            // No observer, one of all answers, one of this answer, one of another one, one of all answers to the client.
            let filter = match round % 5 {
                0 => None,
                1 => Some(String::from("*.*.*")),
                2 => Some(reply.to_string()),
                3 => Some(format!("{client}.other")),
                _ => Some(format!("{client}.*")),
            };
            if let Some(filter) = &filter {
                world.send(&mut wire, format!("SUB {filter} {round}\r\n"));
            }
            service.publish(reply.clone(), "!".into()).await.unwrap();
            let Poll::Ready(answer) = asking.as_mut().poll(cx) else { panic!("no answer") };
            let answer = answer.unwrap();
            assert_eq!((answer.subject, answer.payload), (reply.clone(), Bytes::from("!")));
            assert_eq!(seen.try_next().unwrap().subject, reply, "{filter:?}");
            let expected = match round % 5 {
                0 | 3 => String::new(),
                _ => format!("MSG {reply} {round} 1\r\n!\r\n"),
            };
            assert_eq!(wire.read(), expected, "{filter:?}");
            world.send(&mut wire, format!("UNSUB {round}\r\n"));
        }
        assert!(seen.try_next().is_none() && requests.try_next().is_none());
    });
}

#[test]
fn a_service_may_answer_only_what_its_permissions_allow() {
    let broker = broker();
    let requester = broker.client();
    let permissions = Permissions::builder().publish_deny(["_INBOX.*.denied"]).build().unwrap();
    let service = client_who(&broker, permissions);
    block_on(async {
        let mut requests = service.subscribe("ask").await.unwrap();
        for _ in 0..3 {
            let mut asking = pin!(requester.request("ask", "?".into()));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(asking.as_mut().poll(cx).is_pending());
            let reply = requests.try_next().unwrap().reply.unwrap();
            let denied = format!("{}.denied", reply.rsplit_once('.').unwrap().0);
            let refused = service.publish(denied.as_str(), "!".into()).await;
            assert_eq!(refused, Err(PublishError::Denied(Subject::parse(&denied).unwrap())));
            service.publish(reply, "!".into()).await.unwrap();
            assert!(asking.as_mut().poll(cx).is_ready());
        }
    });
}
