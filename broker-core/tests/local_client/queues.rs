//! Queues of subscriptions: their ends and their bounds.

use broker_core::limits::LOCAL_QUEUE_MESSAGES;
use broker_core::{RawMessage, RequestError};
use bytes::Bytes;
use futures_executor::block_on;

use crate::broker;
use crate::common::World;

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
