//! Notifications about messages of the stream: stored, removed, purged.

use std::ops::RangeInclusive;

use broker_core::SubjectFilter;

use super::deliver::exists;
use super::{Consumer, Point, View};
use crate::config::{AckPolicy, ConsumerConfig, Retention};
use crate::filters::Filters;

impl Consumer {
    /// Takes note of a new message; called in the order of sequences. Returns true if [`Self::deliver`] can deliver it, as soon
    /// as it is visible.
    // NATS 2.14: consumer.go processStreamSignal.
    pub fn appended(&mut self, sequence: u64, subject: &[u8]) -> bool {
        // A consumer may start in the future.
        if sequence < self.next || !self.filters.matches(subject) {
            return false;
        }
        self.count.appended(sequence);
        self.ahead.appended(sequence);
        let has_receiver =
            if self.is_push() { self.push.may_send() } else { !self.requests.is_empty() };
        has_receiver && self.timers.hold.is_none()
    }

    /// Takes note of the removal of one message: by a client, by a limit, by its age, or after its acknowledgement. Returns
    /// true if [`Self::deliver`] can deliver more. Not called for messages that [`Self::appended`] was not called for.
    // NATS 2.14: consumer.go decStreamPending.
    pub fn removed(&mut self, sequence: u64, subject: &[u8]) -> bool {
        if sequence >= self.next && self.is_to_deliver(sequence) && self.filters.matches(subject) {
            self.count.removed(sequence);
        }
        if self.pending.contains(sequence) || self.again.is_counted(sequence) {
            self.settle_removed(sequence);
        }
        self.timers.is_woken
    }

    /// Returns false for messages that are not the last of their subject, if only those are delivered.
    fn is_to_deliver(&self, sequence: u64) -> bool {
        let ones = self.last_ones.as_ref();
        ones.is_none_or(|ones| sequence > ones.resume || ones.contains(sequence))
    }

    /// Takes note of the removal of many messages at once: those that `subject` selects, or of any subject. Returns true if
    /// [`Self::deliver`] can deliver more.
    // NATS 2.14: stream.go purgeLocked, consumer.go purge.
    pub fn cleared(&mut self, view: View<'_>, subject: Option<&SubjectFilter>) -> bool {
        if subject.is_some_and(|subject| !self.is_concerned_by(subject)) {
            return self.timers.is_woken;
        }
        let state = view.storage.state();
        let is_wider = subject.is_some_and(|subject| !self.is_within(subject));
        let start = match subject {
            Some(subject) if !is_wider => {
                let filters = Filters::new(vec![subject.clone()]);
                view.storage.next_match(&filters, 0).unwrap_or(state.last_sequence + 1)
            }
            _ => state.first_sequence,
        };
        if let Some(ones) = &mut self.last_ones {
            ones.sequences.retain(|sequence| exists(view.storage, *sequence));
            if ones.sequences.is_empty() {
                self.next = self.next.max(ones.resume + 1);
                self.last_ones = None;
            }
        }
        self.ahead.forget();
        let before = self.floor;
        let gone = self.pending.iter().take_while(|pending| pending.sequence < start);
        let delivery = gone.map(|pending| pending.delivery).max().unwrap_or_default();
        self.settle_missing(view);
        // A purge sends no advisory for each unacknowledged message.
        self.removed.clear();
        if self.next < start {
            self.next = start;
            self.stored.delivered = Point { delivery: self.next_delivery - 1, sequence: start - 1 };
            self.changes.note();
        }
        if self.pending.is_empty() {
            self.floor = Point { delivery: self.next_delivery - 1, sequence: self.next - 1 };
            self.stored.floor = self.stored.delivered;
            self.again.clear();
            self.changes.whole();
        } else if !is_wider && before.sequence < start {
            // NATS 2.14: consumer.go purge, consumerFileStore.Update: messages that were acknowledged before others do not count until the
            // next acknowledgement, unless the floor that is stored would move back.
            let sequence = start.saturating_sub(1);
            self.floor = Point { delivery: before.delivery.max(delivery), sequence };
            if sequence >= self.stored.floor.sequence {
                self.stored.floor = self.floor;
            }
            self.changes.note();
        }
        self.recount(view);
        self.timers.is_woken
    }

    /// Returns true if `subject` selects messages that this consumer selects too.
    fn is_concerned_by(&self, subject: &SubjectFilter) -> bool {
        self.filters.is_all()
            || self.filters.as_slice().iter().any(|filter| filter.overlaps(subject))
    }

    /// Returns true if `subject` selects all messages of a filter of this consumer.
    fn is_within(&self, subject: &SubjectFilter) -> bool {
        self.filters.as_slice().iter().any(|filter| subject.covers(filter))
    }

    /// Ends the wait for messages that the stream does not have.
    pub(super) fn settle_missing(&mut self, view: View<'_>) {
        let first = view.storage.state().first_sequence;
        let is_missing = |sequence: u64| sequence < first || !exists(view.storage, sequence);
        let pending = self.pending.iter().map(|pending| pending.sequence);
        let counted = self.again.counts().map(|(sequence, _)| sequence);
        let missing: Vec<_> = pending.chain(counted).filter(|found| is_missing(*found)).collect();
        for sequence in missing {
            self.settle_removed(sequence);
        }
    }

    /// Asks the store for the number of messages that were not delivered.
    pub(super) fn recount(&mut self, view: View<'_>) {
        let last = view.storage.state().last_sequence;
        let count = |from| view.storage.count(&self.filters, from, false);
        let messages = match &self.last_ones {
            Some(ones) => ones.sequences.len() as u64 + count(ones.resume + 1),
            None => count(self.next),
        };
        self.count.reset(messages, last);
    }

    /// Records a range of messages that this consumer no longer needs.
    pub(super) fn release(&mut self, first: u64, last: u64) {
        if self.scope.retention == Retention::Limits || first > last {
            return;
        }
        match self.released.last_mut() {
            Some(range) if range.end() + 1 == first => *range = *range.start()..=last,
            _ => self.released.push(first..=last),
        }
    }

    /// Follows a change of the retention of the stream.
    pub fn set_retention(&mut self, retention: Retention, view: View<'_>) {
        self.scope.retention = retention;
        self.released.clear();
        self.release_settled(view);
    }

    /// Notes that this consumer does not need messages any more that it has delivered before.
    // NATS 2.14: consumer.go checkStateForInterestStream.
    pub(super) fn release_settled(&mut self, view: View<'_>) {
        let mut from = match self.scope.retention {
            Retention::Limits => return,
            Retention::Interest => 0,
            // Nobody else receives what was passed.
            Retention::WorkQueue => self.passed + 1,
        };
        let last = self.stored.delivered.sequence;
        while let Some(sequence) = view.storage.next_match(&self.filters, from)
            && sequence <= last
        {
            let subject = view.storage.subject_of(sequence).unwrap_or_default();
            if !self.needs(sequence, subject) {
                self.release(sequence, sequence);
            }
            from = sequence + 1;
        }
    }

    /// Returns the sequence up to which messages were passed with other filters than those of a configuration.
    pub fn passed_before(&self, config: &ConsumerConfig) -> u64 {
        let (new, old) = (config, &self.config);
        let is_same = (&new.filter_subject, &new.filter_subjects)
            == (&old.filter_subject, &old.filter_subjects);
        if is_same { self.passed } else { self.next - 1 }
    }

    /// Takes up what [`Self::passed_before`] has returned, after [`Self::restore`].
    pub fn restore_passed(&mut self, passed: u64) {
        self.passed = passed;
    }

    /// Returns the sequence up to which messages were passed with other filters than the present ones.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes the ranges of sequences that this consumer no longer needs; of interest to streams with another retention than
    /// by limits. A sequence may be repeated, and may have no message.
    pub fn take_released(&mut self, released: &mut Vec<RangeInclusive<u64>>) {
        released.append(&mut self.released);
    }

    /// Returns true if the message still has to be delivered to this consumer, or acknowledged: a stream with retention by
    /// interest keeps it. Messages that were delivered as often as they may be are kept too.
    // NATS 2.14: consumer.go needAck.
    pub fn needs(&self, sequence: u64, subject: &[u8]) -> bool {
        if !self.filters.matches(subject) {
            return false;
        }
        let is_needed = sequence > self.floor.sequence
            && (self.config.ack_policy != AckPolicy::Explicit
                || sequence >= self.next
                || self.pending.contains(sequence));
        is_needed || self.again.is_counted(sequence)
    }
}
