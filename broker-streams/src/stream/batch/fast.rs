//! Fast batches: each message is stored as it arrives, and progress is acknowledged in groups.
// NATS 2.14: stream.go processJetStreamFastBatchMsg, jetstream_batching.go fastBatch.

use broker_core::go_json;
use serde::Serialize;

use super::atomic::exceeds_level;
use super::open::Share;
use super::operation::{Kind, Operation};
use super::staged::Staged;
use crate::config::Time;
use crate::error::ApiError;
use crate::outbox::Outgoing;
use crate::stream::draft::{Draft, Refusal};
use crate::stream::fields;
use crate::stream::limits::{MAX_BATCH_ID, MAX_FLOW};
use crate::stream::{Answer, Context, Incoming, PubAck, Stream};

/// A fast batch that is not complete.
#[derive(Debug)]
pub(super) struct Fast {
    /// The number of the last message that arrived.
    last: u64,
    /// The number of the last message that was stored, or known to be stored.
    stored: u64,
    /// The sequence of the last message that was stored.
    sequence: u64,
    /// The number that progress was last reported for.
    reported: u64,
    /// Progress is reported after as many messages.
    flow: u16,
    /// As many as the publisher wants at most.
    max_flow: u16,
    gap_ok: bool,
    pub deadline: Time,
    _share: Share,
}

/// A report to a publisher.
// NATS 2.14: stream.go BatchFlowAck, BatchFlowGap, BatchFlowErr.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Report<'a> {
    Ack { seq: u64, msgs: u16 },
    Gap { last_seq: u64, seq: u64 },
    Err { seq: u64, error: &'a ApiError },
}

impl Stream {
    /// Handles a message of a fast batch; `None` if its reply subject does not have the form.
    pub(in crate::stream) fn publish_fast(
        &mut self,
        operation: Option<&Operation>,
        message: &Incoming<'_>,
        headers: &[u8],
        context: &mut Context<'_>,
    ) -> Answer {
        let mut draft = Draft::new(message, headers);
        self.transform(&mut draft);
        let opened = self.open_fast(operation, &mut draft, context);
        match (opened, operation) {
            (Err(error), _) => Answer::Error(error),
            (Ok(()), Some(operation)) => {
                self.advance(operation, &mut draft, message.reply, context)
            }
            (Ok(()), None) => Answer::Nothing,
        }
    }

    /// Begins a batch with its first message; otherwise it has to be there.
    fn open_fast(
        &mut self,
        operation: Option<&Operation>,
        draft: &mut Draft<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        self.check_batch(draft, context)?;
        if !self.config.allow_batched {
            return Err(ApiError::BATCH_PUBLISH_DISABLED);
        }
        let operation = operation.ok_or(ApiError::BATCH_PUBLISH_INVALID_PATTERN)?;
        if operation.id.len() > MAX_BATCH_ID {
            return Err(ApiError::BATCH_PUBLISH_INVALID_BATCH_ID);
        }
        self.expire_batches(context);
        let deadline = context.now.plus(self.options.batches.timeout);
        let fast = &mut self.batches.fast;
        if !fast.contains_key(&operation.id) {
            if operation.sequence != 1 {
                return Err(ApiError::BATCH_PUBLISH_UNKNOWN_BATCH_ID);
            }
            let limits = &self.options.batches;
            let has_room = fast.len() < limits.fast;
            let take = || Share::take(&self.options.open_batches, false, limits.fast_total);
            let Some(share) = has_room.then(take).flatten() else {
                return Err(ApiError::BATCH_PUBLISH_TOO_MANY_INFLIGHT);
            };
            let is_only = fast.is_empty();
            fast.insert(operation.id.clone(), Fast::new(operation, is_only, deadline, share));
        }
        if let Some(level) = draft.fields.required_api_level {
            if exceeds_level(level) {
                fast.remove(&operation.id);
                return Err(ApiError::REQUIRED_API_LEVEL);
            }
            draft.headers =
                fields::without(&draft.headers, |name| name == b"Nats-Required-Api-Level").into();
        }
        if let Some(batch) = fast.get_mut(&operation.id) {
            batch.deadline = deadline;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        operation: &Operation,
        draft: &mut Draft<'_>,
        reply: &[u8],
        context: &mut Context<'_>,
    ) -> Answer {
        let Some(batch) = self.batches.fast.get_mut(&operation.id) else { return Answer::Nothing };
        let expected = batch.last + 1;
        if operation.kind == Kind::Ping {
            return self.ping(operation, reply, context);
        }
        if operation.sequence > expected {
            let gap = Report::Gap { last_seq: expected, seq: operation.sequence };
            send(&gap, reply, context);
        }
        let is_gap_ok = batch.gap_ok && operation.sequence > expected;
        if operation.sequence != expected && !is_gap_ok {
            return self.commit_fast(&operation.id);
        }
        if operation.kind == Kind::CommitBefore {
            batch.last = operation.sequence - 1;
            return self.commit_fast(&operation.id);
        }
        batch.last = operation.sequence;
        if operation.sequence == 1 && operation.kind == Kind::Append {
            let begun = Report::Ack { seq: 0, msgs: batch.flow };
            send(&begun, reply, context);
        }
        let mut staged = Staged::default();
        let stored = self.check_staged(draft, &mut staged, context.now).and_then(|()| {
            self.check_last_id(draft)?;
            Ok(self.commit(draft, context)?)
        });
        match stored {
            Ok(sequence) => self.stored(operation, sequence),
            Err(refusal) => self.refused(operation, refusal, reply, context),
        }
    }

    /// Continues after a message that was stored.
    fn stored(&mut self, operation: &Operation, sequence: u64) -> Answer {
        let Some(batch) = self.batches.fast.get_mut(&operation.id) else { return Answer::Nothing };
        (batch.sequence, batch.stored) = (sequence, batch.last);
        if operation.kind == Kind::Commit {
            return self.commit_fast(&operation.id);
        }
        self.report_progress(&operation.id)
    }

    /// Continues after a message that was not stored.
    fn refused(
        &mut self,
        operation: &Operation,
        refusal: Refusal,
        reply: &[u8],
        context: &mut Context<'_>,
    ) -> Answer {
        let Some(batch) = self.batches.fast.get_mut(&operation.id) else { return Answer::Nothing };
        let is_commit = operation.kind == Kind::Commit;
        let is_first = !operation.gap_ok && batch.last == 1;
        match refusal {
            Refusal::Duplicate(sequence) => {
                batch.stored = operation.sequence;
                if !is_commit {
                    return self.report_progress(&operation.id);
                }
                if is_first {
                    self.batches.fast.remove(&operation.id);
                    let batch = Some((operation.id.clone(), operation.sequence));
                    return Answer::Ack(PubAck {
                        sequence,
                        is_duplicate: true,
                        batch,
                        value: None,
                    });
                }
            }
            Refusal::Error(error) if is_first => {
                self.batches.fast.remove(&operation.id);
                return Answer::Error(error);
            }
            Refusal::Error(error) => {
                send(&Report::Err { seq: operation.sequence, error: &error }, reply, context);
                if operation.gap_ok && !is_commit {
                    return Answer::Nothing;
                }
                batch.last -= 1;
            }
        }
        self.commit_fast(&operation.id)
    }

    /// Answers a publisher that has heard nothing.
    fn ping(&mut self, operation: &Operation, reply: &[u8], context: &mut Context<'_>) -> Answer {
        let Some(batch) = self.batches.fast.get_mut(&operation.id) else { return Answer::Nothing };
        if operation.sequence > batch.last {
            let gap = Report::Gap { last_seq: batch.last + 1, seq: operation.sequence + 1 };
            send(&gap, reply, context);
            if !batch.gap_ok {
                return self.commit_fast(&operation.id);
            }
            (batch.last, batch.stored) = (operation.sequence, operation.sequence);
            if let Answer::Flow(report) = self.report_progress(&operation.id) {
                return Answer::Flow(report);
            }
        }
        let Some(batch) = self.batches.fast.get(&operation.id) else { return Answer::Nothing };
        batch.report()
    }

    /// Reports progress if it is time to.
    fn report_progress(&mut self, id: &str) -> Answer {
        let batches = self.batches.fast.len().max(1);
        let Some(batch) = self.batches.fast.get_mut(id) else { return Answer::Nothing };
        if batch.advance_flow(batches) { batch.report() } else { Answer::Nothing }
    }

    /// Ends a batch.
    fn commit_fast(&mut self, id: &str) -> Answer {
        let Some(batch) = self.batches.fast.remove(id) else { return Answer::Nothing };
        let Fast { sequence, last, .. } = batch;
        let batch = Some((id.to_owned(), last));
        Answer::Ack(PubAck { sequence, batch, ..PubAck::default() })
    }
}

impl Fast {
    // NATS 2.14: jetstream_batching.go fastBatchInit: the second publisher begins slowly.
    fn new(operation: &Operation, is_only: bool, deadline: Time, share: Share) -> Self {
        Self {
            last: 0,
            stored: 0,
            sequence: 0,
            reported: 0,
            flow: if is_only { MAX_FLOW.min(operation.flow) } else { 1 },
            max_flow: operation.flow,
            gap_ok: operation.gap_ok,
            deadline,
            _share: share,
        }
    }

    fn report(&self) -> Answer {
        let report = Report::Ack { seq: self.reported, msgs: self.flow };
        Answer::Flow(go_json::compact(&report).unwrap_or_default())
    }

    /// Moves on to the last group that is complete. Returns false if no further one is. Each change of `flow` doubles or
    /// halves it, so that all publishers of the stream together are reported to once in 500 messages.
    // NATS 2.14: jetstream_batching.go checkFlowControl.
    fn advance_flow(&mut self, batches: usize) -> bool {
        let flow = u64::from(self.flow);
        if self.stored < self.reported + flow {
            return false;
        }
        self.reported += (self.stored - self.reported) / flow * flow;
        let share = u16::try_from(usize::from(MAX_FLOW) / batches).unwrap_or(MAX_FLOW);
        let max = share.clamp(1, self.max_flow.max(1));
        if self.flow < max {
            self.flow = self.flow.saturating_mul(2).min(max);
        } else if self.flow > max {
            self.flow = (self.flow / 2).max(max);
        }
        true
    }
}

/// Sends a report that depends on nothing stored.
fn send(report: &Report<'_>, reply: &[u8], context: &mut Context<'_>) {
    let payload = go_json::compact(report).unwrap_or_default();
    context.out.send(&Outgoing {
        to: reply,
        subject: reply,
        payload: &payload,
        ..Outgoing::default()
    });
}
