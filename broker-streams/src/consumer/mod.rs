//! A consumer: selects messages of a stream, delivers them to clients in order, and tracks acknowledgements.
//!
//! The owner of a consumer tells it what happens: a message was stored ([`Consumer::appended`]) or removed, a client asks or
//! acknowledges, time passes. It calls [`Consumer::deliver`] whenever a method returns true, or
//! [`Consumer::tick`] when [`Consumer::deadline`] has come, and stores what [`Consumer::take_changes`] returns in the journal of the stream.
//!
//! Consumers see only messages up to [`View::visible`]: messages that no crash takes back.

mod ack_subject;
mod acks;
mod addresses;
mod ahead;
mod changes;
mod contents;
mod control;
mod count;
mod deliver;
mod events;
mod info;
mod limits;
mod pending;
mod priority;
mod progress;
mod pull;
mod push;
mod redeliveries;
mod requests;
mod start;
#[cfg(test)]
mod tests;
mod timers;

use std::ops::RangeInclusive;

use broker_core::SubjectFilter;

pub use ack_subject::AckSubject;
pub use addresses::{AckForm, subjects};
pub use control::ResetError;
pub use info::{ConsumerInfo, PriorityGroupState, SequenceInfo};
pub use progress::Progress;

use crate::config::{ConsumerConfig, ReplayPolicy, Retention, Time};
use crate::filters::Filters;
use crate::random::Random;
use crate::store::Storage;

/// The part of a stream that its consumers read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The messages.
    pub storage: &'a dyn Storage,
    /// The last sequence that may be delivered.
    pub visible: u64,
}

/// The stream of a consumer, and values that do not change while the consumer exists.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The name of the account, which some advisories state.
    pub account: String,
    /// The domain of the server; empty for none.
    pub domain: String,
    /// The form of the subjects in delivered messages.
    pub ack_form: AckForm,
    /// The name of the stream.
    pub stream: String,
    /// The name of the consumer.
    pub name: String,
    /// Decides whether the stream removes messages that are acknowledged; see [`Consumer::set_retention`].
    pub retention: Retention,
    /// The stream is in memory: the progress of its consumers is not recorded.
    pub is_in_memory: bool,
    /// The stream keeps one message of each subject.
    pub is_one_per_subject: bool,
    /// The longest message, in bytes: a rate limit lets as many bytes pass at once.
    pub burst_bytes: u64,
    /// Decides names, samples and jitter.
    pub seed: u64,
}

/// The number of a delivery and the sequence of its message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Point {
    delivery: u64,
    sequence: u64,
}

/// The sequences that are stored, and shown. [`Consumer::next`] and [`Consumer::floor`] may be ahead, behind messages that the
/// filters do not select.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    delivered: Point,
    floor: Point,
}

/// A consumer.
pub struct Consumer {
    scope: Scope,
    config: ConsumerConfig,
    created: Time,
    filters: Filters,
    random: Random,
    /// The subject of acknowledgements before its numbers.
    ack_prefix: Vec<u8>,

    /// The next sequence to look at.
    next: u64,
    ahead: ahead::Ahead,
    /// The number of the next delivery.
    next_delivery: u64,
    /// All messages up to it are acknowledged.
    floor: Point,
    stored: Stored,
    /// The start was selected, or the state was recovered.
    has_state: bool,
    last_ones: Option<start::LastOnes>,
    count: count::Count,
    pending: pending::PendingAcks,
    again: redeliveries::Redeliveries,
    /// The most deliveries of a message; 0 for no limit.
    max_deliver: u64,
    sample_percent: i64,
    last_delivered: Time,
    last_acked: Time,

    requests: requests::WaitQueue,
    pin: Option<priority::Pin>,
    push: push::Push,
    rate: Option<push::RateLimit>,
    /// Messages up to this sequence are sent at the pace at which they were stored.
    replay_until: Option<u64>,
    /// When the last message that was sent was stored, and when it was sent.
    last_sent: Option<(Time, Time)>,
    /// The threshold of inactivity, in nanoseconds; 0 for none.
    inactive_after: i64,
    timers: timers::Timers,

    changes: changes::Changes,
    released: Vec<RangeInclusive<u64>>,
    /// The messages up to this sequence were passed with other filters: not all that the filters select were delivered.
    passed: u64,
    /// Messages that were removed before they were acknowledged, with the number of their deliveries; advisories say so.
    removed: Vec<(pending::Pending, u64)>,
    scratch: deliver::Scratch,
    /// When the message that is being acknowledged was last delivered.
    acked: Option<Time>,
}

/// The effect of a message to an acknowledgement subject.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AckOutcome {
    /// The sender's reply subject receives an empty message, once the changes of the consumer are durable.
    pub respond: bool,
    /// [`Consumer::deliver`] has something to do.
    pub deliver: bool,
    /// When the message that it acknowledges was last delivered.
    pub delivered: Option<Time>,
}

/// The result of [`Consumer::tick`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tick {
    /// Nothing.
    Idle,
    /// [`Consumer::deliver`] has something to do.
    Deliver,
    /// No client has used the consumer for its threshold of inactivity: the owner deletes it.
    Inactive,
}

impl Consumer {
    /// Creates a consumer that starts where its deliver policy says. `config` has all defaults and was checked.
    /// [`Self::interest_changed`] follows.
    pub fn create(scope: Scope, config: ConsumerConfig, view: View<'_>, now: Time) -> Self {
        let mut consumer = Self::restore(scope, config, now);
        consumer.select_start(view);
        consumer.changes.whole();
        consumer.begin(view, now);
        consumer
    }

    /// Creates a consumer at recovery. [`Self::apply`] follows for each entry of its journal, then [`Self::recovered`].
    pub fn restore(scope: Scope, config: ConsumerConfig, created: Time) -> Self {
        let is_recorded = config.is_stored() && !scope.is_in_memory;
        let mut consumer = Self {
            filters: Filters::default(),
            random: Random::new(scope.seed),
            ack_prefix: scope.ack_form.ack_prefix(&scope).into_bytes(),
            next: 1,
            ahead: ahead::Ahead::default(),
            next_delivery: 1,
            floor: Point::default(),
            stored: Stored::default(),
            has_state: false,
            last_ones: None,
            count: count::Count::default(),
            pending: pending::PendingAcks::default(),
            again: redeliveries::Redeliveries::default(),
            max_deliver: 0,
            sample_percent: 0,
            last_delivered: Time(0),
            last_acked: Time(0),
            requests: requests::WaitQueue::new(config.max_waiting),
            pin: None,
            push: push::Push::new(config.flow_control),
            rate: None,
            replay_until: None,
            last_sent: None,
            inactive_after: 0,
            timers: timers::Timers::default(),
            changes: changes::Changes::new(is_recorded),
            released: Vec::new(),
            passed: 0,
            removed: Vec::new(),
            scratch: deliver::Scratch::default(),
            acked: None,
            scope,
            config,
            created,
        };
        consumer.apply_config();
        consumer.set_inactive_threshold();
        consumer
    }

    /// Computes the values that are derived from the configuration.
    fn apply_config(&mut self) {
        let config = &self.config;
        let one = (!config.filter_subject.is_empty()).then_some(&config.filter_subject);
        let filters = one.into_iter().chain(&config.filter_subjects);
        self.filters = Filters::new(filters.filter_map(|f| SubjectFilter::parse(f).ok()).collect());
        self.ahead.forget();
        self.max_deliver = u64::try_from(config.max_deliver).unwrap_or_default();
        let percent = config.sample_frequency.trim_end_matches('%');
        self.sample_percent = percent.parse().unwrap_or_default();
    }

    /// Ends the recovery: compares the state with the contents of the stream. [`Self::interest_changed`] follows.
    pub fn recovered(&mut self, view: View<'_>, now: Time) {
        if self.has_state {
            self.resume(view);
        } else {
            self.select_start(view);
            self.changes.whole();
        }
        self.begin(view, now);
    }

    fn resume(&mut self, view: View<'_>) {
        self.cut(view.storage.state().last_sequence);
        self.next = self.stored.delivered.sequence + 1;
        self.floor = self.stored.floor;
        if let Some(ones) = self.last_ones.take() {
            let after = self.stored.delivered.sequence;
            let ones = start::LastOnes::find(view.storage, &self.filters, after, ones.resume);
            if ones.sequences.is_empty() {
                self.next = self.next.max(ones.resume + 1);
            } else {
                self.last_ones = Some(ones);
            }
        }
        self.settle_missing(view);
        // The removal of acknowledged messages may have been lost.
        self.release_settled(view);
        // These removals are older than the start of the server.
        self.removed.clear();
        self.timers.is_woken = false;
    }

    /// Forgets messages after the last of the stream: a stream that lost messages uses their sequences again.
    // NATS 2.14: consumer.go reconcileStateWithStream.
    fn cut(&mut self, last: u64) {
        let stored = &mut self.stored;
        if stored.delivered.delivery == 0 || stored.delivered.sequence <= last {
            return;
        }
        stored.delivered.sequence = last;
        stored.floor.sequence = stored.floor.sequence.min(last);
        let pending = self.pending.iter().map(|pending| pending.sequence);
        let counted = self.again.counts().map(|(sequence, _)| sequence);
        let lost: Vec<_> = pending.chain(counted).filter(|sequence| *sequence > last).collect();
        for sequence in lost {
            self.pending.remove(sequence);
            self.again.forget(sequence);
        }
        self.changes.whole();
    }

    /// Starts the timers and the count of undelivered messages.
    fn begin(&mut self, view: View<'_>, now: Time) {
        self.recount(view);
        self.rate = push::RateLimit::new(self.config.rate_limit, self.scope.burst_bytes, now);
        if self.config.replay_policy == ReplayPolicy::Original {
            self.replay_until = Some(view.storage.state().last_sequence);
        }
        if self.inactive_after > 0 {
            self.timers.inactive = Some(now.plus(self.inactive_after));
        }
        self.watch_pause(now);
        self.beat_after(now);
        self.watch_expiry();
        if self.config.sourcing {
            let _ = self.reset(view, 0);
        }
    }

    fn is_push(&self) -> bool {
        !self.config.deliver_subject.is_empty()
    }

    /// Returns the configuration.
    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// Returns the stream, and values that do not change.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.scope.name
    }

    /// Returns the time of the creation.
    pub fn created(&self) -> Time {
        self.created
    }

    /// Returns the filters of the messages.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }
}
