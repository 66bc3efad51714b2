//! Stages 4 to 6 for one session: its cache of matches, its random picks, its counters.
//!
//! A mapping of the account replaces the subject before everything else: the permission, the matches and the
//! receivers' messages are those of the subject that it is mapped to. The cache of matches stores the result with the
//! subject that the client published to, so that a mapped message costs no further look-up. Only where each message
//! is mapped by chance, its subject is looked up in a second cache.

use super::member::Member;
use super::server::{publish_event, publish_from_server};
use crate::account::{Account, Requester, is_marked};
use crate::endpoint::{
    Endpoint, Run, Scratch, Sender, Sending, SubscriberQueue, Subscription, is_inbox,
};
use crate::error::ClientFault;
use crate::interest::{Known, MatchCache, Matches, PrefetchedBatch};
use crate::message::{Message, RawMessage};
use crate::message_trace::MessageTrace;
use crate::proto::{Publish, have_replies};
use crate::random::Random;
use crate::reserved::{
    is_reply_of_servers, is_subject_of_servers, may_be_ack_reply, split_ack_reply,
};
use crate::routing::{
    Audience, Requesting, ServiceState, deliver, deliver_for, deliver_traced,
    deliver_with_services, pass_responses, pass_to_services, queue_of_only,
};
use crate::shared::Shared;
use crate::subject::{Choices, Mapped, Subject};
use crate::subject_counts::{SubjectCounter, SubjectCounters, Verdict};
use crate::sync::{Arc, Ordering};
use crate::system::{ServiceRequest, SubjectRule, is_api_request, rule};

/// The state that one session needs to publish.
pub(super) struct Publisher {
    /// Created at the first message: most sessions of a large server never send one.
    cache: Option<Box<MatchCache<Subscription>>>,
    /// The matches of the subjects that mappings have picked by chance; created at the first of them.
    picked: Option<Box<MatchCache<Subscription>>>,
    /// Created at the first request to a service of another account.
    services: Option<Box<ServiceState>>,
    counting: SubjectCounter,
    random: Random,
    in_messages: u64,
    in_bytes: u64,
}

/// The actions of a session for its messages besides delivery.
pub(super) trait PublishObserver {
    /// Called for messages whose subject a mapping has replaced, before all else.
    // NATS 2.14: parser.go, which logs it.
    fn mapped(&mut self, from: &[u8], to: &[u8]) {
        let _ = (from, to);
    }
    /// Called before permitted messages are delivered.
    fn accepted(&mut self, scratch: &mut Scratch);
    /// Called for a message that the session may not publish.
    fn refused(&mut self, fault: &ClientFault, scratch: &mut Scratch);
    /// Called for a message with a reply subject that reached no receiver.
    fn no_responders(&mut self, subject: &[u8], message: &Publish<'_>, scratch: &mut Scratch);
}

impl Publisher {
    pub(super) fn new(seed: u64, counted: Option<Arc<SubjectCounters>>) -> Self {
        let (random, counting) = (Random::new(seed), SubjectCounter::new(counted, seed));
        Self {
            cache: None,
            picked: None,
            services: None,
            counting,
            random,
            in_messages: 0,
            in_bytes: 0,
        }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Drops the cache: the account or the permissions have changed, or nothing was published for long.
    pub(super) fn forget(&mut self) {
        (self.cache, self.picked, self.services) = (None, None, None);
    }

    /// Takes the cache out, to be kept for another account.
    pub(super) fn take_cache(&mut self) -> Option<Box<MatchCache<Subscription>>> {
        self.cache.take()
    }

    /// Replaces the cache by that of another account.
    pub(super) fn set_cache(&mut self, cache: Box<MatchCache<Subscription>>) {
        self.cache = Some(cache);
    }

    /// Returns the approximate memory of the cache.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.cost())
    }

    pub(super) fn messages(&self) -> u64 {
        self.in_messages
    }

    /// Prefetches the matches of the subjects of the next messages.
    pub(super) fn prefetch<'a>(
        &self,
        account: &Account,
        subjects: impl Iterator<Item = &'a [u8]>,
    ) -> PrefetchedBatch {
        let cache = self.cache.as_ref();
        cache.map(|cache| cache.prefetch(&account.interest, subjects)).unwrap_or_default()
    }

    /// Publishes a run.
    pub(super) fn publish(
        &mut self,
        member: &Member,
        run: &Run<'_>,
        observer: &mut impl PublishObserver,
        scratch: &mut Scratch,
    ) {
        self.publish_here(member, run, observer, scratch);
    }

    /// As [`Self::publish`], compiled into the caller: for a run of one message, whose number the caller knows.
    #[inline(always)]
    pub(super) fn publish_here(
        &mut self,
        member: &Member,
        run: &Run<'_>,
        observer: &mut impl PublishObserver,
        scratch: &mut Scratch,
    ) {
        let Member { account, endpoint, .. } = member;
        let bytes = self.count(endpoint, run);
        let counting = &mut self.counting;
        let random = &mut self.random;
        let cache = self.cache.get_or_insert_with(|| new_cache(account, endpoint, random));
        let known = cache.look_up(&account.interest, run.subject, run.prefetched, |subject| {
            counting.judge(endpoint.permissions.load().as_ref(), subject)
        });
        let services = &mut self.services;
        match known.matches.mapped() {
            None => {
                let pass = Pass { member, counting, known, bytes, services };
                pass.publish(run, random, observer, scratch);
            }
            Some(Mapped::To(to)) => {
                observer.mapped(run.subject, to);
                let run = Run { subject: to, parsed: None, ..*run };
                let pass = Pass { member, counting, known, bytes, services };
                pass.publish_mapped(&run, random, observer, scratch);
            }
            Some(Mapped::Among(choices)) => {
                let choices = Arc::clone(choices);
                self.publish_among(member, run, &choices, observer, scratch);
            }
        }
    }

    /// Returns the subscription that is all that gets a message without headers, and its queue, if the message can be handed over to it
    /// instead of being [published](Self::publish_here) as a run: the subject is that of the message before, or an inbox,
    /// and the rules of publishing allow the message and treat it in no special way. The caller
    /// [counts](Self::add_counts) the message.
    #[inline(always)]
    pub(super) fn only_receiver(
        &mut self,
        member: &Member,
        message: &Message,
    ) -> Option<(&Arc<Subscription>, &SubscriberQueue)> {
        let Member { account, endpoint, .. } = member;
        let (subject, reply): (&[u8], _) = (message.subject.as_ref(), message.reply_bytes());
        let cache = self.cache.as_mut()?;
        let is_inbox = is_inbox(subject);
        // The message before seldom had the same inbox.
        let known = if is_inbox {
            let counting = &mut self.counting;
            cache.look_up(&account.interest, subject, None, |subject| {
                counting.judge(endpoint.permissions.load().as_ref(), subject)
            })
        } else {
            cache.look_up_last(&account.interest, subject)?
        };
        let only = known.matches.only()?;
        let has_reply = !reply.is_empty();
        let queue = queue_of_only(account, endpoint.as_sender(), only, has_reply)?;
        // An inbox has none of the prefixes that special rules are about.
        let may_pass = known.verdict == Verdict::ALLOWED
            && (is_inbox || is_plain(account, endpoint, subject))
            && !(has_reply && is_reserved_reply(endpoint, reply));
        may_pass.then_some((only, queue))
    }

    /// Publishes a run whose messages have subjects picked by chance. Consecutive ones with one subject are a run.
    #[cold]
    fn publish_among(
        &mut self,
        member: &Member,
        run: &Run<'_>,
        choices: &Choices,
        observer: &mut dyn PublishObserver,
        scratch: &mut Scratch,
    ) {
        let mut subject = Vec::new();
        let mut rest = run.messages;
        let mut choice = choices.pick(&mut self.random);
        while !rest.is_empty() {
            let mut next = choice;
            let mut count = 1;
            while count < rest.len() {
                next = choices.pick(&mut self.random);
                if next != choice || choices.differs(choice) {
                    break;
                }
                count += 1;
            }
            let (messages, others) = rest.split_at(count);
            subject.clear();
            choices.write(choice, run.subject, &mut self.random, &mut subject);
            observer.mapped(run.subject, &subject);
            let picked =
                Run { subject: &subject, messages, parsed: None, prefetched: None, ..*run };
            self.publish_picked(member, &picked, observer, scratch);
            (rest, choice) = (others, next);
        }
    }

    /// Publishes a run to a subject that no mapping replaces.
    fn publish_picked(
        &mut self,
        member: &Member,
        run: &Run<'_>,
        observer: &mut dyn PublishObserver,
        scratch: &mut Scratch,
    ) {
        let Member { account, endpoint, .. } = member;
        let (counting, random) = (&mut self.counting, &mut self.random);
        let cache = self.picked.get_or_insert_with(|| {
            let hasher = account.interest.hasher();
            Box::new(MatchCache::new(hasher, random.next_u64(), Arc::default()))
        });
        let known = cache.look_up(&account.interest, run.subject, None, |subject| {
            counting.judge(endpoint.permissions.load().as_ref(), subject)
        });
        let bytes = run.messages.iter().map(|message| message.body.len()).sum();
        let services = &mut self.services;
        let pass = Pass { member, counting, known, bytes, services };
        pass.publish_mapped(run, random, observer, scratch);
    }

    /// Delivers a run from another server, which has checked permissions. Returns the bytes.
    pub(super) fn relay(
        &mut self,
        account: &Arc<Account>,
        endpoint: &Endpoint,
        run: &Run<'_>,
        audience: Audience<'_>,
        scratch: &mut Scratch,
    ) -> usize {
        let bytes = self.count(endpoint, run);
        let Some(cache) = &mut self.cache else { return bytes };
        let known =
            cache.look_up(&account.interest, run.subject, run.prefetched, |_| Verdict::ALLOWED);
        let meant = (known.matches, audience);
        if have_replies(run.messages)
            && run.messages.iter().any(|message| may_be_ack_reply(message.reply))
        {
            let (from, random) = (endpoint.as_sender(), &mut self.random);
            deliver_each_for(account, from, run, meant, random, scratch);
        } else {
            deliver_for(account, endpoint.as_sender(), run, meant, &mut self.random, scratch);
        }
        if !known.matches.services().is_empty() {
            let state = self.services.get_or_insert_default();
            let random = &mut self.random;
            let mut requesting = Requesting { endpoint, random, state, scratch };
            pass_responses(account, run, known.matches, &mut requesting);
        }
        bytes
    }

    /// Publishes a run of one message with its trace, and the event of the trace.
    pub(super) fn publish_traced(
        &mut self,
        member: &Member,
        run: &Run<'_>,
        mut trace: Box<MessageTrace>,
        observer: &mut impl PublishObserver,
        scratch: &mut Scratch,
    ) {
        let Member { account, endpoint, .. } = member;
        self.count(endpoint, run);
        let mapped = mapped(member, run.subject, &mut self.random);
        let subject = mapped.as_deref().unwrap_or(run.subject);
        if mapped.is_some() {
            observer.mapped(run.subject, subject);
            trace.note_mapping(subject);
        }
        let run = Run { subject, parsed: run.parsed.filter(|_| mapped.is_none()), ..*run };
        let verdict = self.counting.judge(endpoint.permissions.load().as_ref(), subject);
        let is_told = subject_rule(account, endpoint, run.subject) == SubjectRule::Api;
        let _sending = is_told.then(|| Sending::begin(endpoint.id));
        for message in run.messages {
            if let Err(fault) = may_pass(account, endpoint, verdict, &run, message, scratch) {
                trace.set_ingress_error(fault.answer().0.as_deref().unwrap_or_default());
                observer.refused(&fault, scratch);
                continue;
            }
            self.counting.note_one(verdict, subject, message);
            observer.accepted(scratch);
            let is_answered = if trace.is_only() {
                subject_rule(account, endpoint, subject) == SubjectRule::Service
            } else {
                ask_server(member, subject, message)
            };
            let mut matches = Matches::default();
            account.interest.collect(subject, &mut matches);
            scratch.begin_trace(trace);
            let from = endpoint.as_sender();
            let random = &mut self.random;
            let mut is_delivered =
                deliver_traced(account, from, &run, (&matches, Audience::All), random, scratch);
            if !matches.services().is_empty() {
                let state = self.services.get_or_insert_default();
                let mut requesting = Requesting { endpoint, random, state, scratch };
                is_delivered |= pass_to_services(account, &run, &matches, &mut requesting);
            }
            let Some(ended) = scratch.take_trace() else { return };
            trace = ended;
            if !is_delivered && !is_answered && !message.reply.is_empty() {
                observer.no_responders(subject, message, scratch);
            }
        }
        self.publish_event(member, *trace, scratch);
    }

    /// Delivers a message of another server with its trace, and publishes the event of the trace.
    pub(super) fn relay_traced(
        &mut self,
        shared: &Shared,
        (account, endpoint): (&Arc<Account>, &Endpoint),
        run: &Run<'_>,
        audience: Audience<'_>,
        trace: Box<MessageTrace>,
        scratch: &mut Scratch,
    ) {
        self.count(endpoint, run);
        let mut matches = Matches::default();
        account.interest.collect(run.subject, &mut matches);
        scratch.begin_trace(trace);
        let from = endpoint.as_sender();
        let random = &mut self.random;
        deliver_traced(account, from, run, (&matches, audience), random, scratch);
        if !matches.services().is_empty() {
            let state = self.services.get_or_insert_default();
            let mut requesting = Requesting { endpoint, random, state, scratch };
            pass_responses(account, run, &matches, &mut requesting);
        }
        let Some(trace) = scratch.take_trace() else { return };
        let (random, services) = (&mut self.random, &mut self.services);
        publish_event(shared, (account, endpoint), *trace, random, services, scratch);
    }

    /// Publishes the event of a trace.
    pub(super) fn publish_event(
        &mut self,
        member: &Member,
        trace: MessageTrace,
        scratch: &mut Scratch,
    ) {
        let of = (&member.account, &*member.endpoint);
        let (random, services) = (&mut self.random, &mut self.services);
        publish_event(member.shared(), of, trace, random, services, scratch);
    }

    /// Counts a run. Only the session writes these counters, so that a plain store is enough. Returns the bytes.
    #[inline(always)]
    fn count(&mut self, endpoint: &Endpoint, run: &Run<'_>) -> usize {
        let bytes: usize = run.messages.iter().map(|message| message.body.len()).sum();
        self.add_counts(endpoint, run.messages.len(), bytes);
        bytes
    }

    /// Counts messages.
    #[inline(always)]
    pub(super) fn add_counts(&mut self, endpoint: &Endpoint, messages: usize, bytes: usize) {
        self.in_messages += messages as u64;
        self.in_bytes += bytes as u64;
        endpoint.in_messages.store(self.in_messages, Ordering::Relaxed);
        endpoint.in_bytes.store(self.in_bytes, Ordering::Relaxed);
    }
}

#[cold]
#[inline(never)]
fn new_cache(
    account: &Account,
    endpoint: &Endpoint,
    random: &mut Random,
) -> Box<MatchCache<Subscription>> {
    let counts = endpoint.counted_look_ups.get_or_init(Arc::default);
    let hasher = account.interest.hasher();
    let cache = MatchCache::new(hasher, random.next_u64(), Arc::clone(counts));
    Box::new(cache.with_mappings(endpoint.kind.is_mapped()))
}

/// Delivers the messages of a run from another server one by one: clients may see other subjects than that of the run.
// NATS 2.14: client.go processMsgResults.
#[cold]
#[inline(never)]
fn deliver_each_for(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    meant: (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
) {
    for message in run.messages {
        let (message, shown) = match split_ack_reply(message.reply) {
            Some((reply, shown)) => (Publish { reply, tail: None, ..*message }, Some(shown)),
            None => (*message, None),
        };
        let one = Run { messages: &[message], shown, ..*run };
        deliver_for(account, from, &one, meant, random, scratch);
    }
}

/// A run whose matches are known.
struct Pass<'a> {
    member: &'a Member,
    counting: &'a SubjectCounter,
    known: Known<'a, Subscription>,
    /// The bytes of its messages.
    bytes: usize,
    services: &'a mut Option<Box<ServiceState>>,
}

impl Pass<'_> {
    /// As [`Self::publish`], for messages with another subject than the client's. An instance of its own, so that the
    /// code for other messages is inlined as if there were no mappings.
    #[cold]
    #[inline(never)]
    fn publish_mapped(
        self,
        run: &Run<'_>,
        random: &mut Random,
        observer: &mut dyn PublishObserver,
        scratch: &mut Scratch,
    ) {
        self.publish(run, random, observer, scratch);
    }

    /// Delivers the messages that may pass.
    #[inline(always)]
    fn publish(
        self,
        run: &Run<'_>,
        random: &mut Random,
        observer: &mut (impl PublishObserver + ?Sized),
        scratch: &mut Scratch,
    ) {
        let Self { member, counting, known, bytes, services } = self;
        let Member { account, endpoint, .. } = member;
        let all_may_pass = known.verdict.is_allowed()
            && subject_rule(account, endpoint, run.subject) == SubjectRule::Plain
            && run.messages.iter().all(|message| !is_reserved_reply(endpoint, message.reply));
        if all_may_pass {
            counting.note(known.verdict, run.subject, run.messages.len(), bytes);
            observer.accepted(scratch);
            if is_marked(run.subject) {
                report_latency(member, run.subject);
            }
            let unanswered = |message: &Publish<'_>, scratch: &mut Scratch| {
                if !message.reply.is_empty() {
                    observer.no_responders(run.subject, message, scratch);
                }
            };
            deliver_known(member, run, known.matches, random, services, scratch, unanswered);
        } else {
            let pass = Self { member, counting, known, bytes, services };
            pass.publish_each(run, random, observer, scratch);
        }
    }

    /// Delivers those of the messages that may pass, one by one.
    #[inline(never)]
    fn publish_each(
        self,
        run: &Run<'_>,
        random: &mut Random,
        observer: &mut (impl PublishObserver + ?Sized),
        scratch: &mut Scratch,
    ) {
        let Self { member, counting, known, services, .. } = self;
        let Member { account, endpoint, .. } = member;
        let is_told = subject_rule(account, endpoint, run.subject) == SubjectRule::Api;
        let _sending = is_told.then(|| Sending::begin(endpoint.id));
        for message in run.messages {
            if let Err(fault) = may_pass(account, endpoint, known.verdict, run, message, scratch) {
                observer.refused(&fault, scratch);
                continue;
            }
            counting.note_one(known.verdict, run.subject, message);
            observer.accepted(scratch);
            let is_answered = ask_server(member, run.subject, message);
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            let unanswered = |message: &Publish<'_>, scratch: &mut Scratch| {
                if !message.reply.is_empty() && !is_answered {
                    observer.no_responders(run.subject, message, scratch);
                }
            };
            deliver_known(member, &one, known.matches, random, services, scratch, unanswered);
        }
    }
}

/// Returns the subjects that messages to `subject` may get. Of a mapping with random numbers only one is returned.
pub(super) fn destinations(member: &Member, subject: &[u8]) -> Vec<Box<[u8]>> {
    let mappings = member.account.interest.mappings();
    let mapped = mappings.and_then(|mappings| mappings.map(subject));
    mapped.map_or_else(|| vec![subject.into()], |mapped| mapped.all(subject))
}

/// Returns the subject that a mapping makes of `subject`; `None` if no mapping matches it.
pub(super) fn mapped(member: &Member, subject: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mappings = member.account.interest.mappings();
    let mappings = mappings.filter(|_| member.endpoint.kind.is_mapped())?;
    Some(mappings.map(subject)?.pick(subject, random))
}

/// Reports the response time of a client to the server of the requester, if that has asked for it.
// NATS 2.14: client.go processInboundClientMsg.
#[cold]
fn report_latency(member: &Member, subject: &[u8]) {
    let (shared, Member { account, endpoint, .. }) = (member.shared(), member);
    let context = &shared.context;
    let responder = || Requester::of(endpoint, &account.name, true, context);
    let report = context.remote.report(subject, &account.name, responder, context);
    let Some((subject, body)) = report else { return };
    let system = shared.known_account(&shared.system_account);
    if let (Some(system), Ok(subject)) = (system, Subject::parse(&subject)) {
        publish_from_server(shared, &system, &RawMessage::new(&subject, &body));
    }
}

/// Delivers permitted messages to subscriptions, and to services of other accounts. Calls `no_responders` with each
/// message that reached no receiver.
#[inline(always)]
fn deliver_known<'a>(
    member: &Member,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    services: &mut Option<Box<ServiceState>>,
    scratch: &mut Scratch,
    no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let Member { account, endpoint, .. } = member;
    if matches.services().is_empty() {
        deliver(account, endpoint.as_sender(), run, matches, random, scratch, no_responders);
    } else {
        let state = services.get_or_insert_default();
        let mut requesting = Requesting { endpoint, random, state, scratch };
        deliver_with_services(account, run, matches, &mut requesting, no_responders);
    }
}

/// Returns the fault if the session may not publish this message of a run. Uses up a reply permission if it
/// needs one.
fn may_pass(
    account: &Account,
    endpoint: &Endpoint,
    verdict: Verdict,
    run: &Run<'_>,
    message: &Publish<'_>,
    scratch: &mut Scratch,
) -> Result<(), ClientFault> {
    let subject = run.subject;
    let is_allowed = !is_reserved_subject(account, endpoint, subject)
        && (verdict.is_allowed()
            || (endpoint.tracks_replies() && endpoint.take_reply(subject, scratch.now())));
    if !is_allowed {
        Err(ClientFault::PublishDenied(subject.into()))
    } else if is_reserved_reply(endpoint, message.reply) {
        Err(ClientFault::ReplyDenied(message.reply.into()))
    } else {
        Ok(())
    }
}

/// Returns true if the traces of a message may go to `destination`.
// NATS 2.14: msgtrace.go allowedToPublishOnMsgTraceDest. Answers to requests do not count.
pub(super) fn may_trace_to(member: &Member, destination: &[u8]) -> bool {
    let permissions = member.endpoint.permissions.load();
    !is_reserved_subject(&member.account, &member.endpoint, destination)
        && permissions.as_ref().is_none_or(|permissions| permissions.may_publish(destination))
}

/// Lets the server answer a message, if it is a request to a service of the server. Returns true if it will be answered.
#[cold]
fn ask_server(member: &Member, subject: &[u8], message: &Publish<'_>) -> bool {
    let Member { account, endpoint, .. } = member;
    if subject_rule(account, endpoint, subject) != SubjectRule::Service {
        return false;
    }
    let headers = message.headers();
    let request = ServiceRequest {
        subject,
        reply: message.reply,
        headers,
        payload: &message.body[headers.len()..],
        account: &account.name,
        expires: member.expiry().map(|expiry| expiry.wall),
        endpoint,
    };
    member.shared().system.load().as_ref().is_some_and(|listener| listener.serve(&request))
}

/// Returns true for subjects that are reserved for servers, unless the endpoint is one.
fn is_reserved_subject(account: &Account, endpoint: &Endpoint, subject: &[u8]) -> bool {
    subject_rule(account, endpoint, subject) == SubjectRule::Reserved
}

/// Returns true if neither a special rule nor the measurement of a service is about the subject.
#[inline(always)]
fn is_plain(account: &Account, endpoint: &Endpoint, subject: &[u8]) -> bool {
    !matches!(subject.first(), Some(b'_' | b'$'))
        || (special_rule(account, endpoint, subject) == SubjectRule::Plain && !is_marked(subject))
}

/// Returns the special rule for a subject, if there is one. Servers may use all subjects.
#[inline(always)]
fn subject_rule(account: &Account, endpoint: &Endpoint, subject: &[u8]) -> SubjectRule {
    if matches!(subject.first(), Some(b'_' | b'$')) {
        special_rule(account, endpoint, subject)
    } else {
        SubjectRule::Plain
    }
}

#[inline(never)]
fn special_rule(account: &Account, endpoint: &Endpoint, subject: &[u8]) -> SubjectRule {
    if endpoint.kind.may_use_reserved() {
        SubjectRule::Plain
    } else if subject.starts_with(b"$SYS.") {
        rule(subject, account.is_system)
    } else if is_subject_of_servers(subject, || account.is_system) {
        SubjectRule::Reserved
    } else if is_api_request(subject) {
        SubjectRule::Api
    } else {
        SubjectRule::Plain
    }
}

/// Returns true for replies that only servers create, unless the endpoint is one.
#[inline]
fn is_reserved_reply(endpoint: &Endpoint, reply: &[u8]) -> bool {
    is_reply_of_servers(reply) && !endpoint.kind.may_use_reserved()
}
