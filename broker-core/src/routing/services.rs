//! Requests to services of other accounts, and their responses.
//!
//! An imported service is among the matches of a message (`Matches::services`). After the delivery in the account of
//! the requester the request is delivered in the exporting account, on the same stack, so that the requester is told at
//! once if there are no responders. The service sees a reply subject of its own account; a message to it is passed on
//! to the requester in the same way.

use super::{Audience, deliver, deliver_traced};
use crate::account::{
    Account, Context, Failed, Here, Measured, Outcome, Requester, Response, ServiceImport, There,
    is_marked, is_sampled, to_json,
};
use crate::endpoint::{Endpoint, Kind, Link, Run, Scratch, Sender, Subscription};
use crate::header_block;
use crate::ids;
use crate::interest::{MatchCache, Matches};
use crate::limits::{SERVICE_CACHE_BYTES, SERVICE_CACHES, SERVICE_HOPS, SHARED_PAYLOAD_MIN_BYTES};
use crate::message_trace::MessageTrace;
use crate::options::ResponseType;
use crate::proto::{Publish, encode};
use crate::random::Random;
use crate::reserved::REQUEST_INFO;
use crate::reserved::{TRACE_DESTINATION, TRACE_DISABLED};
use crate::subject::{Mapped, Subject, SubjectBuffer};
use crate::subject_counts::Verdict;
use crate::sync::{Arc, Ordering, Weak};

/// The reply subjects that are not replaced.
// NATS 2.14: client.go processServiceImport: acknowledgements of streams.
const KEPT_REPLIES: &[u8] = b"$JS.ACK.";

/// The state that one session keeps for its requests.
#[derive(Default)]
pub(crate) struct ServiceState {
    caches: Vec<(Weak<Account>, Box<MatchCache<Subscription>>)>,
    /// The next cache to be dropped for another.
    sweep: usize,
    /// Memory for rewritten messages.
    bodies: Vec<Vec<u8>>,
}

/// One message on its way through services.
struct Hop<'h> {
    /// The services that it has passed through.
    before: Option<&'h Hop<'h>>,
    import: &'h Arc<ServiceImport>,
    /// The service is told more than the account of the sender.
    is_detailed: bool,
    /// The service is told the server of the sender.
    has_server: bool,
    depth: usize,
}

/// The endpoint that publishes, and its memory.
pub(crate) struct Requesting<'p> {
    pub(crate) endpoint: &'p Endpoint,
    pub(crate) random: &'p mut Random,
    pub(crate) state: &'p mut ServiceState,
    pub(crate) scratch: &'p mut Scratch,
}

/// Delivers a run whose matches contain services. Calls `no_responders` with each message that reached no receiver.
pub(crate) fn deliver_with_services<'a>(
    account: &Arc<Account>,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    requesting: &mut Requesting<'_>,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let from = requesting.endpoint.as_sender();
    for message in run.messages {
        let one = Run { messages: std::slice::from_ref(message), ..*run };
        if !deliver_to_all(account, from, &one, matches, None, requesting) {
            no_responders(message, requesting.scratch);
        }
    }
}

/// Delivers one message to subscriptions and services. Returns true if it reached a receiver.
fn deliver_to_all(
    account: &Arc<Account>,
    from: Sender,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    hop: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
) -> bool {
    let Requesting { random, scratch, .. } = requesting;
    let mut is_reached = true;
    if scratch.message_trace().is_some() {
        is_reached = deliver_traced(account, from, run, (matches, Audience::All), random, scratch);
    } else {
        deliver(account, from, run, matches, random, scratch, |_, _| is_reached = false);
    }
    is_reached | pass_on(account, run, matches, hop, requesting)
}

/// Passes a traced message on to the services among its matches, once it was delivered. Returns true if it reached a
/// receiver.
pub(crate) fn pass_to_services(
    account: &Arc<Account>,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    requesting: &mut Requesting<'_>,
) -> bool {
    pass_on(account, run, matches, None, requesting)
}

/// Passes responses from another server on to their requesters. Requests have been passed on by the server of the
/// requester.
// NATS 2.14: client.go processServiceImport.
pub(crate) fn pass_responses(
    account: &Arc<Account>,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    requesting: &mut Requesting<'_>,
) {
    let is_response = |one: &Arc<Subscription>| matches!(one.link(), Some(Link::Responses));
    for _ in matches.services().iter().filter(|one| is_response(one)) {
        for message in run.messages {
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            respond(account, message, &one, requesting);
        }
    }
}

/// Passes one message on to the services among its matches. Returns true if it reached a receiver.
fn pass_on(
    account: &Arc<Account>,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    hop: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
) -> bool {
    let mut is_reached = false;
    let Some(message) = run.messages.first() else { return is_reached };
    let message = Publish { subject: run.subject, ..*message };
    for service in matches.services() {
        is_reached |= match service.link() {
            Some(Link::Service(import)) => match Arc::clone(import).downcast::<ServiceImport>() {
                Ok(import) => request(account, &import, &message, hop, requesting),
                Err(_) => false,
            },
            Some(Link::Responses) => respond(account, &message, run, requesting),
            Some(Link::Shadow { .. }) | None => false,
        };
    }
    is_reached
}

/// Passes a request on to the account that exports the service. Returns true if it reached a receiver.
// NATS 2.14: client.go processServiceImport.
fn request(
    account: &Arc<Account>,
    import: &Arc<ServiceImport>,
    message: &Publish<'_>,
    before: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
) -> bool {
    let (Some(exporter), Some(context)) = (import.exporter.upgrade(), account.context()) else {
        return false;
    };
    let hop = Hop {
        before,
        import,
        // NATS 2.14: the first import decides. A later one that shares adds the server.
        is_detailed: before.map_or(import.share, |before| before.is_detailed),
        has_server: match before {
            Some(before) => before.has_server || (!before.import.share && import.share),
            None => import.share,
        } || exporter.is_system,
        depth: before.map_or(1, |before| before.depth + 1),
    };
    if hop.depth > SERVICE_HOPS || hop.is_repeated() {
        return false;
    }
    let mut buffer = SubjectBuffer::new();
    let subject = import.rewrite.apply(message.subject, &mut buffer);
    let crossing =
        requesting.cross(&exporter.name, message.subject, subject, import.export.allow_trace);
    if let Crossing::End = crossing {
        return false;
    }
    let measured = requesting.measure(import, message, context);
    let is_measured = measured.is_some();
    let has_reply = !message.reply.is_empty();
    if let (false, Some(measured)) = (has_reply, &measured) {
        requesting.tell(&exporter, import, measured, Outcome::BadRequest);
    }
    let given = (has_reply && !message.reply.starts_with(KEPT_REPLIES)).then(|| {
        let response = Arc::new(Response {
            to: message.reply.into(),
            requester: Arc::downgrade(account),
            requester_name: Arc::clone(&account.name),
            export: Arc::clone(&import.export),
            share: import.share,
            measured: measured.map(Box::new),
        });
        let now = requesting.scratch.now();
        exporter.responses().add(response, requesting.random, now)
    });
    let marked = given.as_ref().filter(|_| is_measured).and_then(|it| context.remote.mark(it));
    let reply = match (&marked, &given) {
        (Some(marked), _) => marked,
        (None, Some(given)) => &given[..],
        (None, None) => message.reply,
    };
    let mut body = requesting.state.bodies.pop().unwrap_or_default();
    let mut sizes = requesting.state.bodies.pop().unwrap_or_default();
    let memory = (&mut body, &mut sizes);
    let mut header_len = describe(memory, account, message, &hop, requesting.endpoint, context);
    header_len = match &crossing {
        Crossing::Untraced | Crossing::End => header_len,
        Crossing::Held(_) => set_trace(&mut body, header_len, TRACE_DISABLED),
        // NATS 2.14: msgtrace.go setupResponseServiceImport: events of other servers come back by a reply subject.
        Crossing::Traced { .. } => {
            let unused = exporter.responses().unused(requesting.random);
            set_trace(&mut body, header_len, &unused)
        }
    };
    sizes_of(header_len, body.len(), &mut sizes);
    let message = Publish {
        subject,
        reply,
        header_len: Some(header_len),
        body: &body,
        sizes: &sizes,
        tail: None,
    };
    let from = Sender { is_served: true, ..requesting.endpoint.as_sender() };
    let is_reached = requesting.deliver_in(&exporter, from, &message, Some(&hop));
    let is_only = matches!(crossing, Crossing::Traced { is_only: true });
    if let Some(given) = given.filter(|_| !is_reached || is_only) {
        let removed = exporter.responses().remove(&given).filter(|_| !is_only);
        if let Some(measured) = removed.as_ref().and_then(|removed| removed.measured.as_ref()) {
            requesting.tell(&exporter, import, measured, Outcome::Unavailable);
        }
    }
    requesting.keep(body);
    requesting.keep(sizes);
    requesting.end_crossing(crossing);
    is_reached
}

/// Passes a response on to the requester. Returns true if it reached a receiver.
fn respond(
    account: &Arc<Account>,
    message: &Publish<'_>,
    run: &Run<'_>,
    requesting: &mut Requesting<'_>,
) -> bool {
    let now = requesting.scratch.now();
    let Some(responses) = account.owed_responses() else { return false };
    let Some(response) = responses.answer(message.subject, now) else { return false };
    let Some(requester) = response.requester.upgrade() else { return false };
    let is_single = response.export.response_type == ResponseType::Singleton;
    // NATS 2.14: accounts.go addRespServiceImport: the trace of a response ends where it leaves the account.
    let crossing = requesting.cross(&requester.name, message.subject, &response.to, false);
    if let Crossing::End = crossing {
        responses.remove(message.subject);
        return false;
    }
    let (mut body, mut sizes) = (Vec::new(), Vec::new());
    let disabled = match &crossing {
        Crossing::Held(_) => Some(without_trace(message, (&mut body, &mut sizes))),
        Crossing::Untraced | Crossing::End | Crossing::Traced { .. } => None,
    };
    let shared = run.shared.filter(|_| disabled.is_none());
    let message = disabled.as_ref().unwrap_or(message);
    if let (true, Some(measured)) = (is_single, &response.measured) {
        requesting.tell_answered(account, message.subject, &response, measured);
    }
    // A response may ask for another message in turn.
    let given =
        (!message.reply.is_empty() && !message.reply.starts_with(KEPT_REPLIES)).then(|| {
            let back = Arc::new(Response {
                to: message.reply.into(),
                requester: Arc::downgrade(account),
                requester_name: Arc::clone(&account.name),
                export: Arc::clone(&response.export),
                share: response.share,
                measured: None,
            });
            requester.responses().add(back, requesting.random, now)
        });
    let reply = given.as_ref().map_or(message.reply, |given| &given[..]);
    let tail = message.tail.filter(|_| given.is_none());
    let passed_on = Publish { subject: &response.to, reply, tail, ..*message };
    let from = Sender { is_served: true, ..requesting.endpoint.as_sender() };
    let one = Run {
        subject: &response.to,
        shown: run.shown,
        messages: std::slice::from_ref(&passed_on),
        shared,
        parsed: None,
        prefetched: None,
    };
    // Each reply subject is used once, so that a cache would only grow.
    let mut matches = Matches::default();
    requester.interest.collect(&response.to, &mut matches);
    let is_reached = deliver_to_all(&requester, from, &one, &matches, None, requesting);
    requesting.end_crossing(crossing);
    if let (false, Some(given)) = (is_reached, &given) {
        requester.responses().remove(given);
    }
    // An empty message ends the responses.
    let is_last = !is_reached || message.body.is_empty();
    if !is_single && is_last {
        responses.remove(message.subject);
    } else if !is_single {
        responses.keep(message.subject, now);
    }
    is_reached
}

impl Hop<'_> {
    /// Returns true if the message has passed through the same service already.
    fn is_repeated(&self) -> bool {
        let mut before = self.before;
        while let Some(hop) = before {
            if Arc::ptr_eq(&hop.import.export, &self.import.export) {
                return true;
            }
            before = hop.before;
        }
        false
    }
}

/// What becomes of the trace of a message that enters another account.
enum Crossing {
    /// There is none.
    Untraced,
    /// It continues.
    Traced { is_only: bool },
    /// It waits, because the other account does not allow it.
    Held(Box<MessageTrace>),
    /// The other account does not allow it, and the message is only traced: it goes no further.
    End,
}

impl Requesting<'_> {
    /// Notes in the trace of the message that it enters another account.
    fn cross(&mut self, account: &str, from: &[u8], to: &[u8], allow_trace: bool) -> Crossing {
        let Some(trace) = self.scratch.message_trace() else { return Crossing::Untraced };
        trace.note_service_import(account, from, to);
        let is_only = trace.is_only();
        match (allow_trace, is_only) {
            (true, is_only) => Crossing::Traced { is_only },
            (false, true) => Crossing::End,
            (false, false) => self.scratch.take_trace().map_or(Crossing::Untraced, Crossing::Held),
        }
    }

    /// Continues the trace in the account that the message came from.
    fn end_crossing(&mut self, crossing: Crossing) {
        if let Crossing::Held(trace) = crossing {
            self.scratch.begin_trace(trace);
        }
    }

    /// Delivers a message in another account.
    fn deliver_in(
        &mut self,
        account: &Arc<Account>,
        from: Sender,
        message: &Publish<'_>,
        hop: Option<&Hop<'_>>,
    ) -> bool {
        // Taken out, because services behind it need caches too.
        let mut cache = self.state.take_cache(account, self.random);
        let known = cache.look_up(&account.interest, message.subject, None, |_| Verdict::ALLOWED);
        let run = |subject| Run {
            shown: None,
            subject,
            messages: std::slice::from_ref(message),
            shared: None,
            parsed: None,
            prefetched: None,
        };
        // NATS 2.14: the mappings of the exporting account apply too.
        let is_reached = match known.matches.mapped() {
            None => deliver_to_all(account, from, &run(message.subject), known.matches, hop, self),
            Some(Mapped::To(to)) => {
                deliver_to_all(account, from, &run(to), known.matches, hop, self)
            }
            Some(Mapped::Among(choices)) => {
                let mut to = Vec::new();
                let choice = choices.pick(self.random);
                choices.write(choice, message.subject, self.random, &mut to);
                let mut matches = Matches::default();
                account.interest.collect(&to, &mut matches);
                deliver_to_all(account, from, &run(&to), &matches, hop, self)
            }
        };
        self.state.keep_cache(account, cache);
        is_reached
    }

    /// Returns the beginning of a measurement, if the request is to be measured.
    fn measure(
        &mut self,
        import: &ServiceImport,
        message: &Publish<'_>,
        context: &Context,
    ) -> Option<Measured> {
        let latency = import.export.latency.as_ref()?;
        let headers = is_sampled(latency, message.headers(), self.random)?;
        let name = self.account_name();
        Some(Measured {
            requester: Requester::of(self.endpoint, &name, import.share, context),
            since: context.clock.now(),
            at: context.clock.wall(),
            headers,
        })
    }

    /// Returns the account of the endpoint.
    fn account_name(&self) -> Arc<str> {
        let membership = self.endpoint.membership.load();
        membership.as_ref().map_or_else(|| "N/A".into(), |one| Arc::clone(one.account()))
    }

    fn tell_answered(
        &mut self,
        account: &Arc<Account>,
        reply: &[u8],
        response: &Arc<Response>,
        measured: &Measured,
    ) {
        let Some(context) = account.context() else { return };
        let Some(latency) = &response.export.latency else { return };
        if self.endpoint.kind.is_peer() && is_marked(reply) {
            let took = context.clock.now().saturating_duration_since(measured.since);
            let account = Arc::downgrade(account);
            let here = Here { account, response: Arc::clone(response), took };
            if let Some((here, there)) = context.remote.put_here(reply, here) {
                tell_answered_there(&here, &there, self.random, self.scratch);
            }
            return;
        }
        let responder = Requester::of(self.endpoint, &self.account_name(), true, context);
        let event = measured.answered(&ids::unique(self.random), &responder, context);
        publish_event(account, &latency.subject, &event, self.random, self.scratch);
    }

    fn tell(
        &mut self,
        exporter: &Arc<Account>,
        import: &ServiceImport,
        measured: &Measured,
        outcome: Outcome,
    ) {
        let Some(latency) = &import.export.latency else { return };
        tell_failed(exporter, &latency.subject, measured, outcome, self.random, self.scratch);
    }

    fn keep(&mut self, mut body: Vec<u8>) {
        body.clear();
        if body.capacity() <= SHARED_PAYLOAD_MIN_BYTES {
            self.state.bodies.push(body);
        }
    }
}

/// Publishes the measurement of a request that a client of another server has answered.
pub(crate) fn tell_answered_there(
    here: &Here,
    there: &There,
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let Some(account) = here.account.upgrade() else { return };
    let (Some(context), Some(latency)) = (account.context(), &here.response.export.latency) else {
        return;
    };
    let Some(measured) = &here.response.measured else { return };
    let event = measured.answered_there(&ids::unique(random), here.took, there, context);
    publish_event(&account, &latency.subject, &event, random, scratch);
}

fn tell_failed(
    account: &Arc<Account>,
    subject: &Subject,
    measured: &Measured,
    outcome: Outcome,
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let Some(context) = account.context() else { return };
    let event = measured.failed(&ids::unique(random), outcome, context);
    publish_event(account, subject, &event, random, scratch);
}

/// Removes the requests of an account that services have not answered in time, and publishes those that were measured
/// and have failed.
pub(crate) fn expire_responses(account: &Arc<Account>, random: &mut Random, scratch: &mut Scratch) {
    let Some(responses) = account.owed_responses() else { return };
    let now = scratch.now();
    for Failed { response, outcome } in responses.expire(now) {
        if let (Some(measured), Some(latency)) = (&response.measured, &response.export.latency) {
            tell_failed(account, &latency.subject, measured, outcome, random, scratch);
        }
    }
}

/// Publishes a message of the server in an account.
fn publish_event(
    account: &Arc<Account>,
    subject: &Subject,
    body: &[u8],
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let mut sizes = Vec::new();
    encode::number(&mut sizes, body.len());
    let message = Publish {
        subject: subject.as_ref(),
        reply: &[],
        header_len: None,
        body,
        sizes: &sizes,
        tail: None,
    };
    let run = Run {
        shown: None,
        subject: subject.as_ref(),
        messages: std::slice::from_ref(&message),
        shared: None,
        parsed: Some(subject),
        prefetched: None,
    };
    let from = Sender { id: 0, kind: Kind::System, echo: true, is_served: false };
    let mut matches = Matches::default();
    account.interest.collect(subject.as_ref(), &mut matches);
    deliver(account, from, &run, &matches, random, scratch, |_, _| ());
}

impl ServiceState {
    fn take_cache(
        &mut self,
        account: &Arc<Account>,
        random: &mut Random,
    ) -> Box<MatchCache<Subscription>> {
        let is_it =
            |(other, _): &(Weak<Account>, _)| std::ptr::eq(other.as_ptr(), Arc::as_ptr(account));
        match self.caches.iter().position(is_it) {
            Some(at) => self.caches.swap_remove(at).1,
            None => {
                let (hasher, seed) = (account.interest.hasher(), random.next_u64());
                Box::new(MatchCache::new(hasher, seed, Arc::default()).with_mappings(true))
            }
        }
    }

    fn keep_cache(&mut self, account: &Arc<Account>, cache: Box<MatchCache<Subscription>>) {
        if cache.cost() > SERVICE_CACHE_BYTES {
            return;
        }
        if self.caches.len() >= SERVICE_CACHES {
            self.sweep = (self.sweep + 1) % self.caches.len();
            self.caches.swap_remove(self.sweep);
        }
        self.caches.push((Arc::downgrade(account), cache));
    }
}

/// Writes the headers and the payload of a request as the service gets them: with a description of the sender in place
/// of any that the sender has sent. Returns the length of the headers.
fn describe(
    (body, info): (&mut Vec<u8>, &mut Vec<u8>),
    account: &Account,
    message: &Publish<'_>,
    hop: &Hop<'_>,
    endpoint: &Endpoint,
    context: &Context,
) -> usize {
    let name = endpoint.membership.load();
    let name = name.as_ref().map_or("N/A", |one| &**one.account());
    if hop.before.is_none() && !hop.has_server && is_plain(name) {
        let rtt = endpoint.rtt_nanos.load(Ordering::Relaxed);
        write_brief(info, name, rtt);
    } else {
        let mut requester = Requester::of(endpoint, name, hop.is_detailed, context);
        if hop.before.is_some() {
            requester.service = account.name.to_string();
        }
        if hop.has_server {
            requester.server = context.server_name.to_string();
            requester.cluster = context.cluster.load().as_deref().cloned().unwrap_or_default();
        }
        info.extend_from_slice(&to_json(&requester));
    }
    body.reserve(message.body.len() + info.len() + 64);
    header_block::append(body, message.headers(), REQUEST_INFO, info);
    let header_len = body.len();
    body.extend_from_slice(message.payload());
    header_len
}

/// Replaces the destination of traces in the headers of a message. Returns their length.
// NATS 2.14: msgtrace.go MsgTraceDestDisabled.
#[cold]
fn set_trace(body: &mut Vec<u8>, header_len: usize, destination: &[u8]) -> usize {
    let (headers, payload) = body.split_at(header_len);
    let mut changed = header_block::set(headers, TRACE_DESTINATION, destination);
    let header_len = changed.len();
    changed.extend_from_slice(payload);
    *body = changed;
    header_len
}

/// Returns a message with headers that make other servers not trace it.
#[cold]
fn without_trace<'m>(
    message: &Publish<'m>,
    (body, sizes): (&'m mut Vec<u8>, &'m mut Vec<u8>),
) -> Publish<'m> {
    body.extend_from_slice(message.body);
    let header_len = set_trace(body, message.headers().len(), TRACE_DISABLED);
    sizes_of(header_len, body.len(), sizes);
    Publish { header_len: Some(header_len), body, sizes, tail: None, ..*message }
}

/// Returns true if JSON contains the text unchanged.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
}

/// Writes the description that every service is given: the account, and the round trip if it is known.
fn write_brief(body: &mut Vec<u8>, account: &str, rtt_nanos: u64) {
    body.extend_from_slice(b"{\"acc\":\"");
    body.extend_from_slice(account.as_bytes());
    body.push(b'"');
    if rtt_nanos > 0 {
        body.extend_from_slice(b",\"rtt\":");
        encode::number(body, usize::try_from(rtt_nanos).unwrap_or(usize::MAX));
    }
    body.push(b'}');
}

/// Writes the sizes of a message with headers, as they are written on the wire.
fn sizes_of(header_len: usize, len: usize, memory: &mut Vec<u8>) {
    memory.clear();
    encode::number(memory, header_len);
    memory.push(b' ');
    encode::number(memory, len);
}
