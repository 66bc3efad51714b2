//! The in-process client for embedders: the same rules and the same router as for a client on
//! the wire, without bytes and sockets.

mod batch;
mod batch_size;
mod inbox;
mod request;
mod session;
mod subscriber;

pub use super::error::{PublishError, RequestError, SubscribeError};
pub use batch::Batch;
pub use subscriber::Subscriber;

use std::future::poll_fn;

use bytes::Bytes;

use super::error::check_queue_group;
use crate::auth::Grant;
use crate::endpoint::Destination;
use crate::error::CloseReason;
use crate::headers::HeaderMap;
use crate::message::{Message, RawMessage};
use crate::shared::Shared;
use crate::subject::{Subject, SubjectError};
use crate::sync::Arc;
use session::LocalSession;

/// An in-process client, with the names and shapes of async-nats.
///
/// Cheap to clone; all clones are one client. It needs no runtime: any executor can poll it. A message
/// is in its receivers' queues when `publish` returns, so that nothing has to be flushed or waited
/// for.
///
/// # Cancel safety
///
/// Every method does its work when first polled, except [`Client::request`], which can be dropped at
/// any time: a late answer is ignored.
#[derive(Clone)]
pub struct Client {
    session: Arc<LocalSession>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, grant: Grant) -> Self {
        Self { session: Arc::new(LocalSession::open(shared, grant)) }
    }

    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// [`PublishError`]. Unlike async-nats, a denied publish is an error here, not an event.
    pub async fn publish<S>(&self, subject: S, payload: Bytes) -> Result<(), PublishError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        self.publish_message(Message::of(parse(subject)?, payload))
    }

    /// Publishes a message with a reply subject.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub async fn publish_with_reply<S, R>(
        &self,
        subject: S,
        reply: R,
        payload: Bytes,
    ) -> Result<(), PublishError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
        R: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let message = Message::of(parse(subject)?, payload);
        self.publish_message(Message { reply: Some(parse(reply)?), ..message })
    }

    /// Publishes a message with headers.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub async fn publish_with_headers<S>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let message = Message::of(parse(subject)?, payload);
        self.publish_message(Message { headers: Some(headers), ..message })
    }

    /// Publishes a message with headers and a reply subject.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub async fn publish_with_reply_and_headers<S, R>(
        &self,
        subject: S,
        reply: R,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
        R: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let message = Message::of(parse(subject)?, payload);
        let (reply, headers) = (Some(parse(reply)?), Some(headers));
        self.publish_message(Message { reply, headers, ..message })
    }

    #[inline(always)]
    fn publish_message(&self, message: Message) -> Result<(), PublishError> {
        self.session.publish(message).map_err(|error| *error)
    }

    /// Publishes a raw message, which is the cheapest way for one message. For many see [`Self::batch`].
    ///
    /// ```
    /// # use broker_core::{Broker, Options, RawMessage, Subject};
    /// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
    /// let subject = Subject::parse("orders.eu")?;
    /// broker.client().publish_raw(&RawMessage::new(&subject, b"one"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub fn publish_raw(&self, message: &RawMessage<'_>) -> Result<(), PublishError> {
        self.session.publish_raw(message)
    }

    /// Subscribes. Messages published from now on wait in the subscriber's queue: at most
    /// [`crate::limits::LOCAL_QUEUE_MESSAGES`], further ones are dropped and
    /// [counted](Subscriber::dropped).
    ///
    /// # Errors
    ///
    /// [`SubscribeError`].
    pub async fn subscribe(&self, filter: impl AsRef<[u8]>) -> Result<Subscriber, SubscribeError> {
        Subscriber::open(&self.session, filter.as_ref(), None)
    }

    /// Subscribes as a member of a queue group: each message goes to one of its members.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribe`].
    pub async fn queue_subscribe(
        &self,
        filter: impl AsRef<[u8]>,
        queue_group: impl AsRef<[u8]>,
    ) -> Result<Subscriber, SubscribeError> {
        let queue = check_queue_group(queue_group.as_ref())?;
        Subscriber::open(&self.session, filter.as_ref(), Some(queue))
    }

    /// Sends a request and waits for the first answer. The first request creates one subscription for the
    /// answers to all requests of the client. It waits without limit: the core has no clock; wrap it in your
    /// runtime's timeout.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; at once if there are no responders.
    pub async fn request<S>(&self, subject: S, payload: Bytes) -> Result<Message, RequestError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let asked = self.session.ask(Message::of(parse(subject)?, payload))?;
        asked.answer().await
    }

    /// Sends a request with headers.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub async fn request_with_headers<S>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, RequestError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let message = Message::of(parse(subject)?, payload);
        let asked = self.session.ask(Message { headers: Some(headers), ..message })?;
        asked.answer().await
    }

    /// Waits until all in-process subscribers that would get a message to `subject` have room for it, of each
    /// queue group at least one: for a publisher that must not be faster than they are. (Clients on the
    /// wire are not waited for: the connection of one that does not read is closed.)
    ///
    /// There is room while a queue is at most half full, so that as many tasks as half of its
    /// [capacity](Subscriber::set_capacity) may wait for it at once, publish one message each, and lose
    /// none. A task that reads a subscription must not wait for room in it.
    ///
    /// ```
    /// # use broker_core::{Broker, Options};
    /// # futures_executor::block_on(async {
    /// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
    /// let client = broker.client();
    /// let mut jobs = client.subscribe("jobs").await?;
    /// jobs.set_capacity(16);
    /// let worker = std::thread::spawn(move || {
    ///     futures_executor::block_on(async {
    ///         for _ in 0..1_000 {
    ///             jobs.next().await;
    ///         }
    ///         jobs.dropped()
    ///     })
    /// });
    ///
    /// for _ in 0..1_000 {
    ///     client.wait_for_room("jobs").await?;
    ///     client.publish("jobs", "do it".into()).await?;
    /// }
    /// assert_eq!(worker.join().unwrap(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if `subject` is not a valid subject.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for_room<S>(&self, subject: S) -> Result<(), SubjectError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let subject = subject.try_into().map_err(Into::into)?;
        poll_fn(|cx| self.session.poll_room(&subject, cx)).await;
        Ok(())
    }

    /// Returns a new subject of this client, for answers.
    pub fn new_inbox(&self) -> String {
        self.session.new_inbox()
    }

    /// Does nothing: a message is delivered when `publish` returns. It exists so that code written for
    /// async-nats can be used unchanged.
    pub async fn flush(&self) {}

    /// Ends all subscriptions. Messages in their queues can still be read; then the streams end.
    pub async fn drain(&self) {
        self.session.local_queues.close(CloseReason::ClientClosed);
    }
}

fn parse<S>(subject: S) -> Result<Subject, PublishError>
where
    S: TryInto<Subject, Error: Into<SubjectError>>,
{
    subject.try_into().map_err(|error| PublishError::Subject(error.into()))
}
