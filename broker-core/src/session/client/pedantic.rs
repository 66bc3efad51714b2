//! Errors for the subjects that a pedantic client publishes to.

use super::ClientSession;
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::proto::Publish;
use crate::proto::parser::announced_subject;
use crate::subject::is_valid_literal;

impl ClientSession {
    /// Sends a pedantic client the error for an invalid subject of a message, once.
    pub(super) fn judge_subject(&mut self, subject: &[u8], scratch: &mut Scratch) {
        if !std::mem::take(&mut self.has_judged_subject) && !is_valid_literal(subject) {
            self.fault(&ClientFault::InvalidPublishSubject, scratch);
        }
    }

    /// Does the same as [`Self::judge_subject`] once the control line has arrived: the payload may be late, or malformed.
    pub(super) fn judge_announced(&mut self, input: &[u8], scratch: &mut Scratch) {
        if self.options.pedantic
            && !self.is_unauthenticated()
            && !self.has_judged_subject
            && self.parser.is_between_operations()
            && let Some(subject) = announced_subject(input, &self.limits)
        {
            self.judge_subject(subject, scratch);
            self.has_judged_subject = true;
        }
    }

    /// Checks the subject of a message that is not published.
    pub(super) fn judge_only(&mut self, message: &Publish<'_>, scratch: &mut Scratch) {
        if self.options.pedantic {
            self.judge_subject(message.subject, scratch);
        }
    }
}
