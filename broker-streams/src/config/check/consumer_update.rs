//! Rules for changes of the configuration of a consumer.
// NATS 2.14: consumer.go checkNewConsumerConfig.

use super::consumer::check_backoff;
use crate::config::ConsumerConfig;
use crate::error::ApiError;

/// Checks that a consumer may change from one configuration to another. `is_bound` returns true if the deliver
/// subject has a subscriber.
///
/// # Errors
///
/// Error 10012 with the reason; 10013, 10116.
pub fn check_consumer_update(
    old: &ConsumerConfig,
    new: &ConsumerConfig,
    is_bound: impl FnOnce() -> bool,
) -> Result<(), ApiError> {
    if old == new {
        return Ok(());
    }
    for (is_changed, what) in [
        (old.deliver_policy != new.deliver_policy, "deliver policy"),
        (old.memory_storage != new.memory_storage, "storage type"),
        (old.start_sequence != new.start_sequence, "start sequence"),
        (old.start_time != new.start_time, "start time"),
        (old.ack_policy != new.ack_policy, "ack policy"),
        (old.replay_policy != new.replay_policy, "replay policy"),
        (old.heartbeat != new.heartbeat, "heart beats"),
        (old.flow_control != new.flow_control, "flow control"),
    ] {
        if is_changed {
            return Err(ApiError::consumer_create(format!("{what} can not be updated")));
        }
    }
    if old.deliver_subject != new.deliver_subject {
        if old.deliver_subject.is_empty() {
            return Err(ApiError::consumer_create("can not update pull consumer to push based"));
        }
        if new.deliver_subject.is_empty() {
            return Err(ApiError::consumer_create("can not update push consumer to pull based"));
        }
        if is_bound() {
            return Err(ApiError::CONSUMER_NAME_EXIST);
        }
    }
    if old.max_waiting != new.max_waiting {
        return Err(ApiError::consumer_create("max waiting can not be updated"));
    }
    check_backoff(new)
}
