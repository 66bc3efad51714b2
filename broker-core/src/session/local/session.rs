//! The session of an in-process client.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::auth::Grant;
use crate::endpoint::{Kind, LocalQueues, Scratch, Subscription, sid_number};
use crate::headers::HeaderMap;
use crate::interest::Matches;
use crate::message::Message;
use crate::proto::Publish;
use crate::routing::flush_touched;
use crate::session::error::{PublishError, SubscribeError};
use crate::session::inside::{InsidePublisher, Outgoing, join};
use crate::session::member::Member;
use crate::shared::Shared;
use crate::subject::Subject;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// The state that all clones of a client share.
pub(super) struct LocalSession {
    pub(super) shared: Arc<Shared>,
    pub(super) member: Member,
    pub(super) local_queues: Arc<LocalQueues>,
    /// Used by one thread at a time, and not while readers are woken, who may publish in their turn.
    publish_state: Mutex<PublishState>,
    next_sid: AtomicU64,
}

/// What publishing takes.
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
        let next_sid = AtomicU64::new(1);
        Self { shared, member, local_queues, publish_state, next_sid }
    }

    pub(super) fn publish(
        &self,
        subject: &Subject,
        reply: Option<&Subject>,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let headers = headers.filter(|headers| !headers.is_empty());
        let (header_len, body) = match headers {
            None => (None, payload),
            Some(headers) => {
                let mut block = headers.encode()?;
                let len = block.len();
                block.extend_from_slice(&payload);
                (Some(len), Bytes::from(block))
            }
        };
        let mut unanswered = None;
        let no_responders = |subject: &[u8], message: &Publish<'_>, _: &mut Scratch| {
            unanswered = self.no_responders(subject, message);
        };
        let message = Outgoing {
            subject: subject.as_ref(),
            parsed: Some(subject),
            reply: reply.map(AsRef::as_ref).unwrap_or_default(),
            header_len,
            body: &body,
            shared: Some(&body),
        };
        let mut publish_state = self.publish_state.lock();
        let PublishState { publisher, scratch } = &mut *publish_state;
        let mut scratch = scratch.take().unwrap_or_default();
        scratch.start_by(&self.shared.clock);
        let published =
            publisher.publish(&self.shared, &self.member, &message, no_responders, &mut scratch);
        if scratch.has_flushed() {
            publish_state.scratch = Some(scratch);
            drop(publish_state);
        } else {
            drop(publish_state);
            flush_touched(&mut scratch);
            self.publish_state.lock().scratch = Some(scratch);
        }
        if let Some((sid, answer)) = unanswered {
            self.local_queues.put(sid, answer);
        }
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
        published
    }

    /// Returns the reply to a request without responders, and the queue that it goes to.
    fn no_responders(&self, subject: &[u8], message: &Publish<'_>) -> Option<(u64, Message)> {
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

    /// Who subscribes is looked up each time: somebody may have come or gone.
    pub(super) fn poll_room(&self, subject: &Subject, cx: &mut Context<'_>) -> Poll<()> {
        let mut matches = Matches::default();
        self.member.account.interest.collect(subject.as_ref(), &mut matches);
        let mut has_room = |subscription: &Arc<Subscription>| {
            subscription.endpoint.destination.poll_room(subscription, cx).is_ready()
        };
        let is_ready = matches.plain.iter().all(&mut has_room)
            && matches.groups().iter().all(|group| group.iter().any(&mut has_room));
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn subscribe(
        &self,
        filter: &[u8],
        queue: Option<&[u8]>,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        let sid = self.next_sid.fetch_add(1, Ordering::Relaxed);
        self.local_queues.open(sid);
        self.member.subscribe(filter, queue, &sid.to_le_bytes()).map_err(|refusal| {
            self.local_queues.discard(sid);
            SubscribeError::of(refusal, filter)
        })
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        self.shared.unregister_local(&self.member.endpoint);
    }
}
