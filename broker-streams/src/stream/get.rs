//! Reads of messages.

use serde::Deserialize;

use crate::config::Time;

/// Which message, or messages, to read.
// NATS 2.14: jetstream_api.go JSApiMsgGetRequest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct MessageRequest {
    /// The sequence; with `next_for` or `batch`, the first sequence.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// The last message of this subject.
    #[serde(rename = "last_by_subj")]
    pub last_for: String,
    /// The first message of this subject.
    #[serde(rename = "next_by_subj")]
    pub next_for: String,
    /// The number of messages.
    pub batch: i64,
    /// The most bytes of messages.
    pub max_bytes: i64,
    /// The time of the first message.
    pub start_time: Option<Time>,
    /// The last messages of all subjects that these filters select.
    #[serde(rename = "multi_last")]
    pub multi_last_for: Vec<String>,
    /// Nothing behind this sequence.
    #[serde(rename = "up_to_seq")]
    pub up_to_sequence: u64,
    /// Nothing after this time.
    pub up_to_time: Option<Time>,
    /// Leaves headers out.
    #[serde(rename = "no_hdr")]
    pub no_headers: bool,
}
