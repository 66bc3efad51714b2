//! Tasks that wait for a message.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use broker_core::Client;
use bytes::Bytes;
use futures_executor::block_on;

use crate::{Flag, broker};

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
