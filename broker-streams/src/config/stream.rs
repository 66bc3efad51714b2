//! The configuration of a stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Time, is_default};

/// The configuration of a stream. Numbers below 1 mean "no limit", where a field is a limit; durations are in nanoseconds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct StreamConfig {
    /// The name, unique in its account.
    pub name: String,
    /// A text for people.
    #[serde(skip_serializing_if = "is_default")]
    pub description: String,
    /// The subjects whose messages the stream stores.
    #[serde(skip_serializing_if = "is_default")]
    pub subjects: Vec<String>,
    /// When messages are removed.
    pub retention: Retention,
    /// The most consumers.
    pub max_consumers: i64,
    /// The most messages.
    #[serde(rename = "max_msgs")]
    pub max_messages: i64,
    /// The most bytes of stored messages.
    pub max_bytes: i64,
    /// The age at which messages are removed; 0 for never.
    pub max_age: i64,
    /// The most messages of each subject.
    #[serde(rename = "max_msgs_per_subject")]
    pub max_messages_per_subject: i64,
    /// The longest message: headers and payload, in bytes.
    #[serde(rename = "max_msg_size", skip_serializing_if = "is_default")]
    pub max_message_size: i32,
    /// The messages that are discarded at a limit.
    pub discard: Discard,
    /// The storage of messages.
    pub storage: StorageType,
    /// The number of servers that store the stream.
    #[serde(rename = "num_replicas")]
    pub replicas: i64,
    /// Does not acknowledge messages.
    #[serde(skip_serializing_if = "is_default")]
    pub no_ack: bool,
    /// The time for which ids of messages are remembered.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate_window: i64,
    /// The servers that may store the stream.
    #[serde(skip_serializing_if = "is_default")]
    pub placement: Option<Placement>,
    /// The stream that this one copies.
    #[serde(skip_serializing_if = "is_default")]
    pub mirror: Option<StreamSource>,
    /// The streams whose messages this one adds to its own.
    #[serde(skip_serializing_if = "is_default")]
    pub sources: Vec<StreamSource>,
    /// The compression of stored messages.
    pub compression: Compression,
    /// The sequence of the first message.
    #[serde(rename = "first_seq", skip_serializing_if = "is_default")]
    pub first_sequence: u64,
    /// Changes subjects before messages are stored.
    #[serde(skip_serializing_if = "is_default")]
    pub subject_transform: Option<TransformConfig>,
    /// Publishes stored messages again.
    #[serde(skip_serializing_if = "is_default")]
    pub republish: Option<Republish>,
    /// Answers direct gets.
    pub allow_direct: bool,
    /// Answers direct gets for the mirrored stream.
    pub mirror_direct: bool,
    /// `Discard::New` applies to `max_messages_per_subject`, too.
    #[serde(skip_serializing_if = "is_default")]
    pub discard_new_per_subject: bool,
    /// Nothing may be added or removed.
    pub sealed: bool,
    /// Messages may not be removed by requests.
    pub deny_delete: bool,
    /// The stream may not be purged.
    pub deny_purge: bool,
    /// Messages may replace all before them, by a header.
    #[serde(rename = "allow_rollup_hdrs")]
    pub allow_rollup: bool,
    /// Defaults and limits for consumers.
    pub consumer_limits: ConsumerLimits,
    /// Messages may have a time to live, by a header.
    #[serde(rename = "allow_msg_ttl")]
    pub allow_message_ttl: bool,
    /// The time to live of markers for removed subjects; 0 for no markers.
    #[serde(skip_serializing_if = "is_default")]
    pub subject_delete_marker_ttl: i64,
    /// Messages are increments of counters.
    #[serde(rename = "allow_msg_counter", skip_serializing_if = "is_default")]
    pub allow_message_counter: bool,
    /// Atomic batches may be published.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_atomic: bool,
    /// Messages may be schedules.
    #[serde(rename = "allow_msg_schedules", skip_serializing_if = "is_default")]
    pub allow_message_schedules: bool,
    /// The point at which a message is acknowledged.
    #[serde(skip_serializing_if = "is_default")]
    pub persist_mode: PersistMode,
    /// Fast batches may be published.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_batched: bool,
    /// Names and values for programs.
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
}

/// When messages are removed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Retention {
    /// At the limits of the stream.
    #[default]
    #[serde(rename = "limits")]
    Limits,
    /// Also when all consumers have acknowledged a message.
    #[serde(rename = "interest")]
    Interest,
    /// Also when a consumer has acknowledged a message.
    #[serde(rename = "workqueue")]
    WorkQueue,
}

/// The messages that are discarded at a limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Discard {
    /// The oldest messages are removed.
    #[default]
    #[serde(rename = "old")]
    Old,
    /// New messages are refused.
    #[serde(rename = "new")]
    New,
}

/// The storage of messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum StorageType {
    /// In files.
    #[default]
    #[serde(rename = "file")]
    File,
    /// In memory.
    #[serde(rename = "memory")]
    Memory,
}

/// The compression of stored messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Compression {
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
    /// S2.
    #[serde(rename = "s2")]
    S2,
}

/// The point at which a message is acknowledged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PersistMode {
    /// As configured for the server.
    #[default]
    #[serde(rename = "default", alias = "")]
    Default,
    /// It does not wait.
    #[serde(rename = "async")]
    Async,
}

/// Defaults and limits for the consumers of a stream.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ConsumerLimits {
    /// The longest inactivity of a consumer, in nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub inactive_threshold: i64,
    /// The most unacknowledged messages.
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
}

/// The servers that may store a stream.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Placement {
    /// The name of the cluster.
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: String,
    /// The tags of the servers.
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
    /// The preferred leader.
    #[serde(skip_serializing_if = "is_default")]
    pub preferred: String,
}

/// A subject transform.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct TransformConfig {
    /// The filter of the subjects that it changes.
    #[serde(rename = "src")]
    pub source: String,
    /// The new subject.
    #[serde(rename = "dest")]
    pub destination: String,
}

/// The messages that a stream publishes again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Republish {
    /// The filter of their subjects; empty for all.
    #[serde(rename = "src", skip_serializing_if = "is_default")]
    pub source: String,
    /// The subject that they are published to.
    #[serde(rename = "dest")]
    pub destination: String,
    /// Leaves the payload out.
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
}

/// A stream that another one copies messages from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct StreamSource {
    /// The name of the stream.
    pub name: String,
    /// The first sequence to copy.
    #[serde(rename = "opt_start_seq", skip_serializing_if = "is_default")]
    pub start_sequence: u64,
    /// The time of the first message to copy.
    #[serde(rename = "opt_start_time", skip_serializing_if = "is_default")]
    pub start_time: Option<Time>,
    /// The filter of the messages to copy.
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subject: String,
    /// Filters with the new subjects of their messages.
    #[serde(skip_serializing_if = "is_default")]
    pub subject_transforms: Vec<TransformConfig>,
    /// The way to a stream of another account or domain.
    #[serde(skip_serializing_if = "is_default")]
    pub external: Option<ExternalStream>,
    /// The consumer to use instead of one created for the purpose.
    #[serde(skip_serializing_if = "is_default")]
    pub consumer: Option<SourceConsumer>,
}

/// The way to a stream of another account or domain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ExternalStream {
    /// The prefix of its API.
    #[serde(rename = "api")]
    pub api_prefix: String,
    /// The prefix of the subjects to which it delivers.
    #[serde(rename = "deliver")]
    pub deliver_prefix: String,
}

/// A consumer that exists for copying.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SourceConsumer {
    /// Its name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// The subject that it delivers to.
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_subject: String,
}
