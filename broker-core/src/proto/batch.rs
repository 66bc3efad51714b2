//! Messages of one publisher that came one behind the other, before they are published.
//!
//! Consecutive messages to one subject are a *run*, which is delivered in one go. A few runs to different
//! subjects are gathered before the first of them is published, so that the memory which all of them
//! need can be asked for at once.

use smallvec::SmallVec;

use crate::limits::{BATCH_RUNS, RUN_MESSAGES};
use crate::proto::Publish;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    messages: Vec<Publish<'a>>,
    /// Where each run begins.
    starts: SmallVec<[usize; BATCH_RUNS]>,
}

impl<'a> Batch<'a> {
    /// An empty batch with the memory of an empty list.
    pub(crate) fn with_memory(messages: Vec<Publish<'a>>) -> Self {
        Self { messages, starts: SmallVec::new() }
    }

    /// The memory, for another.
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

    /// The same for what goes to the subject of the message before it, which there must be.
    #[inline]
    pub(crate) fn push_to_same(&mut self, message: Publish<'a>) {
        self.messages.push(message);
    }

    #[inline]
    pub(crate) fn last(&self) -> Option<&Publish<'a>> {
        self.messages.last()
    }

    /// A run can be no longer.
    #[inline]
    pub(crate) fn has_most_messages(&self) -> bool {
        self.messages.len() >= RUN_MESSAGES
    }

    /// Whatever goes to another subject has no room.
    #[inline]
    pub(crate) fn has_most_runs(&self) -> bool {
        self.starts.len() >= BATCH_RUNS
    }

    /// As most are.
    #[inline]
    pub(crate) fn is_one_run(&self) -> bool {
        self.starts.len() == 1
    }

    /// In the order in which they came; none is empty.
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

    /// Forgets all others.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Publish<'a>) -> bool) {
        let mut messages = std::mem::take(&mut self.messages);
        messages.retain(keep);
        self.starts.clear();
        messages.drain(..).for_each(|message| self.push(message));
    }
}
