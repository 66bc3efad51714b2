//! The messages of a client: batches and runs for the publisher.

use bytes::Bytes;

use super::publish_observer::ClientPublishObserver;
use super::reply_writer::{ClientLabel, ReplyWriter};
use super::{ClientSession, Phase, trace};
use crate::endpoint::{Run, Scratch};
use crate::interest::{Prefetched, PrefetchedBatch};
use crate::proto::parser::fast;
use crate::proto::{Batch, Publish};

impl ClientSession {
    /// Publishes the messages at the beginning of `input`, as far as they are in the common form, and
    /// leaves the last of them in `batch`. Returns the number of bytes consumed.
    // Not inlined, so that other code of its caller takes no registers from the loop over messages.
    #[inline(never)]
    pub(super) fn gather<'a>(
        &mut self,
        input: &'a [u8],
        batch: &mut Batch<'a>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> usize {
        if self.answers_each_message() || !self.parser.is_between_operations() {
            return 0;
        }
        let mut at = 0;
        loop {
            at += fast::gather(&input[at..], &self.limits, batch);
            if !batch.has_most_messages() && !batch.has_most_runs() {
                return at;
            }
            self.publish(batch, shared, scratch);
        }
    }

    /// Returns true if each message needs a reply to the client or a log line.
    fn answers_each_message(&self) -> bool {
        self.options.verbose || self.options.pedantic || self.trace.is_some()
    }

    pub(super) fn publish(
        &mut self,
        batch: &mut Batch<'_>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) {
        if batch.messages().is_empty() {
            return;
        }
        if self.lame_duck.is_some() {
            self.note_messages(batch, scratch.now());
        }
        if batch.is_one_run() {
            self.publish_run(batch.messages(), None, shared, scratch);
        } else {
            self.publish_runs(batch, shared, scratch);
        }
        self.guard_total();
        batch.clear();
    }

    fn publish_runs(&mut self, batch: &Batch<'_>, shared: Option<&Bytes>, scratch: &mut Scratch) {
        let mut prefetched = PrefetchedBatch::new();
        if let Phase::Served(served) = &self.phase {
            let subjects = batch.runs().map(|run| run[0].subject);
            prefetched = self.publisher.prefetch(&served.member.account, subjects);
        }
        for (number, run) in batch.runs().enumerate() {
            self.publish_run(run, prefetched.get(number).copied(), shared, scratch);
        }
    }

    fn publish_run(
        &mut self,
        run: &[Publish<'_>],
        prefetched: Option<Prefetched>,
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) {
        let subject = run[0].subject;
        let mut untraced = None;
        if let Some(trace) = &self.trace {
            run.iter().for_each(|message| trace::message(trace, message));
            untraced = run.first();
        }
        if self.options.pedantic {
            self.judge_subject(subject, scratch);
        }
        let Phase::Served(served) = &self.phase else { return };
        let run = Run { shown: None, subject, messages: run, shared, parsed: None, prefetched };
        let label =
            ClientLabel { endpoint: &self.endpoint, served: Some(served), options: &self.options };
        let reply_writer =
            ReplyWriter { label, byte_queue: &self.byte_queue, trace: self.trace.as_deref() };
        let mut observer = ClientPublishObserver {
            member: &served.member,
            reply_writer,
            lame_duck: self.lame_duck.as_deref(),
            untraced,
        };
        self.publisher.publish(&served.member, &run, &mut observer, scratch);
    }
}
