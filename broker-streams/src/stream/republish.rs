//! Publication of stored messages under another subject.
// ADR-28.

use std::io::Write;

use broker_core::Subject;
use broker_core::subject::SubjectTransform;

use super::draft::Draft;
use super::{Context, Stream, fields};
use crate::outbox::Outgoing;

/// A message to publish again: its subject, and the last sequence of the subject that it was stored with.
pub(super) struct Republished {
    subject: Vec<u8>,
    last_sequence: u64,
}

impl Stream {
    /// Returns where a message is published again, if it is.
    pub(super) fn republish_subject(&mut self, subject: &[u8]) -> Option<Republished> {
        let transform = self.output.as_ref().filter(|transform| transform.matches(subject))?;
        let changed = apply(transform, subject, || self.random.next())?;
        let last_sequence = self.storage.subject(subject).map_or(0, |state| state.last);
        Some(Republished { subject: changed, last_sequence })
    }

    /// Publishes a stored message again, when it is durable.
    pub(super) fn republish(
        &mut self,
        republished: &Republished,
        draft: &Draft<'_>,
        sequence: u64,
        context: &mut Context<'_>,
    ) {
        let is_headers_only = self.config.republish.as_ref().is_some_and(|one| one.headers_only);
        let mut headers = Vec::with_capacity(draft.headers.len() + 200);
        let size = is_headers_only.then_some(draft.payload.len());
        self.write_headers(&mut headers, republished, draft, (sequence, context, size));
        let payload = if is_headers_only { b"" } else { &*draft.payload };
        let message = Outgoing {
            to: &republished.subject,
            subject: &republished.subject,
            headers: &headers,
            payload,
            ..Outgoing::default()
        };
        // As many messages wait as the store has to write.
        let positions = (self.storage.position(), self.storage.durable());
        self.waiting.send(&message, positions, context.out);
    }

    fn write_headers(
        &self,
        out: &mut Vec<u8>,
        republished: &Republished,
        draft: &Draft<'_>,
        (sequence, context, size): (u64, &Context<'_>, Option<usize>),
    ) {
        fields::begin(out, &draft.headers);
        let subject = String::from_utf8_lossy(&draft.subject);
        let (name, now) = (&self.config.name, context.now);
        let last = republished.last_sequence;
        // A vector takes everything.
        let _ = write!(
            out,
            "Nats-Stream: {name}\r\nNats-Subject: {subject}\r\nNats-Sequence: {sequence}\r\n\
             Nats-Time-Stamp: {now}\r\nNats-Last-Sequence: {last}\r\n"
        );
        if let Some(size) = size {
            let _ = write!(out, "Nats-Msg-Size: {size}\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Returns the transformed subject; `None` if it is not valid.
fn apply(
    transform: &SubjectTransform,
    subject: &[u8],
    random: impl FnMut() -> u64,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(subject.len() + 16);
    transform.apply(subject, random, &mut out);
    let is_subject = std::str::from_utf8(&out).is_ok_and(|text| Subject::parse(text).is_ok());
    is_subject.then_some(out)
}
