//! Messages whose way is traced: what becomes of them, in the words of the reference.
// NATS 2.14: stream.go processInboundJetStreamMsg, processJetStreamMsgWithBatch.

use std::borrow::Cow;

use broker_core::{StreamReport, header_block};

use super::batch::{Operation, operation_subject};
use super::draft::{Draft, Refusal};
use super::fields::{self, sequence};
use super::{Answer, Context, Incoming, Stream};
use crate::config::Retention;
use crate::error::ApiError;

/// The value by which servers do not trace a message.
const TRACE_DISABLED: &[u8] = b"trace disabled";

impl Stream {
    /// As [`Self::publish`], for a message whose way is traced: also returns what has become of it. If it is `only` traced, it is
    /// checked, and neither stored nor acknowledged.
    pub fn publish_traced(
        &mut self,
        message: &Incoming<'_>,
        only: bool,
        context: &mut Context<'_>,
    ) -> (Answer, StreamReport) {
        let headers = match only {
            true => Cow::Borrowed(message.headers),
            // Otherwise each delivery to a consumer would be traced where it is routed to.
            false => header_block::set(message.headers, b"Nats-Trace-Dest", TRACE_DISABLED).into(),
        };
        let message = Incoming { headers: &headers, ..*message };
        let stored = fields::to_store(message.headers);
        let mut draft = Draft::new(&message, &stored);
        let is_in_batch = Operation::is_any(&operation_subject(message.reply, message.headers))
            || draft.fields.batch_id.is_some_and(|id| !id.is_empty());
        if is_in_batch {
            self.publish_in_batch(&message, only, context)
        } else {
            self.publish_alone(&mut draft, only, context)
        }
    }

    /// A batch decides about its messages together: one that is only traced does not count in it.
    fn publish_in_batch(
        &mut self,
        message: &Incoming<'_>,
        only: bool,
        context: &mut Context<'_>,
    ) -> (Answer, StreamReport) {
        let subject = self.transformed(message.subject);
        let mut report = StreamReport {
            subject: text(subject.as_deref().unwrap_or(message.subject)),
            ..StreamReport::default()
        };
        if only {
            return (Answer::Nothing, report);
        }
        let answer = self.publish(message, context);
        if let Answer::Error(error) = &answer {
            report.error = Some(error.to_string());
        }
        (answer, report)
    }

    fn publish_alone(
        &mut self,
        draft: &mut Draft<'_>,
        only: bool,
        context: &mut Context<'_>,
    ) -> (Answer, StreamReport) {
        self.transform(draft);
        let mut report = StreamReport::default();
        let mut checked = self.check(draft, context.now);
        if checked.is_ok() && self.counted_bytes(draft) > context.room.server {
            checked = Err(ApiError::INSUFFICIENT_RESOURCES.into());
        }
        if let Err(refusal) = checked {
            report.error = Some(self.reason(&refusal, draft));
            return (self.answer_of(Err(refusal), draft), report);
        }
        report.subject = text(&draft.subject);
        let is_interest = self.config.retention == Retention::Interest;
        report.no_interest = is_interest && !context.consumers.is_wanted(&draft.subject);
        if only {
            return (Answer::Nothing, report);
        }
        let stored = self.commit(draft, context).map_err(Refusal::Error);
        report.error = stored.as_ref().err().map(|refusal| self.reason(refusal, draft));
        (self.answer_of(stored, draft), report)
    }

    /// Returns the reason of a refusal, which differs from the text of the answer to the publisher.
    fn reason(&self, refusal: &Refusal, draft: &Draft<'_>) -> String {
        let error = match refusal {
            Refusal::Duplicate(_) => return "msgid is duplicate".to_owned(),
            Refusal::Error(error) => error,
        };
        let is_one_of = |kinds: &[ApiError]| kinds.iter().any(|kind| error.is(kind));
        if is_one_of(&[ApiError::STREAM_NOT_MATCH]) {
            return "expected stream does not match".to_owned();
        }
        if is_one_of(&[ApiError::MESSAGE_TTL_DISABLED]) {
            return "message TTL disabled".to_owned();
        }
        let too_long =
            [ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ApiError::STREAM_HEADER_EXCEEDS_MAXIMUM];
        if is_one_of(&too_long) {
            return "maximum payload exceeded".to_owned();
        }
        if is_one_of(&[ApiError::stream_wrong_last_sequence(0)]) {
            return self.sequence_mismatch(draft);
        }
        if is_one_of(&[ApiError::stream_wrong_last_msg_id("")]) {
            let expected = text(draft.fields.expected_last_message_id.unwrap_or_default());
            return format!("last msgid mismatch: {expected:?} vs {:?}", text(&self.last_id));
        }
        if is_one_of(&[ApiError::stream_rollup_failed(""), ApiError::stream_store_failed("")]) {
            return error.description.clone().into_owned();
        }
        error.to_string()
    }

    fn sequence_mismatch(&self, draft: &Draft<'_>) -> String {
        let fields = &draft.fields;
        let other = fields.expected_last_subject.filter(|subject| !subject.is_empty());
        if let Some(expected) = sequence(fields.expected_last_subject_sequence) {
            let last = self.last_expected(other.unwrap_or(&draft.subject));
            if last != expected {
                return format!("last sequence by subject mismatch: {expected} vs {last}");
            }
        }
        let expected = sequence(fields.expected_last_sequence).unwrap_or_default();
        format!("last sequence mismatch: {expected} vs {}", self.state().last_sequence)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
