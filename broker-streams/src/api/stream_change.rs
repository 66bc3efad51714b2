//! Requests that change streams.

use std::sync::Arc;

use super::advisory::Action;
use super::call::Call;
use super::host::Host;
use super::request::{Request, StorageRequest, StreamConfigRequest};
use super::response::{Purged, StreamCreated, StreamUpdated, Success};
use super::stream::with_versions;
use crate::config::check::{
    StreamCheck, check_stream, check_stream_update, collide_any, violating_consumers,
};
use crate::config::limits::{
    AccountLimits, Reserved, TierLimits, check_consumers, check_limits, tier_name,
};
use crate::config::{StreamConfig, version};
use crate::error::ApiError;
use crate::go::json::Mode;
use crate::stream::PurgeRequest;

pub(super) fn create(call: &mut Call<'_>, name: &str) {
    match try_create(call, name) {
        Ok(is_new) => {
            if is_new {
                call.stream_action(name, Action::Create);
            }
            let (now, identity) = (call.now, call.identity.clone());
            call.change("stream_create", name, |cell, _, _| {
                let info = with_versions(cell, now, &identity.version);
                Ok(StreamCreated { info: Some(info), did_create: true })
            });
        }
        Err(error) => call.send::<StreamCreated>("stream_create", Err(error)),
    }
}

/// Creates a stream. Returns false if there is one with the same configuration.
// NATS 2.14: jetstream_api.go jsStreamCreateRequest, stream.go addStreamWithAssignment.
fn try_create(call: &mut Call<'_>, name: &str) -> Result<bool, ApiError> {
    let limits = call.limits()?;
    let StreamConfigRequest { mut config, pedantic } = call.read()?;
    version::set_stream_level(&mut config);
    if config.name != name {
        return Err(ApiError::STREAM_MISMATCH);
    }
    if name.contains(['\\', '/']) {
        return Err(ApiError::STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    if config.sealed {
        let text = "stream configuration for create can not be sealed";
        return Err(ApiError::stream_invalid_config(text));
    }
    if config.mirror_direct && config.mirror.is_none() {
        let text = "stream has no mirror but does have mirror direct";
        return Err(ApiError::stream_invalid_config(text));
    }
    check_room(call, &config, &limits)?;
    let mut config = check_config(call, None, &config, &limits, pedantic)?;
    if config.replicas > 1 {
        return Err(ApiError::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    if let Some(existing) = call.host.stream_config(name) {
        version::copy_level(&mut config.metadata, &existing.metadata);
        return if config == *existing { Ok(false) } else { Err(ApiError::STREAM_NAME_EXIST) };
    }
    check_bytes(call, &config, &limits)?;
    check_source_filters(&config)?;
    check_overlap(call.host, &config)?;
    call.host.create_stream(config, call.now)?;
    Ok(true)
}

/// Checks the number of streams, and the bytes that the stream reserves as the request has it.
// NATS 2.14: jetstream_api.go jsNonClusteredStreamLimitsCheck.
pub(super) fn check_room(
    call: &Call<'_>,
    config: &StreamConfig,
    limits: &AccountLimits,
) -> Result<(), ApiError> {
    let (tier, selected) = limits.select(config.replicas).ok_or(ApiError::NO_LIMITS)?;
    if selected.max_streams > 0 {
        let others = others(call.host, tier, config).count();
        if i64::try_from(others).unwrap_or(i64::MAX) >= selected.max_streams {
            return Err(ApiError::MAXIMUM_STREAMS_LIMIT);
        }
    }
    let storage = StorageRequest::read(call.request.payload, Mode::One);
    if storage.is_ok_and(|request| request.storage.is_some()) {
        return check_reserved(call.host, config, config.max_bytes, (tier, selected), 0);
    }
    // Without a storage the reference does not check bytes yet.
    check_consumers(config, selected)
}

/// Checks the bytes that the stream reserves.
pub(super) fn check_bytes(
    call: &Call<'_>,
    config: &StreamConfig,
    limits: &AccountLimits,
) -> Result<(), ApiError> {
    let selected = limits.select(config.replicas).ok_or(ApiError::NO_LIMITS)?;
    check_reserved(call.host, config, config.max_bytes, selected, 0)
}

/// Returns the other streams of a tier.
fn others<'a>(
    host: &'a dyn Host,
    tier: &'a str,
    config: &'a StreamConfig,
) -> impl Iterator<Item = Arc<StreamConfig>> + 'a {
    let same_tier = move |other: &StreamConfig| {
        tier.is_empty() || tier_name(other.replicas) == tier_name(config.replicas)
    };
    let names = host.stream_names().into_iter().filter(|name| *name != config.name);
    let configs = names.filter_map(|name| host.stream_config(&name));
    configs.filter(move |other| same_tier(other))
}

/// Checks the bytes that a stream reserves; `more` are reserved by it already.
// NATS 2.14: jetstream_api.go tieredReservation.
pub(super) fn check_reserved(
    host: &dyn Host,
    config: &StreamConfig,
    bytes: i64,
    (tier, selected): (&str, &TierLimits),
    more: i64,
) -> Result<(), ApiError> {
    let same_storage = others(host, tier, config).filter(|other| other.storage == config.storage);
    let account = same_storage
        .fold(more, |sum, other| sum.saturating_add(other.reservation(tier, other.max_bytes)));
    let (server, server_max) = host.reserved_on_server(config.storage);
    check_limits(config, bytes, (tier, selected), &Reserved { account, server, server_max })
}

pub(super) fn check_config(
    call: &Call<'_>,
    old: Option<&StreamConfig>,
    config: &StreamConfig,
    limits: &AccountLimits,
    pedantic: bool,
) -> Result<StreamConfig, ApiError> {
    let check = StreamCheck {
        server: &call.identity.limits,
        account: limits,
        stream: &|name| call.host.stream_config(name),
        pedantic,
    };
    match old {
        Some(old) => check_stream_update(old, config, &check),
        None => check_stream(config, &check),
    }
}

/// Checks filters of the mirror and of sources, which are not part of the check of the configuration.
// NATS 2.14: stream.go addStreamWithAssignment.
fn check_source_filters(config: &StreamConfig) -> Result<(), ApiError> {
    let kinds = [("mirror", config.mirror.as_slice()), ("source", &config.sources[..])];
    for (kind, sources) in kinds {
        for source in sources {
            let filter = &source.filter_subject;
            let is_bad = !filter.is_empty() && !crate::config::check::is_subject(filter);
            if is_bad {
                let text = match kind {
                    "mirror" => format!("subject filter '{filter}' for the mirror invalid subject"),
                    _ => format!("subject filter '{filter}' for the source: invalid subject"),
                };
                return Err(ApiError::stream_create(text));
            }
        }
    }
    Ok(())
}

pub(super) fn check_overlap(host: &dyn Host, config: &StreamConfig) -> Result<(), ApiError> {
    let overlaps = |other: Arc<StreamConfig>| collide_any(&config.subjects, &other.subjects);
    if others(host, "", config).any(overlaps) {
        return Err(ApiError::STREAM_SUBJECT_OVERLAP);
    }
    Ok(())
}

pub(super) fn update(call: &mut Call<'_>, name: &str) {
    match check_update(call, name) {
        Ok(config) => {
            let (now, identity) = (call.now, call.identity.clone());
            let mut is_updated = false;
            call.change("stream_update", name, |cell, room, out| {
                cell.update(config, now, room, out)?;
                is_updated = true;
                let mut info = with_versions(cell, now, &identity.version);
                info.domain.clone_from(&identity.domain);
                Ok(StreamUpdated { info: Some(info) })
            });
            if is_updated {
                call.stream_action(name, Action::Modify);
            }
        }
        Err(error) => call.send::<StreamUpdated>("stream_update", Err(error)),
    }
}

// NATS 2.14: jetstream_api.go jsStreamUpdateRequest, stream.go updateWithAdvisory.
fn check_update(call: &mut Call<'_>, name: &str) -> Result<StreamConfig, ApiError> {
    let limits = call.limits()?;
    let StreamConfigRequest { config, pedantic } = call.read()?;
    let mut config = check_config(call, None, &config, &limits, pedantic)?;
    if config.name != name {
        return Err(ApiError::STREAM_MISMATCH);
    }
    let old = call.host.stream_config(name).ok_or_else(|| call.host.not_served(name))?;
    version::set_stream_level(&mut config);
    let config = check_config(call, Some(&old), &config, &limits, pedantic)?;
    check_more_bytes(call, &old, &config, &limits)?;
    call.with_cell(name, |cell, _, _| {
        let consumers = cell.consumers().map(|consumer| (consumer.name(), consumer.config()));
        let violating = violating_consumers(&old, &config, consumers);
        if violating.is_empty() {
            return Ok(());
        }
        let names = violating.join(", ");
        Err(ApiError::stream_update(format!("change to limits violates consumers: {names}")))
    })?;
    check_overlap(call.host, &config)?;
    Ok(config)
}

/// Checks the bytes that the stream reserves in addition.
fn check_more_bytes(
    call: &Call<'_>,
    old: &StreamConfig,
    config: &StreamConfig,
    limits: &AccountLimits,
) -> Result<(), ApiError> {
    let by_old = || limits.select(old.replicas).filter(|_| old.replicas != config.replicas);
    let selected = limits.select(config.replicas).or_else(by_old).ok_or(ApiError::NO_LIMITS)?;
    let more = (config.max_bytes.max(0) - old.max_bytes.max(0)).max(0);
    let before = config.reservation(selected.0, config.max_bytes.saturating_sub(more));
    check_reserved(call.host, config, more, selected, before)
}

pub(super) fn delete(call: &mut Call<'_>, name: &str) {
    let result = try_delete(call, name);
    if result.is_ok() {
        call.stream_action(name, Action::Delete);
    }
    call.send("stream_delete", result);
}

fn try_delete(call: &mut Call<'_>, name: &str) -> Result<Success, ApiError> {
    call.limits()?;
    call.check_empty()?;
    match call.host.delete_stream(name, call.now)? {
        true => Ok(Success::YES),
        false => Err(call.host.not_served(name)),
    }
}

pub(super) fn purge(call: &mut Call<'_>, name: &str) {
    let now = call.now;
    match read_purge(call) {
        Ok(request) => call.attempt("stream_purge", name, |cell, _, out| {
            let config = cell.stream().config();
            if config.sealed {
                return Err(ApiError::STREAM_SEALED);
            }
            if config.deny_purge {
                return Err(ApiError::stream_purge_failed("stream purge not permitted"));
            }
            let purged = cell.purge(&request, now, out);
            Ok(purged.map(|purged| Purged { success: true, purged }))
        }),
        Err(error) => call.send::<Purged>("stream_purge", Err(error)),
    }
}

fn read_purge(call: &mut Call<'_>) -> Result<PurgeRequest, ApiError> {
    call.limits()?;
    let request: PurgeRequest = call.read_optional()?;
    if request.sequence > 0 && request.keep > 0 {
        return Err(ApiError::BAD_REQUEST);
    }
    Ok(request)
}
