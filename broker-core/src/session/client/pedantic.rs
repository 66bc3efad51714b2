//! What a pedantic client is told of the subjects that it publishes to.

use super::ClientSession;
use crate::error::ClientFault;
use crate::outlet::Work;
use crate::proto::Publish;
use crate::proto::parser::announced_subject;
use crate::subject::is_valid_literal;

impl ClientSession {
    /// Tells a pedantic client of the invalid subject of a message, once.
    pub(super) fn judge_subject(&mut self, subject: &[u8], work: &mut Work) {
        if !std::mem::take(&mut self.has_judged_subject) && !is_valid_literal(subject) {
            self.fault(&ClientFault::InvalidPublishSubject, work);
        }
    }

    /// The same, as soon as the control line is there: what follows it may be late, or broken.
    pub(super) fn judge_announced(&mut self, input: &[u8], work: &mut Work) {
        if self.options.pedantic
            && !self.is_stranger()
            && !self.has_judged_subject
            && self.parser.is_between_operations()
            && let Some(subject) = announced_subject(input, &self.terms)
        {
            self.judge_subject(subject, work);
            self.has_judged_subject = true;
        }
    }

    /// Nothing becomes of a message but that.
    pub(super) fn judge_only(&mut self, message: &Publish<'_>, work: &mut Work) {
        if self.options.pedantic {
            self.judge_subject(message.subject, work);
        }
    }
}
