//! Publishers that wait for room.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use broker_core::{Client, CloseReason, SubjectError};
use futures_executor::block_on;

use crate::{Flag, broker};

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
