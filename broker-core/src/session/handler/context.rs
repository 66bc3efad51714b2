//! The session of a handler, and the context by which the function publishes.

use std::time::Instant;

use crate::account::{Requester, to_json};
use crate::endpoint::{Handle, HandlerQueue, Scratch};
use crate::message::RawMessage;
use crate::proto::Publish;
use crate::session::error::PublishError;
use crate::session::inside::{InsidePublisher, Outgoing};
use crate::session::member::Member;
use crate::shared::Shared;
use crate::sync::{Arc, Weak};

/// Lets a handler publish while it handles a message.
///
/// A published message is in the queues of its receivers when the call returns. Other handlers, and this one
/// itself, are called with it after the handler has returned.
pub struct HandlerContext<'a> {
    link: &'a mut Link,
    scratch: &'a mut Scratch,
}

impl HandlerContext<'_> {
    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn publish(&mut self, message: &RawMessage<'_>) -> Result<(), PublishError> {
        self.link.publish(message, self.scratch)
    }

    /// Answers a request. Use [`RawMessage::answer`] for an answer with headers.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which is [`PublishError::NoReply`] if the message has no reply subject.
    pub fn respond(
        &mut self,
        request: &RawMessage<'_>,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        let answer = request.answer(payload).ok_or(PublishError::NoReply)?;
        self.publish(&answer)
    }

    /// Describes the client that sent a message, as the JSON by which services of other accounts know their requesters.
    /// `None` unless it is a request to the API of streams that a client of this server has sent to this account; another
    /// account and another server add such a description to the headers.
    // NATS 2.14: client.go getClientInfo.
    pub fn describe_sender(&self, message: &RawMessage<'_>) -> Option<Vec<u8>> {
        let shared = &self.link.shared;
        let endpoint = shared.endpoint(message.sender?.get())?;
        let account = endpoint.membership.load();
        let account = account.as_ref().map_or("", |one| &**one.account());
        Some(to_json(&Requester::of(&endpoint, account, true, &shared.context)))
    }

    /// Has the client whose thread runs the handler wait before it sends more: its connection is not read until
    /// [`HandlerSubscription::catch_up`](super::HandlerSubscription::catch_up), for a second at most for each piece of their input.
    /// For a handler that only begins the work on a message: it should not call this if the work does not proceed. Other servers
    /// and in-process clients do not wait.
    pub fn fall_behind(&mut self) {
        if let Some(queue) = self.link.queue.upgrade() {
            queue.fall_behind();
            self.scratch.note_behind(&self.link.member.endpoint);
        }
    }

    /// Returns the working memory of the call, for a [`ServerPublisher`](crate::ServerPublisher). It is flushed when the
    /// handler has returned.
    pub fn scratch(&mut self) -> &mut Scratch {
        self.scratch
    }

    /// Returns the time by the clock of the broker, or of the session whose message is handled.
    pub fn now(&mut self) -> Instant {
        self.scratch.now()
    }
}

/// The connection of a handler to its account.
pub(super) struct Link {
    shared: Arc<Shared>,
    member: Arc<Member>,
    /// Weak, because the queue owns the handler.
    queue: Weak<HandlerQueue>,
    publisher: InsidePublisher,
    /// Headers and payload in one piece.
    body: Vec<u8>,
}

/// The longest message whose memory is kept for the next one.
const KEPT_BODY_BYTES: usize = 64 << 10;

impl Link {
    pub(super) fn new(
        shared: Arc<Shared>,
        member: Arc<Member>,
        queue: &Arc<HandlerQueue>,
        publisher: InsidePublisher,
    ) -> Self {
        Self { shared, member, queue: Arc::downgrade(queue), publisher, body: Vec::new() }
    }

    pub(super) fn publish(
        &mut self,
        message: &RawMessage<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), PublishError> {
        let Self { shared, member, queue, publisher, body } = self;
        let body = message.body.unwrap_or_else(|| {
            body.clear();
            body.shrink_to(KEPT_BODY_BYTES);
            body.extend_from_slice(message.headers);
            body.extend_from_slice(message.payload);
            body
        });
        let outgoing = Outgoing {
            subject: message.subject,
            parsed: None,
            reply: message.reply,
            header_len: Some(message.headers.len()).filter(|len| *len > 0),
            body,
            shared: message.shared,
        };
        // NATS 2.14: "no responders" is sent to a plain subscription of the requester itself, and not counted.
        let no_responders = |subject: &[u8], message: &Publish<'_>, scratch: &mut Scratch| {
            if member.own_subscription(message.reply).is_some()
                && let Some(queue) = queue.upgrade()
            {
                queue.put_no_responders(message.reply, subject, &member.endpoint, scratch);
            }
        };
        publisher.publish(shared, member, &outgoing, no_responders, scratch)
    }
}

/// The session of a handler, which its queue calls.
pub(super) struct Session<F> {
    link: Link,
    function: F,
}

impl<F> Session<F> {
    pub(super) fn new(link: Link, function: F) -> Self {
        Self { link, function }
    }
}

impl<F> Handle for Session<F>
where
    F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send,
{
    fn handle(&mut self, message: &RawMessage<'_>, scratch: &mut Scratch) {
        (self.function)(message, &mut HandlerContext { link: &mut self.link, scratch });
    }
}
