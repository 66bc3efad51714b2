//! A consumer: which messages of a stream its clients receive, in which order, and what they have acknowledged.
//!
//! The owner of a consumer tells it what happens: a message was stored ([`Consumer::appended`]) or removed, a client asks or
//! acknowledges, time passes. It calls [`Consumer::deliver`] whenever a method returns true, or when [`Consumer::deadline`] has come, and
//! stores what [`Consumer::take_changes`] returns in the journal of the stream.
//!
//! Consumers see only messages up to [`View::visible`]: messages that no crash takes back.

mod ack_subject;
mod info;

use std::ops::RangeInclusive;

use broker_core::SubjectFilter;

pub use ack_subject::AckSubject;
pub use info::{ConsumerInfo, PriorityGroupState, SequenceInfo};

use crate::config::{ConsumerConfig, Retention, Time};
use crate::outbox::Outbox;
use crate::store::Storage;

/// What a consumer sees of its stream.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The messages.
    pub storage: &'a dyn Storage,
    /// The last sequence that may be delivered.
    pub visible: u64,
}

/// Where a consumer belongs to; it does not change while the consumer exists.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The name of the account, which some advisories state.
    pub account: String,
    /// The domain of the server; empty for none.
    pub domain: String,
    /// The name of the stream.
    pub stream: String,
    /// The name of the consumer.
    pub name: String,
    /// Whether the stream removes messages that are acknowledged.
    pub retention: Retention,
    /// The stream keeps one message of each subject.
    pub is_one_per_subject: bool,
    /// The longest message, in bytes: what a rate limit lets pass at once.
    pub burst_bytes: u64,
    /// Decides names, samples and jitter.
    pub seed: u64,
}

/// A consumer.
pub struct Consumer {
    scope: Scope,
    config: ConsumerConfig,
    created: Time,
}

/// The effect of a message to an acknowledgement subject.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AckOutcome {
    /// The sender's reply subject receives an empty message, once the changes of the consumer are durable.
    pub respond: bool,
    /// [`Consumer::deliver`] has something to do.
    pub deliver: bool,
}

/// What time has done to a consumer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tick {
    /// Nothing.
    Idle,
    /// [`Consumer::deliver`] has something to do.
    Deliver,
    /// Nobody has used the consumer for the time that it may be unused: it is to be deleted.
    Inactive,
}

/// The reason why a consumer does not start again at a sequence. The text follows `invalid reset: `.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResetError {
    /// The sequence is below the one in the configuration.
    #[error("below start seq")]
    BelowStartSequence,
    /// The sequence is below that of the time in the configuration.
    #[error("below start time")]
    BelowStartTime,
    /// The deliver policy lets consumers start again only after the last acknowledged message.
    #[error("not allowed")]
    NotAllowed,
}

impl Consumer {
    /// Creates a consumer that starts where its deliver policy says. `config` has all defaults and was checked.
    pub fn create(scope: Scope, config: ConsumerConfig, view: View<'_>, now: Time) -> Self {
        let _ = (view, now);
        Self { scope, config, created: now }
    }

    /// Creates a consumer at recovery. [`Self::apply`] follows for each entry of its journal, then [`Self::recovered`].
    pub fn restore(scope: Scope, config: ConsumerConfig, created: Time) -> Self {
        Self { scope, config, created }
    }

    /// Applies an entry that [`Self::take_changes`] or [`Self::snapshot`] has written. Returns false for an entry that is
    /// not one of those.
    pub fn apply(&mut self, entry: &[u8]) -> bool {
        let _ = entry;
        false
    }

    /// Ends the recovery: compares the state with what the stream still has.
    pub fn recovered(&mut self, view: View<'_>, now: Time) {
        let _ = (view, now);
    }

    /// Appends the changes since the last call as one entry for [`Self::apply`]. Returns false, and appends nothing, if there are none, or if
    /// the state of the consumer is not stored.
    pub fn take_changes(&mut self, entry: &mut Vec<u8>) -> bool {
        let _ = entry;
        false
    }

    /// Appends the whole state as one entry, which replaces all entries before. It does not include changes to come.
    pub fn snapshot(&self, entry: &mut Vec<u8>) {
        let _ = entry;
    }

    /// Returns true if [`Self::take_changes`] has something to append.
    pub fn has_changes(&self) -> bool {
        false
    }

    /// Takes the ranges of sequences that this consumer no longer needs; of interest to streams with another retention than
    /// by limits. A sequence may be repeated, and may have no message.
    pub fn take_released(&mut self, released: &mut Vec<RangeInclusive<u64>>) {
        let _ = released;
    }

    /// Returns true if the consumer is to receive or acknowledge the message yet: a stream that keeps messages by
    /// interest keeps it.
    pub fn needs(&self, sequence: u64, subject: &[u8]) -> bool {
        let _ = (sequence, subject);
        false
    }

    /// Notes a new message, in the order of sequences. Returns true if [`Self::deliver`] has something to do, as soon as the message is visible.
    pub fn appended(&mut self, sequence: u64, subject: &[u8]) -> bool {
        let _ = (sequence, subject);
        false
    }

    /// Notes that one message was removed: by a client, by a limit, by its age, or because it was acknowledged.
    pub fn removed(&mut self, sequence: u64, subject: &[u8], now: Time, out: &mut dyn Outbox) {
        let _ = (sequence, subject, now, out);
    }

    /// Notes that many messages were removed at once: those that `subject` selects, or of any subject.
    pub fn cleared(&mut self, view: View<'_>, subject: Option<&SubjectFilter>, now: Time) {
        let _ = (view, subject, now);
    }

    /// Accepts a request for messages, which was sent to `$JS.API.CONSUMER.MSG.NEXT.…`. Returns true if [`Self::deliver`] has something to do.
    ///
    /// The caller has checked that the request needs no higher API level than the server has.
    pub fn request(
        &mut self,
        view: View<'_>,
        reply: &[u8],
        payload: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let _ = (view, reply, payload, now, out);
        false
    }

    /// Accepts a message to `$JS.ACK.…`.
    pub fn ack(
        &mut self,
        view: View<'_>,
        ack: &AckSubject<'_>,
        reply: &[u8],
        payload: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> AckOutcome {
        let _ = (view, ack, reply, payload, now, out);
        AckOutcome::default()
    }

    /// Accepts a message to `$JS.FC.…`. Returns true if [`Self::deliver`] has something to do.
    pub fn flow_control(
        &mut self,
        view: View<'_>,
        subject: &[u8],
        headers: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let _ = (view, subject, headers, now, out);
        false
    }

    /// Sends what can be sent, at most `budget` messages. Returns true if there is more.
    pub fn deliver(
        &mut self,
        view: View<'_>,
        now: Time,
        out: &mut dyn Outbox,
        budget: usize,
    ) -> bool {
        let _ = (view, now, out, budget);
        false
    }

    /// Returns the time of the next [`Self::tick`]; `None` without one.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// Does what is due by time.
    pub fn tick(&mut self, view: View<'_>, now: Time, out: &mut dyn Outbox) -> Tick {
        let _ = (view, now, out);
        Tick::Idle
    }

    /// Returns the subject and the queue group whose interest decides whether a push consumer delivers; `None` for a pull consumer.
    pub fn delivers_to(&self) -> Option<(&[u8], Option<&[u8]>)> {
        let subject = self.config.deliver_subject.as_bytes();
        let group = Some(self.config.deliver_group.as_bytes()).filter(|group| !group.is_empty());
        (!subject.is_empty()).then_some((subject, group))
    }

    /// Looks again whether somebody subscribes to the deliver subject. Called once after the creation or recovery, and after each
    /// change of interest in [`Self::delivers_to`]. Returns true if [`Self::deliver`] has something to do.
    pub fn interest_changed(&mut self, now: Time, out: &mut dyn Outbox) -> bool {
        let _ = (now, out);
        false
    }

    /// Takes another configuration, which was checked against the current one. Returns true if [`Self::deliver`] has something to do.
    pub fn update(
        &mut self,
        config: ConsumerConfig,
        view: View<'_>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let _ = (view, now, out);
        self.config = config;
        false
    }

    /// Starts again at a sequence; after the last acknowledged message if it is 0. Returns the sequence.
    ///
    /// # Errors
    ///
    /// [`ResetError`] if the configuration does not allow the sequence.
    pub fn reset(&mut self, view: View<'_>, sequence: u64, now: Time) -> Result<u64, ResetError> {
        let _ = (view, sequence, now);
        Err(ResetError::NotAllowed)
    }

    /// Takes the pin from the pinned client of a priority group. Returns true if [`Self::deliver`] has something to do.
    pub fn unpin(&mut self, group: &str, now: Time, out: &mut dyn Outbox) -> bool {
        let _ = (group, now, out);
        false
    }

    /// Sends the advisory of the creation.
    pub fn announce(&mut self, now: Time, out: &mut dyn Outbox) {
        let _ = (now, out);
    }

    /// Sends what clients receive at the deletion: the advisory, and a status to each waiting request.
    pub fn close(&mut self, now: Time, out: &mut dyn Outbox) {
        let _ = (now, out);
    }

    /// Returns what `CONSUMER.INFO` answers.
    pub fn info(&mut self, view: View<'_>, now: Time, out: &mut dyn Outbox) -> ConsumerInfo {
        let _ = (view, out);
        ConsumerInfo {
            stream: self.scope.stream.clone(),
            name: self.scope.name.clone(),
            created: self.created,
            config: self.config.clone(),
            timestamp: now,
            ..ConsumerInfo::default()
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.scope.name
    }

    /// Returns the time of the creation.
    pub fn created(&self) -> Time {
        self.created
    }
}
