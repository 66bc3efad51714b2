//! The configuration of a consumer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Time, is_default};

/// The configuration of a consumer. Durations are in nanoseconds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ConsumerConfig {
    /// The name of a consumer that stays without clients.
    #[serde(rename = "durable_name", skip_serializing_if = "is_default")]
    pub durable: String,
    /// The name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// A text for people.
    #[serde(skip_serializing_if = "is_default")]
    pub description: String,
    /// The first message to deliver.
    pub deliver_policy: DeliverPolicy,
    /// The sequence of the first message, for `DeliverPolicy::ByStartSequence`.
    #[serde(rename = "opt_start_seq", skip_serializing_if = "is_default")]
    pub start_sequence: u64,
    /// The time of the first message, for `DeliverPolicy::ByStartTime`.
    #[serde(rename = "opt_start_time", skip_serializing_if = "is_default")]
    pub start_time: Option<Time>,
    /// The messages that clients acknowledge.
    pub ack_policy: AckPolicy,
    /// The time after which a message that is not acknowledged is delivered again.
    #[serde(skip_serializing_if = "is_default")]
    pub ack_wait: i64,
    /// The most deliveries of a message.
    #[serde(skip_serializing_if = "is_default")]
    pub max_deliver: i64,
    /// The waits before each further delivery, in place of `ack_wait`.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Vec<i64>,
    /// The filter of the messages.
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subject: String,
    /// Several filters.
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subjects: Vec<String>,
    /// The speed of delivery.
    pub replay_policy: ReplayPolicy,
    /// The most bits a second.
    #[serde(rename = "rate_limit_bps", skip_serializing_if = "is_default")]
    pub rate_limit: u64,
    /// The share of acknowledgements that are reported: `"20%"`.
    #[serde(rename = "sample_freq", skip_serializing_if = "is_default")]
    pub sample_frequency: String,
    /// The most waiting pull requests.
    #[serde(skip_serializing_if = "is_default")]
    pub max_waiting: i64,
    /// The most unacknowledged messages.
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
    /// The client controls the flow of a push consumer.
    #[serde(skip_serializing_if = "is_default")]
    pub flow_control: bool,
    /// Delivers no payload.
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
    /// The most messages of a pull request.
    #[serde(skip_serializing_if = "is_default")]
    pub max_batch: i64,
    /// The longest wait of a pull request.
    #[serde(skip_serializing_if = "is_default")]
    pub max_expires: i64,
    /// The most bytes of a pull request.
    #[serde(skip_serializing_if = "is_default")]
    pub max_bytes: i64,
    /// The subject that a push consumer delivers to; empty for pull consumers.
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_subject: String,
    /// The queue group of the receivers of a push consumer.
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_group: String,
    /// The interval of heartbeats of an idle push consumer.
    #[serde(rename = "idle_heartbeat", skip_serializing_if = "is_default")]
    pub heartbeat: i64,
    /// The inactivity after which the consumer is removed.
    #[serde(skip_serializing_if = "is_default")]
    pub inactive_threshold: i64,
    /// The number of servers that store the state; 0 for as many as store the stream.
    #[serde(rename = "num_replicas")]
    pub replicas: i64,
    /// Stores the state in memory.
    #[serde(rename = "mem_storage", skip_serializing_if = "is_default")]
    pub memory_storage: bool,
    /// Not listed: serves another stream.
    #[serde(skip_serializing_if = "is_default")]
    pub direct: bool,
    /// Serves another stream by acknowledged flow.
    #[serde(skip_serializing_if = "is_default")]
    pub sourcing: bool,
    /// Names and values for programs.
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
    /// Delivers nothing until this time.
    #[serde(skip_serializing_if = "is_default")]
    pub pause_until: Option<Time>,
    /// The groups of pull requests.
    #[serde(skip_serializing_if = "is_default")]
    pub priority_groups: Vec<String>,
    /// The order of groups of pull requests.
    #[serde(skip_serializing_if = "is_default")]
    pub priority_policy: PriorityPolicy,
    /// The time without a request after which a client is no longer pinned.
    #[serde(rename = "priority_timeout", skip_serializing_if = "is_default")]
    pub pinned_ttl: i64,
}

impl ConsumerConfig {
    /// Returns true if the consumer is stored with its stream. Any other is gone after a restart of the server.
    // NATS 2.14: filestore.go ConsumerStore.
    pub fn is_stored(&self) -> bool {
        !self.memory_storage && !self.direct
    }
}

/// The first message that a consumer delivers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeliverPolicy {
    /// The first of the stream.
    #[default]
    #[serde(rename = "all", alias = "undefined")]
    All,
    /// The last.
    #[serde(rename = "last")]
    Last,
    /// The first stored after the creation of the consumer.
    #[serde(rename = "new")]
    New,
    /// By sequence.
    #[serde(rename = "by_start_sequence")]
    ByStartSequence,
    /// By time.
    #[serde(rename = "by_start_time")]
    ByStartTime,
    /// The last of each subject.
    #[serde(rename = "last_per_subject")]
    LastPerSubject,
}

/// The messages that clients acknowledge.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum AckPolicy {
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
    /// An acknowledgement covers all messages before.
    #[serde(rename = "all")]
    All,
    /// Each.
    #[serde(rename = "explicit")]
    Explicit,
    /// By answers to flow control, for other streams.
    #[serde(rename = "flow_control")]
    FlowControl,
}

/// The speed at which a consumer delivers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ReplayPolicy {
    /// As fast as possible.
    #[default]
    #[serde(rename = "instant")]
    Instant,
    /// As fast as the messages were stored.
    #[serde(rename = "original")]
    Original,
}

/// The order of groups of pull requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PriorityPolicy {
    /// No groups.
    #[default]
    #[serde(rename = "none", alias = "")]
    None,
    /// A request is served when as many messages wait as it names.
    #[serde(rename = "overflow")]
    Overflow,
    /// One client is served, until it is gone.
    #[serde(rename = "pinned_client")]
    PinnedClient,
    /// Requests are served by their priority.
    #[serde(rename = "prioritized")]
    Prioritized,
}
