//! Messages that ask to be traced.

use super::publish_observer::ClientPublishObserver;
use super::reply_writer::{ClientLabel, ReplyWriter};
use super::{ClientSession, Phase, trace};
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::proto::Publish;
use crate::proto::traced::Tracing;
use crate::session::publisher::may_trace_to;

impl ClientSession {
    /// Returns true if the message is [only to be traced](Tracing); then it is processed.
    pub(super) fn is_for_traces(&mut self, message: &Publish<'_>, scratch: &mut Scratch) -> bool {
        let tracing = Tracing::read(message.headers());
        if tracing == Tracing::None {
            return false;
        }
        let Phase::Served(served) = &self.phase else { return false };
        let may_trace = |destination| may_trace_to(&served.member, destination);
        match tracing {
            Tracing::To { destination, is_only: false } if may_trace(destination) => false,
            Tracing::To { destination, is_only: true } if may_trace(destination) => {
                self.pass_over(message, scratch);
                true
            }
            Tracing::To { destination, .. } => {
                let denied = ClientFault::PublishDenied(destination.into());
                self.judge_only(message, scratch);
                self.fault(&denied, scratch);
                true
            }
            Tracing::Nowhere | Tracing::None => {
                self.judge_only(message, scratch);
                true
            }
        }
    }

    /// Does everything that publishing the message does, except the delivery.
    fn pass_over(&mut self, message: &Publish<'_>, scratch: &mut Scratch) {
        self.judge_only(message, scratch);
        if let Some(trace) = &self.trace {
            trace::message(trace, message);
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
            untraced: Some(message),
        };
        self.publisher.pass_over(&served.member, message, &mut observer, scratch);
    }
}
