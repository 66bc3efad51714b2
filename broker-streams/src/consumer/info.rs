//! The state of a consumer as the API reports it.

use serde::{Deserialize, Serialize};

use crate::config::{ConsumerConfig, Time};

/// The state of a consumer in responses of the API.
// NATS 2.14: consumer.go ConsumerInfo.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ConsumerInfo {
    /// The stream.
    #[serde(rename = "stream_name")]
    pub stream: String,
    /// The name.
    pub name: String,
    /// When the consumer was created.
    pub created: Time,
    /// The configuration.
    pub config: ConsumerConfig,
    /// The last message that was delivered.
    pub delivered: SequenceInfo,
    /// The last message before which all are acknowledged.
    pub ack_floor: SequenceInfo,
    /// The number of messages that were delivered and not acknowledged.
    pub num_ack_pending: u64,
    /// The number of messages that were delivered more than once, and are not acknowledged.
    pub num_redelivered: u64,
    /// The number of waiting requests.
    pub num_waiting: u64,
    /// The number of messages that were not delivered.
    pub num_pending: u64,
    /// The deliver subject has a subscriber.
    #[serde(default, skip_serializing_if = "is_false")]
    pub push_bound: bool,
    /// The consumer is paused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// The remaining time of the pause, in nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_remaining: i64,
    /// The time of this state.
    #[serde(rename = "ts")]
    pub timestamp: Time,
    /// The groups of requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<PriorityGroupState>,
}

/// A sequence of deliveries and that of the stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SequenceInfo {
    /// The number of the delivery.
    #[serde(rename = "consumer_seq")]
    pub consumer: u64,
    /// The sequence of the message.
    #[serde(rename = "stream_seq")]
    pub stream: u64,
    /// When it last changed.
    #[serde(rename = "last_active", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
}

/// The state of a group of requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PriorityGroupState {
    /// The group.
    pub group: String,
    /// The id of the pinned client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pinned_client_id: String,
    /// Since when it is pinned; the zero time of Go without one, which the reference does not leave out.
    #[serde(default)]
    pub pinned_ts: Time,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
