//! The session of an in-process client.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::auth::Grant;
use crate::endpoint::{Kind, LocalQueues, Scratch, SubscriberQueue, Subscription};
use crate::headers::HeaderMap;
use crate::interest::Matches;
use crate::message::{Message, RawMessage};
use crate::proto::Publish;
use crate::routing::{flush_touched, hand_over};
use crate::session::error::{PublishError, SubscribeError};
use crate::session::inside::{InsidePublisher, Outgoing, join};
use crate::session::member::Member;
use crate::session::publisher::destinations;
use crate::shared::Shared;
use crate::subject::Subject;
use crate::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::batch_size::BatchSize;
use super::inbox::Inbox;

/// The state that all clones of a client share.
pub(super) struct LocalSession {
    pub(super) shared: Arc<Shared>,
    pub(super) member: Member,
    pub(super) local_queues: Arc<LocalQueues>,
    /// Used by one thread at a time, and not while readers are woken, which may publish in their turn.
    publish_state: Mutex<PublishState>,
    pub(super) batch_size: BatchSize,
    /// Created by the first request.
    pub(super) inbox: OnceLock<Inbox>,
}

/// The state needed for publishing.
struct PublishState {
    publisher: InsidePublisher,
    /// Lent to one call at a time. A call that finds none creates one.
    scratch: Option<Box<Scratch>>,
}

/// A request of the client that has no responders.
pub(super) struct Unanswered {
    requester: Arc<Subscription>,
    answer: Message,
}

/// Those of a call. Mostly there are none, and no list.
pub(super) type AllUnanswered = Option<Vec<Unanswered>>;

#[cold]
#[inline(never)]
fn put_all(unanswered: Vec<Unanswered>) {
    for Unanswered { requester, answer } in unanswered {
        if let Some(queue) = requester.local_queue() {
            queue.put(answer);
        }
    }
}

impl LocalSession {
    pub(super) fn open(shared: Arc<Shared>, grant: Grant) -> Self {
        let local_queues = Arc::new(LocalQueues::default());
        let destination = Arc::clone(&local_queues) as Arc<_>;
        let (member, publisher) = join(&shared, destination, Kind::Internal, grant);
        let publish_state = Mutex::new(PublishState { publisher, scratch: None });
        let (batch_size, inbox) = (BatchSize::default(), OnceLock::new());
        Self { shared, member, local_queues, publish_state, batch_size, inbox }
    }

    /// Publishes a message. An error is boxed, so that success is returned in a register.
    #[inline(always)]
    pub(super) fn publish(&self, message: Message) -> Result<(), Box<PublishError>> {
        match &message.headers {
            Some(_) => self.publish_with_headers(message),
            None => self.publish_bare(message),
        }
    }

    #[inline(never)]
    fn publish_with_headers(&self, mut message: Message) -> Result<(), Box<PublishError>> {
        let headers = message.headers.take().filter(|headers| !headers.is_empty());
        let Some(headers) = headers else { return self.publish_bare(message) };
        let joined = headers.join(&message.payload);
        let (header_len, body) = joined.map_err(|invalid| Box::new(invalid.into()))?;
        let outgoing = outgoing(&message, Some(header_len), &body);
        Ok(self.publish_one(self.publish_state.lock(), &outgoing)?)
    }

    /// Publishes a message without headers, which is moved to its receiver's queue if it can be handed over.
    #[inline(never)]
    fn publish_bare(&self, message: Message) -> Result<(), Box<PublishError>> {
        let mut publish_state = self.publish_state.lock();
        let publisher = &mut publish_state.publisher;
        let only = publisher.only_receiver(&self.shared, &self.member, &message);
        let Some((only, queue)) = only else {
            return self.publish_copied(publish_state, &message);
        };
        let Some(place) = queue.place(only.admission(), &message) else {
            return self.publish_copied(publish_state, &message);
        };
        let bytes = message.payload.len();
        let reader = hand_over(only, place, message);
        publish_state.publisher.count_handed_over(&self.member, bytes);
        // Nothing was appended to a connection: there is nothing to flush, and no memory to check.
        drop(publish_state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    #[inline(never)]
    fn publish_copied(
        &self,
        publish_state: MutexGuard<'_, PublishState>,
        message: &Message,
    ) -> Result<(), Box<PublishError>> {
        let outgoing = outgoing(message, None, &message.payload);
        Ok(self.publish_one(publish_state, &outgoing)?)
    }

    /// Publishes a raw message.
    pub(super) fn publish_raw(&self, message: &RawMessage<'_>) -> Result<(), PublishError> {
        let mut joined = Vec::new();
        let body = message.body.unwrap_or_else(|| {
            joined = [message.headers, message.payload].concat();
            &joined
        });
        let outgoing = Outgoing {
            subject: message.subject,
            parsed: None,
            reply: message.reply,
            header_len: Some(message.headers.len()).filter(|len| *len > 0),
            body,
            shared: message.shared,
        };
        self.publish_one(self.publish_state.lock(), &outgoing)
    }

    /// Publishes a message as a run.
    #[inline(never)]
    fn publish_one(
        &self,
        publish_state: MutexGuard<'_, PublishState>,
        message: &Outgoing<'_>,
    ) -> Result<(), PublishError> {
        self.publish_by(publish_state, |publisher, unanswered, scratch| {
            let no_responders = |subject: &[u8], message: &Publish<'_>, _: &mut Scratch| {
                unanswered.get_or_insert_default().extend(self.no_responders(subject, message));
            };
            publisher.publish(&self.shared, &self.member, message, no_responders, scratch)
        })
    }

    /// Lets `publish` publish, and flushes once.
    pub(super) fn publish_all<R>(
        &self,
        publish: impl FnOnce(&mut InsidePublisher, &mut AllUnanswered, &mut Scratch) -> R,
    ) -> R {
        self.publish_by(self.publish_state.lock(), publish)
    }

    /// As [`Self::publish_all`], with the locked state. The replies to requests without responders are collected in a
    /// list, because a task that waits for them may publish in its turn.
    #[inline(always)]
    fn publish_by<R>(
        &self,
        mut publish_state: MutexGuard<'_, PublishState>,
        publish: impl FnOnce(&mut InsidePublisher, &mut AllUnanswered, &mut Scratch) -> R,
    ) -> R {
        let mut unanswered = None;
        let PublishState { publisher, scratch } = &mut *publish_state;
        let lent = scratch.get_or_insert_default();
        lent.start_by(&self.shared.clock);
        let published = publish(publisher, &mut unanswered, lent);
        let unflushed = if lent.has_flushed() { None } else { scratch.take() };
        drop(publish_state);
        if let Some(scratch) = unflushed {
            self.flush(scratch);
        }
        if let Some(unanswered) = unanswered {
            put_all(unanswered);
        }
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
        published
    }

    /// Wakes the receivers of a call, while no lock is held.
    #[inline(never)]
    fn flush(&self, mut scratch: Box<Scratch>) {
        flush_touched(&mut scratch);
        self.publish_state.lock().scratch = Some(scratch);
    }

    /// Returns the reply to a request without responders.
    #[cold]
    #[inline(never)]
    pub(super) fn no_responders(
        &self,
        subject: &[u8],
        message: &Publish<'_>,
    ) -> Option<Unanswered> {
        let requester = self.member.own_subscription(message.reply)?;
        let subject = Subject::from_wire(subject);
        let answer = Message {
            headers: Some(HeaderMap::no_responders(&subject)),
            subject: Subject::from_wire(message.reply),
            reply: None,
            payload: Bytes::new(),
        };
        Some(Unanswered { requester, answer })
    }

    /// The subscribers are looked up at each poll, because they may have changed.
    pub(super) fn poll_room(&self, subject: &Subject, cx: &mut Context<'_>) -> Poll<()> {
        let mut has_room = |subscription: &Arc<Subscription>| {
            subscription.endpoint.destination.poll_room(subscription, cx).is_ready()
        };
        let is_ready = destinations(&self.member, subject.as_ref()).iter().all(|subject| {
            let mut matches = Matches::default();
            self.member.account.interest.collect(subject, &mut matches);
            matches.plain.iter().all(&mut has_room)
                && matches.groups().iter().all(|group| group.iter().any(&mut has_room))
        });
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Subscribes with an open queue.
    pub(super) fn subscribe_to(
        &self,
        queue: &Arc<SubscriberQueue>,
        filter: &[u8],
        queue_group: Option<&[u8]>,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        self.member.subscribe_to_queue(filter, queue_group, queue).map_err(|refusal| {
            self.local_queues.discard(queue);
            SubscribeError::of(refusal, filter)
        })
    }
}

#[inline(always)]
fn outgoing<'a>(message: &'a Message, header_len: Option<usize>, body: &'a Bytes) -> Outgoing<'a> {
    Outgoing {
        subject: message.subject.as_ref(),
        parsed: Some(&message.subject),
        reply: message.reply_bytes(),
        header_len,
        body,
        shared: Some(body),
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.get() {
            self.end_inbox(inbox);
        }
        self.shared.unregister_local(&self.member.endpoint);
    }
}
