//! Stage 3 of 8: what a client may do now. Before it: the parser ([`crate::proto::parser`]); after
//! it: permissions ([`crate::auth`]).
//!
//! The driver, which owns the socket, passes in bytes and the time, and does what is asked of it:
//! keep bytes for the next call, run an expensive check, call again at a deadline, do the rest of something
//! long in slices, close.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use bytes::Bytes;

use super::member::{Member, SubscribeRefusal};
use super::ping::{Due, Ping};
use super::publisher::Publisher;
use crate::account::SYSTEM;
use crate::auth::{Authenticator, Compute, Credentials, Decision, Denied, Grant, Proof};
use crate::endpoint::{
    ByteQueue, ClientEncoder, ClientInfo, Destination, Endpoint, Kind, Run, Scratch, WriteHandle,
};
use crate::error::{ClientFault, CloseReason};
use crate::interest::{Interested, Prefetched, PrefetchedBatch};
use crate::limits::{OPERATIONS_A_TURN, PRE_AUTH_READ_BYTES};
use crate::proto::info::check_from_client;
use crate::proto::parser::fast;
use crate::proto::{Batch, ConnectOptions, Op, Parsed, Parser, ParserLimits, Publish, encode};
use crate::routing::flush_touched;
use crate::shared::Shared;
use crate::snapshot::AuthFailure;
use crate::sync::{Arc, Ordering};
use crate::trace::Trace;
use crate::transport::TransportInfo;
use chores::{Chores, Then};
pub use handshake::HandshakeOrder;
use handshake::Securing;
use lame_duck::LameDuck;
use patience::Patience;
use publish_observer::ClientPublishObserver;
use reply_writer::{ClientLabel, ReplyWriter};

/// What is known of a connection when it arrives.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Where it comes from; `None` for connections inside of the process.
    pub remote: Option<SocketAddr>,
    /// What has to come about before it is listened to.
    pub handshake: HandshakeOrder,
    /// Its user is the one that its certificate names. `verify_and_map`.
    pub is_mapped: bool,
    /// What brings its bytes.
    pub transport: TransportInfo,
}

/// What a session has done with its input.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// So many bytes are used up. The rest must be passed again, with more behind it.
    pub used: usize,
    /// If not 0: from the first byte that must be passed again, so many make a whole operation, and
    /// nothing will happen before all but the last of them are there. (That one less shows a client
    /// that has miscounted its payload; it may wait for the answer without sending more.)
    pub whole: usize,
}

/// A client of the wire protocol.
pub struct ClientSession {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    byte_queue: Arc<ByteQueue>,
    parser: Parser,
    limits: ParserLimits,
    options: ConnectOptions,
    phase: Phase,
    publisher: Publisher,
    ping: Ping,
    /// When it last published or subscribed.
    last_activity: Option<Instant>,
    has_published: bool,
    has_connected: bool,
    has_ponged: bool,
    /// The subject of the message that is on the way has been judged.
    has_judged_subject: bool,
    /// The authenticator has changed while the one before it was at work.
    must_review: bool,
    /// The server will go.
    lame_duck: Option<Box<LameDuck>>,
    /// It waits for a receiver of its messages.
    patience: Option<Box<Patience>>,
    /// The work that is done a slice at a time, if there is any.
    chores: Option<Box<Chores>>,
    /// The session has ended, but for its subscriptions.
    has_departed: bool,
    trace: Option<Arc<Trace>>,
    /// The deadline of a client that was let in under a name without credentials and has sent nothing yet.
    silent_until: Option<Instant>,
    /// How far it is with TLS.
    securing: Securing,
    is_mapped: bool,
    /// Why the connection must end, once what waits for the client has left.
    closing: Option<CloseReason>,
}

/// How far a client has come. Only one that is served has an account, so that nothing else can touch
/// one.
enum Phase {
    /// It must show credentials, by then at the latest.
    Unauthenticated(Instant),
    /// Its credentials are being checked elsewhere; its input waits.
    Checking(Option<Compute>),
    Served(Served),
}

struct Served {
    member: Member,
    user: Option<Arc<str>>,
    proof: Proof,
}

impl ClientSession {
    /// Takes in a connection and greets it with INFO. If there are too many,
    /// [it must close](Self::closing) at once.
    pub(crate) fn open(
        shared: Arc<Shared>,
        arrival: Arrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> Self {
        scratch.start(now);
        let version = shared.version();
        let options = shared.options.load();
        let limits = options.limits.clone();
        let (id, seed) = shared.next_session();
        let byte_queue = Arc::new(ByteQueue::new(
            ClientEncoder::default(),
            id,
            write_handle,
            limits.max_pending_bytes,
            limits.write_deadline,
            Arc::clone(&shared.queues),
        ));
        let Arrival { remote, handshake, is_mapped, transport } = arrival;
        let auth_timeout = transport.auth_timeout().unwrap_or(limits.auth_timeout);
        let ping = Ping::new(now, &limits, transport.ping_interval());
        let endpoint = Arc::new(Endpoint::new(
            id,
            seed,
            remote,
            transport,
            now,
            Arc::clone(&byte_queue) as Arc<_>,
            Kind::Client,
        ));
        let phase = Phase::Unauthenticated(now + auth_timeout);
        let counted = shared.counted_subjects.clone();
        let mut session = Self {
            limits: ParserLimits {
                max_control_line_bytes: limits.max_control_line_bytes,
                max_payload_bytes: limits.max_payload_bytes,
                headers: false,
            },
            trace: None,
            shared,
            endpoint,
            byte_queue,
            parser: Parser::default(),
            options: ConnectOptions::default(),
            phase,
            publisher: Publisher::new(seed, counted),
            ping,
            last_activity: None,
            has_published: false,
            has_connected: false,
            has_ponged: false,
            has_judged_subject: false,
            must_review: false,
            lame_duck: None,
            silent_until: None,
            patience: None,
            chores: None,
            has_departed: false,
            securing: Securing::new(handshake),
            is_mapped,
            closing: None,
        };
        session.let_in_as_is();
        session.follow_trace();
        session.greet_at_first(scratch);
        let is_one_too_many = !session.shared.register(&session.endpoint, limits.max_connections);
        tracing::debug!(client = %session.endpoint, "Client connection created");
        // What was changed before the session was one of those who are told.
        if session.shared.version() != version {
            session
                .endpoint
                .control
                .leave(None, |control| (control.options, control.authenticator) = (true, true));
        }
        if session.shared.info.load().ldm {
            session.endpoint.control.leave(None, |control| control.end = true);
        }
        if is_one_too_many {
            session.fault(&ClientFault::MaxConnections, scratch);
        }
        session.byte_queue.drain(now, false, scratch);
        session
    }

    /// Where nothing needs to be shown, a client is served before it says who it is.
    fn let_in_as_is(&mut self) {
        let authenticator = self.authenticator();
        if !authenticator.is_required()
            && self.securing.is_done()
            && let Decision::Grant(grant) = authenticator.authenticate(&self.shown_by_carrier())
        {
            // NATS 2.14: for a no_auth_user the time to log in runs all the same.
            if let Phase::Unauthenticated(deadline) = &self.phase
                && grant.user.is_some()
                && !self.has_connected
            {
                self.silent_until = Some(*deadline);
            }
            self.serve(grant);
        }
    }

    fn serve(&mut self, grant: Grant) {
        let (user, proof) = (grant.user.clone(), grant.proof.clone());
        let member = Member::join(&self.shared, &self.endpoint, grant);
        self.phase = Phase::Served(Served { member, user, proof });
    }

    /// The connection's number, `cid`.
    pub fn id(&self) -> u64 {
        self.endpoint.id
    }

    /// Where its deliveries go.
    pub fn byte_queue(&self) -> &Arc<ByteQueue> {
        &self.byte_queue
    }

    /// Returns true if the client has not been let in yet, or only without credentials and has sent nothing
    /// since.
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(self.phase, Phase::Served(_)) || self.silent_until.is_some()
    }

    /// How much to read at once, with what was kept: little, before the client has shown who it is,
    /// but always more than the session may have left unused.
    pub fn read_limit(&self) -> usize {
        if self.is_unauthenticated() {
            PRE_AUTH_READ_BYTES.max(self.limits.max_kept_line_bytes() + 1)
        } else {
            usize::MAX
        }
    }

    /// Does what the client asks for in `input`, and flushes everybody who got something by it.
    ///
    /// `shared`: the same bytes, if they were read into memory of their own, to be kept instead of
    /// copied.
    pub fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        scratch.start(now);
        if self.has_chores() {
            self.do_chore(now, scratch);
        } else if self.has_update() {
            self.handle_update(now, scratch);
        }
        let received = self.receive_all(now, input, shared, scratch);
        if self.lame_duck.is_some() {
            self.leave(now);
        }
        if !scratch.take_expects_more() {
            self.flush(now, scratch);
        }
        received
    }

    /// Flushes everybody who got something by [`Self::receive`], and the client itself. Only needed after
    /// [`Scratch::expect_more`].
    pub fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        flush_touched(scratch);
        self.byte_queue.drain_own(self.last_activity, now, scratch);
        self.guard_total();
        self.begin_patience(now, scratch);
    }

    /// Keeps all queues together within their bound.
    #[inline]
    fn guard_total(&self) {
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
    }

    /// Has [`Self::receive`] published something since this was last asked?
    pub fn take_has_published(&mut self) -> bool {
        std::mem::take(&mut self.has_published)
    }

    /// Adds to what [`Broker::latencies`](crate::Broker::latencies) shows how long it took from a read to
    /// the end of the flush that followed.
    pub fn note_flush(&self, took: Duration) {
        self.shared.flushes.add(took);
    }

    fn receive_all(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        let mut at = 0;
        let mut whole = 0;
        // NATS 2.14: anything but CONNECT is an action, and the first letter tells.
        if self.silent_until.is_some() && !matches!(input.first(), None | Some(b'C' | b'c')) {
            self.silent_until = None;
        }
        let mut operations = 0;
        let messages_before = self.publisher.messages();
        let mut batch = Batch::with_memory(scratch.take_messages());
        while at < input.len() && self.closing.is_none() && !self.has_chores() {
            let rest = &input[at..];
            match &self.phase {
                Phase::Served(_) => {
                    let used = self.gather(rest, &mut batch, shared, scratch);
                    at += used;
                    if used > 0 {
                        continue;
                    }
                }
                // NATS 2.14: the first letter tells.
                Phase::Unauthenticated(_) if !matches!(rest[0], b'C' | b'c') => {
                    self.note_auth_failure(AuthFailure::BeforeConnect);
                    self.fault(&ClientFault::AuthorizationViolation, scratch);
                    break;
                }
                Phase::Unauthenticated(_) => {}
                Phase::Checking(_) => break,
            }
            match self.parser.parse(rest, &self.limits) {
                Ok(Parsed::Op { op: Op::Publish(message), used }) => {
                    at += used;
                    self.publish(&mut batch, shared, scratch);
                    if !self.is_for_traces(&message, scratch) {
                        batch.push(message);
                        self.publish(&mut batch, shared, scratch);
                    }
                }
                Ok(Parsed::Op { op, used }) => {
                    at += used;
                    self.publish(&mut batch, shared, scratch);
                    self.handle(&op, now, scratch);
                    operations += 1;
                    if operations == OPERATIONS_A_TURN {
                        self.pause();
                    }
                }
                Ok(Parsed::Partial { used, whole: needed }) => {
                    at += used;
                    whole = needed;
                    self.judge_announced(&input[at..], scratch);
                    break;
                }
                Err(fault) => {
                    self.publish(&mut batch, shared, scratch);
                    self.judge_announced(rest, scratch);
                    self.fault_in(&fault, rest, scratch);
                    break;
                }
            }
        }
        self.publish(&mut batch, shared, scratch);
        scratch.keep_messages(batch.into_memory());
        if self.publisher.messages() != messages_before {
            self.has_published = true;
            self.note_activity(now);
        }
        // The rest of the input of a client that is closed need not be kept.
        if self.closing.is_some() {
            return Received { used: input.len(), whole: 0 };
        }
        Received { used: at, whole }
    }

    /// Publishes the messages that `input` begins with, if they are written as they mostly are, and
    /// leaves the last of them in `batch`. Returns how many bytes they took.
    fn gather<'a>(
        &mut self,
        input: &'a [u8],
        batch: &mut Batch<'a>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> usize {
        if self.answers_each_message() || !self.parser.is_between_operations() {
            return 0;
        }
        let mut at = 0;
        loop {
            at += fast::gather(&input[at..], &self.limits, batch);
            if !batch.has_most_messages() && !batch.has_most_runs() {
                return at;
            }
            self.publish(batch, shared, scratch);
        }
    }

    /// Does the client get, or do we log, something for each message?
    fn answers_each_message(&self) -> bool {
        self.options.verbose || self.options.pedantic || self.trace.is_some()
    }

    fn publish(&mut self, batch: &mut Batch<'_>, shared: Option<&Bytes>, scratch: &mut Scratch) {
        if batch.messages().is_empty() {
            return;
        }
        if self.lame_duck.is_some() {
            self.note_messages(batch, scratch.now());
        }
        if batch.is_one_run() {
            self.publish_run(batch.messages(), None, shared, scratch);
        } else {
            self.publish_runs(batch, shared, scratch);
        }
        self.guard_total();
        batch.clear();
    }

    fn publish_runs(&mut self, batch: &Batch<'_>, shared: Option<&Bytes>, scratch: &mut Scratch) {
        let mut prefetched = PrefetchedBatch::new();
        if let Phase::Served(served) = &self.phase {
            let subjects = batch.runs().map(|run| run[0].subject);
            prefetched = self.publisher.prefetch(&served.member.account, subjects);
        }
        for (number, run) in batch.runs().enumerate() {
            self.publish_run(run, prefetched.get(number).copied(), shared, scratch);
        }
    }

    fn publish_run(
        &mut self,
        run: &[Publish<'_>],
        prefetched: Option<Prefetched>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) {
        let subject = run[0].subject;
        if let Some(trace) = &self.trace {
            run.iter().for_each(|message| trace::message(trace, message));
        }
        if self.options.pedantic {
            self.judge_subject(subject, scratch);
        }
        let Phase::Served(served) = &self.phase else { return };
        let run = Run { subject, messages: run, shared, parsed: None, prefetched };
        let label =
            ClientLabel { endpoint: &self.endpoint, served: Some(served), options: &self.options };
        let reply_writer =
            ReplyWriter { label, byte_queue: &self.byte_queue, trace: self.trace.as_deref() };
        let mut observer = ClientPublishObserver {
            member: &served.member,
            reply_writer,
            is_leaving: self.lame_duck.is_some(),
        };
        self.publisher.publish(&served.member, &run, &mut observer, scratch);
    }

    fn handle(&mut self, op: &Op<'_>, now: Instant, scratch: &mut Scratch) {
        if let Some(trace) = &self.trace {
            trace::operation(trace, op);
        }
        if self.has_half_closed() {
            return;
        }
        if !matches!(op, Op::Connect(_)) {
            self.settle_in();
        }
        match *op {
            Op::Connect(json) => self.connect(json, now, scratch),
            Op::Subscribe { filter, queue, sid } => {
                self.note_activity(now);
                self.subscribe(filter, queue, sid, scratch);
            }
            Op::Unsubscribe { sid, max } => {
                self.note_activity(now);
                self.unsubscribe(sid, max, scratch);
            }
            Op::Ping => {
                self.ping.note_activity(now);
                self.pong(scratch);
            }
            Op::Pong => {
                if let Some(rtt) = self.ping.answered(now) {
                    self.note_rtt(rtt);
                }
            }
            Op::Info(json) => {
                if check_from_client(json).is_err() {
                    self.fault(&ClientFault::BadJson("INFO"), scratch);
                }
            }
            Op::Err(text) => {
                self.fault(&ClientFault::ClientError(text.into()), scratch);
            }
            Op::Ok | Op::Publish(_) => {}
        }
    }

    /// It has published or subscribed.
    fn note_activity(&mut self, now: Instant) {
        self.ping.note_activity(now);
        self.last_activity = Some(now);
    }

    fn connect(&mut self, json: &[u8], now: Instant, scratch: &mut Scratch) {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.options.load().limits;
        self.silent_until = None;
        if !self.has_connected {
            self.note_rtt(now.saturating_duration_since(self.endpoint.since));
        }
        self.ping.connected(now, limits, self.publisher.random());
        let before = (self.options.user.clone(), self.options.nkey.clone());
        if self.options.apply(json).is_err() {
            return self.fault(&ClientFault::BadJson("CONNECT"), scratch);
        }
        self.introduce();
        let headers = self.options.headers && !shared.options.load().no_header_support;
        self.limits.headers = headers;
        self.byte_queue.encoder().set_headers(headers);
        self.endpoint.set_echo(self.options.echo);
        // NATS 2.14: a second CONNECT may change the account; what was subscribed to in the old one
        // ends before the new credentials are looked at.
        let has_connected = std::mem::replace(&mut self.has_connected, true);
        self.publisher.forget();
        if has_connected {
            self.end_subscriptions_then(Then::Authenticate(before), now, scratch);
        } else {
            self.authenticate(&before, now, scratch);
        }
    }

    /// Authenticates the client. `before`: its user and its key before CONNECT.
    fn authenticate(&mut self, before: &(String, String), now: Instant, scratch: &mut Scratch) {
        let credentials = self.credentials();
        let authenticator = self.authenticator();
        let decision = match self.held_grant() {
            // Who they were is forgotten but for the proof, and they do not say that they are another.
            Some(held)
                if held.proof.is_some()
                    && !self.options.has_secrets()
                    && *before == (credentials.user.clone(), credentials.nkey.clone()) =>
            {
                authenticator.review(&held, &credentials)
            }
            _ => authenticator.authenticate(&credentials),
        };
        match decision {
            Decision::Grant(grant) => self.admit(Ok(grant), now, scratch),
            Decision::Deny(denied) => self.admit(Err(denied), now, scratch),
            Decision::Compute(check) => {
                self.end_subscriptions_then(Then::Check(check), now, scratch);
            }
        }
    }

    /// Who decides who it is.
    fn authenticator(&self) -> Guard<Arc<Box<dyn Authenticator>>> {
        match self.endpoint.transport.authenticator() {
            Some(own) => Guard::from_inner(own),
            None => self.shared.authenticator.load(),
        }
    }

    fn credentials(&self) -> Credentials {
        let options = &self.options;
        let mut credentials = Credentials {
            user: options.user.clone(),
            password: options.pass.clone(),
            token: options.auth_token.clone(),
            jwt: options.jwt.clone(),
            nkey: options.nkey.clone(),
            sig: options.sig.clone(),
            name: options.name.clone(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            remote: self.endpoint.remote,
            ..self.shown_by_carrier()
        };
        self.endpoint.transport.complete(&mut credentials);
        credentials
    }

    /// The check that must run before the session goes on, if there is one: run it where it delays
    /// nobody and pass its result to [`Self::handle_checked`].
    pub fn take_check(&mut self) -> Option<Compute> {
        match &mut self.phase {
            Phase::Checking(check) => check.take(),
            Phase::Unauthenticated(_) | Phase::Served(_) => None,
        }
    }

    /// Goes on with what the check came to. Call [`Self::receive`] with the bytes kept, next.
    pub fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        scratch.start(now);
        self.admit(result, now, scratch);
        self.byte_queue.drain(now, false, scratch);
    }

    fn admit(&mut self, result: Result<Grant, Denied>, now: Instant, scratch: &mut Scratch) {
        let grant = match result {
            Ok(grant) => grant,
            Err(denied) => {
                self.note_auth_failure(denied.into());
                return self.fault(&denied.into(), scratch);
            }
        };
        if !self.options.account.is_empty() {
            self.note_auth_failure(AuthFailure::Credentials);
            return self.fault(&ClientFault::AuthorizationViolation, scratch);
        }
        // Subscriptions from before CONNECT stay if it changes neither account nor permissions.
        if self.is_served_as(&grant) {
            self.let_in(grant, scratch);
        } else {
            self.end_subscriptions_then(Then::Admit(grant), now, scratch);
        }
    }

    fn let_in(&mut self, grant: Grant, scratch: &mut Scratch) {
        if grant.proof.is_some() {
            self.options.forget_secrets();
        }
        self.take_mapped_name(&grant);
        self.become_served(grant);
        self.introduce();
        self.follow_trace();
        if std::mem::take(&mut self.must_review) {
            self.review(&[], scratch);
            if self.closing.is_some() {
                return;
            }
        }
        if !(0..=1).contains(&self.options.protocol) {
            return self.fault(&ClientFault::BadProtocol, scratch);
        }
        if self.options.no_responders && !self.options.headers {
            return self.fault(&ClientFault::NoRespondersRequiresHeaders, scratch);
        }
        self.ok(scratch);
    }

    /// Somebody who was let in under a name without showing anything, and now acts under it, has logged
    /// in by that.
    // NATS 2.14: parser.go, no_auth_user: whoever begins with something else than CONNECT.
    fn settle_in(&mut self) {
        if let Phase::Served(Served { user: Some(_), .. }) = &self.phase {
            self.has_connected = true;
        }
    }

    fn is_served_as(&self, grant: &Grant) -> bool {
        matches!(&self.phase, Phase::Served(served)
            if served.member.account.name == grant.account)
            && *self.endpoint.permissions.load() == grant.permissions
    }

    /// Call it when the subscriptions that do not stay have ended.
    fn become_served(&mut self, grant: Grant) {
        if self.is_served_as(&grant)
            && let Phase::Served(served) = &mut self.phase
        {
            served.user = grant.user;
            served.proof = grant.proof;
            return;
        }
        self.leave_account();
        self.serve(grant);
    }

    /// The session leaves its account, in which it has no subscriptions any more.
    fn leave_account(&mut self) {
        if let Phase::Served(served) = &self.phase {
            served.member.leave();
            self.phase = Phase::Checking(None);
        }
    }

    fn subscribe(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        scratch: &mut Scratch,
    ) {
        let Phase::Served(served) = &self.phase else { return };
        match served.member.subscribe(filter, queue, sid) {
            Ok(subscription) => {
                self.note_service(subscription.filter(), subscription.queue());
                self.ok(scratch);
            }
            Err(refusal) => self.fault(&fault_of(refusal, filter, queue, sid), scratch),
        }
    }

    fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>, scratch: &mut Scratch) {
        let has_ended = self.end_subscription(sid, max);
        self.ok(scratch);
        if let Some(trace) = self.trace.as_ref().filter(|_| has_ended) {
            trace.ended(sid);
        }
    }

    fn end_subscription(&mut self, sid: &[u8], max: Option<u64>) -> bool {
        let Phase::Served(served) = &self.phase else { return false };
        let subscription = self.endpoint.sids.get(sid);
        subscription.is_some_and(|subscription| served.member.unsubscribe(&subscription, max))
    }

    fn ok(&self, scratch: &mut Scratch) {
        if self.options.verbose {
            self.reply_writer().ok(scratch);
        }
    }

    fn pong(&mut self, scratch: &mut Scratch) {
        self.reply_writer().pong(scratch);
        if !self.has_connected || self.has_ponged {
            return;
        }
        self.has_ponged = true;
        // NATS 2.14: the first PONG is followed by what the client could not know before CONNECT.
        if self.options.protocol >= 1
            && let Phase::Served(served) = &self.phase
        {
            let account = Arc::clone(&served.member.account.name);
            self.send_info(
                |info| {
                    info.connect_info = true;
                    info.remote_account = String::from(&*account);
                    info.acc_is_sys = *account == *SYSTEM;
                },
                scratch,
            );
        }
    }

    fn send_info(&self, change: impl FnOnce(&mut crate::proto::Info), scratch: &mut Scratch) {
        let mut info = (**self.shared.info.load()).clone();
        info.max_payload = self.limits.max_payload_bytes;
        info.auth_required = self.authenticator().is_required();
        info.client_id = self.endpoint.id;
        info.client_ip =
            self.endpoint.remote.map(|remote| remote.ip().to_string()).unwrap_or_default();
        self.endpoint.transport.change_info(&mut info);
        change(&mut info);
        self.byte_queue.send(scratch, |out| encode::info(out, &info));
    }

    /// Lets others see who this is.
    fn introduce(&self) {
        let ConnectOptions { name, lang, version, .. } = &self.options;
        let [name, lang, version] = [name, lang, version].map(|text| text.as_str().into());
        let client_info = ClientInfo { name, lang, version, user: self.label().shown_user() };
        self.endpoint.client_info.store(Some(Arc::new(client_info)));
    }

    fn note_auth_failure(&self, failure: AuthFailure) {
        self.shared.history.lock().note_auth_failure(failure);
    }

    fn note_rtt(&self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.endpoint.rtt_nanos.store(nanos.max(1), Ordering::Relaxed);
    }

    /// When [`Self::handle_timeout`] wants to be called, at the latest. It may be called earlier.
    pub fn next_timeout(&self) -> Instant {
        let mut next = self.ping.deadline();
        if let Phase::Unauthenticated(deadline) = &self.phase
            && self.securing.is_done()
        {
            next = next.min(*deadline);
        }
        if let Some(deadline) = self.silent_until {
            next = next.min(deadline);
        }
        if let Some(deadline) = self.byte_queue.write_deadline() {
            next = next.min(deadline);
        }
        if let Some(look) = self.patience_timeout() {
            next = next.min(look);
        }
        self.leaving_timeout().map_or(next, |lame_duck| next.min(lame_duck))
    }

    /// Does what is due: asks a silent client, cuts a stale one, one that shows no credentials, one
    /// that does not read.
    pub fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.closing.is_some() {
            return;
        }
        scratch.start(now);
        self.byte_queue.handle_timeout(now);
        self.check_patience(now);
        let must_show_by = match &self.phase {
            Phase::Unauthenticated(deadline) => Some(*deadline),
            Phase::Checking(_) | Phase::Served(_) => self.silent_until,
        };
        if must_show_by.is_some_and(|deadline| now >= deadline) {
            self.note_auth_failure(AuthFailure::Timeout);
            self.fault(&ClientFault::AuthenticationTimeout, scratch);
        } else {
            let shared = Arc::clone(&self.shared);
            if now >= self.ping.deadline() {
                tracing::debug!(client = %self.label(), "Client Ping Timer");
            }
            match self.ping.handle_timeout(now, &shared.options.load().limits) {
                Due::Nothing => {}
                Due::Ping => {
                    self.reply_writer().ping(scratch);
                    self.publisher.forget();
                }
                Due::Stale => self.fault(&ClientFault::StaleConnection, scratch),
            }
        }
        self.leave(now);
        self.byte_queue.drain(now, false, scratch);
    }

    /// Why the connection must end: flush the byte queue, if it takes no time, and close.
    pub fn closing(&self) -> Option<CloseReason> {
        self.byte_queue.ending().or(self.closing)
    }

    /// The connection is gone, or must go: nothing more is delivered to it.
    pub fn close(&mut self, reason: CloseReason) {
        let reason = self.closing().unwrap_or(reason);
        self.closing = Some(reason);
        Destination::close(&*self.byte_queue, reason);
    }

    fn fault(&mut self, fault: &ClientFault, scratch: &mut Scratch) {
        self.fault_in(fault, &[], scratch);
    }

    fn fault_in(&mut self, fault: &ClientFault, input: &[u8], scratch: &mut Scratch) {
        let close = self.reply_writer().fault(fault, input, scratch);
        self.closing = self.closing.or(close);
    }

    /// Begins or ends tracing if that was switched, and learns how the client is named.
    fn follow_trace(&mut self) {
        let options = self.shared.options.load();
        let is_traced = options.trace;
        #[cfg(feature = "testing")]
        let is_traced = is_traced || self.shared.seam.wants_lines();
        let trace = is_traced.then(|| {
            let trace = Trace::new(self.label().to_string(), &options);
            #[cfg(feature = "testing")]
            let trace = trace.read_by(&self.shared.seam);
            Arc::new(trace)
        });
        self.byte_queue.set_trace(trace.clone());
        self.trace = trace;
    }

    fn label(&self) -> ClientLabel<'_> {
        let served = match &self.phase {
            Phase::Served(served) => Some(served),
            Phase::Unauthenticated(_) | Phase::Checking(_) => None,
        };
        ClientLabel { endpoint: &self.endpoint, served, options: &self.options }
    }

    fn reply_writer(&self) -> ReplyWriter<'_> {
        ReplyWriter {
            label: self.label(),
            byte_queue: &self.byte_queue,
            trace: self.trace.as_deref(),
        }
    }
}

fn fault_of(
    refusal: SubscribeRefusal,
    filter: &[u8],
    queue: Option<&[u8]>,
    sid: &[u8],
) -> ClientFault {
    match refusal {
        SubscribeRefusal::Denied => ClientFault::SubscribeDenied {
            subject: filter.into(),
            queue: queue.map(Into::into),
            sid: sid.into(),
        },
        SubscribeRefusal::TooManyTokens => {
            ClientFault::TooManyTokens { subject: filter.into(), sid: sid.into() }
        }
        SubscribeRefusal::MaxSubscriptions => ClientFault::MaxSubscriptions,
        SubscribeRefusal::InvalidFilter => ClientFault::InvalidSubject,
    }
}

mod chores;
mod handshake;
mod lame_duck;
mod patience;
mod pedantic;
mod publish_observer;
mod reply_writer;
mod trace;
mod traced;
mod updates;

#[cfg(test)]
mod tests;
