//! Messages that ask to be traced.

use super::answers::Answers;
use super::voice::{Voice, Who};
use super::{ClientSession, Phase, trace};
use crate::error::ClientFault;
use crate::outlet::Work;
use crate::proto::Publish;
use crate::proto::traced::Tracing;
use crate::session::publisher::may_trace_to;

impl ClientSession {
    /// Is the message [only to be traced](Tracing)? If so, it has been dealt with.
    pub(super) fn is_for_traces(&mut self, message: &Publish<'_>, work: &mut Work) -> bool {
        let tracing = Tracing::read(message.headers());
        if tracing == Tracing::None {
            return false;
        }
        let Phase::Served(served) = &self.phase else { return false };
        let may_trace =
            |destination| may_trace_to(&served.account, served.permissions.as_ref(), destination);
        match tracing {
            Tracing::To { destination, is_only: false } if may_trace(destination) => false,
            Tracing::To { destination, is_only: true } if may_trace(destination) => {
                self.pass_over(message, work);
                true
            }
            Tracing::To { destination, .. } => {
                let denied = ClientFault::PublishDenied(destination.into());
                self.judge_only(message, work);
                self.fault(&denied, work);
                true
            }
            Tracing::Nowhere | Tracing::None => {
                self.judge_only(message, work);
                true
            }
        }
    }

    /// Does all that publishing the message does, but delivers it to nobody.
    fn pass_over(&mut self, message: &Publish<'_>, work: &mut Work) {
        self.judge_only(message, work);
        if let Some(trace) = &self.trace {
            trace::message(trace, message);
        }
        let Phase::Served(served) = &self.phase else { return };
        let who = Who { receiver: &self.receiver, served: Some(served), options: &self.options };
        let voice = Voice { who, outlet: &self.outlet, trace: self.trace.as_deref() };
        let mut refusals =
            Answers { account: &served.account, voice, is_leaving: self.leaving.is_some() };
        let permissions = served.permissions.as_ref();
        self.publisher.pass_over(
            &served.account,
            &self.receiver,
            permissions,
            message,
            &mut refusals,
            work,
        );
    }
}
