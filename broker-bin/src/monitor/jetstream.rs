//! JetStream as `/varz`, `/jsz` and STATSZ report it.

use serde::Serialize;

use super::observer::Observer;
use super::skip::{is_0, is_false};
use crate::options::Options;

/// The limits of JetStream, in the reference's order.
// NATS 2.14: jetstream.go JetStreamConfig.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JetStreamConfig {
    /// The most bytes of memory.
    pub max_memory: u64,
    /// The most bytes of disk.
    pub max_storage: u64,
    /// The directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub store_dir: String,
    /// The configured interval of syncs, in nanoseconds.
    #[serde(skip_serializing_if = "is_0")]
    pub sync_interval: u64,
    /// Syncs are configured for every write.
    #[serde(skip_serializing_if = "is_false")]
    pub sync_always: bool,
    /// The domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Streams may ask for compression.
    #[serde(skip_serializing_if = "is_false")]
    pub compress_ok: bool,
    /// The tag in which servers of one stream differ.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unique_tag: String,
    /// Requests with unknown members are refused.
    #[serde(skip_serializing_if = "is_false")]
    pub strict: bool,
}

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

/// API requests of JetStream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ApiStats {
    /// The API level.
    pub level: u64,
    /// The number of requests.
    pub total: u64,
    /// The number of requests answered with errors.
    pub errors: u64,
}

/// Use of JetStream, in the reference's order.
// NATS 2.14: jetstream.go JetStreamStats.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JetStreamStats {
    /// Bytes of memory used by streams.
    pub memory: u64,
    /// Bytes of disk used by streams.
    pub storage: u64,
    /// Bytes of memory reserved for streams.
    pub reserved_memory: u64,
    /// Bytes of disk reserved for streams.
    pub reserved_storage: u64,
    /// The number of accounts with JetStream.
    pub accounts: usize,
    /// The number of replicated streams and consumers.
    pub ha_assets: usize,
    /// API requests.
    pub api: ApiStats,
}

/// JetStream in `/varz`: `{}` without.
// NATS 2.14: monitor.go JetStreamVarz.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JetStreamVarz {
    /// Its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<JetStreamConfig>,
    /// Its use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<JetStreamStats>,
    /// The limits of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<JetStreamLimits>,
}

/// What options state about JetStream, and have no effect on streams.
#[derive(Clone, Debug, Default)]
pub struct JetStreamFacts {
    sync_interval: u64,
    sync_always: bool,
    unique_tag: String,
    limits: JetStreamLimits,
}

impl JetStreamFacts {
    pub(super) fn of(options: &Options) -> Self {
        let Some(jetstream) = &options.jetstream else { return Self::default() };
        let (limits, batch) = (&jetstream.limits, &jetstream.limits.batch);
        // NATS 2.14: opts.go parseJetStream: `always` is a sync at every write, beside the default interval.
        let sync_always = jetstream.sync_interval.eq_ignore_ascii_case("always");
        let interval = if sync_always { "2m" } else { &jetstream.sync_interval };
        let interval = crate::config::duration::parse(interval);
        Self {
            sync_interval: interval.map_or(0, |(_, interval)| super::varz::nanos(interval)),
            sync_always,
            unique_tag: jetstream.unique_tag.clone().unwrap_or_default(),
            limits: JetStreamLimits {
                max_request_batch: limits.max_request_batch,
                max_ack_pending: limits.max_ack_pending,
                max_ha_assets: limits.max_ha_assets,
                max_duplicate_window: super::varz::nanos(limits.duplicate_window),
                max_batch_inflight_per_stream: batch.max_inflight_per_stream,
                max_batch_inflight_total: batch.max_inflight_total,
                max_batch_size: batch.max_msgs,
                max_batch_timeout: super::varz::nanos(batch.timeout),
            },
        }
    }
}

impl Observer {
    /// Returns JetStream as `/varz` reports it.
    #[cfg(not(feature = "streams"))]
    pub(crate) fn jetstream(&self) -> JetStreamVarz {
        JetStreamVarz::default()
    }

    /// Returns JetStream as `/varz` reports it.
    #[cfg(feature = "streams")]
    pub(crate) fn jetstream(&self) -> JetStreamVarz {
        let Some(viewer) = self.streams() else { return JetStreamVarz::default() };
        let Some(options) = viewer.options() else { return JetStreamVarz::default() };
        let facts = &self.facts().jetstream;
        let store_dir = options.directory.as_deref().map(|path| path.display().to_string());
        let config = JetStreamConfig {
            max_memory: options.max_memory,
            max_storage: options.max_storage,
            store_dir: store_dir.unwrap_or_default(),
            sync_interval: facts.sync_interval,
            sync_always: facts.sync_always,
            domain: options.domain,
            compress_ok: true,
            unique_tag: facts.unique_tag.clone(),
            strict: options.strict,
        };
        let level = broker_streams::config::version::API_LEVEL.try_into().unwrap_or(0);
        let stats = JetStreamStats::of(&viewer.usage(), level);
        JetStreamVarz { config: Some(config), stats: Some(stats), limits: Some(facts.limits) }
    }

    /// Returns true if the account may have streams.
    pub(super) fn has_streams(&self, account: &str) -> bool {
        #[cfg(feature = "streams")]
        return self.streams().is_some_and(|viewer| viewer.health(account).is_some());
        #[cfg(not(feature = "streams"))]
        {
            let _ = account;
            false
        }
    }
}

#[cfg(feature = "streams")]
impl JetStreamStats {
    pub(super) fn of(usage: &broker_streams::service::UsageReport, level: u64) -> Self {
        Self {
            memory: usage.memory,
            storage: usage.storage,
            reserved_memory: usage.reserved_memory,
            reserved_storage: usage.reserved_storage,
            accounts: usage.accounts,
            ha_assets: 0,
            api: ApiStats { level, total: usage.requests, errors: usage.request_errors },
        }
    }
}
