//! Messages that ask to be traced.

use bytes::Bytes;

use super::publish_observer::ClientPublishObserver;
use super::reply_writer::{ClientLabel, ReplyWriter};
use super::{ClientSession, Phase, trace};
use crate::endpoint::{Run, Scratch};
use crate::error::ClientFault;
use crate::message_trace::MessageTrace;
use crate::proto::parser::oversized;
use crate::proto::traced::is_mentioned;
use crate::proto::{Batch, Publish};
use crate::session::sizes::Sizes;
use crate::session::traces::{Traced, decide};

impl ClientSession {
    /// Processes a message that asks to be traced. Returns false for any other, which is published as usual.
    // Not inlined: it would take registers from the loop over other messages.
    #[inline(never)]
    pub(super) fn publish_if_traced(
        &mut self,
        message: &Publish<'_>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> bool {
        let by_account = self.limits.traces_by_account;
        if !is_mentioned(message.headers(), by_account) {
            return false;
        }
        let Phase::Served(served) = &self.phase else { return false };
        let label =
            ClientLabel { endpoint: &self.endpoint, served: Some(served), options: &self.options };
        let random = self.publisher.random();
        match decide(&self.shared, &served.member, message, by_account, random, &label) {
            Traced::Not => return false,
            Traced::Disabled(block) => self.publish_with_headers(message, block, scratch),
            Traced::Dropped => self.judge_only(message, scratch),
            Traced::Denied(destination) => {
                self.judge_only(message, scratch);
                self.fault(&ClientFault::PublishDenied((&*destination).into()), scratch);
            }
            Traced::By(trace) => {
                self.judge_only(message, scratch);
                self.publish_traced(message, shared, trace, scratch);
            }
        }
        true
    }

    /// Publishes the trace of a message that is refused because of its size, if its headers ask for one.
    // NATS 2.14: client.go processHeaderPub. Only the headers that have arrived are read.
    #[cold]
    #[inline(never)]
    pub(super) fn trace_oversized(&mut self, input: &[u8], scratch: &mut Scratch) {
        let by_account = self.limits.traces_by_account;
        let Some((message, size)) = oversized(input, &self.limits) else { return };
        let Phase::Served(served) = &self.phase else { return };
        let label =
            ClientLabel { endpoint: &self.endpoint, served: Some(served), options: &self.options };
        let (member, publisher) = (&served.member, &mut self.publisher);
        let traced = decide(&self.shared, member, &message, by_account, publisher.random(), &label);
        match traced {
            Traced::Denied(destination) => {
                self.fault(&ClientFault::PublishDenied((&*destination).into()), scratch);
            }
            Traced::By(mut trace) => {
                trace.set_size(size);
                trace.set_ingress_error("maximum payload exceeded");
                publisher.publish_event(member, *trace, scratch);
            }
            Traced::Not | Traced::Disabled(_) | Traced::Dropped => {}
        }
    }

    /// Publishes a message with other headers.
    fn publish_with_headers(
        &mut self,
        message: &Publish<'_>,
        mut body: Vec<u8>,
        scratch: &mut Scratch,
    ) {
        let header_len = Some(body.len());
        body.extend_from_slice(message.payload());
        let mut sizes = Sizes::default();
        let sizes = sizes.of(header_len, body.len());
        let mut batch = Batch::default();
        batch.push(Publish { header_len, body: &body, sizes, tail: None, ..*message });
        self.publish(&mut batch, None, scratch);
    }

    fn publish_traced(
        &mut self,
        message: &Publish<'_>,
        shared: Option<&Bytes>,
        trace: Box<MessageTrace>,
        scratch: &mut Scratch,
    ) {
        if self.lame_duck.is_some() && !trace.is_only() {
            let mut batch = Batch::default();
            batch.push(*message);
            self.note_messages(&mut batch, scratch.now());
            // A request that comes too late.
            if batch.messages().is_empty() {
                return;
            }
        }
        if let Some(log) = &self.trace {
            trace::message(log, message);
        }
        let Phase::Served(served) = &self.phase else { return };
        let label =
            ClientLabel { endpoint: &self.endpoint, served: Some(served), options: &self.options };
        let reply_writer =
            ReplyWriter { label, byte_queue: &self.byte_queue, trace: self.trace.as_deref() };
        let mut observer = ClientPublishObserver {
            member: &served.member,
            reply_writer,
            lame_duck: self.lame_duck.as_deref(),
            untraced: self.trace.is_some().then_some(message),
        };
        let messages = std::slice::from_ref(message);
        let run = Run {
            shown: None,
            subject: message.subject,
            messages,
            shared,
            parsed: None,
            prefetched: None,
        };
        self.publisher.publish_traced(&served.member, &run, trace, &mut observer, scratch);
        self.guard_total();
    }
}
