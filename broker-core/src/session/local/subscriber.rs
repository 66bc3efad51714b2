//! The subscriptions of an in-process client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::session::LocalSession;
use crate::endpoint::{SubscriberQueue, Subscription};
use crate::message::Message;
use crate::session::error::SubscribeError;
use crate::sync::Arc;

/// A subscription of an in-process client: a [`Stream`] of messages. Dropping it unsubscribes.
pub struct Subscriber {
    session: Arc<LocalSession>,
    subscription: Arc<Subscription>,
    queue: Arc<SubscriberQueue>,
    /// Messages that were taken from the queue together with the last one.
    taken: VecDeque<Message>,
}

impl Subscriber {
    /// Subscribes.
    pub(super) fn open(
        session: &Arc<LocalSession>,
        filter: &[u8],
        queue_group: Option<&[u8]>,
    ) -> Result<Self, SubscribeError> {
        let queue = session.local_queues.open();
        let subscription = session.subscribe_to(&queue, filter, queue_group)?;
        Ok(Self { session: Arc::clone(session), subscription, queue, taken: VecDeque::new() })
    }

    /// Returns the next message; `None` once the subscription has ended and all of its messages have been read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits loses no message.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Returns the next message if it has already arrived.
    pub fn try_next(&mut self) -> Option<Message> {
        if !self.taken.is_empty() {
            return self.taken.pop_front();
        }
        self.queue.take_next(&mut self.taken)
    }

    /// Ends the subscription. Messages that have arrived can still be read.
    pub async fn unsubscribe(&mut self) {
        self.end_after(None);
    }

    /// Ends the subscription once it has received `max` messages, counted from its beginning; at once, if it has
    /// received them.
    pub fn unsubscribe_after(&mut self, max: u64) {
        self.end_after(Some(max));
    }

    fn end_after(&self, max: Option<u64>) {
        if self.session.member.unsubscribe(&self.subscription, max) {
            self.queue.end();
        }
    }

    /// Sets the number of messages that its queue takes before further ones are dropped: from 1 to
    /// [`crate::limits::LOCAL_QUEUE_MESSAGES`], which is the default. Messages in the queue remain. A
    /// reader takes several messages at once from a queue of 128 or more, which then no longer count: 1/64 of its
    /// capacity, 64 at most.
    pub fn set_capacity(&mut self, messages: usize) {
        self.queue.set_capacity(messages);
    }

    /// Returns the number of messages that were dropped because its queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    #[inline(always)]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if !self.taken.is_empty() {
            return Poll::Ready(self.taken.pop_front());
        }
        self.queue.poll_next(&mut self.taken, cx)
    }
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_message(cx)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.session.member.unsubscribe(&self.subscription, None);
        self.session.local_queues.discard(&self.queue);
    }
}
