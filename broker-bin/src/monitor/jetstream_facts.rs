//! Options of JetStream, for monitoring.

#[cfg(feature = "streams")]
use std::time::Duration;

use serde::Serialize;

use super::skip::is_0;
#[cfg(feature = "streams")]
use crate::options::Options;

/// The limits of requests, in the reference's order; 0 for none.
// NATS 2.14: opts.go JSLimitOpts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JetStreamLimits {
    /// The most messages that one request asks for.
    #[serde(skip_serializing_if = "is_0")]
    pub max_request_batch: i64,
    /// The most unacknowledged messages of a consumer.
    #[serde(skip_serializing_if = "is_0")]
    pub max_ack_pending: i64,
    /// The most replicated streams and consumers.
    #[serde(skip_serializing_if = "is_0")]
    pub max_ha_assets: i64,
    /// The longest time for which a stream remembers message ids, in nanoseconds.
    #[serde(skip_serializing_if = "is_0")]
    pub max_duplicate_window: u64,
    /// The most incomplete batches of a stream.
    #[serde(skip_serializing_if = "is_0")]
    pub max_batch_inflight_per_stream: i64,
    /// The most incomplete batches.
    #[serde(skip_serializing_if = "is_0")]
    pub max_batch_inflight_total: i64,
    /// The most messages of a batch.
    #[serde(skip_serializing_if = "is_0")]
    pub max_batch_size: i64,
    /// The timeout of an incomplete batch, in nanoseconds.
    #[serde(skip_serializing_if = "is_0")]
    pub max_batch_timeout: u64,
}

/// Options of JetStream that have no effect on streams.
#[cfg(feature = "streams")]
#[derive(Clone, Debug, Default)]
pub struct JetStreamFacts {
    pub(super) sync_interval: u64,
    pub(super) sync_always: bool,
    pub(super) unique_tag: String,
    /// Both limits are configured.
    pub(super) has_limits: bool,
    pub(super) limits: JetStreamLimits,
}

#[cfg(feature = "streams")]
impl JetStreamFacts {
    pub(super) fn of(options: &Options) -> Self {
        let Some(jetstream) = &options.jetstream else { return Self::default() };
        let (limits, batch) = (&jetstream.limits, &jetstream.limits.batch);
        // NATS 2.14: opts.go parseJetStream: `always` is a sync at every write, beside the default interval.
        let sync_always = jetstream.sync_interval.eq_ignore_ascii_case("always");
        let interval = if sync_always { "2m" } else { &jetstream.sync_interval };
        let interval = crate::config::duration::parse(interval);
        Self {
            sync_interval: interval.map_or(0, |(_, interval)| nanos(interval)),
            sync_always,
            has_limits: jetstream.max_memory_store > 0 && jetstream.max_file_store > 0,
            unique_tag: jetstream.unique_tag.clone().unwrap_or_default(),
            limits: JetStreamLimits {
                max_request_batch: limits.max_request_batch,
                max_ack_pending: limits.max_ack_pending,
                max_ha_assets: limits.max_ha_assets,
                max_duplicate_window: nanos(limits.duplicate_window),
                max_batch_inflight_per_stream: batch.max_inflight_per_stream,
                max_batch_inflight_total: batch.max_inflight_total,
                max_batch_size: batch.max_msgs,
                max_batch_timeout: nanos(batch.timeout),
            },
        }
    }
}

#[cfg(feature = "streams")]
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
