//! The first message that a consumer delivers.

use super::{Consumer, View};
use crate::config::DeliverPolicy;
use crate::filters::Filters;
use crate::store::Storage;

/// The messages that a consumer of the last message of each subject delivers first.
///
/// They are found once: messages that are stored later are delivered in order, after `resume`.
#[derive(Debug, Default)]
pub(super) struct LastOnes {
    /// The sequences, the lowest last.
    pub(super) sequences: Vec<u64>,
    /// The last sequence of the stream when they were searched.
    pub(super) resume: u64,
}

impl LastOnes {
    /// Finds the last messages after `after` and until `resume`.
    pub(super) fn find(storage: &dyn Storage, filters: &Filters, after: u64, resume: u64) -> Self {
        let mut sequences = Vec::new();
        let mut later = Vec::new();
        storage.for_each_subject(filters, &mut |subject, state| {
            if state.last <= resume {
                sequences.push(state.last);
            } else if state.first <= resume {
                later.push(subject.to_vec());
            }
            true
        });
        let last = |subject: Vec<u8>| {
            let filter = broker_core::SubjectFilter::parse(subject).ok()?;
            storage.previous_match(&Filters::new(vec![filter]), resume)
        };
        sequences.extend(later.into_iter().filter_map(last));
        sequences.retain(|sequence| *sequence > after);
        // Like other lists of sequences: each other order is a sort of its own in the program.
        sequences.sort_unstable();
        sequences.reverse();
        Self { sequences, resume }
    }

    /// Returns true if the message is one of those yet to deliver.
    pub(super) fn contains(&self, sequence: u64) -> bool {
        self.sequences.binary_search_by(|other| sequence.cmp(other)).is_ok()
    }
}

impl Consumer {
    /// Finds the first message to deliver.
    // NATS 2.14: consumer.go selectStartingSeqNo.
    pub(super) fn select_start(&mut self, view: View<'_>) {
        let state = view.storage.state();
        let (first, last) = (state.first_sequence, state.last_sequence);
        let asked = self.config.start_sequence;
        let mut start = if asked == 0 { self.start_by_policy(view, first, last) } else { asked };
        let may_be_moved = self.config.direct || asked == 0;
        if last == 0 && may_be_moved {
            start = 1;
        } else if start > last && may_be_moved {
            start = last + 1;
        } else if start < first {
            start = first;
        }
        self.has_state = true;
        self.next = start.max(1);
        self.next_delivery = 1;
        self.floor = super::Point { delivery: 0, sequence: self.next - 1 };
        self.stored.delivered = self.floor;
        self.stored.floor = self.floor;
    }

    fn start_by_policy(&mut self, view: View<'_>, first: u64, last: u64) -> u64 {
        let storage = view.storage;
        match self.config.deliver_policy {
            DeliverPolicy::All => first,
            DeliverPolicy::Last if self.filters.is_all() => last,
            DeliverPolicy::Last => {
                storage.previous_match(&self.filters, u64::MAX).unwrap_or_default()
            }
            DeliverPolicy::LastPerSubject if self.scope.is_one_per_subject => first,
            DeliverPolicy::LastPerSubject => {
                let ones = LastOnes::find(storage, &self.filters, 0, last);
                let start = ones.sequences.last().copied().unwrap_or(last);
                self.last_ones = (!ones.sequences.is_empty()).then_some(ones);
                start
            }
            _ => match self.config.start_time {
                Some(time) => self.start_by_time(view, storage.sequence_at(time), first, last),
                None => last + 1,
            },
        }
    }

    /// Moves the start to the first selected message of the stream, if that is later.
    fn start_by_time(&self, view: View<'_>, start: u64, first: u64, last: u64) -> u64 {
        if self.filters.as_slice().is_empty() {
            return start;
        }
        let first_of = |filter: &broker_core::SubjectFilter| {
            view.storage.next_match(&Filters::new(vec![filter.clone()]), first)
        };
        let firsts = self.filters.as_slice().iter().filter_map(first_of);
        let next = firsts.filter(|found| *found >= start).fold(last, u64::min);
        if next > start && next < last { next } else { start }
    }
}
