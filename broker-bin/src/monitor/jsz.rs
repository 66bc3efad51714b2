//! `/jsz`: JetStream.

use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, Query};
use super::time::Moment;

/// The answer of `/jsz` for a server without JetStream, in the reference's order.
// NATS 2.14: monitor.go JSInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Jsz {
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
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// JetStream is disabled.
    pub disabled: bool,
    /// The limits of JetStream.
    pub config: JszConfig,
    /// The number of streams.
    pub streams: usize,
    /// The number of consumers.
    pub consumers: usize,
    /// The number of messages in streams.
    pub messages: u64,
    /// The number of bytes in streams.
    pub bytes: u64,
    /// The number of accounts that could be listed.
    pub total: usize,
}

/// API requests of JetStream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ApiStats {
    /// The API level.
    pub level: u64,
    /// The number of requests.
    pub total: u64,
    /// The number of requests refused.
    pub errors: u64,
}

/// The limits of JetStream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JszConfig {
    /// Bytes of memory.
    pub max_memory: u64,
    /// Bytes of disk.
    pub max_storage: u64,
}

/// Validates the parameters. `leader-only` requests an answer from the leader, and there is none.
pub(super) fn check(query: &Query) -> Result<(), BadRequest> {
    for name in ["accounts", "streams", "consumers", "direct-consumers", "config"] {
        query.switch(name)?;
    }
    query.int("offset")?;
    query.int("limit")?;
    let leader_only = query.switch("leader-only")?;
    query.switch("raft")?;
    query.switch("stream-leader-only")?;
    if leader_only {
        return Err(BadRequest("filtered response: not leader".into()));
    }
    Ok(())
}

impl Observer {
    /// Returns the state of JetStream, which is not implemented.
    pub fn jsz(&self) -> Jsz {
        Jsz {
            memory: 0,
            storage: 0,
            reserved_memory: 0,
            reserved_storage: 0,
            accounts: 0,
            ha_assets: 0,
            api: ApiStats::default(),
            server_id: self.server_id(),
            now: self.now().moment(),
            disabled: true,
            config: JszConfig::default(),
            streams: 0,
            consumers: 0,
            messages: 0,
            bytes: 0,
            total: 0,
        }
    }
}
