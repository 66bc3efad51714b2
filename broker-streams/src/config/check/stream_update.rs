//! Rules for changes of the configuration of a stream.
// NATS 2.14: stream.go configUpdateCheck, updateWithAdvisory.

use super::stream::check_discard;
use super::{StreamCheck, check_stream, invalid, refuse_if};
use crate::config::{ConsumerConfig, Discard, Retention, StreamConfig};
use crate::error::ApiError;

/// Checks that a stream may change from one configuration to another. Returns the new one with defaults filled in.
///
/// # Errors
///
/// The first error that the reference finds.
pub fn check_stream_update(
    old: &StreamConfig,
    new: &StreamConfig,
    check: &StreamCheck<'_>,
) -> Result<StreamConfig, ApiError> {
    let mut config = check_stream(new, check)?;
    for (is_refused, text) in refused_changes(old, &config) {
        refuse_if(is_refused, || invalid(text))?;
    }
    // Without a mirror the stream becomes an ordinary one.
    refuse_if(config.mirror.is_some() && config.mirror != old.mirror, || {
        ApiError::STREAM_MIRROR_NOT_UPDATABLE
    })?;
    check_discard(&config)?;
    for (is_refused, text) in refused_features(old, &config) {
        refuse_if(is_refused, || invalid(text))?;
    }
    if config.sealed {
        config.max_age = 0;
        config.discard = Discard::New;
        (config.deny_delete, config.deny_purge) = (true, true);
        config.allow_rollup = false;
    }
    Ok(config)
}

fn refused_changes(old: &StreamConfig, new: &StreamConfig) -> [(bool, &'static str); 6] {
    let work_queue = old.retention == Retention::WorkQueue || new.retention == Retention::WorkQueue;
    [
        (new.name != old.name, "stream configuration name must match original"),
        (new.storage != old.storage, "stream configuration update can not change storage type"),
        (
            new.retention != old.retention && work_queue,
            "stream configuration update can not change retention policy to/from workqueue",
        ),
        (old.sealed && !new.sealed, "stream configuration update can not unseal a sealed stream"),
        (
            old.deny_delete && !new.deny_delete,
            "stream configuration update can not cancel deny message deletes",
        ),
        (
            old.deny_purge && !new.deny_purge,
            "stream configuration update can not cancel deny purge",
        ),
    ]
}

fn refused_features(old: &StreamConfig, new: &StreamConfig) -> [(bool, &'static str); 4] {
    [
        (old.allow_message_ttl && !new.allow_message_ttl, "message TTL status can not be disabled"),
        (
            old.allow_message_counter != new.allow_message_counter,
            "stream configuration update can not change message counter setting",
        ),
        (
            old.allow_message_schedules && !new.allow_message_schedules,
            "message schedules can not be disabled",
        ),
        (
            old.persist_mode != new.persist_mode,
            "stream configuration update can not change persist mode",
        ),
    ]
}

/// Returns the names of consumers that exceed limits for consumers which an update sets.
pub fn violating_consumers<'a>(
    old: &StreamConfig,
    new: &StreamConfig,
    consumers: impl Iterator<Item = (&'a str, &'a ConsumerConfig)>,
) -> Vec<&'a str> {
    let (before, after) = (&old.consumer_limits, &new.consumer_limits);
    let is_set = |before: i64, after: i64| after > 0 && before != after;
    if !is_set(before.inactive_threshold, after.inactive_threshold)
        && !is_set(before.max_ack_pending, after.max_ack_pending)
    {
        return Vec::new();
    }
    let exceeds = |value: i64, limit: i64| limit > 0 && value > limit;
    let violates = |config: &ConsumerConfig| {
        exceeds(config.inactive_threshold, after.inactive_threshold)
            || exceeds(config.max_ack_pending, after.max_ack_pending)
    };
    consumers.filter(|(_, config)| violates(config)).map(|(name, _)| name).collect()
}
