//! Requests to services of other accounts, and their responses.
//!
//! An imported service is among the matches of a message (`Matches::services`). After the delivery in the account of
//! the requester the request is delivered in the exporting account, on the same stack, so that the requester is told at
//! once if there are no responders. The service sees a reply subject of its own account; a message to it is passed on
//! to the requester in the same way.

mod requests;

use super::{Audience, deliver, deliver_traced};
use crate::account::{
    Account, Asked, Context, Failed, Here, Measured, Outcome, Requester, Response, ServiceImport,
    There, is_marked, is_sampled,
};
use crate::endpoint::{Endpoint, Kind, Link, Run, Scratch, Sender, Subscription};
use crate::header_block;
use crate::ids;
use crate::interest::{MatchCache, Matches};
use crate::limits::{SERVICE_CACHE_BYTES, SERVICE_CACHES};
use crate::message_trace::MessageTrace;
use crate::proto::{Publish, encode};
use crate::random::Random;
use crate::reserved::{TRACE_DESTINATION, TRACE_DISABLED};
use crate::subject::{Mapped, Subject};
use crate::subject_counts::Verdict;
use crate::sync::{Arc, Weak};
use requests::{Hop, Rewritten, request};
use smallvec::SmallVec;

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
    memory: Vec<Rewritten>,
    /// The common part of the latest requests.
    asked: Option<Arc<Asked>>,
    /// Memory for the description of the sender.
    info: Vec<u8>,
}

/// The endpoint that publishes, and its memory.
pub(crate) struct Requesting<'p> {
    pub(crate) endpoint: &'p Endpoint,
    pub(crate) random: &'p mut Random,
    pub(crate) state: &'p mut ServiceState,
    pub(crate) scratch: &'p mut Scratch,
}

/// The messages of a run that reached a receiver.
type Reached = SmallVec<[bool; 64]>;

/// Delivers a run whose matches contain services. Calls `no_responders` with each message that reached no receiver.
pub(crate) fn deliver_with_services<'a>(
    account: &Arc<Account>,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    requesting: &mut Requesting<'_>,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let from = requesting.endpoint.as_sender();
    let mut reached = Reached::from_elem(false, run.messages.len());
    deliver_to_all(account, from, run, matches, None, requesting, &mut reached);
    for (message, _) in run.messages.iter().zip(&reached).filter(|(_, reached)| !**reached) {
        no_responders(message, requesting.scratch);
    }
}

/// Delivers a run to subscriptions and services. A traced run has one message. Notes which messages reached a receiver.
fn deliver_to_all(
    account: &Arc<Account>,
    from: Sender,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    hop: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
    reached: &mut [bool],
) {
    let Requesting { random, scratch, .. } = requesting;
    if scratch.message_trace().is_some() {
        let is_reached =
            deliver_traced(account, from, run, (matches, Audience::All), random, scratch);
        reached.fill(is_reached);
    } else {
        reached.fill(true);
        let mut rest = run.messages.iter().zip(reached.iter_mut());
        // Called in the order of the messages.
        deliver(account, from, run, matches, random, scratch, |message, _| {
            if let Some((_, is_reached)) = rest.find(|(one, _)| std::ptr::eq(*one, message)) {
                *is_reached = false;
            }
        });
    }
    pass_on(account, run, matches, hop, requesting, reached);
}

/// Passes a traced message on to the services among its matches, once it was delivered. Returns true if it reached a
/// receiver.
pub(crate) fn pass_to_services(
    account: &Arc<Account>,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    requesting: &mut Requesting<'_>,
) -> bool {
    let mut reached = Reached::from_elem(false, run.messages.len());
    pass_on(account, run, matches, None, requesting, &mut reached);
    reached.contains(&true)
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

/// Passes a run on to the services among its matches. Notes which messages reached a receiver.
fn pass_on(
    account: &Arc<Account>,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    hop: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
    reached: &mut [bool],
) {
    for service in matches.services() {
        match service.link() {
            Some(Link::Service(import)) => {
                if let Some(import) = import.downcast_ref::<ServiceImport>() {
                    request(account, import, run, hop, requesting, reached);
                }
            }
            Some(Link::Responses) => {
                for (message, is_reached) in run.messages.iter().zip(reached.iter_mut()) {
                    let message = Publish { subject: run.subject, ..*message };
                    *is_reached |= respond(account, &message, run, requesting);
                }
            }
            Some(Link::Shadow { .. }) | None => {}
        }
    }
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
    let Some(requester) = response.asked.requester.upgrade() else { return false };
    let is_single = response.is_single();
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
            let asked = Asked::by(account, &response.asked.export, response.asked.share);
            let (to, asked) = (message.reply.into(), Arc::new(asked));
            let back = Response { to, asked, measured: None };
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
    let mut is_reached = false;
    let reached = std::slice::from_mut(&mut is_reached);
    deliver_to_all(&requester, from, &one, &matches, None, requesting, reached);
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

/// The trace of a message that enters another account.
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

    /// Delivers messages to one subject in another account. Notes which of them reached a receiver.
    fn deliver_in(
        &mut self,
        account: &Arc<Account>,
        from: Sender,
        subject: &[u8],
        messages: &[Publish<'_>],
        hop: Option<&Hop<'_>>,
        reached: &mut [bool],
    ) {
        // Taken out, because services behind it need caches too.
        let mut cache = self.state.take_cache(account, self.random);
        let known = cache.look_up(&account.interest, subject, None, |_| Verdict::ALLOWED);
        let matches = known.matches;
        // NATS 2.14: the mappings of the exporting account apply too.
        match matches.mapped() {
            None => {
                let run = run_of(subject, messages);
                deliver_to_all(account, from, &run, matches, hop, self, reached);
            }
            Some(Mapped::To(to)) => {
                let run = run_of(to, messages);
                deliver_to_all(account, from, &run, matches, hop, self, reached);
            }
            Some(Mapped::Among(choices)) => {
                let mut to = Vec::new();
                for (message, is_reached) in messages.iter().zip(reached) {
                    let choice = choices.pick(self.random);
                    to.clear();
                    choices.write(choice, subject, self.random, &mut to);
                    let mut matches = Matches::default();
                    account.interest.collect(&to, &mut matches);
                    let run = run_of(&to, std::slice::from_ref(message));
                    let reached = std::slice::from_mut(is_reached);
                    deliver_to_all(account, from, &run, &matches, hop, self, reached);
                }
            }
        }
        self.state.keep_cache(account, cache);
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
        response: &Response,
        measured: &Measured,
    ) {
        let Some(context) = account.context() else { return };
        let Some(latency) = &response.asked.export.latency else { return };
        if self.endpoint.kind.is_peer() && is_marked(reply) {
            let took = context.clock.now().saturating_duration_since(measured.since);
            let account = Arc::downgrade(account);
            let here = Here { account, response: response.clone(), took };
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
}

/// Publishes the measurement of a request that a client of another server has answered.
pub(crate) fn tell_answered_there(
    here: &Here,
    there: &There,
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let Some(account) = here.account.upgrade() else { return };
    let export = &here.response.asked.export;
    let (Some(context), Some(latency)) = (account.context(), &export.latency) else { return };
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
        if let (Some(measured), Some(latency)) =
            (&response.measured, &response.asked.export.latency)
        {
            tell_failed(account, &latency.subject, measured, outcome, random, scratch);
        }
    }
}

fn run_of<'m>(subject: &'m [u8], messages: &'m [Publish<'m>]) -> Run<'m> {
    Run { shown: None, subject, messages, shared: None, parsed: None, prefetched: None }
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
    /// Returns the common part of requests, which usually are to the same service as those before.
    fn asked(&mut self, requester: &Arc<Account>, import: &ServiceImport) -> Arc<Asked> {
        match &self.asked {
            Some(asked) if asked.is_by(requester, import) => Arc::clone(asked),
            _ => {
                let asked = Arc::new(Asked::by(requester, &import.export, import.share));
                self.asked = Some(Arc::clone(&asked));
                asked
            }
        }
    }

    /// Lends memory for rewritten messages.
    fn take_memory(&mut self) -> Rewritten {
        self.memory.pop().unwrap_or_default()
    }

    fn keep_memory(&mut self, memory: Rewritten) {
        if let Some(memory) = memory.emptied() {
            self.memory.push(memory);
        }
    }

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

/// Replaces the destination of traces in the headers of a message.
// NATS 2.14: msgtrace.go MsgTraceDestDisabled.
#[cold]
fn set_trace(headers: &mut Vec<u8>, destination: &[u8]) {
    *headers = header_block::set(headers, TRACE_DESTINATION, destination);
}

/// Returns a message with headers that make other servers not trace it.
#[cold]
fn without_trace<'m>(
    message: &Publish<'m>,
    (body, sizes): (&'m mut Vec<u8>, &'m mut Vec<u8>),
) -> Publish<'m> {
    body.extend_from_slice(message.headers());
    set_trace(body, TRACE_DISABLED);
    let header_len = body.len();
    body.extend_from_slice(message.payload());
    sizes_of(header_len, body.len(), sizes);
    Publish { header_len: Some(header_len), body, sizes, tail: None, ..*message }
}

/// Writes the sizes of a message with headers, as they are written on the wire.
fn sizes_of(header_len: usize, len: usize, memory: &mut Vec<u8>) {
    encode::number(memory, header_len);
    memory.push(b' ');
    encode::number(memory, len);
}
