//! Requests that read streams.

use std::collections::BTreeMap;

use super::call::Call;
use super::request::{StreamInfoRequest, StreamListRequest, StreamNamesRequest};
use super::response::{
    ClusterInfo, Page, StreamInfo, StreamInfoPage, StreamList, StreamNames, StreamState,
};
use crate::cell::Cell;
use crate::config::check::collide;
use crate::config::{StreamConfig, Time, version};
use crate::error::ApiError;
use crate::filters::Filters;

/// The most names in an answer.
// NATS 2.14: jetstream_api.go JSApiNamesLimit.
pub(super) const MAX_NAMES: usize = 1024;
/// The most states in an answer.
// NATS 2.14: jetstream_api.go JSApiListLimit.
pub(super) const MAX_STATES: usize = 256;
/// The most subjects in an answer.
// NATS 2.14: jetstream_api.go JSMaxSubjectDetails.
const MAX_SUBJECTS: usize = 100_000;
/// The most deleted sequences in an answer. The reference lists all, which for a stream with a hole of billions needs as many numbers.
const MAX_DELETED: usize = 1_000_000;

pub(super) fn names(call: &mut Call<'_>) {
    let result = list_names(call);
    call.send("stream_names", result);
}

fn list_names(call: &mut Call<'_>) -> Result<StreamNames, ApiError> {
    call.limits()?;
    let StreamNamesRequest(request) = call.read_optional()?;
    let names = matching_names(call, &request.subject);
    let (page, streams) = Page::of(names, request.offset, MAX_NAMES);
    Ok(StreamNames { page, streams })
}

fn matching_names(call: &Call<'_>, filter: &str) -> Vec<String> {
    let mut names = call.host.stream_names();
    if !filter.is_empty() {
        let stores =
            |config: &StreamConfig| config.subjects.iter().any(|stored| collide(filter, stored));
        names.retain(|name| call.host.stream_config(name).is_some_and(|config| stores(&config)));
    }
    names
}

pub(super) fn list(call: &mut Call<'_>) {
    let result = list_states(call);
    call.send("stream_list", result);
}

fn list_states(call: &mut Call<'_>) -> Result<StreamList, ApiError> {
    call.limits()?;
    let request: StreamListRequest = call.read_optional()?;
    let names = matching_names(call, &request.subject);
    let (page, names) = Page::of(names, request.offset, MAX_STATES);
    let mut streams = Vec::with_capacity(names.len());
    let (now, domain) = (call.now, call.identity.domain.clone());
    for name in names {
        let info = call.with_cell(&name, |cell, _, _| {
            let config = cell.stream().config().clone();
            Ok(StreamInfo { domain: domain.clone(), ..of(cell, config, now) })
        });
        // A stream that was removed meanwhile is not listed.
        streams.extend(info.ok());
    }
    Ok(StreamList { page, streams })
}

pub(super) fn info(call: &mut Call<'_>, name: &str) {
    let result = stream_info(call, name);
    call.send("stream_info", result);
}

fn stream_info(call: &mut Call<'_>, name: &str) -> Result<StreamInfoPage, ApiError> {
    call.limits()?;
    let request: StreamInfoRequest = call.read_optional()?;
    let (now, identity) = (call.now, call.identity.clone());
    call.with_cell(name, |cell, _, _| {
        let mut info = with_versions(cell, now, &identity.version);
        info.domain.clone_from(&identity.domain);
        info.cluster = Some(ClusterInfo { leader: identity.server.clone() });
        if request.deleted_details {
            info.state.deleted = deleted(cell);
        }
        let page = subjects(cell, &request, &mut info.state);
        Ok(StreamInfoPage { page, info: Some(info) })
    })
}

/// Returns the state of a stream, with the entries of metadata that answers about one stream have.
pub(super) fn with_versions(cell: &Cell, now: Time, version: &str) -> StreamInfo {
    let mut config = cell.stream().config().clone();
    version::add_dynamic(&mut config.metadata, version);
    of(cell, config, now)
}

/// Returns the state of a stream, with that configuration.
pub(crate) fn of(cell: &Cell, config: StreamConfig, now: Time) -> StreamInfo {
    let stream = cell.stream();
    let mut sources = stream.feed_infos(now);
    let mirror = stream.config().mirror.as_ref().and_then(|_| sources.pop());
    StreamInfo {
        config,
        created: stream.created(),
        state: state(cell),
        domain: String::new(),
        cluster: None,
        mirror,
        sources,
        timestamp: now,
    }
}

/// Returns the totals of a stream.
pub(crate) fn state(cell: &Cell) -> StreamState {
    let storage = cell.stream().storage();
    let state = storage.state();
    let (first, last) = (state.first_sequence, state.last_sequence);
    let span = if state.messages == 0 { 0 } else { last.saturating_sub(first).saturating_add(1) };
    // A stream that has never had a message has no first sequence, unless it is configured.
    let is_new = last == 0 && first <= 1;
    StreamState {
        messages: state.messages,
        bytes: state.bytes,
        first_sequence: if is_new && state.messages == 0 { 0 } else { first },
        first_time: if state.messages == 0 { Time::default() } else { storage.first_time() },
        last_sequence: last,
        last_time: state.last_time,
        num_subjects: state.subjects,
        num_deleted: span.saturating_sub(state.messages),
        consumers: cell.consumers().filter(|consumer| !consumer.config().direct).count() as u64,
        ..StreamState::default()
    }
}

fn deleted(cell: &Cell) -> Vec<u64> {
    let mut deleted = Vec::new();
    cell.stream().storage().for_each_gap(&mut |first, last| {
        let room = MAX_DELETED - deleted.len();
        deleted.extend((first..=last).take(room));
        deleted.len() < MAX_DELETED
    });
    deleted
}

/// Counts the messages of subjects that the request selects.
fn subjects(cell: &Cell, request: &StreamInfoRequest, state: &mut StreamState) -> Page {
    let Ok(filter) = broker_core::SubjectFilter::parse(&request.subjects_filter) else {
        return Page::default();
    };
    let mut all = BTreeMap::new();
    cell.stream().storage().for_each_subject(&Filters::new(vec![filter]), &mut |subject, found| {
        all.insert(String::from_utf8_lossy(subject).into_owned(), found.messages);
        true
    });
    if all.is_empty() {
        return Page::default();
    }
    let (mut page, part) = Page::of(all.into_iter().collect(), request.offset, MAX_SUBJECTS);
    // The answer contains the offset of the request, also if it is behind the end.
    page.offset = usize::try_from(request.offset).unwrap_or(0);
    state.subjects = part.into_iter().collect();
    page
}
