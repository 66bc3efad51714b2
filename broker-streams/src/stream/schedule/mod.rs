//! Messages that are published later, once or again and again.
// ADR-51.

mod cron;
mod pattern;
mod timetable;

use std::borrow::Cow;

use broker_core::{Subject, SubjectFilter};

use self::pattern::Due;
pub(super) use self::timetable::Timetable;
use super::draft::Draft;
use super::fields::{self, Fields, Ttl};
use super::limits::{DUE_PER_TICK, SCHEDULE_RETRY};
use super::{Answer, Context, Incoming, Stream};
use crate::config::Time;
use crate::error::ApiError;
use crate::filters::Filters;
use crate::store::{Record, StorageError};

impl Stream {
    /// Checks the fields of a message that is a schedule.
    // NATS 2.14: stream.go processJetStreamMsgWithBatch.
    pub(super) fn check_schedule(&self, draft: &mut Draft<'_>, now: Time) -> Result<(), ApiError> {
        if draft.is_sourced {
            return Ok(());
        }
        let is_allowed = self.config.allow_message_schedules;
        match pattern::due(&draft.fields, now, now) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(_) if !is_allowed => {
                return Err(ApiError::MESSAGE_SCHEDULES_DISABLED);
            }
            Ok(Some(_)) => {}
            Err(error) => return Err(error),
        }
        draft.is_schedule = true;
        let fields = draft.fields;
        let ttl = fields.schedule_ttl.unwrap_or_default();
        if !ttl.is_empty() && Ttl::parse(ttl).is_err() {
            return Err(ApiError::MESSAGE_SCHEDULES_TTL_INVALID);
        }
        if !matches!(fields.schedule_rollup.unwrap_or_default(), b"" | b"sub") {
            return Err(ApiError::MESSAGE_SCHEDULES_ROLLUP_INVALID);
        }
        if !ttl.is_empty() && !self.config.allow_message_ttl {
            return Err(ApiError::MESSAGE_TTL_DISABLED);
        }
        self.check_schedule_subjects(draft)?;
        match fields.rollup.unwrap_or_default() {
            b"" => {
                let mut headers = draft.headers.to_vec();
                fields::append(&mut headers, "Nats-Rollup", b"sub");
                draft.headers = Cow::Owned(headers);
                draft.fields.rollup = Some(b"sub");
                Ok(())
            }
            value if value.eq_ignore_ascii_case(b"sub") => Ok(()),
            _ => Err(ApiError::MESSAGE_SCHEDULES_ROLLUP_INVALID),
        }
    }

    /// Checks the subject that a schedule publishes to, and the one whose last message it publishes.
    fn check_schedule_subjects(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let target = draft.fields.schedule_target.unwrap_or_default();
        let source = draft.fields.schedule_source.unwrap_or_default();
        if !is_subject(target) || *target == *draft.subject {
            return Err(ApiError::MESSAGE_SCHEDULES_TARGET_INVALID);
        }
        let has_source = !source.is_empty();
        if has_source && (source == target || *source == *draft.subject || !is_subject(source)) {
            return Err(ApiError::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        let is_own = |subject: &[u8]| {
            let filters = self.config.subjects.iter();
            let mut filters = filters.filter_map(|filter| SubjectFilter::parse(filter).ok());
            filters.any(|filter| filter.matches_bytes(subject))
        };
        if !is_own(target) {
            return Err(ApiError::MESSAGE_SCHEDULES_TARGET_INVALID);
        }
        if has_source && !is_own(source) {
            return Err(ApiError::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        Ok(())
    }

    /// Checks the fields of a message that ends a schedule. `staged` tells for a subject if the last message that will be
    /// stored with it is a schedule.
    pub(super) fn check_scheduler(
        &mut self,
        draft: &Draft<'_>,
        staged: impl Fn(&[u8]) -> Option<bool>,
    ) -> Result<(), ApiError> {
        let next = draft.fields.schedule_next.unwrap_or_default();
        let scheduler = draft.fields.scheduler.unwrap_or_default();
        let invalid = Err(ApiError::MESSAGE_SCHEDULES_SCHEDULER_INVALID);
        if draft.is_sourced || next.is_empty() && scheduler.is_empty() {
            return Ok(());
        }
        let is_valid = next == b"purge" && *scheduler != *draft.subject && is_subject(scheduler);
        if !is_valid {
            return invalid;
        }
        if !self.config.allow_message_schedules {
            return Err(ApiError::MESSAGE_SCHEDULES_DISABLED);
        }
        match staged(scheduler).or_else(|| self.is_schedule(scheduler)) {
            Some(false) => invalid,
            Some(true) | None => Ok(()),
        }
    }

    /// Returns true if the last message of a subject is a schedule; `None` without messages.
    fn is_schedule(&mut self, subject: &[u8]) -> Option<bool> {
        let state = self.storage.subject(subject)?;
        let record = self.storage.load(state.last, &mut self.buffer).ok()??;
        Some(Fields::read(record.headers).schedule.is_some_and(|pattern| !pattern.is_empty()))
    }

    /// Takes a stored message into account, which may be a schedule, or end one.
    // NATS 2.14: memstore.go storeRawMsg.
    pub(super) fn schedule(&mut self, record: &Record<'_>, now: Time) {
        if !self.config.allow_message_schedules {
            return;
        }
        let fields = Fields::read(record.headers);
        let scheduler = fields.scheduler.unwrap_or_default();
        match pattern::due(&fields, record.time, now) {
            Ok(Some(Due { time, .. })) => {
                self.timetable.insert(record.subject, record.sequence, time);
            }
            _ if scheduler.is_empty() => self.timetable.remove_subject(record.subject),
            _ => {}
        }
    }

    /// Finds the schedules of a stream that was recovered: each is the last message of its subject.
    pub(super) fn recover_schedules(&mut self, now: Time) -> Result<(), StorageError> {
        if !self.config.allow_message_schedules {
            return Ok(());
        }
        let mut last = Vec::new();
        self.storage.for_each_subject(&Filters::default(), &mut |_, state| {
            last.push(state.last);
            true
        });
        for sequence in last {
            let record = match self.storage.load(sequence, &mut self.buffer) {
                Ok(Some(record)) => record,
                Ok(None) | Err(StorageError::Damaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            let fields = Fields::read(record.headers);
            if let Ok(Some(Due { time, .. })) = pattern::due(&fields, record.time, now) {
                self.timetable.insert(record.subject, sequence, time);
            }
        }
        Ok(())
    }

    /// Publishes the scheduled messages that are due.
    // NATS 2.14: scheduler.go getScheduledMessages.
    pub(super) fn publish_due(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        if self.timetable.first().is_none_or(|first| first > now) {
            return;
        }
        for (subject, sequence, time) in self.timetable.due(now, DUE_PER_TICK) {
            let Some(scheduled) = self.scheduled(sequence, time, now) else {
                self.timetable.remove_subject(&subject);
                continue;
            };
            let message = Incoming {
                subject: &scheduled.target,
                payload: &scheduled.payload,
                ..Incoming::default()
            };
            let mut draft = Draft::new(&message, &scheduled.headers);
            draft.is_sourced = true;
            let answer = self.publish_one(&mut draft, context);
            match (answer, scheduled.next) {
                (_, Some(next)) => self.timetable.set_time(&subject, next),
                (Answer::Error(error), None) => {
                    tracing::debug!(stream = self.config.name, %error, "a scheduled message is not stored");
                    self.timetable.set_time(&subject, now.plus(SCHEDULE_RETRY));
                }
                // The message has removed its schedule, unless the stream does not let it.
                _ => self.timetable.remove_subject(&subject),
            }
        }
    }

    /// Makes the message that a schedule publishes; `None` if the schedule is gone or not valid.
    fn scheduled(&mut self, sequence: u64, time: Time, now: Time) -> Option<Scheduled> {
        let record = self.storage.load(sequence, &mut self.buffer).ok()??;
        let (subject, own_headers) = (record.subject.to_vec(), record.headers.to_vec());
        let own_payload = record.payload.to_vec();
        let own = Fields::read(&own_headers);
        let Due { time: next, repeats } = pattern::due(&own, time, now).ok()??;
        let target = own.schedule_target.filter(|target| !target.is_empty())?.to_vec();
        let source = own.schedule_source.filter(|source| !source.is_empty());
        let source = source.and_then(|source| self.storage.subject(source));
        let source = source.and_then(|state| {
            let record = self.storage.load(state.last, &mut self.buffer).ok()??;
            Some((record.headers.to_vec(), record.payload.to_vec()))
        });
        // Without a message to publish, the schedule publishes itself.
        let (headers, payload) = source.unwrap_or_else(|| (own_headers.clone(), own_payload));
        let mut headers = fields::without(&headers, is_left_out);
        fields::append(&mut headers, "Nats-Scheduler", &subject);
        let text = if repeats { next.to_string() } else { "purge".to_owned() };
        fields::append(&mut headers, "Nats-Schedule-Next", text.as_bytes());
        let optional = [("Nats-TTL", own.schedule_ttl), ("Nats-Rollup", own.schedule_rollup)];
        for (name, value) in optional {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                fields::append(&mut headers, name, value);
            }
        }
        Some(Scheduled { target, headers, payload, next: repeats.then_some(next) })
    }
}

/// A message that a schedule publishes.
struct Scheduled {
    target: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
    /// When the schedule is due again.
    next: Option<Time>,
}

/// Returns true for a field that would keep a scheduled message from being stored, or that is the schedule's.
fn is_left_out(name: &[u8]) -> bool {
    name.starts_with(b"Nats-Schedule")
        || name.starts_with(b"Nats-Expected-")
        || matches!(name, b"Nats-Msg-Id" | b"Nats-TTL" | b"Nats-Rollup")
}

fn is_subject(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| Subject::parse(text).is_ok())
}
