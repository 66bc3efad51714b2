//! Consumers: their requests, acknowledgements and deliveries.

use std::ops::RangeInclusive;

use super::consumers::{Member, filters_of};
use super::entry::Entry;
use super::{Cell, Change, view};
use crate::config::{ConsumerConfig, Retention, Time};
use crate::consumer::{AckSubject, Consumer, ConsumerInfo, ResetError, Scope, Tick};
use crate::error::ApiError;
use crate::filters::Filters;
use crate::latency;
use crate::limits::{DELIVERED_BYTES_A_TURN, DELIVERIES_A_TURN};
use crate::outbox::Outbox;
use crate::stream::Room;

impl Cell {
    /// Returns the number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Returns the names of the consumers, in order.
    pub fn consumer_names(&self) -> Vec<String> {
        let names = self.consumers.iter().map(|member| member.consumer.name().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    /// Returns a consumer.
    pub fn consumer(&self, name: &str) -> Option<&Consumer> {
        self.consumers.get(name.as_bytes()).map(|member| &member.consumer)
    }

    /// Returns the consumers, in the order of their creation.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter().map(|member| &member.consumer)
    }

    /// Adds a consumer. Its configuration was checked and has all defaults. It delivers with the next [`Self::run`].
    ///
    /// # Errors
    ///
    /// An error of the API if it cannot be stored.
    pub fn add_consumer(
        &mut self,
        name: &str,
        config: ConsumerConfig,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<(), ApiError> {
        let number = self.consumers.next_number();
        let entry = Entry::consumer(number, name, &config, (now, 0));
        if config.is_stored() {
            self.journal(&entry).map_err(ApiError::consumer_create)?;
        }
        let scope = self.consumer_scope(name, number);
        let consumer = Consumer::create(scope, config, view(&self.stream), now);
        self.consumers.add(consumer, number);
        self.note_consumer(name);
        let begins_at = self.stream.storage().position();
        let place = self.consumers.get_mut(name.as_bytes());
        if let Some(member) = place {
            // The answer to the client waits for this position.
            member.begins_at = begins_at;
            member.awaits_sync = begins_at > self.stream.storage().durable();
            member.consumer.announce(now, out);
            member.consumer.interest_changed(now, out);
        }
        self.follow(name.as_bytes());
        // The answer states the number of undelivered messages: it is made before the first delivery.
        self.has_work = true;
        self.begins |= begins_at <= self.stream.storage().durable();
        Ok(())
    }

    pub(super) fn consumer_scope(&self, name: &str, number: u32) -> Scope {
        let config = self.stream.config();
        Scope {
            account: self.scope.account.clone(),
            domain: self.scope.domain.clone(),
            ack_form: self.scope.ack_form,
            stream: config.name.clone(),
            name: name.to_owned(),
            retention: config.retention,
            is_in_memory: !self.is_stored(),
            is_one_per_subject: config.max_messages_per_subject == 1,
            burst_bytes: self.scope.burst_bytes,
            seed: self.scope.seed ^ (u64::from(number) << 32),
        }
    }

    /// Gives a consumer another configuration, which was checked against the present one. Returns false if there is no
    /// consumer of that name.
    ///
    /// # Errors
    ///
    /// An error of the API if it cannot be stored.
    pub fn update_consumer(
        &mut self,
        name: &str,
        config: ConsumerConfig,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<bool, ApiError> {
        let Some(member) = self.consumers.get(name.as_bytes()) else { return Ok(false) };
        let history = (member.consumer.created(), member.consumer.passed_before(&config));
        let entry = Entry::consumer(member.number, name, &config, history);
        if config.is_stored() {
            self.journal(&entry).map_err(ApiError::consumer_create)?;
        }
        let Self { stream, consumers, .. } = self;
        consumers.set_filters(name.as_bytes(), filters_of(&config));
        if let Some(member) = consumers.get_mut(name.as_bytes()) {
            member.is_due |= member.consumer.update(config, view(stream), now, out);
            member.is_due |= member.consumer.interest_changed(now, out);
        }
        self.note_consumer(name);
        self.follow(name.as_bytes());
        self.has_work = true;
        self.run(now, out);
        Ok(true)
    }

    /// Removes a consumer. Returns false if there is none of that name.
    ///
    /// # Errors
    ///
    /// An error of the API if its end cannot be stored.
    pub fn remove_consumer(
        &mut self,
        name: &str,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<bool, ApiError> {
        let Some(member) = self.consumers.get(name.as_bytes()) else { return Ok(false) };
        let entry = Entry::Removed(member.number);
        if member.consumer.config().is_stored() {
            self.journal(&entry).map_err(ApiError::consumer_create)?;
        }
        if let Some(mut member) = self.consumers.remove(name.as_bytes()) {
            member.consumer.close(now, out);
        }
        self.changes.push(Change::Removed(name.to_owned()));
        if self.stream.config().retention == Retention::Interest {
            self.release(&[0..=u64::MAX], now, out);
        }
        Ok(true)
    }

    /// Returns the state of a consumer; `None` if there is no consumer of that name.
    pub fn consumer_info(
        &mut self,
        name: &str,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Option<ConsumerInfo> {
        let member = self.consumers.get_mut(name.as_bytes())?;
        // A subscriber that has come just now may not have been told of yet.
        member.is_due |= member.consumer.interest_changed(now, out);
        self.has_work |= member.is_due;
        let info = member.consumer.info(now, out);
        self.follow(name.as_bytes());
        Some(info)
    }

    /// Resets a consumer to a sequence. Returns the sequence; `None` if there is no consumer of that name.
    ///
    /// # Errors
    ///
    /// [`ResetError`].
    pub fn reset_consumer(
        &mut self,
        name: &str,
        sequence: u64,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Result<Option<u64>, ResetError> {
        let Self { stream, consumers, .. } = self;
        let Some(member) = consumers.get_mut(name.as_bytes()) else { return Ok(None) };
        let sequence = member.consumer.reset(view(stream), sequence)?;
        (member.is_due, self.has_work) = (true, true);
        self.follow(name.as_bytes());
        self.run(now, out);
        Ok(Some(sequence))
    }

    /// Takes the pin from the pinned client of a priority group. Returns false if there is no consumer of that name.
    pub fn unpin(&mut self, name: &str, group: &str, now: Time, out: &mut dyn Outbox) -> bool {
        let Some(member) = self.consumers.get_mut(name.as_bytes()) else { return false };
        member.is_due |= member.consumer.unpin(group, now, out);
        self.after(name.as_bytes(), now, out);
        true
    }

    /// Accepts a request for messages. Returns false if there is no consumer of that name. Requests with priorities are served
    /// by the next [`Self::run`], so that those which arrive together are sorted first.
    // NATS 2.14: consumer.go processInboundNextMsgReqs.
    pub fn request(
        &mut self,
        name: &[u8],
        (reply, payload): (&[u8], &[u8]),
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let Self { stream, consumers, .. } = self;
        let Some(member) = consumers.get_mut(name) else { return false };
        member.is_due |= member.consumer.request(view(stream), reply, payload, now, out);
        let is_prioritized = member.consumer.is_prioritized();
        self.settle_consumer(name, now, out);
        if !is_prioritized {
            self.run(now, out);
        }
        true
    }

    /// Accepts a message to `$JS.ACK.…`.
    pub fn acknowledge(
        &mut self,
        subject: &[u8],
        (reply, payload): (&[u8], &[u8]),
        now: Time,
        out: &mut dyn Outbox,
    ) {
        let own = |ack: &AckSubject<'_>| ack.stream == self.name().as_bytes();
        let Some(ack) = AckSubject::parse(subject).filter(own) else { return };
        let Self { stream, consumers, .. } = self;
        let Some(member) = consumers.get_mut(ack.consumer) else { return };
        let outcome = member.consumer.ack(view(stream), &ack, reply, payload, now, out);
        member.is_due |= outcome.deliver;
        if let Some(delivered) = outcome.delivered {
            latency::note(&mut self.latencies.deliver_to_ack, now.since(delivered));
        }
        self.after(ack.consumer, now, out);
        if outcome.respond {
            self.answer(reply, b"", out);
        }
    }

    /// Accepts a message to `$JS.FC.…`, which is for the consumer of that name.
    pub fn flow_control(
        &mut self,
        name: &[u8],
        (subject, headers): (&[u8], &[u8]),
        now: Time,
        out: &mut dyn Outbox,
    ) {
        let Self { stream, consumers, .. } = self;
        let Some(member) = consumers.get_mut(name) else { return };
        member.is_due |= member.consumer.flow_control(view(stream), subject, headers, now, out);
        self.after(name, now, out);
    }

    /// Returns true if there are push consumers, whose owner calls [`Self::interest_changed`].
    pub fn has_push_consumers(&self) -> bool {
        self.consumers.has_push()
    }

    /// Checks whether the deliver subjects of push consumers have subscribers.
    pub fn interest_changed(&mut self, now: Time, out: &mut dyn Outbox) {
        if !self.has_push_consumers() {
            return;
        }
        self.consumers.visit_all(|member| {
            if member.consumer.delivers_to().is_some() {
                member.is_due |= member.consumer.interest_changed(now, out);
                self.has_work |= member.is_due;
            }
        });
        self.recompute_wake();
        self.run(now, out);
    }

    /// Delivers messages of all consumers, for one turn: the owner calls again while [`Self::has_work`].
    pub fn run(&mut self, now: Time, out: &mut dyn Outbox) {
        if self.has_work && now < self.paused_until {
            return self.wake_by(Some(self.paused_until));
        }
        if !std::mem::take(&mut self.has_work) {
            return;
        }
        self.stream.flush(out);
        let budget = self.budget();
        let releases = self.stream.config().retention != Retention::Limits;
        let Self { stream, consumers, .. } = self;
        let are_all_visible = stream.visible() >= stream.state().last_sequence;
        let durable = stream.storage().durable();
        let mut next: Option<Time> = self.wake_at;
        let mut released = Vec::new();
        consumers.visit_due(|member| {
            if member.begins_at > durable {
                (member.is_due, member.awaits_sync) = (false, true);
                return;
            }
            let Member { consumer, is_due, awaits_sync, .. } = member;
            *is_due = consumer.deliver(view(stream), now, out, budget);
            // A consumer that could take nothing when a message was published is not told again once it is visible.
            *awaits_sync |= !are_all_visible;
            self.has_work |= *is_due;
            next = [next, consumer.deadline()].into_iter().flatten().min();
            if releases {
                consumer.take_released(&mut released);
            }
        });
        self.wake_at = next;
        self.release(&released, now, out);
    }

    /// Returns the number of messages that a consumer delivers in one turn.
    fn budget(&self) -> usize {
        let state = self.stream.state();
        let average = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
        let most = DELIVERED_BYTES_A_TURN / average;
        usize::try_from(most).unwrap_or(usize::MAX).clamp(1, DELIVERIES_A_TURN)
    }

    /// Completes a call of one consumer: deadline, released messages, deliveries.
    fn after(&mut self, name: &[u8], now: Time, out: &mut dyn Outbox) {
        self.settle_consumer(name, now, out);
        self.run(now, out);
    }

    /// Completes a call of one consumer, without deliveries.
    fn settle_consumer(&mut self, name: &[u8], now: Time, out: &mut dyn Outbox) {
        self.follow(name);
        if self.stream.config().retention != Retention::Limits {
            let mut released = Vec::new();
            if let Some(member) = self.consumers.get_mut(name) {
                member.consumer.take_released(&mut released);
            }
            self.release(&released, now, out);
        }
    }

    /// Notes the deadline and the changes of one consumer.
    fn follow(&mut self, name: &[u8]) {
        self.consumers.note(name);
        let Some(member) = self.consumers.get(name) else { return };
        self.has_work |= member.is_due;
        let deadline = member.consumer.deadline();
        self.wake_by(deadline);
    }

    /// Tells consumers the retention of the stream, and removes the messages that a stream with this retention does not keep.
    // NATS 2.14: stream.go updateWithAdvisory, consumer.go checkStateForInterestStream.
    pub(super) fn follow_retention(&mut self, now: Time, out: &mut dyn Outbox) {
        let retention = self.stream.config().retention;
        let mut released = Vec::new();
        let Self { stream, consumers, .. } = self;
        consumers.visit_all(|member| {
            member.consumer.set_retention(retention, view(stream));
            member.consumer.take_released(&mut released);
        });
        self.release(&released, now, out);
    }

    /// Removes the messages in these ranges that no consumer needs any more.
    pub(super) fn release(
        &mut self,
        ranges: &[RangeInclusive<u64>],
        now: Time,
        out: &mut dyn Outbox,
    ) {
        let all = Filters::default();
        let mut unneeded = Vec::new();
        for range in ranges {
            let storage = self.stream.storage();
            let mut from = *range.start();
            while let Some(sequence) = storage.next_match(&all, from) {
                if sequence > *range.end() {
                    break;
                }
                let subject = storage.subject_of(sequence).unwrap_or_default();
                let is_needed =
                    self.consumers.iter().any(|one| one.consumer.needs(sequence, subject));
                if !is_needed {
                    unneeded.push(sequence);
                }
                from = sequence + 1;
            }
        }
        for sequence in unneeded {
            let before = self.stream.state().last_sequence;
            // A store that fails keeps the message, which is then acknowledged again after the recovery.
            let _ = self.with_stream(now, Room::default(), out, |stream, context| {
                stream.remove(sequence, false, context)
            });
            self.settle(before, None);
        }
    }

    /// Performs the actions that are due.
    pub fn tick(&mut self, now: Time, out: &mut dyn Outbox) {
        let before = self.stream.state().last_sequence;
        if self.stream.deadline().is_some_and(|deadline| deadline <= now) {
            self.with_stream(now, Room::default(), out, |stream, context| stream.tick(context));
            self.settle(before, None);
        }
        let mut inactive = Vec::new();
        let mut released = Vec::new();
        let Self { stream, consumers, .. } = self;
        consumers.visit_all(|member| {
            let Member { consumer, is_due, .. } = member;
            if consumer.deadline().is_none_or(|deadline| deadline > now) {
                return;
            }
            match consumer.tick(view(stream), now, out) {
                Tick::Idle => {}
                Tick::Deliver => (*is_due, self.has_work) = (true, true),
                Tick::Inactive => inactive.push(consumer.name().to_owned()),
            }
            consumer.take_released(&mut released);
        });
        if self.stream.config().retention != Retention::Limits {
            self.release(&released, now, out);
        }
        for name in inactive {
            // A consumer whose end cannot be stored is inactive again after the recovery.
            let _ = self.remove_consumer(&name, now, out);
        }
        self.recompute_wake();
        self.run(now, out);
    }

    fn recompute_wake(&mut self) {
        let of_consumers = self.consumers.iter().filter_map(|one| one.consumer.deadline()).min();
        self.wake_at = [self.stream.deadline(), of_consumers].into_iter().flatten().min();
    }
}
