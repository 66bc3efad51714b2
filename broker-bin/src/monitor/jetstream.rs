//! JetStream as `/varz`, `/jsz` and STATSZ report it.

use serde::Serialize;

use super::jetstream_facts::JetStreamLimits;
use super::observer::Observer;
use super::skip::{is_0, is_false};

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
            max_memory: options.max_memory.unwrap_or(0),
            max_storage: options.max_storage.unwrap_or(0),
            store_dir: store_dir.unwrap_or_default(),
            sync_interval: facts.sync_interval,
            sync_always: facts.sync_always,
            domain: options.domain,
            // NATS 2.14: jetstream.go dynJetStreamConfig, which leaves it out.
            compress_ok: facts.has_limits,
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
