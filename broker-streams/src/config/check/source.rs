//! Checks of mirrors and sources.
// NATS 2.14: stream.go checkStreamCfg, composeIName, composeCName.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::StreamCheck;
use super::subject::is_literal;
use super::transform::{bad_subject, check_mapping, is_bad_source};
use super::{collide, invalid, is_covered_by, is_valid_name, refuse_if};
use crate::config::{ExternalStream, SourceConsumer, StreamConfig, StreamSource};
use crate::error::ApiError;
use crate::go;

const API_PREFIX: &str = "$JS.API";

/// Checks a mirror, and sets whether it answers direct gets.
pub(super) fn check_mirror(
    config: &mut StreamConfig,
    check: &StreamCheck<'_>,
) -> Result<(), ApiError> {
    let Some(mirror) = &config.mirror else { return Ok(()) };
    for (is_refused, error) in [
        (config.first_sequence > 0, ApiError::MIRROR_WITH_FIRST_SEQ),
        (!config.subjects.is_empty(), ApiError::MIRROR_WITH_SUBJECTS),
        (!config.sources.is_empty(), ApiError::MIRROR_WITH_SOURCES),
        (config.allow_message_counter, ApiError::MIRROR_WITH_COUNTERS),
        (config.allow_atomic, ApiError::MIRROR_WITH_ATOMIC_PUBLISH),
        (config.allow_batched, ApiError::MIRROR_WITH_BATCH_PUBLISH),
        (config.allow_message_schedules, ApiError::MIRROR_WITH_MSG_SCHEDULES),
        (is_bad_consumer(mirror), ApiError::MIRROR_DURABLE_CONSUMER_CFG_INVALID),
        (has_filter_and_transforms(mirror), ApiError::MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED),
    ] {
        refuse_if(is_refused, || error)?;
    }
    refuse_if(config.subject_delete_marker_ttl > 0, || {
        invalid("subject delete markers forbidden on mirrors")
    })?;
    check_mirror_transforms(mirror)?;
    if mirror.external.is_some() {
        return Ok(());
    }
    refuse_if(!is_valid_name(&mirror.name), || ApiError::MIRROR_INVALID_STREAM_NAME)?;
    let Some(origin) = (check.stream)(&mirror.name) else { return Ok(()) };
    refuse_if(is_too_small(config, &origin), || ApiError::MIRROR_MAX_MESSAGE_SIZE_TOO_BIG)?;
    if config.mirror_direct != origin.allow_direct {
        check.correct("origin stream has direct get set, mirror has it disabled")?;
        config.mirror_direct = origin.allow_direct;
    }
    Ok(())
}

fn check_mirror_transforms(mirror: &StreamSource) -> Result<(), ApiError> {
    let transforms = &mirror.subject_transforms;
    for (at, transform) in transforms.iter().enumerate() {
        refuse_if(is_bad_source(transform), || {
            ApiError::mirror_invalid_subject_filter(bad_subject(&transform.source))
        })?;
        check_mapping(transform).map_err(ApiError::mirror_invalid_transform_destination)?;
        let mut others = transforms.iter().enumerate().filter(|(other, _)| *other != at);
        refuse_if(others.any(|(_, other)| collide(&transform.source, &other.source)), || {
            ApiError::MIRROR_OVERLAPPING_SUBJECT_FILTERS
        })?;
    }
    Ok(())
}

/// Checks sources, and the prefixes of all external streams.
pub(super) fn check_sources(
    config: &StreamConfig,
    check: &StreamCheck<'_>,
) -> Result<(), ApiError> {
    refuse_if(!config.sources.is_empty() && config.allow_message_schedules, || {
        ApiError::SOURCE_WITH_MSG_SCHEDULES
    })?;
    let (mut names, mut consumers) = (HashSet::new(), HashSet::new());
    for source in &config.sources {
        refuse_if(!is_valid_name(&source.name), || ApiError::SOURCE_INVALID_STREAM_NAME)?;
        refuse_if(!names.insert(index_name(source)), || ApiError::SOURCE_DUPLICATE_DETECTED)?;
        refuse_if(has_filter_and_transforms(source), || {
            ApiError::SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED
        })?;
        check_source_transforms(source)?;
        refuse_if(is_bad_consumer(source), || ApiError::SOURCE_DURABLE_CONSUMER_CFG_INVALID)?;
        refuse_if(
            consumer_name(source).is_some_and(|consumer| !consumers.insert(consumer)),
            || ApiError::SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED,
        )?;
        let origin = local(source).and_then(check.stream);
        refuse_if(origin.is_some_and(|origin| is_too_small(config, &origin)), || {
            ApiError::SOURCE_MAX_MESSAGE_SIZE_TOO_BIG
        })?;
    }
    check_prefixes(config, check)
}

fn check_source_transforms(source: &StreamSource) -> Result<(), ApiError> {
    let transforms = &source.subject_transforms;
    for transform in transforms {
        refuse_if(is_bad_source(transform), || {
            ApiError::source_invalid_subject_filter(bad_subject(&transform.source))
        })?;
        check_mapping(transform).map_err(ApiError::source_invalid_transform_destination)?;
    }
    for (at, transform) in transforms.iter().enumerate() {
        let mut others = transforms.iter().enumerate().filter(|(other, _)| *other != at);
        refuse_if(
            others.any(|(_, other)| is_covered_by(&transform.source, &other.source)),
            || ApiError::SOURCE_OVERLAPPING_SUBJECT_FILTERS,
        )?;
    }
    Ok(())
}

fn check_prefixes(config: &StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    let all = || config.mirror.iter().chain(&config.sources);
    let external = || all().filter_map(|source| source.external.as_ref());
    let origins: Vec<Arc<StreamConfig>> =
        all().filter_map(local).filter_map(check.stream).collect();
    for ExternalStream { deliver_prefix: prefix, .. } in external() {
        if prefix.is_empty() {
            continue;
        }
        refuse_if(!is_literal(prefix), || ApiError::stream_invalid_external_delivery_subj(prefix))?;
        for subject in origins.iter().flat_map(|origin| &origin.subjects) {
            refuse_if(collide(subject, &format!("{prefix}.{subject}")), || {
                ApiError::stream_external_del_prefix_overlaps(prefix, subject)
            })?;
        }
    }
    for ExternalStream { api_prefix: prefix, .. } in external() {
        if prefix.is_empty() {
            continue;
        }
        refuse_if(!is_literal(prefix), || {
            let prefix = go::quoted(prefix);
            invalid(format!(
                "stream external api prefix {prefix} must be a valid subject without wildcards"
            ))
        })?;
        refuse_if(collide(prefix, API_PREFIX), || {
            ApiError::stream_external_api_overlap(prefix, API_PREFIX)
        })?;
    }
    Ok(())
}

/// Refuses streams that would copy their own messages, by sources and mirrors of sources.
pub(super) fn check_cycles(config: &StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    let mut visited = HashSet::new();
    let mut to_visit = vec![Arc::new(config.clone())];
    let mut at = 0;
    while let Some(stream) = to_visit.get(at).cloned() {
        at += 1;
        visited.insert(stream.name.clone());
        for source in stream.sources.iter().chain(&stream.mirror) {
            let Some(name) = local(source) else { continue };
            let is_mirror =
                stream.mirror.as_ref().is_some_and(|mirror| std::ptr::eq(mirror, source));
            if visited.contains(name) {
                refuse_if(is_mirror || selects_any(source, &stream.subjects), || {
                    invalid("detected cycle")
                })?;
            } else if !to_visit[at..].iter().any(|other| other.name == name) {
                to_visit.extend((check.stream)(name));
            }
        }
    }
    Ok(())
}

fn selects_any(source: &StreamSource, subjects: &[String]) -> bool {
    let filter = &source.filter_subject;
    filter.is_empty() || subjects.iter().any(|subject| collide(subject, filter))
}

/// Returns the name of a stream of the same account and domain.
fn local(source: &StreamSource) -> Option<&str> {
    source.external.is_none().then_some(&source.name)
}

fn has_filter_and_transforms(source: &StreamSource) -> bool {
    !source.filter_subject.is_empty() && !source.subject_transforms.is_empty()
}

fn is_too_small(config: &StreamConfig, origin: &StreamConfig) -> bool {
    let (ours, theirs) = (config.max_message_size, origin.max_message_size);
    ours > 0 && theirs > 0 && ours < theirs
}

/// Returns true if the source has a consumer of its own that cannot be used, or options that such a consumer cannot follow.
fn is_bad_consumer(source: &StreamSource) -> bool {
    let Some(SourceConsumer { name, deliver_subject }) = &source.consumer else { return false };
    !is_valid_name(name)
        || !is_literal(deliver_subject)
        || source.start_sequence != 0
        || source.start_time.is_some()
        || !source.filter_subject.is_empty()
}

/// Returns the text that distinguishes the sources of one stream.
fn index_name(source: &StreamSource) -> (String, Option<String>, Option<String>, Vec<[String; 2]>) {
    let or_all = |subject: &String| if subject.is_empty() { ">".into() } else { subject.clone() };
    let mut pairs: Vec<[String; 2]> = source
        .subject_transforms
        .iter()
        .map(|transform| [or_all(&transform.source), or_all(&transform.destination)])
        .collect();
    if pairs.is_empty() {
        pairs.push([or_all(&source.filter_subject), ">".into()]);
    }
    let api = source.external.as_ref().map(|external| external.api_prefix.clone());
    let consumer = source.consumer.as_ref().map(|consumer| consumer.name.clone());
    (source.name.clone(), api, consumer, pairs)
}

fn consumer_name(source: &StreamSource) -> Option<(String, Option<String>, String)> {
    let consumer = source.consumer.as_ref()?;
    let api = source.external.as_ref().map(|external| external.api_prefix.clone());
    Some((source.name.clone(), api, consumer.name.clone()))
}
