//! Removal of many messages by a request.

use serde::Deserialize;

/// Which messages to remove.
// NATS 2.14: jetstream_api.go JSApiStreamPurgeRequest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct PurgeRequest {
    /// Only messages before this sequence.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// Only messages with these subjects.
    #[serde(rename = "filter")]
    pub subject: String,
    /// Keeps that many.
    pub keep: u64,
}
