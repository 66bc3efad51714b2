//! Checks of configurations of streams.
// NATS 2.14: stream.go checkStreamCfg.

use broker_core::subject::{SubjectTransform, TransformError};

use super::context::StreamCheck;
use super::source::{check_cycles, check_mirror, check_sources};
use super::transform::{bad_subject, check_mapping, is_bad_source};
use super::{
    MAX_DESCRIPTION_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, collide, invalid, is_covered_by,
    is_subject, is_valid_name, metadata_bytes, refuse_if,
};
use crate::config::limits::AccountLimits;
use crate::config::{
    Discard, PersistMode, Placement, Retention, StorageType, StreamConfig, TransformConfig,
};
use crate::error::ApiError;
use crate::go;

const SECOND: i64 = 1_000_000_000;
/// The shortest age and window: shorter ones would be below the precision of timers.
const MIN_WINDOW: i64 = SECOND / 10;
/// The default time for which ids of messages are remembered.
// NATS 2.14: stream.go StreamDefaultDuplicatesWindow.
const DEFAULT_WINDOW: i64 = 120 * SECOND;
// NATS 2.14: jetstream_cluster.go StreamMaxReplicas.
const MAX_REPLICAS: i64 = 5;

/// Checks a configuration. Returns it with defaults filled in.
///
/// # Errors
///
/// The first error that the reference finds.
pub fn check_stream(
    config: &StreamConfig,
    check: &StreamCheck<'_>,
) -> Result<StreamConfig, ApiError> {
    check_texts(config)?;
    let mut config = config.clone();
    set_numbers(&mut config, check)?;
    set_window(&mut config, check)?;
    check_counter(&config)?;
    check_discard(&config)?;
    set_implied(&mut config, check)?;
    check_persist_mode(&config)?;
    check_mirror(&mut config, check)?;
    check_sources(&config, check)?;
    check_cycles(&config, check)?;
    set_subjects(&mut config)?;
    check_max_bytes(&config, check.account)?;
    check_transform(config.subject_transform.as_ref())?;
    set_republish(&mut config, check)?;
    set_placement(&mut config)?;
    Ok(config)
}

fn check_texts(config: &StreamConfig) -> Result<(), ApiError> {
    refuse_if(!is_valid_name(&config.name), || {
        invalid(r"stream name is required and can not contain '.', '*', '>', '\', '/'")
    })?;
    refuse_if(config.name.len() > MAX_NAME_BYTES, || {
        invalid(format!("stream name is too long, maximum allowed is {MAX_NAME_BYTES}"))
    })?;
    refuse_if(config.description.len() > MAX_DESCRIPTION_BYTES, || {
        invalid(format!(
            "stream description is too long, maximum allowed is {MAX_DESCRIPTION_BYTES}"
        ))
    })?;
    refuse_if(metadata_bytes(&config.metadata) > MAX_METADATA_BYTES, || {
        invalid(format!("stream metadata exceeds maximum size of {MAX_METADATA_BYTES} bytes"))
    })
}

fn set_numbers(config: &mut StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    if config.replicas == 0 {
        config.replicas = 1;
    }
    refuse_if(config.replicas > MAX_REPLICAS, || {
        invalid(format!("maximum replicas is {MAX_REPLICAS}"))
    })?;
    refuse_if(config.replicas < 0, || ApiError::REPLICAS_COUNT_CANNOT_BE_NEGATIVE)?;
    let mut message_size = config.max_message_size.into();
    for (number, text) in [
        (&mut config.max_messages, "max_msgs must be set to -1"),
        (&mut config.max_messages_per_subject, "max_msgs_per_subject must be set to -1"),
        (&mut config.max_bytes, "max_bytes must be set to -1"),
        (&mut message_size, "max_msg_size must be set to -1"),
        (&mut config.max_consumers, "max_consumers must be set to -1"),
    ] {
        if *number < -1 {
            check.correct(text)?;
        }
        if *number < 1 {
            *number = -1;
        }
    }
    config.max_message_size = i32::try_from(message_size).unwrap_or(-1);
    refuse_if(config.max_age < 0, || invalid("max age can not be negative"))?;
    refuse_if(config.max_age != 0 && config.max_age < MIN_WINDOW, || {
        invalid("max age needs to be >= 100ms")
    })
}

fn set_window(config: &mut StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    let limit = check.server.max_duplicate_window;
    let age = config.max_age;
    if config.duplicate_window == 0 && config.mirror.is_none() && config.sources.is_empty() {
        let mut window = DEFAULT_WINDOW;
        if limit > 0 && window > limit {
            check.correct("duplicate window limits are higher than current limits")?;
            window = limit;
        }
        if age != 0 && age < window {
            check.correct("duplicate window cannot be bigger than max age")?;
            window = age;
        }
        config.duplicate_window = window;
    }
    let window = config.duplicate_window;
    refuse_if(window < 0, || invalid("duplicates window can not be negative"))?;
    refuse_if(age != 0 && window > age, || {
        invalid("duplicates window can not be larger then max age")
    })?;
    refuse_if(limit > 0 && window > limit, || {
        let limit = go::duration(limit);
        invalid(format!("duplicates window can not be larger then server limit of {limit}"))
    })?;
    refuse_if(window > 0 && window < MIN_WINDOW, || {
        invalid("duplicates window needs to be >= 100ms")
    })?;
    refuse_if(config.deny_purge && config.allow_rollup, || {
        invalid("roll-ups require the purge permission")
    })
}

fn check_counter(config: &StreamConfig) -> Result<(), ApiError> {
    if !config.allow_message_counter {
        return Ok(());
    }
    refuse_if(config.discard == Discard::New, || invalid("counter stream cannot use discard new"))?;
    refuse_if(config.allow_message_ttl, || invalid("counter stream cannot use message TTLs"))?;
    refuse_if(config.allow_message_schedules, || {
        invalid("counter stream cannot use message schedules")
    })?;
    refuse_if(config.retention != Retention::Limits, || {
        invalid("counter stream can only use limits retention")
    })
}

pub(super) fn check_discard(config: &StreamConfig) -> Result<(), ApiError> {
    if !config.discard_new_per_subject {
        return Ok(());
    }
    refuse_if(config.discard != Discard::New, || {
        invalid("discard new per subject requires discard new policy to be set")
    })?;
    refuse_if(config.max_messages_per_subject <= 0, || {
        invalid("discard new per subject requires max msgs per subject > 0")
    })
}

/// Sets the options that markers and schedules depend on.
fn set_implied(config: &mut StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    let marker_ttl = config.subject_delete_marker_ttl;
    refuse_if(marker_ttl < 0, || invalid("subject delete marker TTL must not be negative"))?;
    if marker_ttl > 0 {
        refuse_if(marker_ttl < SECOND, || {
            invalid("subject delete marker TTL must be at least 1 second")
        })?;
        if !config.allow_message_ttl {
            check.imply("subject delete marker cannot be set if message TTLs are disabled")?;
            config.allow_message_ttl = true;
        }
        if !config.allow_rollup {
            check.imply("subject delete marker cannot be set if roll-ups are disabled")?;
            (config.allow_rollup, config.deny_purge) = (true, false);
        }
    }
    if config.allow_message_schedules {
        refuse_if(config.discard == Discard::New, || {
            invalid("message scheduling cannot use discard new")
        })?;
        if !config.allow_rollup {
            check.imply("message scheduling cannot be set if roll-ups are disabled")?;
            (config.allow_rollup, config.deny_purge) = (true, false);
        }
    }
    Ok(())
}

fn check_persist_mode(config: &StreamConfig) -> Result<(), ApiError> {
    if config.persist_mode != PersistMode::Async {
        return Ok(());
    }
    refuse_if(config.storage != StorageType::File, || {
        invalid("async persist mode is only supported on file storage")
    })?;
    refuse_if(config.replicas > 1, || {
        invalid("async persist mode is not supported on replicated streams")
    })?;
    refuse_if(config.allow_atomic, || {
        invalid("async persist mode is not supported with atomic batch publish")
    })
}

fn set_subjects(config: &mut StreamConfig) -> Result<(), ApiError> {
    if config.subjects.is_empty() {
        if config.mirror.is_none() && config.sources.is_empty() {
            config.subjects.push(config.name.clone());
        }
        return Ok(());
    }
    for (at, subject) in config.subjects.iter().enumerate() {
        refuse_if(!is_subject(subject), || invalid("invalid subject"))?;
        refuse_if(config.subjects[..at].contains(subject), || {
            invalid("duplicate subjects detected")
        })?;
        check_reserved(subject, config)?;
        // Messages of overlapping subjects would be stored twice. An equal subject is an overlap, too: it comes first.
        let mut later = config.subjects[at + 1..].iter();
        if let Some(other) = later.find(|other| collide(other, subject)) {
            let (subject, other) = (go::quoted(subject), go::quoted(other));
            return Err(invalid(format!("subject {subject} overlaps with {other}")));
        }
    }
    Ok(())
}

/// Refuses subjects of the server, whose messages would be answered by acknowledgements.
fn check_reserved(subject: &str, config: &StreamConfig) -> Result<(), ApiError> {
    if subject == ">" {
        refuse_if(!config.no_ack, || invalid("capturing all subjects requires no-ack to be true"))?;
        refuse_if(config.replicas != 1, || {
            invalid("capturing all subjects requires replicas of 1")
        })?;
    }
    if config.no_ack {
        return Ok(());
    }
    let is_api = ["$JS.>", "$JSC.>", "$NRG.>"].iter().any(|space| collide(subject, space));
    refuse_if(is_api && !is_covered_by(subject, "$JS.EVENT.>"), || {
        invalid("subjects that overlap with jetstream api require no-ack to be true")
    })?;
    let is_system = collide(subject, "$SYS.>");
    refuse_if(is_system && !is_covered_by(subject, "$SYS.ACCOUNT.>"), || {
        invalid("subjects that overlap with system api require no-ack to be true")
    })
}

// NATS 2.14: jetstream.go maxBytesLimits.
fn check_max_bytes(config: &StreamConfig, account: &AccountLimits) -> Result<(), ApiError> {
    let Some((_, limits)) = account.select(config.replicas) else { return Ok(()) };
    let most = match config.storage {
        StorageType::Memory => limits.memory_max_stream_bytes,
        StorageType::File => limits.storage_max_stream_bytes,
    };
    refuse_if(limits.max_bytes_required && config.max_bytes <= 0, || {
        ApiError::STREAM_MAX_BYTES_REQUIRED
    })?;
    refuse_if(most > 0 && config.max_bytes > most, || ApiError::STREAM_MAX_STREAM_BYTES_EXCEEDED)
}

fn check_transform(transform: Option<&TransformConfig>) -> Result<(), ApiError> {
    let Some(transform) = transform else { return Ok(()) };
    refuse_if(is_bad_source(transform), || {
        ApiError::stream_transform_invalid_source(bad_subject(&transform.source))
    })?;
    check_mapping(transform).map_err(ApiError::stream_transform_invalid_destination)
}

fn set_republish(config: &mut StreamConfig, check: &StreamCheck<'_>) -> Result<(), ApiError> {
    let Some(republish) = &mut config.republish else { return Ok(()) };
    if republish.source.is_empty() {
        check.correct("republish source can not be empty")?;
        republish.source = ">".into();
    }
    // Republishing everything to where it came from is a cycle, unless a transform changes all subjects of the stream.
    if let (">", ">", Some(transform), [subject]) = (
        republish.source.as_str(),
        republish.destination.as_str(),
        &config.subject_transform,
        &config.subjects[..],
    ) && transform.source == *subject
    {
        check.correct("implicit republish based on subject transform")?;
        republish.source.clone_from(&transform.destination);
        republish.destination.clone_from(&transform.destination);
    }
    refuse_if(
        config.subjects.iter().any(|subject| collide(&republish.destination, subject)),
        || invalid("stream configuration for republish destination forms a cycle"),
    )?;
    let (source, destination) = (&republish.source, &republish.destination);
    refuse_if(!is_transform(source, destination), || {
        invalid(format!(
            "stream configuration for republish with transform from '{source}' to '{destination}' not valid"
        ))
    })
}

/// Returns true if the pair is a transform; an empty destination is none at all, and with white space in it nothing is published.
// NATS 2.14: subject_transform.go NewSubjectTransform.
fn is_transform(source: &str, destination: &str) -> bool {
    let transform = SubjectTransform::new(source, destination);
    destination.is_empty() || matches!(transform, Ok(_) | Err(TransformError::WhiteSpace))
}

fn set_placement(config: &mut StreamConfig) -> Result<(), ApiError> {
    if config.placement.as_ref() == Some(&Placement::default()) {
        config.placement = None;
    }
    let prefers = |placement: &Placement| !placement.preferred.is_empty();
    refuse_if(config.placement.as_ref().is_some_and(prefers), || {
        invalid("preferred server not permitted in placement")
    })
}
