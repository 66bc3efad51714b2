//! Requests of an in-process client: one subscription for the answers to all of them.

use std::future::poll_fn;

use super::inbox::Inbox;
use super::session::LocalSession;
use crate::auth::Subscribe;
use crate::endpoint::{TOKEN_LEN, Token, sid_number};
use crate::message::Message;
use crate::session::error::{RequestError, SubscribeError};
use crate::subject::Subject;

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
        let sid = self.local_queues.open_inbox();
        let subscription = match self.subscribe_to(sid, filter.as_bytes(), None) {
            Ok(subscription) => subscription,
            Err(SubscribeError::TooManyTokens) => return Ok(None),
            Err(error) => return Err(error),
        };
        subscription.set_used_once();
        if let Err(late) = self.inbox.set(Inbox { subscription, prefix }) {
            self.end_inbox(&late);
        }
        Ok(self.inbox.get())
    }

    pub(super) fn end_inbox(&self, inbox: &Inbox) {
        self.member.unsubscribe(&inbox.subscription, None);
        self.local_queues.discard(sid_number(&inbox.subscription));
    }

    pub(super) fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.shared.unique_name())
    }
}

/// A request that waits for its answer. Dropping it ends the wait; a late answer is ignored.
pub(super) struct Request<'a> {
    session: &'a LocalSession,
    token: Token,
}

impl<'a> Request<'a> {
    /// Opens a request. Returns it with its reply subject.
    pub(super) fn begin(
        session: &'a LocalSession,
        inbox: &Inbox,
    ) -> Result<(Self, Subject), RequestError> {
        let token = session.local_queues.begin_request().ok_or(RequestError::TooManyRequests)?;
        let mut reply = [0; MAX_REPLY_LEN];
        let len = inbox.prefix.len() + TOKEN_LEN;
        if let Some(reply) = reply.get_mut(..len) {
            let (prefix, last) = reply.split_at_mut(inbox.prefix.len());
            prefix.copy_from_slice(inbox.prefix.as_bytes());
            last.copy_from_slice(&token.text());
        }
        Ok((Self { session, token }, Subject::from_wire(reply.get(..len).unwrap_or_default())))
    }

    /// Returns the answer; `None` if none will arrive.
    pub(super) async fn answer(self) -> Option<Message> {
        poll_fn(|cx| self.session.local_queues.poll_answer(self.token, cx)).await
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.session.local_queues.end_request(self.token);
    }
}

/// The length of `_INBOX.`, 22 letters, a dot and a token.
const MAX_REPLY_LEN: usize = 30 + TOKEN_LEN;
