//! Messages: publishing, removing, reading.

use broker_core::StreamReport;

use super::removals::Observed;
use super::{Cell, Change, view};
use crate::config::{PersistMode, StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::{Outbox, Outgoing};
use crate::stream::{Answer, Context, Incoming, PurgeRequest, Room, Stream};

impl Cell {
    /// Stores a message of a publisher, delivers it, and answers when it is durable; at once if the stream persists asynchronously.
    pub fn publish(&mut self, message: &Incoming<'_>, now: Time, room: Room, out: &mut dyn Outbox) {
        let publish =
            |stream: &mut Stream, context: &mut Context<'_>| (stream.publish(message, context), ());
        if self.publish_by(publish, message, now, room, out).is_none() {
            self.refuse(message, out);
        }
    }

    /// As [`Self::publish`], for a message whose way is traced. Returns what has become of it. If it is `only` traced, it is not stored.
    pub fn publish_traced(
        &mut self,
        (message, only): (&Incoming<'_>, bool),
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
    ) -> StreamReport {
        let publish = |stream: &mut Stream, context: &mut Context<'_>| {
            stream.publish_traced(message, only, context)
        };
        self.publish_by(publish, message, now, room, out).unwrap_or_else(|| {
            self.refuse(message, out);
            let error = Some("Too Many Requests".to_owned());
            StreamReport { error, ..StreamReport::default() }
        })
    }

    /// Returns `None` if too many acknowledgements wait for the disk.
    fn publish_by<R>(
        &mut self,
        publish: impl FnOnce(&mut Stream, &mut Context<'_>) -> (Answer, R),
        message: &Incoming<'_>,
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
    ) -> Option<R> {
        if self.answers.is_full() || self.stream.is_congested() {
            return None;
        }
        let before = self.stream.state().last_sequence;
        let (answer, result) = self.with_stream(now, room, out, publish);
        self.settle(before, Some(message.subject));
        self.answer_publisher(message.reply, &answer, now, out);
        let deadline = self.stream.deadline();
        self.wake_by(deadline);
        self.run(now, out);
        Some(result)
    }

    /// Answers that too many acknowledgements wait for the disk.
    // NATS 2.14: stream.go queueInbound: 429.
    #[cold]
    fn refuse(&mut self, message: &Incoming<'_>, out: &mut dyn Outbox) {
        let headers = b"NATS/1.0 429 Too Many Requests\r\n\r\n";
        let (reply, mut payload) = (message.reply, Vec::new());
        if !reply.is_empty() {
            let answer = Answer::Error(ApiError::STREAM_TOO_MANY_REQUESTS);
            self.stream.encode(&answer, &mut payload);
            let payload = &payload;
            out.send(&Outgoing {
                to: reply,
                subject: reply,
                headers,
                payload,
                ..Default::default()
            });
        }
    }

    fn answer_publisher(&mut self, reply: &[u8], answer: &Answer, now: Time, out: &mut dyn Outbox) {
        if reply.is_empty() || matches!(answer, Answer::Nothing) {
            return;
        }
        let mut payload = std::mem::take(&mut self.buffer);
        payload.clear();
        if self.stream.encode(answer, &mut payload) {
            let is_ack = matches!(answer, Answer::Ack(_) | Answer::Flow(_));
            // NATS 2.14: filestore.go, AsyncFlush: the message is written afterwards.
            let waits = is_ack && self.stream.config().persist_mode == PersistMode::Default;
            let position = if waits { self.stream.storage().position() } else { 0 };
            self.send_at(position, (reply, &payload), waits.then_some(now), out);
        }
        self.buffer = payload;
    }

    /// Sends an answer as soon as all changes made so far are durable.
    pub fn answer(&mut self, reply: &[u8], payload: &[u8], out: &mut dyn Outbox) {
        // A client that has the answer finds the subscriptions that it implies.
        self.follow_changes();
        if !reply.is_empty() {
            self.journal_progress();
            let position = self.stream.storage().position();
            self.send_at(position, (reply, payload), None, out);
        }
    }

    fn send_at(
        &mut self,
        position: u64,
        (reply, payload): (&[u8], &[u8]),
        acknowledged: Option<Time>,
        out: &mut dyn Outbox,
    ) {
        if self.stream.storage().durable() >= position {
            out.send(&Outgoing { to: reply, subject: reply, payload, ..Outgoing::default() });
        } else if acknowledged.is_some() || !self.answers.is_full() {
            // A publisher was refused before its message was stored. A client that acknowledges while the disk hangs gets
            // no answer, and acknowledges again.
            self.answers.push(position, (reply, payload), acknowledged);
        }
    }

    /// Calls the stream, and records the messages that it removes.
    pub(super) fn with_stream<R>(
        &mut self,
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
        call: impl FnOnce(&mut Stream, &mut Context<'_>) -> R,
    ) -> R {
        let Self { stream, consumers, removals, .. } = self;
        let mut observed = Observed { consumers, removals };
        call(stream, &mut Context { now, out, consumers: &mut observed, room })
    }

    /// Notifies consumers of the messages that a call of the stream has stored after the sequence `before`, and of those that it
    /// removed. `subject`: that of the message, if one was published.
    pub(super) fn settle(&mut self, before: u64, subject: Option<&[u8]>) {
        if self.consumers.is_empty() {
            return self.removals.clear();
        }
        let Self { stream, consumers, removals, .. } = self;
        let (after, visible) = (stream.state().last_sequence, stream.visible());
        for sequence in before + 1..=after {
            let is_only = after == before + 1 && stream.config().subject_transform.is_none();
            let subject = match subject.filter(|_| is_only) {
                Some(subject) => Some(subject),
                None => stream.storage().subject_of(sequence),
            };
            let Some(subject) = subject else { continue };
            consumers.visit_interested(subject, |member| {
                if !member.consumer.appended(sequence, subject) {
                    return;
                }
                if sequence <= visible {
                    (member.is_due, self.has_work) = (true, true);
                } else {
                    member.awaits_sync = true;
                }
            });
        }
        if removals.is_empty() {
            return;
        }
        consumers.visit_all(|member| {
            // A message that was stored and removed in one call was not reported as stored.
            for (sequence, subject) in removals.iter().filter(|(sequence, _)| *sequence <= before) {
                member.is_due |= member.consumer.removed(sequence, subject);
            }
            for filter in removals.cleared() {
                member.is_due |= member.consumer.cleared(view(stream), filter.as_ref());
            }
            self.has_work |= member.is_due;
        });
        removals.clear();
    }

    /// Replaces the configuration of the stream by one that may replace it, as the checks of the API decide.
    ///
    /// # Errors
    ///
    /// An error of the API if the configuration cannot be used or stored.
    pub fn update(
        &mut self,
        config: StreamConfig,
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
    ) -> Result<(), ApiError> {
        let before = self.stream.state().last_sequence;
        let retention = self.stream.config().retention;
        self.with_stream(now, room, out, |stream, context| stream.update(config, context))?;
        self.settle(before, None);
        if self.stream.config().retention != retention {
            self.follow_retention(now, out);
        }
        self.journal_stream().map_err(ApiError::stream_update)?;
        self.changes.push(Change::Stream);
        let deadline = self.stream.deadline();
        self.wake_by(deadline);
        self.run(now, out);
        Ok(())
    }

    /// Removes messages. Returns their number.
    ///
    /// # Errors
    ///
    /// An error of the API.
    pub fn purge(
        &mut self,
        request: &PurgeRequest,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<u64, ApiError> {
        let before = self.stream.state().last_sequence;
        let purged = self.with_stream(now, Room::default(), out, |stream, context| {
            stream.purge(request, context)
        });
        self.settle(before, None);
        self.run(now, out);
        purged
    }

    /// Removes a message, overwriting its bytes if `erase`. Returns false if there is none with this sequence.
    ///
    /// # Errors
    ///
    /// An error of the API.
    pub fn remove_message(
        &mut self,
        sequence: u64,
        erase: bool,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<bool, ApiError> {
        let before = self.stream.state().last_sequence;
        let removed = self.with_stream(now, Room::default(), out, |stream, context| {
            stream.remove(sequence, erase, context)
        });
        self.settle(before, None);
        self.run(now, out);
        removed
    }

    /// Answers a direct get: `payload` is the request, `subject` the part of its subject after the name of the stream.
    pub fn direct_request(
        &mut self,
        (payload, subject): (&[u8], Option<&[u8]>),
        reply: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) {
        self.with_stream(now, Room::default(), out, |stream, context| {
            stream.direct_request(payload, subject, reply, context);
        });
    }
}
