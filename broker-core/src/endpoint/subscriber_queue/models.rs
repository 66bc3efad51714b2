//! Models of the queue: publishers hand messages over, a task reads them, another thread ends the queue. Run by shuttle under many
//! schedules; a lost wake-up shows as a deadlock.

use std::task::Wake;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::*;
use crate::subject::Subject;
use crate::sync::{Arc, check_model};

const PUBLISHERS: usize = 2;
const MESSAGES: usize = 3;

/// The task that reads.
#[derive(Default)]
struct Task {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }
}

impl Task {
    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !std::mem::take(&mut *is_woken) {
            is_woken = self.woken.wait(is_woken).unwrap();
        }
    }
}

/// Publishes messages that name their publisher, until the queue takes no more. Returns the number taken.
fn publish(queue: &SubscriberQueue, admission: &Admission, publisher: usize) -> usize {
    for number in 0..MESSAGES {
        let subject = Subject::from_wire(publisher.to_string().as_bytes());
        let message = Message::of(subject, number.to_string().into());
        let Some(place) = queue.place(admission, &message) else { return number };
        if let Some(reader) = place.put(message) {
            reader.wake();
        }
    }
    MESSAGES
}

/// Reads until the queue has ended. Returns the number of messages of each publisher.
fn read(queue: &SubscriberQueue) -> [usize; PUBLISHERS] {
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    let (mut taken, mut counts) = (VecDeque::new(), [0; PUBLISHERS]);
    loop {
        let next = match taken.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None => queue.poll_next(&mut taken, &mut Context::from_waker(&waker)),
        };
        match next {
            Poll::Pending => task.sleep(),
            Poll::Ready(None) => return counts,
            Poll::Ready(Some(message)) => {
                let publisher: usize = message.subject.as_str().parse().unwrap();
                assert_eq!(message.payload, counts[publisher].to_string(), "in order");
                counts[publisher] += 1;
            }
        }
    }
}

fn model(max: u64, ends_early: bool) {
    let queue = Arc::new(SubscriberQueue::new(1, false, false));
    let admission = Arc::new(Admission::default());
    if max > 0 {
        assert!(admission.end_after(max));
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (queue, admission) = (Arc::clone(&queue), Arc::clone(&admission));
            thread::spawn(move || publish(&queue, &admission, publisher))
        })
        .collect();
    let reader = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || read(&queue))
    };
    if ends_early {
        queue.end();
    }
    let sent: Vec<usize> = publishers.into_iter().map(|one| one.join().unwrap()).collect();
    if max == 0 {
        queue.end();
    }
    let received = reader.join().unwrap();
    assert_eq!(sent, received);
    assert_eq!(queue.counts().messages, admission.delivered());
    if max > 0 {
        assert_eq!(admission.delivered(), max);
    }
}

#[test]
fn each_message_that_has_a_place_is_read() {
    check_model(|| model(0, false));
}

#[test]
fn each_message_that_has_a_place_is_read_although_the_queue_ends() {
    check_model(|| model(0, true));
}

#[test]
fn a_queue_ends_with_the_last_message_of_its_subscription() {
    check_model(|| model(4, false));
}
