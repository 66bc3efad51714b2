//! Batches of consecutive messages of one publisher, before they are published.
//!
//! Consecutive messages to one subject are a *run*, which is delivered at once. A few runs to different
//! subjects are gathered before the first is published, so that the memory for all of them is prefetched
//! together.

use smallvec::SmallVec;

use crate::limits::{BATCH_RUNS, RUN_MESSAGES};
use crate::proto::Publish;

/// Consecutive messages of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    messages: Vec<Publish<'a>>,
    /// The begin of each run.
    starts: SmallVec<[usize; BATCH_RUNS]>,
}

/// Returns true if one of the messages has a reply subject.
///
/// It has no branch per message, so that the compiler unrolls the loop: that most messages have none costs next to
/// nothing to find out.
#[inline]
pub(crate) fn have_replies(messages: &[Publish<'_>]) -> bool {
    if let [message] = messages {
        return !message.reply.is_empty();
    }
    messages.iter().fold(0, |any, message| any | message.reply.len()) != 0
}

impl<'a> Batch<'a> {
    /// Makes an empty batch that reuses the memory of an empty list.
    pub(crate) fn with_memory(messages: Vec<Publish<'a>>) -> Self {
        Self { messages, starts: SmallVec::new() }
    }

    /// Returns the memory for reuse.
    pub(crate) fn into_memory(self) -> Vec<Publish<'a>> {
        self.messages
    }

    #[inline]
    pub(crate) fn push(&mut self, message: Publish<'a>) {
        if self.last().is_none_or(|last| last.subject != message.subject) {
            self.starts.push(self.messages.len());
        }
        self.messages.push(message);
    }

    /// As [`Self::push`], for a message to the same subject as the one before it, which must exist.
    #[inline]
    pub(crate) fn push_to_same(&mut self, message: Publish<'a>) {
        self.messages.push(message);
    }

    #[inline]
    pub(crate) fn last(&self) -> Option<&Publish<'a>> {
        self.messages.last()
    }

    /// Returns true if the batch has the most messages of one run.
    #[inline]
    pub(crate) fn has_most_messages(&self) -> bool {
        self.messages.len() >= RUN_MESSAGES
    }

    /// Returns true if there is no room for another subject.
    #[inline]
    pub(crate) fn has_most_runs(&self) -> bool {
        self.starts.len() >= BATCH_RUNS
    }

    /// Returns true if all messages have one subject, as is usual.
    #[inline]
    pub(crate) fn is_one_run(&self) -> bool {
        self.starts.len() == 1
    }

    /// Returns the runs in order; none is empty.
    #[inline]
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = &[Publish<'a>]> {
        (0..self.starts.len()).map(|run| {
            let end = self.starts.get(run + 1).copied().unwrap_or(self.messages.len());
            &self.messages[self.starts[run]..end]
        })
    }

    pub(crate) fn messages(&self) -> &[Publish<'a>] {
        &self.messages
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.starts.clear();
    }

    /// Keeps the messages for which `keep` returns true.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Publish<'a>) -> bool) {
        let mut messages = std::mem::take(&mut self.messages);
        messages.retain(keep);
        self.starts.clear();
        messages.drain(..).for_each(|message| self.push(message));
    }
}
