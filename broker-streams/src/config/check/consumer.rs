//! Defaults and checks of configurations of consumers.
// NATS 2.14: consumer.go setConsumerConfigDefaults, checkConsumerCfg.

use super::subject::is_literal;
use super::{
    MAX_DESCRIPTION_BYTES, MAX_METADATA_BYTES, invalid, is_covered_by, is_subject, is_valid_name,
    metadata_bytes, refuse_if,
};
use crate::config::limits::{ServerLimits, TierLimits};
use crate::config::{
    AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, Retention, StreamConfig,
};
use crate::error::ApiError;
use crate::go;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
// NATS 2.14: jetstream_api.go JSWaitQueueDefaultMax.
const DEFAULT_MAX_WAITING: i64 = 512;
// NATS 2.14: consumer.go JsAckWaitDefault, JsDefaultMaxAckPending, JsDefaultPinnedTTL.
const DEFAULT_ACK_WAIT: i64 = 30 * SECOND;
const DEFAULT_MAX_ACK_PENDING: i64 = 1000;
const DEFAULT_PINNED_TTL: i64 = 120 * SECOND;
// NATS 2.14: stream.go sourceHealthHB.
const SOURCE_HEARTBEAT: i64 = SECOND;
const MAX_GROUP_BYTES: usize = 16;

/// Fills in defaults.
///
/// # Errors
///
/// Error 10157 for a value that would be corrected, if `pedantic`.
pub fn set_consumer_defaults(
    config: &mut ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
    account: &TierLimits,
    pedantic: bool,
) -> Result<(), ApiError> {
    let correct = |text: &str| refuse_if(pedantic, || ApiError::pedantic(text));
    correct_numbers(config, &correct)?;
    if config.deliver_subject.is_empty() && config.max_waiting == 0 {
        config.max_waiting = DEFAULT_MAX_WAITING;
    }
    let is_acknowledged = matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::All);
    if config.ack_wait == 0 && is_acknowledged {
        config.ack_wait = DEFAULT_ACK_WAIT;
    }
    if let Some(first) = config.backoff.first()
        && config.ack_wait != *first
    {
        correct("first backoff value has to equal batch AckWait")?;
        config.ack_wait = *first;
    }
    inherit(config, stream, &correct)?;
    if config.max_ack_pending == 0 && config.ack_policy != AckPolicy::None {
        let limits = [server.max_ack_pending, account.max_ack_pending];
        let limits = limits.into_iter().filter(|limit| *limit > 0);
        config.max_ack_pending = limits.fold(DEFAULT_MAX_ACK_PENDING, i64::min);
    }
    let most = server.max_request_batch;
    if config.deliver_subject.is_empty() && config.max_batch == 0 && most > 0 {
        correct("max_request_batch must be set if it's JetStream limits are set")?;
        config.max_batch = most;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.pinned_ttl == 0 {
        config.pinned_ttl = DEFAULT_PINNED_TTL;
    }
    if config.ack_policy == AckPolicy::FlowControl && !pedantic {
        config.flow_control = true;
        config.heartbeat = SOURCE_HEARTBEAT;
    }
    Ok(())
}

type Correct<'a> = dyn Fn(&str) -> Result<(), ApiError> + 'a;

fn correct_numbers(config: &mut ConsumerConfig, correct: &Correct<'_>) -> Result<(), ApiError> {
    if config.max_deliver < -1 {
        correct("max_deliver must be set to -1")?;
    }
    if config.max_deliver < 1 {
        config.max_deliver = -1;
    }
    for (number, least, text) in [
        (&mut config.max_waiting, 0, "max_waiting must not be negative"),
        (&mut config.max_ack_pending, -1, "max_ack_pending must be set to -1"),
        (&mut config.max_batch, 0, "max_batch must not be negative"),
        (&mut config.max_expires, 0, "max_expires must not be negative"),
        (&mut config.max_bytes, 0, "max_bytes must not be negative"),
        (&mut config.heartbeat, 0, "idle_heartbeat must not be negative"),
        (&mut config.inactive_threshold, 0, "inactive_threshold must not be negative"),
        (&mut config.pinned_ttl, 0, "priority_timeout must not be negative"),
    ] {
        if *number < least {
            correct(text)?;
            *number = least;
        }
    }
    Ok(())
}

/// Takes over defaults of the stream.
fn inherit(
    config: &mut ConsumerConfig,
    stream: &StreamConfig,
    correct: &Correct<'_>,
) -> Result<(), ApiError> {
    let limits = &stream.consumer_limits;
    if config.max_ack_pending == 0 {
        if limits.max_ack_pending > 0 {
            correct("max_ack_pending must be set if it's configured in stream limits")?;
        }
        config.max_ack_pending = limits.max_ack_pending;
    }
    if config.inactive_threshold == 0 {
        if limits.inactive_threshold > 0 {
            correct("inactive_threshold must be set if it's configured in stream limits")?;
        }
        config.inactive_threshold = limits.inactive_threshold;
    }
    Ok(())
}

/// Checks a configuration whose defaults are [filled in](set_consumer_defaults).
///
/// # Errors
///
/// The first error that the reference finds.
pub fn check_consumer(
    config: &ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
    account: &TierLimits,
) -> Result<(), ApiError> {
    check_names(config)?;
    check_replicas(config, stream)?;
    refuse_if(config.backoff.iter().any(|wait| *wait < 0), || {
        ApiError::CONSUMER_BACK_OFF_NEGATIVE
    })?;
    refuse_if(config.ack_wait < 0, || ApiError::CONSUMER_ACK_WAIT_NEGATIVE)?;
    check_flow_policy(config)?;
    check_backoff(config)?;
    refuse_if(config.description.len() > MAX_DESCRIPTION_BYTES, || {
        ApiError::consumer_description_too_long(MAX_DESCRIPTION_BYTES)
    })?;
    if config.deliver_subject.is_empty() {
        check_pull(config, stream, server)?;
    } else {
        check_push(config, stream)?;
    }
    check_limits(config, stream, server, account)?;
    check_direct(config)?;
    check_filters(config)?;
    check_start(config)?;
    check_sampling(&config.sample_frequency)?;
    refuse_if(config.flow_control && config.heartbeat == 0, || {
        ApiError::CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS
    })?;
    let (durable, name) = (&config.durable, &config.name);
    refuse_if(!durable.is_empty() && !name.is_empty() && name != durable, || {
        ApiError::CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH
    })?;
    refuse_if(metadata_bytes(&config.metadata) > MAX_METADATA_BYTES, || {
        ApiError::consumer_metadata_length(format!("{}KB", MAX_METADATA_BYTES / 1024))
    })?;
    check_priorities(config)
}

fn check_names(config: &ConsumerConfig) -> Result<(), ApiError> {
    let is_bad = |name: &str| !name.is_empty() && !is_valid_name(name);
    refuse_if(is_bad(&config.name), || {
        invalid(r"consumer name can not contain '.', '*', '>', '\', '/'")
    })?;
    refuse_if(is_bad(&config.durable), || {
        invalid(r"consumer durable name can not contain '.', '*', '>', '\', '/'")
    })
}

fn check_replicas(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let replicas = config.replicas;
    refuse_if(replicas > 0 && replicas > stream.replicas, || {
        ApiError::CONSUMER_REPLICAS_EXCEEDS_STREAM
    })?;
    refuse_if(replicas < 0, || ApiError::REPLICAS_COUNT_CANNOT_BE_NEGATIVE)?;
    let is_limits = stream.retention == Retention::Limits;
    refuse_if(!is_limits && replicas != 0 && replicas != stream.replicas, || {
        ApiError::CONSUMER_REPLICAS_SHOULD_MATCH_STREAM
    })
}

fn check_flow_policy(config: &ConsumerConfig) -> Result<(), ApiError> {
    if config.ack_policy != AckPolicy::FlowControl {
        return Ok(());
    }
    refuse_if(config.deliver_subject.is_empty(), || ApiError::CONSUMER_ACK_FC_REQUIRES_PUSH)?;
    refuse_if(!config.flow_control, || ApiError::CONSUMER_ACK_FC_REQUIRES_FC)?;
    refuse_if(config.heartbeat != SOURCE_HEARTBEAT, || {
        invalid("flow control ack policy heartbeat needs to be 1s")
    })?;
    refuse_if(config.max_ack_pending <= 0, || ApiError::CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING)?;
    refuse_if(config.ack_wait != 0 || !config.backoff.is_empty(), || {
        ApiError::CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT
    })?;
    refuse_if(config.max_deliver > 0, || ApiError::CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER)
}

/// Checks that there are at least as many deliveries as waits between them.
pub(super) fn check_backoff(config: &ConsumerConfig) -> Result<(), ApiError> {
    let waits = i64::try_from(config.backoff.len()).unwrap_or(i64::MAX);
    refuse_if(waits > 0 && config.max_deliver != -1 && waits > config.max_deliver, || {
        ApiError::CONSUMER_MAX_DELIVER_BACKOFF
    })
}

fn check_push(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let subject = &config.deliver_subject;
    let has_wildcard = subject.split('.').any(|token| token == "*" || token == ">");
    refuse_if(has_wildcard, || ApiError::CONSUMER_DELIVER_TO_WILDCARDS)?;
    refuse_if(!is_literal(subject), || ApiError::CONSUMER_INVALID_DELIVER_SUBJECT)?;
    refuse_if(stream.subjects.iter().any(|stored| is_covered_by(subject, stored)), || {
        ApiError::CONSUMER_DELIVER_CYCLE
    })?;
    refuse_if(config.max_waiting != 0, || ApiError::CONSUMER_PUSH_MAX_WAITING)?;
    refuse_if(config.max_ack_pending > 0 && config.ack_policy == AckPolicy::None, || {
        ApiError::CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED
    })?;
    refuse_if(config.heartbeat > 0 && config.heartbeat < 100 * MILLISECOND, || {
        ApiError::CONSUMER_SMALL_HEARTBEAT
    })
}

fn check_pull(
    config: &ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
) -> Result<(), ApiError> {
    let is_work_queue = stream.retention == Retention::WorkQueue;
    for (is_refused, error) in [
        (
            config.ack_policy == AckPolicy::None && is_work_queue,
            ApiError::CONSUMER_PULL_REQUIRES_ACK,
        ),
        (config.rate_limit > 0, ApiError::CONSUMER_PULL_WITH_RATE_LIMIT),
        (config.max_waiting < 0, ApiError::CONSUMER_MAX_WAITING_NEGATIVE),
        (config.heartbeat > 0, ApiError::CONSUMER_HB_REQUIRES_PUSH),
        (config.flow_control, ApiError::CONSUMER_FC_REQUIRES_PUSH),
        (config.max_batch < 0, ApiError::CONSUMER_MAX_REQUEST_BATCH_NEGATIVE),
        (
            config.max_expires != 0 && config.max_expires < MILLISECOND,
            ApiError::CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL,
        ),
    ] {
        refuse_if(is_refused, || error)?;
    }
    let most = server.max_request_batch;
    refuse_if(most > 0 && config.max_batch > most, || {
        ApiError::consumer_max_request_batch_exceeded(most)
    })
}

fn check_limits(
    config: &ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
    account: &TierLimits,
) -> Result<(), ApiError> {
    let limits = &stream.consumer_limits;
    for most in [server.max_ack_pending, account.max_ack_pending, limits.max_ack_pending] {
        refuse_if(most > 0 && config.max_ack_pending > most, || {
            ApiError::consumer_max_pending_ack_excess(most)
        })?;
    }
    let most = limits.inactive_threshold;
    refuse_if(most > 0 && config.inactive_threshold > most, || {
        ApiError::consumer_inactive_threshold_excess(go::duration(most))
    })
}

fn check_direct(config: &ConsumerConfig) -> Result<(), ApiError> {
    let is_direct = config.direct;
    refuse_if(is_direct && config.deliver_subject.is_empty(), || {
        ApiError::CONSUMER_DIRECT_REQUIRES_PUSH
    })?;
    refuse_if(is_direct && !config.durable.is_empty(), || {
        ApiError::CONSUMER_DIRECT_REQUIRES_EPHEMERAL
    })
}

fn check_filters(config: &ConsumerConfig) -> Result<(), ApiError> {
    let (one, several) = (&config.filter_subject, &config.filter_subjects);
    refuse_if(!one.is_empty() && !several.is_empty(), || {
        ApiError::CONSUMER_DUPLICATE_FILTER_SUBJECTS
    })?;
    refuse_if(!one.is_empty() && !is_subject(one), || invalid("invalid subject"))?;
    refuse_if(several.iter().any(String::is_empty), || ApiError::CONSUMER_EMPTY_FILTER)?;
    // The first filter that is not a subject counts if it comes before the first overlap.
    for (at, filter) in several.iter().enumerate() {
        refuse_if(!is_subject(filter), || invalid("invalid subject"))?;
        let mut others = several.iter().enumerate().filter(|(other, _)| *other != at);
        refuse_if(others.any(|(_, other)| is_covered_by(filter, other)), || {
            ApiError::CONSUMER_OVERLAPPING_SUBJECT_FILTERS
        })?;
    }
    Ok(())
}

/// Checks that the start belongs to the policy of delivery.
fn check_start(config: &ConsumerConfig) -> Result<(), ApiError> {
    let is_set = |name: &str, start: &str| {
        ApiError::consumer_invalid_policy(format!(
            "consumer delivery policy is deliver {name}, but optional start {start} is also set"
        ))
    };
    let is_missing = |name: &str, what: &str| {
        ApiError::consumer_invalid_policy(format!(
            "consumer delivery policy is deliver {name}, but optional {what} is not set"
        ))
    };
    let (sequence, time) = (config.start_sequence != 0, config.start_time.is_some());
    let name = match config.deliver_policy {
        DeliverPolicy::All => "all",
        DeliverPolicy::Last => "last",
        DeliverPolicy::New => "new",
        DeliverPolicy::LastPerSubject => "last per subject",
        DeliverPolicy::ByStartSequence => {
            let name = "by start sequence";
            refuse_if(!sequence, || is_missing(name, "start sequence"))?;
            return refuse_if(time, || is_set(name, "time"));
        }
        DeliverPolicy::ByStartTime => {
            let name = "by start time";
            refuse_if(!time, || is_missing(name, "start time"))?;
            return refuse_if(sequence, || is_set(name, "start sequence"));
        }
    };
    refuse_if(sequence, || is_set(name, "sequence"))?;
    refuse_if(time, || is_set(name, "time"))?;
    let is_unfiltered = config.filter_subject.is_empty() && config.filter_subjects.is_empty();
    refuse_if(config.deliver_policy == DeliverPolicy::LastPerSubject && is_unfiltered, || {
        is_missing(name, "filter subject")
    })
}

fn check_sampling(frequency: &str) -> Result<(), ApiError> {
    if frequency.is_empty() {
        return Ok(());
    }
    let text = frequency.strip_suffix('%').unwrap_or(frequency);
    let is_number = {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    // Go: strconv.Atoi.
    let error = match text.parse::<i64>() {
        Ok(0..) => return Ok(()),
        Ok(_) => "<nil>".to_owned(),
        Err(_) if is_number => {
            format!("strconv.Atoi: parsing {}: value out of range", go::quoted(text))
        }
        Err(_) => format!("strconv.Atoi: parsing {}: invalid syntax", go::quoted(text)),
    };
    Err(ApiError::consumer_invalid_sampling(error))
}

fn check_priorities(config: &ConsumerConfig) -> Result<(), ApiError> {
    let groups = &config.priority_groups;
    if config.priority_policy == PriorityPolicy::None {
        refuse_if(!groups.is_empty(), || ApiError::CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE)?;
        return refuse_if(config.pinned_ttl > 0, || {
            ApiError::CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE
        });
    }
    refuse_if(!config.deliver_subject.is_empty(), || ApiError::CONSUMER_PUSH_WITH_PRIORITY_GROUP)?;
    refuse_if(groups.is_empty(), || ApiError::CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP)?;
    for group in groups {
        refuse_if(group.is_empty(), || ApiError::CONSUMER_EMPTY_GROUP_NAME)?;
        refuse_if(!is_valid_group(group), || ApiError::CONSUMER_INVALID_GROUP_NAME)?;
    }
    Ok(())
}

/// Returns true if a priority group may have the name.
// NATS 2.14: consumer.go validGroupName.
pub fn is_valid_group(name: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'_' | b'=' | b'-');
    (1..=MAX_GROUP_BYTES).contains(&name.len()) && name.bytes().all(is_allowed)
}
