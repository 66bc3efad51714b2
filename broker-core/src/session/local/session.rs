//! The session of an in-process client.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::auth::Grant;
use crate::endpoint::{Kind, LocalQueues, Scratch, Subscription, sid_number};
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

impl LocalSession {
    pub(super) fn open(shared: Arc<Shared>, grant: Grant) -> Self {
        let local_queues = Arc::new(LocalQueues::default());
        let destination = Arc::clone(&local_queues) as Arc<_>;
        let (member, publisher) = join(&shared, destination, Kind::Internal, grant);
        let publish_state = Mutex::new(PublishState { publisher, scratch: None });
        let (batch_size, inbox) = (BatchSize::default(), OnceLock::new());
        Self { shared, member, local_queues, publish_state, batch_size, inbox }
    }

    /// Publishes a message.
    #[inline(always)]
    pub(super) fn publish(&self, message: Message) -> Result<(), PublishError> {
        match &message.headers {
            Some(_) => self.publish_with_headers(message),
            None => self.publish_bare(&mut Some(message)),
        }
    }

    #[inline(never)]
    fn publish_with_headers(&self, mut message: Message) -> Result<(), PublishError> {
        let headers = message.headers.take().filter(|headers| !headers.is_empty());
        let Some(headers) = headers else { return self.publish_bare(&mut Some(message)) };
        let (header_len, body) = headers.join(&message.payload)?;
        let outgoing = outgoing(&message, Some(header_len), &body);
        self.publish_one(self.publish_state.lock(), &outgoing)
    }

    /// Publishes a message without headers, which is moved from its place to its receiver's queue if it can be handed over.
    #[inline(never)]
    fn publish_bare(&self, place: &mut Option<Message>) -> Result<(), PublishError> {
        let Some(message) = &*place else { return Ok(()) };
        let mut publish_state = self.publish_state.lock();
        let (publisher, bytes) = (&mut publish_state.publisher, message.payload.len());
        let only = publisher.only_receiver(&self.shared, &self.member, message);
        match only.and_then(|only| hand_over(only, place)) {
            Some(reader) => {
                publisher.count_handed_over(&self.member, bytes);
                // Nothing was appended to a connection: there is nothing to flush, and no memory to check.
                drop(publish_state);
                if let Some(reader) = reader {
                    reader.wake();
                }
                Ok(())
            }
            None => self.publish_copied(publish_state, place),
        }
    }

    #[inline(never)]
    fn publish_copied(
        &self,
        publish_state: MutexGuard<'_, PublishState>,
        message: &Option<Message>,
    ) -> Result<(), PublishError> {
        let Some(message) = message else { return Ok(()) };
        let outgoing = outgoing(message, None, &message.payload);
        self.publish_one(publish_state, &outgoing)
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
                unanswered.extend(self.no_responders(subject, message));
            };
            publisher.publish(&self.shared, &self.member, message, no_responders, scratch)
        })
    }

    /// Lets `publish` publish, and flushes once.
    pub(super) fn publish_all<R>(
        &self,
        publish: impl FnOnce(&mut InsidePublisher, &mut Vec<(u64, Message)>, &mut Scratch) -> R,
    ) -> R {
        self.publish_by(self.publish_state.lock(), publish)
    }

    /// As [`Self::publish_all`], with the locked state. The replies to requests without responders are collected in a
    /// list, because a task that waits for them may publish in its turn.
    #[inline(always)]
    fn publish_by<R>(
        &self,
        mut publish_state: MutexGuard<'_, PublishState>,
        publish: impl FnOnce(&mut InsidePublisher, &mut Vec<(u64, Message)>, &mut Scratch) -> R,
    ) -> R {
        let mut unanswered = Vec::new();
        let PublishState { publisher, scratch } = &mut *publish_state;
        let lent = scratch.get_or_insert_default();
        lent.start_by(&self.shared.clock);
        let published = publish(publisher, &mut unanswered, lent);
        let unflushed = if lent.has_flushed() { None } else { scratch.take() };
        drop(publish_state);
        if let Some(scratch) = unflushed {
            self.flush(scratch);
        }
        if !unanswered.is_empty() {
            self.put_all(unanswered);
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

    #[cold]
    #[inline(never)]
    fn put_all(&self, answers: Vec<(u64, Message)>) {
        for (sid, answer) in answers {
            self.local_queues.put(sid, answer);
        }
    }

    /// Returns the reply to a request without responders, and the queue for it.
    #[cold]
    #[inline(never)]
    pub(super) fn no_responders(
        &self,
        subject: &[u8],
        message: &Publish<'_>,
    ) -> Option<(u64, Message)> {
        let own = self.member.own_subscription(message.reply)?;
        let subject = Subject::from_wire(subject);
        let answer = Message {
            headers: Some(HeaderMap::no_responders(&subject)),
            subject: Subject::from_wire(message.reply),
            reply: None,
            payload: Bytes::new(),
        };
        Some((sid_number(&own), answer))
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

    pub(super) fn subscribe(
        &self,
        filter: &[u8],
        queue: Option<&[u8]>,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        self.subscribe_to(self.local_queues.open(), filter, queue)
    }

    /// Subscribes with an open queue.
    pub(super) fn subscribe_to(
        &self,
        sid: u64,
        filter: &[u8],
        queue: Option<&[u8]>,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        self.member.subscribe(filter, queue, &sid.to_le_bytes()).map_err(|refusal| {
            self.local_queues.discard(sid);
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
