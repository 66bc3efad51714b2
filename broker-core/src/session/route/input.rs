//! The input of another server.

use std::time::Instant;

use bytes::Bytes;

use super::{Compressing, Phase, RouteSession};
use crate::account::is_marked;
use crate::cluster::Refusal;
use crate::endpoint::{Run, Scratch};
use crate::error::CloseReason;
use crate::limits::OPERATIONS_A_TURN;
use crate::proto::encode;
use crate::proto::route::parser::fast::{self, Addressed};
use crate::proto::route::{RouteMessage, RouteOp, RouteParsed, traced};
use crate::proto::traced::is_mentioned;
use crate::proto::{Batch, Publish, have_replies};
use crate::routing::{Audience, flush_touched};
use crate::session::Received;
use crate::sync::Arc;
use crate::trace::Trace;

impl RouteSession {
    pub(super) fn receive_all(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        self.ping.note_activity(now);
        self.is_paused = false;
        let account = self.account.clone();
        let of_route = account.as_deref().map(str::as_bytes);
        let (mut at, mut whole, mut operations) = (0, 0, 0);
        let mut batch = Batch::with_memory(scratch.take_messages());
        while at < input.len() && self.closing.is_none() && self.takes_input() {
            if !self.may_speak(&input[at..], scratch) {
                break;
            }
            let used = self.gather(&input[at..], of_route, &mut batch, shared, scratch);
            at += used;
            if used > 0 {
                continue;
            }
            let rest = &input[at..];
            match self.parser.parse(rest, of_route, &self.limits) {
                Ok(RouteParsed::Op { op: RouteOp::Message(message), used }) => {
                    at += used;
                    self.trace_received(&rest[..used], Some(&message.message));
                    self.ok(scratch);
                    let is_relayed = message.message.header_len.is_some()
                        && self.mentions_trace(&message)
                        && self.relay_if_traced(&message, scratch);
                    if !is_relayed {
                        batch.push(message.message);
                        self.relay(message.account, &message.queues, &mut batch, shared, scratch);
                    }
                }
                Ok(RouteParsed::Op { op, used }) => {
                    at += used;
                    self.trace_received(&rest[..used], None);
                    self.handle(&op, now, scratch);
                    operations += 1;
                    // The account of the route may be known only now.
                    if operations == OPERATIONS_A_TURN || self.account != account {
                        self.is_paused = at < input.len();
                        break;
                    }
                }
                Ok(RouteParsed::Partial { used, whole: needed }) => {
                    at += used;
                    whole = needed;
                    break;
                }
                Err(error) => {
                    self.fault(&Refusal::Wire(error), scratch);
                    break;
                }
            }
        }
        scratch.keep_messages(batch.into_memory());
        if self.closing.is_some() {
            return Received { used: input.len(), whole: 0 };
        }
        Received { used: at, whole }
    }

    /// Returns false while input must wait.
    pub(super) fn takes_input(&self) -> bool {
        !matches!(self.phase, Phase::Securing | Phase::Checking)
            && !matches!(self.compressing, Compressing::Asked(_))
    }

    /// Returns true if the other server may send the operation at the begin of `input`.
    // NATS 2.14: parser.go: the first letter decides.
    fn may_speak(&mut self, input: &[u8], scratch: &mut Scratch) -> bool {
        let is_connect = matches!(input.first(), Some(b'C' | b'c'));
        if matches!(self.phase, Phase::Unauthenticated(_)) && !is_connect {
            self.fault(&Refusal::Unauthorized, scratch);
            return false;
        }
        true
    }

    fn handle(&mut self, op: &RouteOp<'_>, now: Instant, scratch: &mut Scratch) {
        match op {
            RouteOp::Connect(json) => self.connect(json, scratch),
            RouteOp::Info(json) => self.info(json, scratch),
            RouteOp::Ping => {
                self.byte_queue.send(scratch, |out| out.extend_from_slice(encode::PONG));
            }
            RouteOp::Pong => self.pong(now),
            RouteOp::Subscribe(subscription) => {
                self.subscribe(subscription, scratch);
                self.ok(scratch);
            }
            RouteOp::Unsubscribe(subscription) => {
                self.unsubscribe(subscription);
                self.ok(scratch);
            }
            RouteOp::Err(text) => self.told(text),
            RouteOp::Message(_) | RouteOp::Account | RouteOp::Ok => {}
        }
    }

    /// Handles `-ERR`.
    fn told(&mut self, text: &[u8]) {
        let clean = std::str::from_utf8(text).ok().filter(|it| !it.contains(char::is_control));
        let reason = match clean.and_then(Refusal::conflict_in) {
            Some(conflict) => {
                self.state_conflict(conflict);
                CloseReason::JetStreamConflict
            }
            None => {
                let text = crate::error::Escaped(text);
                tracing::error!(client = %self.endpoint, "Route Error {text}");
                CloseReason::ParseError
            }
        };
        self.closing = self.closing.or(Some(reason));
    }

    /// Sends `+OK` to a server that wants it.
    fn ok(&self, scratch: &mut Scratch) {
        if self.is_verbose {
            self.byte_queue.send(scratch, |out| out.extend_from_slice(encode::OK));
        }
    }

    fn pong(&mut self, now: Instant) {
        if let Some(rtt) = self.ping.answered(now) {
            let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
            let stored = &self.endpoint.rtt_nanos;
            stored.store(nanos.max(1), crate::sync::Ordering::Relaxed);
            self.follow_rtt(rtt);
        }
        let shared = Arc::clone(&self.shared);
        self.cluster.handle_pong(self.endpoint.id, &*shared);
    }

    /// Logs an operation, if operations are logged.
    #[inline]
    fn trace_received(&self, operation: &[u8], message: Option<&Publish<'_>>) {
        if let Some(trace) = &self.trace {
            log_received(trace, operation, message);
        }
    }

    /// Returns true if a message may ask for a trace.
    fn mentions_trace(&self, routed: &RouteMessage<'_>) -> bool {
        is_mentioned(routed.message.headers(), self.limits.traces_by_account)
    }

    /// Delivers a message with its trace, if it is traced.
    fn relay_if_traced(&mut self, routed: &RouteMessage<'_>, scratch: &mut Scratch) -> bool {
        let Ok(account) = std::str::from_utf8(routed.account) else { return false };
        if self.shared.known_account(account).is_none() {
            return false;
        }
        let run = Run {
            shown: None,
            subject: routed.message.subject,
            messages: std::slice::from_ref(&routed.message),
            shared: None,
            parsed: None,
            prefetched: None,
        };
        let audience = Audience::Queues { plain: true, names: &routed.queues };
        let by_account = self.limits.traces_by_account;
        self.accounts.publish_if_traced(account, &run, audience, by_account, scratch)
    }

    /// Delivers the messages at the beginning of `input`, as far as they are in the usual form. Returns the number of
    /// bytes consumed.
    // Not inlined, so that other code of its caller takes no registers from the loop over messages.
    #[inline(never)]
    fn gather<'a>(
        &mut self,
        input: &'a [u8],
        account: Option<&'a [u8]>,
        batch: &mut Batch<'a>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> usize {
        let is_usual = matches!(self.phase, Phase::Joined | Phase::Greeting)
            && self.trace.is_none()
            && !self.is_verbose
            && self.parser.is_between_operations();
        if !is_usual {
            return 0;
        }
        let mut at = 0;
        loop {
            let mut to = Addressed::default();
            let used = fast::gather(&input[at..], account, &self.limits, &mut to, batch);
            if used == 0 {
                return at;
            }
            at += used;
            self.relay(to.account, &to.queues(), batch, shared, scratch);
        }
    }

    /// Delivers gathered messages.
    // NATS 2.14: route.go processInboundRoutedMsg.
    fn relay(
        &mut self,
        account: &[u8],
        queues: &[&[u8]],
        batch: &mut Batch<'_>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) {
        self.has_published = true;
        let audience = Audience::Queues { plain: true, names: queues };
        if let Ok(account) = std::str::from_utf8(account)
            && (self.accounts.has(account) || self.shared.known_account(account).is_some())
        {
            self.note_measured(account, batch);
            // A server in too many accounts was reported when it subscribed.
            let _ = self.accounts.publish_all(account, batch, shared, audience, scratch);
        }
        batch.clear();
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
    }

    /// Notes requests whose response times the other server measures.
    // NATS 2.14: client.go deliverMsg.
    fn note_measured(&self, account: &str, batch: &Batch<'_>) {
        if !have_replies(batch.messages()) {
            return;
        }
        for message in batch.messages().iter().filter(|message| is_marked(message.reply)) {
            let Some(account) = self.shared.known_account(account) else { return };
            let context = &self.shared.context;
            context.remote.note_request(&account.name, message.reply, context);
        }
    }

    pub(super) fn flush_all(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        flush_touched(scratch);
        self.byte_queue.drain_own(self.last_activity, now, scratch);
        let _ = scratch.take_crowded();
    }
}

/// Logs an operation as the reference does.
// NATS 2.14: parser.go parse, client.go traceInOp, removeSecretsFromTrace.
#[cold]
fn log_received(trace: &Trace, operation: &[u8], message: Option<&Publish<'_>>) {
    let Some((verb, arguments)) = traced(operation) else { return };
    let shown = String::from_utf8_lossy(arguments);
    match (verb, &*shown) {
        // Contains a password.
        ("CONNECT", _) => trace.received(&"CONNECT [REDACTED]"),
        (_, "") => trace.received(&verb),
        _ => trace.received(&format_args!("{verb} {shown}")),
    }
    if let Some(message) = message {
        trace.received_payload(message);
    }
}
