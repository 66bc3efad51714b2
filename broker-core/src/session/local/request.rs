//! Requests of an in-process client: one subscription for the answers to all of them.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::inbox::Inbox;
use super::session::LocalSession;
use super::subscriber::Subscriber;
use crate::auth::Subscribe;
use crate::endpoint::{SubscriberQueue, Token};
use crate::message::Message;
use crate::session::error::{RequestError, SubscribeError};
use crate::subject::Subject;
use crate::sync::Arc;

impl LocalSession {
    /// Returns the subscription for all answers, created by the first request; `None` if permissions or limits
    /// allow no wildcard there, so that each request needs a subscription of its own.
    pub(super) fn inbox(&self) -> Result<Option<&Inbox>, SubscribeError> {
        if let Some(inbox) = self.inbox.get() {
            return Ok(Some(inbox));
        }
        let prefix = format!("{}.", self.new_inbox());
        let filter = format!("{prefix}*");
        if self.member.review(filter.as_bytes(), None) != Subscribe::Allow {
            return Ok(None);
        }
        let queue = self.local_queues.open_inbox();
        let subscription = match self.subscribe_to(&queue, filter.as_bytes(), None) {
            Ok(subscription) => subscription,
            Err(SubscribeError::TooManyTokens) => return Ok(None),
            Err(error) => return Err(error),
        };
        subscription.set_used_once();
        if let Err(late) = self.inbox.set(Inbox { subscription, queue, prefix }) {
            self.end_inbox(&late);
        }
        Ok(self.inbox.get())
    }

    pub(super) fn end_inbox(&self, inbox: &Inbox) {
        self.member.unsubscribe(&inbox.subscription, None);
        self.local_queues.discard(&inbox.queue);
    }

    pub(super) fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.shared.unique_name())
    }
}

/// A request that waits for its answer.
pub(super) enum Asked<'a> {
    /// By the subscription for the answers to all requests.
    Together(Request<'a>),
    /// By a subscription of its own.
    Apart(Box<Subscriber>),
}

impl LocalSession {
    /// Sends a request, which has no reply subject yet.
    #[inline(never)]
    pub(super) fn ask(self: &Arc<Self>, mut message: Message) -> Result<Asked<'_>, RequestError> {
        let Some(inbox) = self.inbox()? else { return self.ask_apart(message) };
        let (request, reply) = Request::begin(inbox)?;
        message.reply = Some(reply);
        self.publish(message).map_err(|error| RequestError::Publish(*error))?;
        Ok(Asked::Together(request))
    }

    /// Sends a request with a subscription of its own for the answer.
    #[cold]
    fn ask_apart(self: &Arc<Self>, mut message: Message) -> Result<Asked<'_>, RequestError> {
        let inbox = Subject::from_wire(self.new_inbox().as_bytes());
        let mut answers = Subscriber::open(self, inbox.as_ref(), None)?;
        answers.unsubscribe_after(1);
        message.reply = Some(inbox);
        self.publish(message).map_err(|error| RequestError::Publish(*error))?;
        Ok(Asked::Apart(Box::new(answers)))
    }
}

impl Asked<'_> {
    /// Waits for the answer.
    #[inline(always)]
    pub(super) fn answer(mut self) -> impl Future<Output = Result<Message, RequestError>> {
        poll_fn(move |cx| {
            let polled = match &mut self {
                Self::Together(request) => request.poll(cx),
                Self::Apart(answers) => answers.poll_message(cx),
            };
            polled.map(check)
        })
    }
}

/// Tells an answer from the news that there is none.
#[inline(always)]
fn check(answer: Option<Message>) -> Result<Message, RequestError> {
    let answer = answer.ok_or(RequestError::Closed)?;
    match &answer.headers {
        Some(headers) if answer.payload.is_empty() && headers.status() == Some(503) => {
            Err(RequestError::NoResponders)
        }
        _ => Ok(answer),
    }
}

/// A request that waits for its answer. Dropping it ends the wait; a late answer is ignored.
pub(super) struct Request<'a> {
    queue: &'a SubscriberQueue,
    token: Token,
    is_open: bool,
}

impl<'a> Request<'a> {
    /// Opens a request. Returns it with its reply subject.
    fn begin(inbox: &'a Inbox) -> Result<(Self, Subject), RequestError> {
        let queue = &*inbox.queue;
        let token = queue.begin_request().ok_or(RequestError::TooManyRequests)?;
        let reply = Subject::join(&inbox.prefix, &token.text());
        Ok((Self { queue, token, is_open: true }, reply))
    }

    /// Ready with the answer; with `None` if none will arrive.
    #[inline(always)]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let polled = self.queue.poll_answer(self.token, cx);
        self.is_open = polled.is_pending();
        polled
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.queue.end_request(self.token);
        }
    }
}
