//! The description of a server in its events.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::timestamp::Timestamp;

/// The server that has sent an event: the member `server` of its JSON.
///
/// Created by [`Broker::server_info`](crate::Broker::server_info), for one event each.
// NATS 2.14: events.go ServerInfo.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The configured name of the server, or else its id.
    pub name: String,
    /// The listen host, or the advertised one.
    pub host: String,
    /// The id of the server.
    pub id: String,
    /// Its cluster; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The domain of its streams; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The version of NATS that it is compatible with.
    #[serde(rename = "ver")]
    pub version: String,
    /// Configured tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Configured metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Feature flags of nats-server and their configured values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_flags: BTreeMap<String, bool>,
    /// True if it has streams.
    pub jetstream: bool,
    /// Its abilities, as bits. None are defined without streams.
    pub flags: u64,
    /// The number of the event, counted from the start of the server.
    pub seq: u64,
    /// The time of the event.
    #[serde(serialize_with = "time")]
    pub time: SystemTime,
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    Timestamp(*time).serialize(serializer)
}
