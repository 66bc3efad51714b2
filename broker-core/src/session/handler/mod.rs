//! Handlers: functions inside the process that are called with messages.

mod context;

pub use context::HandlerContext;

use context::{Link, Session};

use super::error::{PublishError, SubscribeError, check_queue_group};
use super::inside::{InsidePublisher, join};
use super::member::Member;
use crate::auth::Grant;
use crate::endpoint::{Destination, HandlerQueue, Kind, Scratch};
use crate::error::CloseReason;
use crate::message::RawMessage;
use crate::shared::Shared;
use crate::sync::{Arc, AtomicU64, Ordering};

/// The subscriptions of a handler, created by [`Broker::handle`](crate::Broker::handle). Dropping it unsubscribes: the
/// handler is not called again, except for a call already in progress on another thread.
pub struct HandlerSubscription {
    shared: Arc<Shared>,
    member: Arc<Member>,
    queue: Arc<HandlerQueue>,
    next_sid: AtomicU64,
}

impl HandlerSubscription {
    /// Opens a handler. `stream`: that of which it is the handler.
    pub(crate) fn open<F>(
        shared: &Arc<Shared>,
        grant: Grant,
        kind: Kind,
        stream: Option<&str>,
        function: F,
    ) -> Self
    where
        F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send + 'static,
    {
        // NATS 2.14: client.go deliverMsg counts no message to a callback of the server.
        let is_of_server = kind == Kind::System || grant.account == shared.system_account;
        let queue = Arc::new(HandlerQueue::new(!is_of_server, stream));
        let (member, publisher) = join(shared, Arc::clone(&queue) as Arc<_>, kind, grant);
        let member = Arc::new(member);
        let link = Link::new(Arc::clone(shared), Arc::clone(&member), &queue, publisher);
        queue.start(Box::new(Session::new(link, function)));
        Self { shared: Arc::clone(shared), member, queue, next_sid: AtomicU64::new(1) }
    }

    /// Subscribes the handler to one more filter, as a member of a queue group if one is named. The messages to
    /// all of its subscriptions are handled one after the other. Returns the number by which [`Self::unsubscribe`] ends
    /// the subscription.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`].
    pub fn subscribe(
        &self,
        filter: impl AsRef<[u8]>,
        queue_group: Option<&str>,
    ) -> Result<u64, SubscribeError> {
        let queue = queue_group.map(|name| check_queue_group(name.as_bytes())).transpose()?;
        let filter = filter.as_ref();
        let sid = self.next_sid.fetch_add(1, Ordering::Relaxed);
        let subscribed = self.member.subscribe(filter, queue, &sid.to_le_bytes());
        subscribed.map(|_| sid).map_err(|refusal| SubscribeError::of(refusal, filter))
    }

    /// Ends one subscription, by the number that [`Self::subscribe`] returned. Messages that wait in the queue are still
    /// handled. Returns false if there is none with this number.
    pub fn unsubscribe(&self, number: u64) -> bool {
        let subscription = self.member.endpoint.sids.get(&number.to_le_bytes()[..]);
        subscription.is_some_and(|subscription| self.member.unsubscribe(&subscription, None))
    }

    /// Publishes a message as the handler. The caller flushes.
    pub(super) fn publish(
        &self,
        message: &RawMessage<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), PublishError> {
        let publisher = InsidePublisher::new(&self.shared, &self.member, self.id());
        let queue = &self.queue;
        Link::new(Arc::clone(&self.shared), Arc::clone(&self.member), queue, publisher)
            .publish(message, scratch)
    }

    /// Returns the id of the handler, as shown by monitoring.
    pub fn id(&self) -> u64 {
        self.member.endpoint.id
    }

    /// Returns the number of messages that were dropped because its queue was full, or because too many handlers
    /// in a row had published because of one message.
    pub fn dropped(&self) -> u64 {
        self.queue.counts().dropped
    }

    /// Has the clients go on that wait because of [`HandlerContext::fall_behind`].
    pub fn catch_up(&self) {
        self.queue.catch_up();
    }

    /// Returns the number of messages at which the handler panicked.
    pub fn panics(&self) -> u64 {
        self.queue.panics()
    }
}

impl Drop for HandlerSubscription {
    fn drop(&mut self) {
        let mut ending = self.member.end_subscriptions();
        while ending.step(|_| ()) {}
        self.queue.close(CloseReason::ClientClosed);
        self.shared.unregister_local(&self.member.endpoint);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::auth::NoAuth;
    use crate::message::RawMessage;
    use crate::options::Options;
    use crate::session::local::{Client, PublishError};
    use crate::subject::Subject;
    use crate::sync::Mutex;

    #[test]
    fn handlers_of_the_server_may_use_reserved_subjects_and_groups() {
        let clock = Arc::new((Instant::now, SystemTime::now));
        let shared = Arc::new(Shared::new(Options::default(), clock, Box::new(NoAuth)));
        for (kind, is_allowed) in [(Kind::System, true), (Kind::Internal, false)] {
            let published = Arc::new(Mutex::new(None));
            let noted = Arc::clone(&published);
            let [to, reply] = ["to", "$JS.ACK.1"].map(|text| Subject::parse(text).unwrap());
            let handler = HandlerSubscription::open(
                &shared,
                Grant::anonymous(),
                kind,
                None,
                move |_, context| {
                    let message = RawMessage::new(&to, b"").with_reply(&reply);
                    *noted.lock() = Some(context.publish(&message));
                },
            );
            handler.subscribe("ask", None).unwrap();
            assert_eq!(handler.subscribe("ask", Some("_sys_")).is_ok(), is_allowed);
            let client = Client::new(Arc::clone(&shared), Grant::anonymous());
            futures_executor::block_on(client.publish("ask", "".into())).unwrap();
            let denied = Err(PublishError::Denied(Subject::parse("to").unwrap()));
            let expected = if is_allowed { Ok(()) } else { denied };
            assert_eq!(published.lock().take(), Some(expected), "{kind:?}");
        }
    }

    /// Measured on nats-server 2.14.5: `/varz` of a cluster without clients shows no messages.
    #[test]
    fn messages_to_handlers_of_the_server_are_not_counted() {
        let clock = Arc::new((Instant::now, SystemTime::now));
        let shared = Arc::new(Shared::new(Options::default(), clock, Box::new(NoAuth)));
        for (account, counted) in [("$SYS", 0), ("$G", 3)] {
            let grant = Grant::anonymous().with_account(account);
            let handler =
                HandlerSubscription::open(&shared, grant.clone(), Kind::Internal, None, |_, _| ());
            handler.subscribe("a", None).unwrap();
            let client = Client::new(Arc::clone(&shared), grant);
            futures_executor::block_on(client.publish("a", "abc".into())).unwrap();
            let traffic = shared.account_snapshots()[account].traffic;
            let (messages, bytes) = (traffic.out_messages * 3, traffic.out_bytes);
            assert_eq!((messages, bytes), (counted, counted), "{account}");
        }
    }
}
