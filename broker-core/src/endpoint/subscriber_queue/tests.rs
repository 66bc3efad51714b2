//! Tests of the queue by itself.

use std::task::Waker;

use proptest::prelude::*;

use super::*;
use crate::subject::Subject;

fn message(number: usize) -> Message {
    Message::of(Subject::from_wire(b"a"), number.to_string().into())
}

/// Delivers a message in one of the three ways. Returns true if the queue has taken it.
fn deliver(queue: &SubscriberQueue, number: usize, way: u8) -> bool {
    let message = message(number);
    if way == 0 {
        let admission = Admission::default();
        let place = queue.place(&admission, &message);
        return place.map(|place| place.put(message)).is_some();
    }
    let mut state = queue.lock();
    if state.room().is_none_or(|room| room == 0) {
        return false;
    }
    match way {
        1 => state.push(message),
        _ => state.extend([message].into_iter()),
    }
    true
}

proptest! {
    #[test]
    fn messages_are_read_in_their_order_and_none_is_lost(
        capacity in prop_oneof![1..4_usize, 120..300_usize],
        steps in proptest::collection::vec((0..4_u8, 1..100_usize), 1..30),
    ) {
        let queue = SubscriberQueue::new(1, false, false);
        queue.set_capacity(capacity);
        let (mut taken, mut sent, mut read) = (VecDeque::new(), 0, 0);
        let mut next = |taken: &mut VecDeque<Message>| {
            let message = taken.pop_front().or_else(|| queue.take_next(taken));
            if let Some(message) = &message {
                assert_eq!(message.payload, read.to_string());
                read += 1;
            }
            message.is_some()
        };
        for (step, times) in steps {
            for _ in 0..times {
                let waiting = queue.lock().len();
                if step == 3 {
                    next(&mut taken);
                } else {
                    let is_taken = deliver(&queue, sent, step);
                    prop_assert_eq!(is_taken, waiting < capacity);
                    sent += usize::from(is_taken);
                }
            }
        }
        queue.end();
        prop_assert!(!deliver(&queue, sent, 0), "it has ended");
        while next(&mut taken) {}
        prop_assert_eq!(read, sent);
    }
}

#[test]
fn a_message_of_the_broker_is_dropped_and_counted_if_the_queue_is_full() {
    let queue = SubscriberQueue::new(1, false, false);
    queue.set_capacity(1);
    queue.put(message(0));
    queue.put(message(1));
    assert_eq!(queue.dropped(), 1);
    let mut taken = VecDeque::new();
    assert_eq!(queue.take_next(&mut taken), Some(message(0)));
    assert_eq!(queue.take_next(&mut taken), None);
}

#[test]
fn open_requests_end_with_their_queue() {
    let queue = SubscriberQueue::new(1, true, false);
    let mut cx = Context::from_waker(Waker::noop());
    let token = queue.begin_request().unwrap();
    assert!(queue.poll_answer(token, &mut cx).is_pending());
    queue.end();
    assert_eq!(queue.poll_answer(token, &mut cx), Poll::Ready(None));
}
