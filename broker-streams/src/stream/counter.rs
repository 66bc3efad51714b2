//! Counters: messages are increments, and the stream stores the sums.
// ADR-49.

use std::borrow::Cow;
use std::collections::BTreeMap;

use broker_core::sort::to_map;
use broker_core::{go_json, header_block};
use serde::{Deserialize, Serialize};

use super::Stream;
use super::decimal::Decimal;
use super::draft::Draft;
use super::fields::Fields;
use crate::error::ApiError;

/// The name of the field with an increment.
const INCREMENT: &[u8] = b"Nats-Incr";
/// The name of the field with the counts of other streams.
const SOURCES: &[u8] = b"Nats-Counter-Sources";

/// The payload of a counter.
#[derive(Deserialize, Serialize)]
struct Value<'a> {
    #[serde(borrow, default)]
    val: Cow<'a, str>,
}

/// The counts that were taken from other streams: by stream, then by subject.
pub(super) type Sources = BTreeMap<String, Counts>;

type Counts = BTreeMap<String, String>;

/// A counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    pub total: Decimal,
    pub sources: Sources,
}

/// Returns the text of the value that a payload contains.
pub(super) fn value(payload: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value<'_>>(payload).ok().map(|value| value.val.into_owned())
}

impl Stream {
    /// Checks the increment of a message that contains one.
    pub(super) fn check_increment(&self, draft: &Draft<'_>) -> Result<(), ApiError> {
        let fields = &draft.fields;
        let text = fields.increment.unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        if Decimal::parse(text).is_none() {
            return Err(ApiError::MESSAGE_INCR_INVALID);
        }
        if draft.is_sourced {
            return Ok(());
        }
        if !self.config.allow_message_counter {
            return Err(ApiError::MESSAGE_INCR_DISABLED);
        }
        if !draft.payload.is_empty() {
            return Err(ApiError::MESSAGE_INCR_PAYLOAD);
        }
        if has_expectations(fields) { Err(ApiError::MESSAGE_INCR_INVALID) } else { Ok(()) }
    }

    /// Adds the increment of a message to its counter.
    pub(super) fn count(&mut self, draft: &mut Draft<'_>) -> Result<(), ApiError> {
        let mut counter = self.counter(&draft.subject)?;
        self.count_on(&mut counter, draft)
    }

    /// Returns the counter of a subject.
    pub(super) fn counter(&mut self, subject: &[u8]) -> Result<Counter, ApiError> {
        let Some(state) = self.storage.subject(subject) else { return Ok(Counter::default()) };
        let Ok(Some(last)) = self.storage.load(state.last, &mut self.buffer) else {
            return Ok(Counter::default());
        };
        let text = value(last.payload).ok_or(ApiError::MESSAGE_COUNTER_BROKEN)?;
        let total = Decimal::parse(text.as_bytes()).unwrap_or_default();
        let sources = match Fields::read(last.headers).counter_sources.unwrap_or_default() {
            b"" => Sources::new(),
            json => read_sources(json).ok_or(ApiError::MESSAGE_COUNTER_BROKEN)?,
        };
        Ok(Counter { total, sources })
    }

    /// Adds the increment of a message to a counter, and makes the message the new value of it.
    pub(super) fn count_on(
        &self,
        counter: &mut Counter,
        draft: &mut Draft<'_>,
    ) -> Result<(), ApiError> {
        let text = draft.fields.increment.unwrap_or_default();
        let mut increment = Decimal::parse(text).ok_or(ApiError::MESSAGE_INCR_INVALID)?;
        if let Some(source) = draft.fields.source.filter(|source| !source.is_empty()) {
            increment = take_source(counter, source, draft)?;
            let text = increment.to_string();
            draft.headers = Cow::Owned(set_in_place(&draft.headers, INCREMENT, text.as_bytes()));
        }
        counter.total = counter.total.plus(&increment);
        if counter.total.is_too_long() {
            return Err(ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        draft.payload = Cow::Owned(format!("{{\"val\":\"{}\"}}", counter.total).into_bytes());
        if !counter.sources.is_empty() {
            let json =
                go_json::compact(&counter.sources).map_err(|_| ApiError::MESSAGE_COUNTER_BROKEN)?;
            draft.headers = Cow::Owned(set_in_place(&draft.headers, SOURCES, &json));
        }
        if draft.len() > self.options.max_payload {
            return Err(ApiError::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        Ok(())
    }
}

/// Reads the counts of sources. A publisher may have sent them: as for programs in Go, `null` is an empty value.
fn read_sources(json: &[u8]) -> Option<Sources> {
    type Nullable<T> = BTreeMap<String, Option<T>>;
    let sources: Option<Nullable<Nullable<String>>> = serde_json::from_slice(json).ok()?;
    let counts = |counts: Nullable<String>| -> Counts {
        to_map(counts.into_iter().map(|(subject, count)| (subject, count.unwrap_or_default())))
    };
    let sources = sources.unwrap_or_default().into_iter();
    Some(to_map(sources.map(|(name, of)| (name, of.map(counts).unwrap_or_default()))))
}

/// Replaces the value of a field where it is, or adds the field as the last.
// NATS 2.14: client.go setHeader.
fn set_in_place(block: &[u8], name: &[u8], new: &[u8]) -> Vec<u8> {
    let field = [b"\r\n", name, b": "].concat();
    let parts = memchr::memmem::find(block, &field).and_then(|at| {
        let (before, rest) = block.split_at(at + field.len());
        let end = memchr::memmem::find(rest, b"\r\n")?;
        Some([before, new, &rest[end..]].concat())
    });
    parts.unwrap_or_else(|| header_block::set(block, name, new))
}

/// Records the value of another stream's counter. Returns by how much it has changed.
fn take_source(
    counter: &mut Counter,
    source: &[u8],
    draft: &Draft<'_>,
) -> Result<Decimal, ApiError> {
    let mut words = source.split(|byte| *byte == b' ');
    let stream = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let subject = words.nth(3).unwrap_or(&draft.subject);
    let subject = String::from_utf8_lossy(subject).into_owned();
    let text = value(&draft.payload).ok_or(ApiError::MESSAGE_COUNTER_BROKEN)?;
    let sourced = Decimal::parse(text.as_bytes()).unwrap_or_default();
    let known = counter.sources.entry(stream).or_default().entry(subject).or_default();
    let previous = Decimal::parse(known.as_bytes()).unwrap_or_default();
    *known = sourced.to_string();
    Ok(sourced.minus(&previous))
}

/// Returns true if a message has fields that make no sense for an increment.
fn has_expectations(fields: &Fields<'_>) -> bool {
    [
        fields.rollup,
        fields.expected_stream,
        fields.expected_last_message_id,
        fields.expected_last_subject,
        fields.expected_last_sequence,
        fields.expected_last_subject_sequence,
    ]
    .iter()
    .any(|field| field.is_some_and(|value| !value.is_empty()))
}
