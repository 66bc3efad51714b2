//! The in-process client that an embedder holds: the same rules and the same router as for a client on
//! the wire, no bytes and no sockets.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::member::{Member, SubscribeRefusal};
use super::publisher::{PublishObserver, Publisher, may_trace_to};
use crate::auth::Grant;
use crate::endpoint::{
    Destination, Endpoint, Kind, LocalQueues, Run, Scratch, Subscription, sid_number,
};
use crate::error::{ClientFault, CloseReason};
use crate::headers::{HeaderMap, InvalidHeader};
use crate::interest::Matches;
use crate::message::Message;
use crate::options::Options;
use crate::proto::Publish;
use crate::proto::traced::Tracing;
use crate::routing::flush_touched;
use crate::shared::Shared;
use crate::subject::{Subject, SubjectError, SubjectFilter};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::transport::TransportInfo;

/// An in-process client, with the names and shapes of async-nats.
///
/// Cheap to clone; all clones are one client. It needs no runtime: any executor can poll it. A message
/// is in its receivers' queues when `publish` returns, so that nothing has to be flushed or waited
/// for.
///
/// # Cancel safety
///
/// Every method does its work when first polled, except [`Client::request`], which can be dropped at
/// any time and then takes its subscription with it.
#[derive(Clone)]
pub struct Client {
    session: Arc<LocalSession>,
}

struct LocalSession {
    shared: Arc<Shared>,
    member: Member,
    local_queues: Arc<LocalQueues>,
    /// Used by one thread at a time, and not while readers are woken, who may publish in their turn.
    publish_state: Mutex<PublishState>,
    next_sid: AtomicU64,
}

/// What publishing takes.
struct PublishState {
    publisher: Publisher,
    /// For whoever publishes next. Who finds none takes a new one.
    scratch: Option<Box<Scratch>>,
    /// The broker's, at that version: looked at for each message, changed hardly ever.
    options: Arc<Options>,
    version: u64,
}

impl PublishState {
    /// Goes by the options that there are now.
    fn follow(&mut self, shared: &Shared) {
        // The version first: it is counted up when the options are there.
        let version = shared.version();
        if version != self.version {
            self.options = shared.options.load_full();
            self.version = version;
        }
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// What it was to be published to, or answered to, is not a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header cannot be written.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// It is larger than the broker takes.
    #[error("a message of {size} bytes is more than the {limit} that are allowed")]
    MaxPayload {
        /// Its size with headers, in bytes.
        size: usize,
        /// What the broker takes.
        limit: usize,
    },
    /// The client may not publish there.
    #[error("publishing to {0} is not allowed")]
    Denied(Subject),
}

/// Why a subscription was not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// What it was to be made for is not a filter, or the queue group's name holds white space.
    #[error(transparent)]
    Filter(#[from] SubjectError),
    /// The client may not subscribe there.
    #[error("subscribing to {0} is not allowed")]
    Denied(SubjectFilter),
    /// What it was to be made for has more tokens than are allowed.
    #[error("the filter has too many tokens")]
    TooManyTokens,
    /// The client has as many subscriptions as it may.
    #[error("no more subscriptions are allowed")]
    MaxSubscriptions,
}

/// Why a request has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not published.
    #[error("the request was not published")]
    Publish(#[from] PublishError),
    /// The answer could not have been received.
    #[error("the answer could not be subscribed to")]
    Subscribe(#[from] SubscribeError),
    /// Nobody listens there.
    #[error("no responders")]
    NoResponders,
    /// The client was drained or the broker shut down before an answer came.
    #[error("closed before an answer came")]
    Closed,
}

impl From<std::convert::Infallible> for SubjectError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, grant: Grant) -> Self {
        let (id, seed) = shared.next_session();
        let local_queues = Arc::new(LocalQueues::default());
        let now = shared.clock.now();
        let endpoint = Arc::new(Endpoint::new(
            id,
            seed,
            None,
            TransportInfo::Memory,
            now,
            Arc::clone(&local_queues) as Arc<_>,
            Kind::Internal,
        ));
        // There is no task that could look.
        endpoint.control.close();
        let member = Member::join(&shared, &endpoint, grant);
        shared.register_local(&endpoint);
        let publisher = Publisher::new(seed, shared.counted_subjects.clone());
        // The version first: if the options change meanwhile, they are looked at again.
        let (version, options) = (shared.version(), shared.options.load_full());
        let publish_state = PublishState { publisher, scratch: None, options, version };
        let session = LocalSession {
            shared,
            member,
            local_queues,
            publish_state: Mutex::new(publish_state),
            next_sid: AtomicU64::new(1),
        };
        Self { session: Arc::new(session) }
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
        self.session.publish(parse(subject)?, None, None, payload)
    }

    /// Publishes a message that asks for answers to `reply`.
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
        self.session.publish(parse(subject)?, Some(&parse(reply)?), None, payload)
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
        self.session.publish(parse(subject)?, None, Some(&headers), payload)
    }

    /// Publishes a message with headers that asks for answers to `reply`.
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
        self.session.publish(parse(subject)?, Some(&parse(reply)?), Some(&headers), payload)
    }

    /// Subscribes. Messages published from now on wait in the subscriber's queue: at most
    /// [`crate::limits::LOCAL_QUEUE_MESSAGES`], further ones are dropped and
    /// [counted](Subscriber::dropped).
    ///
    /// # Errors
    ///
    /// [`SubscribeError`].
    pub async fn subscribe(&self, filter: impl AsRef<[u8]>) -> Result<Subscriber, SubscribeError> {
        self.session.subscribe(filter.as_ref(), None).map(|sid| self.subscriber(sid))
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
        let queue = queue_group.as_ref();
        if queue.is_empty() {
            return Err(SubjectError::Empty.into());
        }
        if queue.iter().any(u8::is_ascii_whitespace) {
            return Err(SubjectError::WhiteSpace.into());
        }
        self.session.subscribe(filter.as_ref(), Some(queue)).map(|sid| self.subscriber(sid))
    }

    /// Asks, and waits for the first answer. It waits for ever: the core has no clock; wrap it in your
    /// runtime's timeout.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; at once if nobody listens.
    pub async fn request<S>(&self, subject: S, payload: Bytes) -> Result<Message, RequestError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        self.request_inner(parse(subject)?, None, payload).await
    }

    /// Asks with headers.
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
        self.request_inner(parse(subject)?, Some(headers), payload).await
    }

    async fn request_inner(
        &self,
        subject: Subject,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, RequestError> {
        let inbox = parse(self.new_inbox())?;
        let mut answers = self.subscribe(&inbox).await?;
        answers.unsubscribe_after(1);
        self.session.publish(subject, Some(&inbox), headers.as_ref(), payload)?;
        let answer = answers.next().await.ok_or(RequestError::Closed)?;
        let status = answer.headers.as_ref().and_then(HeaderMap::status);
        if status == Some(503) && answer.payload.is_empty() {
            return Err(RequestError::NoResponders);
        }
        Ok(answer)
    }

    /// Waits until all in-process subscribers that would get a message to `subject` have room for it, of each
    /// queue group at least one: for a publisher who must not be faster than they are. (Clients on the
    /// wire are not waited for: one that does not read is cut.)
    ///
    /// There is room while a queue is at most half full, so that as many as half of its
    /// [capacity](Subscriber::set_capacity) may wait for it at once, publish one message each, and lose
    /// none. Whoever reads a subscription of its own must not wait for room in it.
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
    /// [`SubjectError`] if it is no subject.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens that could be lost.
    pub async fn wait_for_room<S>(&self, subject: S) -> Result<(), SubjectError>
    where
        S: TryInto<Subject, Error: Into<SubjectError>>,
    {
        let subject = subject.try_into().map_err(Into::into)?;
        poll_fn(|cx| self.session.poll_room(&subject, cx)).await;
        Ok(())
    }

    /// A subject of this client's own, for answers.
    pub fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.session.shared.unique_name())
    }

    /// Does nothing: a message is delivered when `publish` returns. It is here so that code written for
    /// async-nats reads the same.
    pub async fn flush(&self) {}

    /// Ends all subscriptions. What is in their queues can still be read; then they end.
    pub async fn drain(&self) {
        self.session.local_queues.close(CloseReason::ClientClosed);
    }

    fn subscriber(&self, subscription: Arc<Subscription>) -> Subscriber {
        Subscriber { session: Arc::clone(&self.session), subscription }
    }
}

fn parse<S>(subject: S) -> Result<Subject, PublishError>
where
    S: TryInto<Subject, Error: Into<SubjectError>>,
{
    subject.try_into().map_err(|error| PublishError::Subject(error.into()))
}

impl LocalSession {
    fn publish(
        &self,
        subject: Subject,
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
        let mut publish_state = self.publish_state.lock();
        publish_state.follow(&self.shared);
        let limit = publish_state.options.limits.max_payload_bytes;
        if body.len() > limit {
            return Err(PublishError::MaxPayload { size: body.len(), limit });
        }
        let mut sizes = Sizes::default();
        let message = Publish {
            subject: subject.as_ref(),
            reply: reply.map(AsRef::as_ref).unwrap_or_default(),
            header_len,
            body: &body,
            sizes: sizes.write(header_len, body.len()),
            tail: None,
        };
        let run = Run {
            subject: message.subject,
            messages: std::slice::from_ref(&message),
            shared: Some(&body),
            parsed: Some(&subject),
            prefetched: None,
        };
        let mut outcome = Outcome { session: self, denied: false, answer: None };
        let mut scratch = publish_state.scratch.take().unwrap_or_default();
        scratch.start_by(&self.shared.clock);
        let member = &self.member;
        let mut trace_denied = None;
        let publisher = &mut publish_state.publisher;
        match Tracing::read(message.headers()) {
            Tracing::To { destination, .. } if !may_trace_to(member, destination) => {
                trace_denied = Some(Subject::from_wire(destination));
            }
            Tracing::To { is_only: true, .. } => {
                publisher.pass_over(member, &message, &mut outcome, &mut scratch);
            }
            Tracing::Nowhere => {}
            Tracing::To { is_only: false, .. } | Tracing::None => {
                publisher.publish(member, &run, &mut outcome, &mut scratch);
            }
        }
        let Outcome { denied, answer, .. } = outcome;
        if scratch.touched.is_empty() {
            publish_state.scratch = Some(scratch);
            drop(publish_state);
        } else {
            drop(publish_state);
            flush_touched(&mut scratch);
            self.publish_state.lock().scratch = Some(scratch);
        }
        if let Some((sid, answer)) = answer {
            self.local_queues.put(sid, answer);
        }
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
        if let Some(destination) = trace_denied {
            return Err(PublishError::Denied(destination));
        }
        if denied { Err(PublishError::Denied(subject)) } else { Ok(()) }
    }

    /// Who subscribes is looked up each time: somebody may have come or gone.
    fn poll_room(&self, subject: &Subject, cx: &mut Context<'_>) -> Poll<()> {
        let mut matches = Matches::default();
        self.member.account.interest.collect(subject.as_ref(), &mut matches);
        let mut has_room = |subscription: &Arc<Subscription>| {
            subscription.endpoint.destination.poll_room(subscription, cx).is_ready()
        };
        let is_ready = matches.plain.iter().all(&mut has_room)
            && matches.groups().iter().all(|group| group.iter().any(&mut has_room));
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn subscribe(
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

impl SubscribeError {
    fn of(refusal: SubscribeRefusal, filter: &[u8]) -> Self {
        match (SubjectFilter::parse(filter), refusal) {
            (Err(error), _) => Self::Filter(error),
            (Ok(_), SubscribeRefusal::TooManyTokens) => Self::TooManyTokens,
            (Ok(_), SubscribeRefusal::MaxSubscriptions) => Self::MaxSubscriptions,
            (Ok(filter), SubscribeRefusal::Denied | SubscribeRefusal::InvalidFilter) => {
                Self::Denied(filter)
            }
        }
    }
}

/// The sizes as they would stand on the wire, for receivers that are there.
struct Sizes([u8; 41]);

impl Default for Sizes {
    fn default() -> Self {
        Self([b' '; 41])
    }
}

impl Sizes {
    fn write(&mut self, header_len: Option<usize>, len: usize) -> &[u8] {
        let mut begin = self.digits(self.0.len(), len);
        if let Some(header_len) = header_len {
            begin = self.digits(begin - 1, header_len);
        }
        &self.0[begin..]
    }

    /// Writes a number that ends before `end`; returns where it begins.
    fn digits(&mut self, end: usize, mut number: usize) -> usize {
        let mut at = end;
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return at;
            }
        }
    }
}

struct Outcome<'a> {
    session: &'a LocalSession,
    denied: bool,
    /// What to tell the client, and in which queue.
    answer: Option<(u64, Message)>,
}

impl PublishObserver for Outcome<'_> {
    fn accepted(&mut self, _work: &mut Scratch) {}

    fn refused(&mut self, _fault: &ClientFault, _work: &mut Scratch) {
        self.denied = true;
    }

    fn no_responders(&mut self, subject: &[u8], message: &Publish<'_>, _work: &mut Scratch) {
        let Some(own) = self.session.member.own_subscription(message.reply) else { return };
        let subject = Subject::from_wire(subject);
        let answer = Message {
            headers: Some(HeaderMap::no_responders(&subject)),
            subject: Subject::from_wire(message.reply),
            reply: None,
            payload: Bytes::new(),
        };
        self.answer = Some((sid_number(&own), answer));
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        self.shared.unregister_local(&self.member.endpoint);
    }
}

/// A subscription of an in-process client: a [`Stream`] of messages. Dropped, it unsubscribes.
pub struct Subscriber {
    session: Arc<LocalSession>,
    subscription: Arc<Subscription>,
}

impl Subscriber {
    /// The next message; `None` once the subscription has ended and all it got has been read.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it takes no message with it.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message if it is there already.
    pub fn try_next(&mut self) -> Option<Message> {
        match self.poll_message(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    /// Ends the subscription. What has arrived can still be read.
    pub async fn unsubscribe(&mut self) {
        self.end_after(None);
    }

    /// Ends the subscription once it has got `max` messages, counted from its beginning; now, if it has
    /// got them.
    pub fn unsubscribe_after(&mut self, max: u64) {
        self.end_after(Some(max));
    }

    fn end_after(&self, max: Option<u64>) {
        if self.session.member.unsubscribe(&self.subscription, max) {
            self.session.local_queues.end(sid_number(&self.subscription));
        }
    }

    /// How many messages its queue takes before what comes is dropped, from 1 to
    /// [`crate::limits::LOCAL_QUEUE_MESSAGES`], which it is unless this says otherwise. What is in it stays.
    pub fn set_capacity(&mut self, messages: usize) {
        self.session.local_queues.set_capacity(sid_number(&self.subscription), messages);
    }

    /// How many messages found its queue full and were dropped.
    pub fn dropped(&self) -> u64 {
        self.session.local_queues.dropped(sid_number(&self.subscription))
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.session.local_queues.poll_next(sid_number(&self.subscription), cx)
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
        self.session.local_queues.discard(sid_number(&self.subscription));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_numbers() {
        assert_eq!(Sizes::default().write(None, 0), b"0");
        assert_eq!(Sizes::default().write(Some(12), 1048), b"12 1048");
        let both = format!("{0} {0}", usize::MAX);
        assert_eq!(Sizes::default().write(Some(usize::MAX), usize::MAX), both.as_bytes());
    }
}
