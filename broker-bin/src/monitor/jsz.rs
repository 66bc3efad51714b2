//! `/jsz`: streams.

use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, Query};
use super::time::Moment;

/// What `/jsz` shows of a server without streams, in the order of the reference.
// NATS 2.14: monitor.go JSInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Jsz {
    /// Memory that streams use, in bytes.
    pub memory: u64,
    /// Disk that streams use, in bytes.
    pub storage: u64,
    /// Memory that streams may use, in bytes.
    pub reserved_memory: u64,
    /// Disk that streams may use, in bytes.
    pub reserved_storage: u64,
    /// Accounts with streams.
    pub accounts: usize,
    /// Streams and consumers that are replicated.
    pub ha_assets: usize,
    /// Requests.
    pub api: ApiStats,
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// There are no streams.
    pub disabled: bool,
    /// What they would be granted.
    pub config: JszConfig,
    /// How many there are.
    pub streams: usize,
    /// How many consumers there are.
    pub consumers: usize,
    /// Messages in streams.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Accounts that could be listed.
    pub total: usize,
}

/// Requests about streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ApiStats {
    /// What they may ask for.
    pub level: u64,
    /// How many there were.
    pub total: u64,
    /// How many were refused.
    pub errors: u64,
}

/// What streams are granted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JszConfig {
    /// Memory, in bytes.
    pub max_memory: u64,
    /// Disk, in bytes.
    pub max_storage: u64,
}

/// Are the parameters what they must be? `leader-only` asks for the leader, which nobody is.
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
    /// Streams: there are none.
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
