//! Shared by in-process clients and handlers: joining an account and publishing.

use bytes::Bytes;

use super::error::PublishError;
use super::member::Member;
use super::publisher::{PublishObserver, Publisher};
use super::sizes::Sizes;
use super::traces::{Traced, decide};
use crate::auth::Grant;
use crate::endpoint::{Destination, Endpoint, Kind, Run, Scratch, SubscriberQueue, Subscription};
use crate::error::ClientFault;
use crate::message::Message;
use crate::proto::Publish;
use crate::proto::traced::is_mentioned;
use crate::shared::Shared;
use crate::subject::Subject;
use crate::sync::Arc;
use crate::transport::TransportInfo;

/// Registers an endpoint inside the process and adds it to the account of the grant.
pub(super) fn join(
    shared: &Arc<Shared>,
    destination: Arc<dyn Destination>,
    kind: Kind,
    grant: Grant,
) -> (Member, InsidePublisher) {
    let (id, seed) = shared.next_session();
    let now = shared.clock.now();
    let endpoint = Endpoint::new(id, seed, None, TransportInfo::Memory, now, destination, kind);
    let endpoint = Arc::new(endpoint);
    // No task reads it.
    endpoint.control.close();
    let member = Member::join(shared, &endpoint, grant);
    shared.register_local(&endpoint);
    let publisher = InsidePublisher::new(shared, &member, seed);
    (member, publisher)
}

/// The publishing half of an in-process client or handler.
pub(super) struct InsidePublisher {
    publisher: Publisher,
    sizes: Sizes,
    /// The largest message allowed by the options of that version.
    max_payload_bytes: usize,
    version: u64,
}

/// A message to be published.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) subject: &'a [u8],
    /// The parsed subject, if the publisher has it in that form.
    pub(super) parsed: Option<&'a Subject>,
    /// Empty without a reply subject.
    pub(super) reply: &'a [u8],
    pub(super) header_len: Option<usize>,
    pub(super) body: &'a [u8],
    /// The memory of the body, if receivers may share it.
    pub(super) shared: Option<&'a Bytes>,
}

impl InsidePublisher {
    pub(super) fn new(shared: &Shared, member: &Member, seed: u64) -> Self {
        let publisher = Publisher::new(seed, shared.counted_subjects.clone());
        // The version is read first: if the options change meanwhile, they are loaded again.
        let version = shared.version();
        let of_broker = shared.options.load().limits.max_payload_bytes;
        let max_payload_bytes = member.max_payload_bytes(of_broker);
        Self { publisher, sizes: Sizes::default(), max_payload_bytes, version }
    }

    /// Follows changes of the options.
    #[inline(always)]
    fn follow(&mut self, shared: &Shared, member: &Member) {
        // The version is read first: it is incremented after the options are stored.
        let version = shared.version();
        if version != self.version {
            self.load_options(version, shared, member);
        }
    }

    #[cold]
    #[inline(never)]
    fn load_options(&mut self, version: u64, shared: &Shared, member: &Member) {
        let of_broker = shared.options.load().limits.max_payload_bytes;
        self.max_payload_bytes = member.max_payload_bytes(of_broker);
        self.version = version;
    }

    /// Publishes a message. Calls `no_responders` if it has a reply subject and reached no receiver. The caller
    /// flushes.
    #[inline(always)]
    pub(super) fn publish(
        &mut self,
        shared: &Shared,
        member: &Member,
        message: &Outgoing<'_>,
        no_responders: impl FnMut(&[u8], &Publish<'_>, &mut Scratch),
        scratch: &mut Scratch,
    ) -> Result<(), PublishError> {
        self.follow(shared, member);
        let (size, limit) = (message.body.len(), self.max_payload_bytes);
        if size > limit {
            return Err(PublishError::MaxPayload { size, limit });
        }
        let publish = Publish {
            subject: message.subject,
            reply: message.reply,
            header_len: message.header_len,
            body: message.body,
            sizes: self.sizes.of(message.header_len, size),
            tail: None,
        };
        let run = Run {
            shown: None,
            subject: message.subject,
            messages: std::slice::from_ref(&publish),
            shared: message.shared,
            parsed: message.parsed,
            prefetched: None,
        };
        let mut observer = Observer { denied: false, no_responders };
        if message.header_len.is_none() {
            self.publisher.publish_here(member, &run, &mut observer, scratch);
        } else if let Some(destination) =
            publish_traced(&mut self.publisher, member, &run, &mut observer, scratch)
        {
            return Err(PublishError::Denied(destination));
        }
        if observer.denied { Err(denied(message.subject)) } else { Ok(()) }
    }

    /// Returns the subscription that a message without headers can be handed over to, and its queue: see
    /// [`Publisher::only_receiver`].
    #[inline(always)]
    pub(super) fn only_receiver(
        &mut self,
        shared: &Shared,
        member: &Member,
        message: &Message,
    ) -> Option<(&Arc<Subscription>, &SubscriberQueue)> {
        self.follow(shared, member);
        if message.payload.len() > self.max_payload_bytes {
            return None;
        }
        self.publisher.only_receiver(member, message)
    }

    /// Counts a message that was handed over.
    #[inline(always)]
    pub(super) fn count_handed_over(&mut self, member: &Member, bytes: usize) {
        self.publisher.add_counts(&member.endpoint, 1, bytes);
    }

    /// Publishes consecutive messages to one subject that ask for no tracing. Messages that are too large are left
    /// out. Calls `no_responders` with those that have a reply subject and reached no receiver.
    pub(super) fn publish_run(
        &mut self,
        shared: &Shared,
        member: &Member,
        run: &Run<'_>,
        no_responders: impl FnMut(&[u8], &Publish<'_>, &mut Scratch),
        scratch: &mut Scratch,
    ) -> Result<(), PublishError> {
        self.follow(shared, member);
        let limit = self.max_payload_bytes;
        let mut observer = Observer { denied: false, no_responders };
        let too_large = run.messages.iter().find(|message| message.body.len() > limit);
        let Some(too_large) = too_large else {
            self.publisher.publish(member, run, &mut observer, scratch);
            return if observer.denied { Err(denied(run.subject)) } else { Ok(()) };
        };
        for message in run.messages.iter().filter(|message| message.body.len() <= limit) {
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            self.publisher.publish(member, &one, &mut observer, scratch);
        }
        Err(PublishError::MaxPayload { size: too_large.body.len(), limit })
    }
}

#[cold]
fn denied(subject: &[u8]) -> PublishError {
    PublishError::Denied(Subject::from_wire(subject))
}

/// Publishes a message with headers, which may ask for tracing. Returns the destination of its traces if the
/// sender may not publish there.
fn publish_traced(
    publisher: &mut Publisher,
    member: &Member,
    run: &Run<'_>,
    observer: &mut impl PublishObserver,
    scratch: &mut Scratch,
) -> Option<Subject> {
    let message = run.messages.first()?;
    let by_account = member.account.traces_marked();
    if !is_mentioned(message.headers(), by_account) {
        publisher.publish(member, run, observer, scratch);
        return None;
    }
    let (shared, random) = (member.shared(), publisher.random());
    match decide(shared, member, message, by_account, random, &member.endpoint) {
        Traced::Not => publisher.publish(member, run, observer, scratch),
        Traced::Dropped => {}
        Traced::Denied(destination) => return Some(Subject::from_wire(&destination)),
        Traced::By(trace) => publisher.publish_traced(member, run, trace, observer, scratch),
        Traced::Disabled(mut body) => {
            let header_len = Some(body.len());
            body.extend_from_slice(message.payload());
            let mut sizes = Sizes::default();
            let sizes = sizes.of(header_len, body.len());
            let changed = Publish { header_len, body: &body, sizes, ..*message };
            let run = Run { messages: &[changed], shared: None, ..*run };
            publisher.publish(member, &run, observer, scratch);
        }
    }
    None
}

struct Observer<F> {
    denied: bool,
    no_responders: F,
}

impl<F: FnMut(&[u8], &Publish<'_>, &mut Scratch)> PublishObserver for Observer<F> {
    fn accepted(&mut self, _scratch: &mut Scratch) {}

    fn refused(&mut self, _fault: &ClientFault, _scratch: &mut Scratch) {
        self.denied = true;
    }

    fn no_responders(&mut self, subject: &[u8], message: &Publish<'_>, scratch: &mut Scratch) {
        (self.no_responders)(subject, message, scratch);
    }
}
