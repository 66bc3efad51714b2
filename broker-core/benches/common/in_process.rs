//! In-process clients that publish to each other, on one thread.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use broker_core::auth::Grant;
use broker_core::{Broker, Client, HandlerSubscription, Options, RawMessage, Subject, Subscriber};
use bytes::Bytes;

use super::Scenario;

/// Messages or requests per turn.
const TURN: usize = 100;

/// Publishes and takes the delivered message, one at a time.
pub(crate) struct Publishing {
    client: Client,
    subscriber: Subscriber,
    payload: Bytes,
    published: u64,
    received: u64,
}

/// Returns the result of a future that is ready at once: nothing here waits for another thread.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it is ready at once"),
    }
}

impl Publishing {
    pub(crate) fn of(payload_bytes: usize) -> Self {
        let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
        let subscriber =
            now(broker.client().subscribe("bench.subject")).unwrap_or_else(|_| unreachable!());
        let payload = vec![b'x'; payload_bytes].into();
        Self { client: broker.client(), subscriber, payload, published: 0, received: 0 }
    }
}

impl Scenario for Publishing {
    fn turns_in_round(&self) -> usize {
        1
    }

    fn turn(&mut self) -> usize {
        for _ in 0..TURN {
            let published = now(self.client.publish("bench.subject", self.payload.clone()));
            self.published += u64::from(published.is_ok());
            self.received += u64::from(self.subscriber.try_next().is_some());
        }
        TURN
    }

    fn account(&self) -> (u64, u64) {
        (self.published, self.received)
    }
}

/// As [`Publishing`], with one batch a turn.
pub(crate) struct Batching {
    publishing: Publishing,
    subject: Subject,
}

impl Batching {
    pub(crate) fn of(payload_bytes: usize) -> Self {
        let subject = Subject::parse("bench.subject").unwrap_or_else(|_| unreachable!());
        Self { publishing: Publishing::of(payload_bytes), subject }
    }
}

impl Scenario for Batching {
    fn turns_in_round(&self) -> usize {
        1
    }

    fn turn(&mut self) -> usize {
        let Self {
            publishing: Publishing { client, subscriber, payload, published, received },
            subject,
        } = self;
        let mut batch = client.batch();
        for _ in 0..TURN {
            let added = batch.publish(&RawMessage::new(subject, payload));
            *published += u64::from(added.is_ok());
        }
        drop(batch);
        *received += std::iter::from_fn(|| subscriber.try_next()).count() as u64;
        TURN
    }

    fn account(&self) -> (u64, u64) {
        self.publishing.account()
    }
}

/// Sends requests to a handler, and takes the replies.
pub(crate) struct AskingHandler {
    client: Client,
    payload: Bytes,
    asked: u64,
    answered: u64,
    _handler: HandlerSubscription,
}

impl AskingHandler {
    pub(crate) fn of(payload_bytes: usize) -> Self {
        let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
        let handler =
            broker.handle(Grant::anonymous(), "bench.subject", None, |request, context| {
                let _ = context.respond(request, request.payload());
            });
        let handler = handler.unwrap_or_else(|_| unreachable!());
        let payload = vec![b'x'; payload_bytes].into();
        Self { client: broker.client(), payload, asked: 0, answered: 0, _handler: handler }
    }
}

impl Scenario for AskingHandler {
    fn turns_in_round(&self) -> usize {
        1
    }

    fn turn(&mut self) -> usize {
        for _ in 0..TURN {
            self.asked += 1;
            let answer = now(self.client.request("bench.subject", self.payload.clone()));
            self.answered += u64::from(answer.is_ok());
        }
        TURN
    }

    fn account(&self) -> (u64, u64) {
        (self.asked, self.answered)
    }
}

/// Sends a request, answers it, and takes the reply.
pub(crate) struct Asking {
    client: Client,
    service: Client,
    requests: Subscriber,
    payload: Bytes,
    asked: u64,
    answered: u64,
}

impl Asking {
    pub(crate) fn of(payload_bytes: usize) -> Self {
        let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
        let service = broker.client();
        let requests = now(service.subscribe("bench.subject")).unwrap_or_else(|_| unreachable!());
        let payload = vec![b'x'; payload_bytes].into();
        Self { client: broker.client(), service, requests, payload, asked: 0, answered: 0 }
    }
}

impl Scenario for Asking {
    fn turns_in_round(&self) -> usize {
        1
    }

    fn turn(&mut self) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..TURN {
            self.asked += 1;
            let mut asking = pin!(self.client.request("bench.subject", self.payload.clone()));
            let is_early = asking.as_mut().poll(&mut cx).is_ready();
            let reply = self.requests.try_next().and_then(|request| request.reply);
            if let Some(reply) = reply {
                let _ = now(self.service.publish(reply, self.payload.clone()));
            }
            let answer = asking.as_mut().poll(&mut cx);
            self.answered += u64::from(!is_early && matches!(answer, Poll::Ready(Ok(_))));
        }
        TURN
    }

    fn account(&self) -> (u64, u64) {
        (self.asked, self.answered)
    }
}
