//! Descriptions of the Go types of configurations, for the decoder of requests.
// NATS 2.14: stream.go, consumer.go, store.go, jetstream_cluster.go.

use crate::go::json::{Choice, Field, Record, Shape};
use crate::go::quoted_bytes;

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape }
}

const fn choice(
    texts: &'static [(&'static str, &'static str)],
    error: fn(&[u8]) -> String,
) -> Choice {
    Choice { texts, ignores_case: false, error }
}

/// A configuration of a stream.
pub static STREAM_CONFIG: Record = Record {
    name: "StreamConfig",
    fields: &[
        field("name", Shape::String),
        field("description", Shape::String),
        field("subjects", Shape::STRINGS),
        field("retention", Shape::Choice(&RETENTION)),
        field("max_consumers", Shape::INT),
        field("max_msgs", Shape::INT64),
        field("max_bytes", Shape::INT64),
        field("max_age", Shape::DURATION),
        field("max_msgs_per_subject", Shape::INT64),
        field("max_msg_size", Shape::INT32),
        field("discard", Shape::Choice(&DISCARD)),
        field("storage", STORAGE_FIELD),
        field("num_replicas", Shape::INT),
        field("no_ack", Shape::Bool),
        field("duplicate_window", Shape::DURATION),
        field("placement", Shape::Record(&PLACEMENT)),
        field("mirror", Shape::Record(&STREAM_SOURCE)),
        field("sources", Shape::List("[]*server.StreamSource", &Shape::Record(&STREAM_SOURCE))),
        field("compression", Shape::Choice(&COMPRESSION)),
        field("first_seq", Shape::Uint),
        field("subject_transform", Shape::Record(&SUBJECT_TRANSFORM)),
        field("republish", Shape::Record(&REPUBLISH)),
        field("allow_direct", Shape::Bool),
        field("mirror_direct", Shape::Bool),
        field("discard_new_per_subject", Shape::Bool),
        field("sealed", Shape::Bool),
        field("deny_delete", Shape::Bool),
        field("deny_purge", Shape::Bool),
        field("allow_rollup_hdrs", Shape::Bool),
        field("consumer_limits", Shape::Record(&CONSUMER_LIMITS)),
        field("allow_msg_ttl", Shape::Bool),
        field("subject_delete_marker_ttl", Shape::DURATION),
        field("allow_msg_counter", Shape::Bool),
        field("allow_atomic", Shape::Bool),
        field("allow_msg_schedules", Shape::Bool),
        field("persist_mode", Shape::Choice(&PERSIST_MODE)),
        field("allow_batched", Shape::Bool),
        field("metadata", Shape::Map),
    ],
};

static CONSUMER_LIMITS: Record = Record {
    name: "StreamConsumerLimits",
    fields: &[field("inactive_threshold", Shape::DURATION), field("max_ack_pending", Shape::INT)],
};

/// The storage of a stream.
pub const STORAGE_FIELD: Shape = Shape::Choice(&STORAGE);

/// A placement of a stream or of a leader.
pub static PLACEMENT: Record = Record {
    name: "Placement",
    fields: &[
        field("cluster", Shape::String),
        field("tags", Shape::STRINGS),
        field("preferred", Shape::String),
    ],
};

static STREAM_SOURCE: Record = Record {
    name: "StreamSource",
    fields: &[
        field("name", Shape::String),
        field("opt_start_seq", Shape::Uint),
        field("opt_start_time", Shape::Time),
        field("filter_subject", Shape::String),
        field(
            "subject_transforms",
            Shape::List("[]server.SubjectTransformConfig", &Shape::Record(&SUBJECT_TRANSFORM)),
        ),
        field("external", Shape::Record(&EXTERNAL_STREAM)),
        field("consumer", Shape::Record(&SOURCE_CONSUMER)),
    ],
};

static EXTERNAL_STREAM: Record = Record {
    name: "ExternalStream",
    fields: &[field("api", Shape::String), field("deliver", Shape::String)],
};

static SOURCE_CONSUMER: Record = Record {
    name: "StreamConsumerSource",
    fields: &[field("name", Shape::String), field("deliver_subject", Shape::String)],
};

static SUBJECT_TRANSFORM: Record = Record {
    name: "SubjectTransformConfig",
    fields: &[field("src", Shape::String), field("dest", Shape::String)],
};

static REPUBLISH: Record = Record {
    name: "RePublish",
    fields: &[
        field("src", Shape::String),
        field("dest", Shape::String),
        field("headers_only", Shape::Bool),
    ],
};

/// A configuration of a consumer.
pub static CONSUMER_CONFIG: Record = Record {
    name: "ConsumerConfig",
    fields: &[
        field("durable_name", Shape::String),
        field("name", Shape::String),
        field("description", Shape::String),
        field("deliver_policy", Shape::Choice(&DELIVER_POLICY)),
        field("opt_start_seq", Shape::Uint),
        field("opt_start_time", Shape::Time),
        field("ack_policy", Shape::Choice(&ACK_POLICY)),
        field("ack_wait", Shape::DURATION),
        field("max_deliver", Shape::INT),
        field("backoff", Shape::List("[]time.Duration", &Shape::DURATION)),
        field("filter_subject", Shape::String),
        field("filter_subjects", Shape::STRINGS),
        field("replay_policy", Shape::Choice(&REPLAY_POLICY)),
        field("rate_limit_bps", Shape::Uint),
        field("sample_freq", Shape::String),
        field("max_waiting", Shape::INT),
        field("max_ack_pending", Shape::INT),
        field("flow_control", Shape::Bool),
        field("headers_only", Shape::Bool),
        field("max_batch", Shape::INT),
        field("max_expires", Shape::DURATION),
        field("max_bytes", Shape::INT),
        field("deliver_subject", Shape::String),
        field("deliver_group", Shape::String),
        field("idle_heartbeat", Shape::DURATION),
        field("inactive_threshold", Shape::DURATION),
        field("num_replicas", Shape::INT),
        field("mem_storage", Shape::Bool),
        field("direct", Shape::Bool),
        field("sourcing", Shape::Bool),
        field("metadata", Shape::Map),
        field("pause_until", Shape::Time),
        field("priority_groups", Shape::STRINGS),
        field("priority_policy", Shape::Choice(&PRIORITY_POLICY)),
        field("priority_timeout", Shape::DURATION),
    ],
};

static RETENTION: Choice = choice(
    &[("limits", "limits"), ("interest", "interest"), ("workqueue", "workqueue")],
    can_not_unmarshal,
);
static DISCARD: Choice = Choice {
    texts: &[("old", "old"), ("new", "new")],
    ignores_case: true,
    error: can_not_unmarshal,
};
static STORAGE: Choice = choice(&[("memory", "memory"), ("file", "file")], can_not_unmarshal);
static COMPRESSION: Choice = choice(&[("none", "none"), ("s2", "s2")], unknown_compression);
static PERSIST_MODE: Choice =
    choice(&[("default", "default"), ("", "default"), ("async", "async")], can_not_unmarshal);
static DELIVER_POLICY: Choice = choice(
    &[
        ("all", "all"),
        ("undefined", "all"),
        ("last", "last"),
        ("last_per_subject", "last_per_subject"),
        ("new", "new"),
        ("by_start_sequence", "by_start_sequence"),
        ("by_start_time", "by_start_time"),
    ],
    can_not_unmarshal,
);
static ACK_POLICY: Choice = choice(
    &[("none", "none"), ("all", "all"), ("explicit", "explicit"), ("flow_control", "flow_control")],
    can_not_unmarshal,
);
static REPLAY_POLICY: Choice =
    choice(&[("instant", "instant"), ("original", "original")], can_not_unmarshal);
static PRIORITY_POLICY: Choice = choice(
    &[
        ("none", "none"),
        ("overflow", "overflow"),
        ("pinned_client", "pinned_client"),
        ("prioritized", "prioritized"),
    ],
    |json| format!("unknown priority policy: {}", String::from_utf8_lossy(json)),
);

fn can_not_unmarshal(json: &[u8]) -> String {
    format!("can not unmarshal {}", quoted_bytes(json))
}

fn unknown_compression(json: &[u8]) -> String {
    let kind = match json.first() {
        Some(b't' | b'f') => "bool",
        Some(b'[') => "array",
        Some(b'{') => "object",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => return "unknown compression algorithm".into(),
    };
    format!("json: cannot unmarshal {kind} into Go value of type string")
}
