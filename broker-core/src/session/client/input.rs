//! The input of a client: processes bytes and flushes the receivers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ClientSession, Phase, trace};
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::limits::{OPERATIONS_A_TURN, PRE_AUTH_READ_BYTES};
use crate::proto::info::check_from_client;
use crate::proto::{Batch, Op, Parsed};
use crate::routing::flush_touched;
use crate::session::Received;
use crate::snapshot::AuthFailure;

impl ClientSession {
    /// Processes `input`, and flushes every receiver of its messages.
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

    /// Flushes every receiver of messages of [`Self::receive`], and the client itself. Only needed after
    /// [`Scratch::expect_more`].
    pub fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        if self.has_changed_interest {
            self.write_interest(scratch);
        }
        flush_touched(scratch);
        self.byte_queue.drain_own(self.last_activity, now, scratch);
        self.guard_total();
        self.begin_patience(now, scratch);
    }

    /// Keeps the memory of all queues within its bound.
    #[inline]
    pub(super) fn guard_total(&self) {
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
    }

    /// Returns true if [`Self::receive`] has published something since the last call.
    pub fn take_has_published(&mut self) -> bool {
        std::mem::take(&mut self.has_published)
    }

    /// Adds the time from a read to the end of the flush that followed to
    /// [`Broker::latencies`](crate::Broker::latencies).
    pub fn note_flush(&self, took: Duration) {
        self.shared.flushes.add(took);
    }

    /// Returns the largest number of bytes per read, including those that were kept: few before the client has
    /// authenticated, but always more than the session may have left unused.
    pub fn read_limit(&self) -> usize {
        if self.is_unauthenticated() {
            PRE_AUTH_READ_BYTES.max(self.limits.max_kept_line_bytes() + 1)
        } else {
            usize::MAX
        }
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
        // NATS 2.14: anything but CONNECT is an action; the first letter decides.
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
                // NATS 2.14: the first letter decides.
                Phase::Unauthenticated(_)
                    if !matches!(rest[0], b'C' | b'c')
                        && self.authenticator().is_connect_optional() =>
                {
                    self.decide_without_connect(now, scratch);
                    continue;
                }
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
                    if !self.publish_if_traced(&message, shared, scratch) {
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
                    if let ClientFault::MaxPayload { .. } = fault {
                        self.trace_oversized(rest, scratch);
                    }
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
        // The rest of the input of a closed client need not be kept.
        if self.closing.is_some() {
            return Received { used: input.len(), whole: 0 };
        }
        Received { used: at, whole }
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

    /// Records that the client has published or subscribed.
    fn note_activity(&mut self, now: Instant) {
        self.ping.note_activity(now);
        self.last_activity = Some(now);
    }
}
