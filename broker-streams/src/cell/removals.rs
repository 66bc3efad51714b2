//! The messages that a stream removes during one call.

use broker_core::SubjectFilter;

use super::consumers::ConsumerSet;
use crate::stream::Consumers;

/// Removed messages, in order; consumers are told of them after the call.
#[derive(Debug, Default)]
pub(super) struct Removals {
    list: Vec<(u64, usize)>,
    subjects: Vec<u8>,
    /// The filters of removals of many messages at once; empty for any subject.
    cleared: Vec<Vec<u8>>,
}

impl Removals {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.cleared.is_empty()
    }

    /// Returns the filters of removals of many messages at once; `None` for any subject.
    pub(super) fn cleared(&self) -> impl Iterator<Item = Option<SubjectFilter>> {
        self.cleared.iter().map(|filter| SubjectFilter::parse(filter).ok())
    }

    /// Returns the removed messages with their subjects.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &self.subjects[..];
        self.list.iter().map(move |(sequence, len)| {
            let (subject, others) = rest.split_at_checked(*len).unwrap_or_default();
            rest = others;
            (*sequence, subject)
        })
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.subjects.clear();
        self.cleared.clear();
    }
}

/// The consumers during one call of the stream.
pub(super) struct Observed<'a> {
    pub(super) consumers: &'a ConsumerSet,
    pub(super) removals: &'a mut Removals,
}

impl Consumers for Observed<'_> {
    fn is_wanted(&self, subject: &[u8]) -> bool {
        self.consumers.is_wanted(subject)
    }

    fn removed(&mut self, sequence: u64, subject: &[u8]) {
        if !self.consumers.is_empty() {
            self.removals.list.push((sequence, subject.len()));
            self.removals.subjects.extend_from_slice(subject);
        }
    }

    fn cleared(&mut self, subject: &[u8]) {
        self.removals.cleared.push(subject.to_vec());
    }

    fn is_empty(&self) -> bool {
        self.consumers.is_empty()
    }
}
