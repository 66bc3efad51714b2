//! Messages between clients in the process and on the wire.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use broker_core::auth::{AllowResponses, Permissions};
use broker_core::{HeaderMap, PublishError, RequestError};
use bytes::Bytes;
use futures_executor::block_on;

use crate::common::World;
use crate::{broker, client_who};

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
