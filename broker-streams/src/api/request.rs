//! Requests, and how their JSON is read.
// NATS 2.14: jetstream_api.go, consumer.go.

use serde::Deserialize;

use crate::config::{ConsumerConfig, Placement, StorageType, StreamConfig, Time, shapes};
use crate::error::ApiError;
use crate::go::json::{self, Choice, Field, Mode, Record, Shape};
use crate::stream::{MessageRequest, PurgeRequest};

/// A request that has a description of its JSON.
pub trait Request: Default + for<'de> Deserialize<'de> {
    /// The description.
    const RECORD: &'static Record;

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// Error 10025, with the text of Go's decoder.
    fn read(text: &[u8], mode: Mode) -> Result<Self, ApiError> {
        json::read(text, Self::RECORD, mode).map_err(ApiError::invalid_json)
    }

    /// Reads a request whose content is optional: content that is neither an object nor an array is ignored.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    fn read_optional(text: &[u8], mode: Mode) -> Result<Self, ApiError> {
        if json::is_object_or_array(text) { Self::read(text, mode) } else { Ok(Self::default()) }
    }

    /// Reads a request that must have content.
    ///
    /// # Errors
    ///
    /// Error 10003 without content; as for [`Self::read`].
    fn read_required(text: &[u8], mode: Mode) -> Result<Self, ApiError> {
        if json::is_empty_request(text) {
            return Err(ApiError::BAD_REQUEST);
        }
        Self::read(text, mode)
    }
}

macro_rules! requests {
    ($($request:ident $name:literal { $($fields:expr),* $(,)? })*) => {
        $(
            impl Request for $request {
                const RECORD: &'static Record = &Record { name: $name, fields: &[$($fields),*] };
            }
        )*
    };
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape }
}

const fn embedded(record: &'static Record) -> Field {
    Field { name: "", shape: Shape::Embedded(record) }
}

/// Creates or updates a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamConfigRequest {
    /// The configuration.
    #[serde(flatten)]
    pub config: StreamConfig,
    /// Values that the server would correct are refused.
    pub pedantic: bool,
}

/// The storage that a request names.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StorageRequest {
    pub(super) storage: Option<StorageType>,
}

/// Lists streams: names or details.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamListRequest {
    /// The number of streams to leave out; less than 0 counts as 0.
    pub offset: i64,
    /// Lists streams only that have a subject which overlaps this filter.
    pub subject: String,
}

/// Lists names of streams.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct StreamNamesRequest(pub StreamListRequest);

/// Asks for the state of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamInfoRequest {
    /// The number of subjects to leave out.
    pub offset: i64,
    /// Lists deleted messages.
    pub deleted_details: bool,
    /// Counts the messages of each subject that the filter matches.
    pub subjects_filter: String,
}

/// Removes one message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MessageDeleteRequest {
    /// The sequence of the message.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// Does not overwrite the bytes of the message.
    pub no_erase: bool,
}

/// Makes a backup of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SnapshotRequest {
    /// The subject that chunks are sent to.
    pub deliver_subject: String,
    /// Leaves out consumers.
    pub no_consumers: bool,
    /// The bytes of a chunk.
    pub chunk_size: i64,
    /// The most bytes that are sent and not acknowledged.
    pub window_size: i64,
    /// Checks all messages first.
    #[serde(rename = "jsck")]
    pub check_messages: bool,
}

/// Restores a stream from a backup.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestoreRequest {
    /// The configuration of the stream.
    pub config: StreamConfig,
}

/// Creates or updates a consumer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConsumerCreateRequest {
    /// The name of the stream.
    #[serde(rename = "stream_name")]
    pub stream: String,
    /// The configuration.
    pub config: ConsumerConfig,
    /// The condition on the existence of the consumer.
    pub action: ConsumerAction,
    /// Values that the server would correct are refused.
    pub pedantic: bool,
}

/// The condition on the existence of a consumer: it may, must or must not exist.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum ConsumerAction {
    /// It may exist.
    #[default]
    #[serde(rename = "")]
    CreateOrUpdate,
    /// It must exist.
    #[serde(rename = "update")]
    Update,
    /// It must not exist, unless with the same configuration.
    #[serde(rename = "create")]
    Create,
}

/// Lists consumers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConsumerListRequest {
    /// The number of consumers to leave out.
    pub offset: i64,
}

/// Pauses or resumes a consumer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PauseRequest {
    /// The end of the pause; `Time(0)` for none.
    pub pause_until: Time,
}

/// Ends the pin of a client to a consumer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UnpinRequest {
    /// The priority group.
    pub group: String,
}

/// Sets a consumer back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResetRequest {
    /// The sequence of the next message to deliver; 0 for the one after the last that was acknowledged.
    #[serde(rename = "seq")]
    pub sequence: u64,
}

/// Asks a consumer for messages.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct NextRequest {
    /// The time after which the request expires, in nanoseconds.
    pub expires: i64,
    /// The most messages.
    pub batch: i64,
    /// The most bytes.
    pub max_bytes: i64,
    /// Does not wait.
    pub no_wait: bool,
    /// The interval of heartbeats while the request waits, in nanoseconds.
    #[serde(rename = "idle_heartbeat")]
    pub heartbeat: i64,
    /// The priority group.
    pub group: String,
    /// Waits until this many messages are pending.
    pub min_pending: i64,
    /// Waits until this many messages are not acknowledged.
    pub min_ack_pending: i64,
    /// The id of the pin.
    pub id: String,
    /// The priority in its group.
    pub priority: i64,
}

/// Asks a leader to step down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StepDownRequest {
    /// The preferred placement of the next leader.
    pub placement: Option<Placement>,
}

static PAGED: Record = Record { name: "ApiPagedRequest", fields: &[field("offset", Shape::INT)] };
static PRIORITY_GROUP: Record = Record {
    name: "PriorityGroup",
    fields: &[
        field("group", Shape::String),
        field("min_pending", Shape::INT64),
        field("min_ack_pending", Shape::INT64),
        field("id", Shape::String),
        field("priority", Shape::INT),
    ],
};
static SEQUENCES: Shape = Shape::List("[]uint64", &Shape::Uint);
static STREAM_STATE: Record = Record {
    name: "StreamState",
    fields: &[
        field("messages", Shape::Uint),
        field("bytes", Shape::Uint),
        field("first_seq", Shape::Uint),
        field("first_ts", Shape::Time),
        field("last_seq", Shape::Uint),
        field("last_ts", Shape::Time),
        field("num_subjects", Shape::INT),
        field("subjects", Shape::Counts),
        field("num_deleted", Shape::INT),
        field("deleted", SEQUENCES),
        field("lost", Shape::Record(&LOST)),
        field("consumer_count", Shape::INT),
    ],
};
static LOST: Record = Record {
    name: "LostStreamData",
    fields: &[field("msgs", SEQUENCES), field("bytes", Shape::Uint)],
};
static ACTION: Choice = Choice {
    texts: &[("", ""), ("update", "update"), ("create", "create")],
    ignores_case: false,
    error: |json| format!("unknown consumer action: {}", String::from_utf8_lossy(json)),
};

requests! {
    StreamConfigRequest "StreamConfigRequest" {
        embedded(&shapes::STREAM_CONFIG),
        field("pedantic", Shape::Bool),
    }
    StorageRequest "StreamConfigRequest" { field("storage", shapes::STORAGE_FIELD) }
    StreamListRequest "JSApiStreamListRequest" { embedded(&PAGED), field("subject", Shape::String) }
    StreamNamesRequest "JSApiStreamNamesRequest" { embedded(&PAGED), field("subject", Shape::String) }
    StreamInfoRequest "JSApiStreamInfoRequest" {
        embedded(&PAGED),
        field("deleted_details", Shape::Bool),
        field("subjects_filter", Shape::String),
    }
    PurgeRequest "JSApiStreamPurgeRequest" {
        field("seq", Shape::Uint),
        field("filter", Shape::String),
        field("keep", Shape::Uint),
    }
    MessageDeleteRequest "JSApiMsgDeleteRequest" {
        field("seq", Shape::Uint),
        field("no_erase", Shape::Bool),
    }
    MessageRequest "JSApiMsgGetRequest" {
        field("seq", Shape::Uint),
        field("last_by_subj", Shape::String),
        field("next_by_subj", Shape::String),
        field("batch", Shape::INT),
        field("max_bytes", Shape::INT),
        field("start_time", Shape::Time),
        field("multi_last", Shape::STRINGS),
        field("up_to_seq", Shape::Uint),
        field("up_to_time", Shape::Time),
        field("no_hdr", Shape::Bool),
    }
    SnapshotRequest "JSApiStreamSnapshotRequest" {
        field("deliver_subject", Shape::String),
        field("no_consumers", Shape::Bool),
        field("chunk_size", Shape::INT),
        field("window_size", Shape::INT),
        field("jsck", Shape::Bool),
    }
    RestoreRequest "JSApiStreamRestoreRequest" {
        field("config", Shape::Record(&shapes::STREAM_CONFIG)),
        field("state", Shape::Record(&STREAM_STATE)),
    }
    ConsumerCreateRequest "CreateConsumerRequest" {
        field("stream_name", Shape::String),
        field("config", Shape::Record(&shapes::CONSUMER_CONFIG)),
        field("action", Shape::Choice(&ACTION)),
        field("pedantic", Shape::Bool),
    }
    ConsumerListRequest "JSApiConsumersRequest" { embedded(&PAGED) }
    PauseRequest "JSApiConsumerPauseRequest" { field("pause_until", Shape::Time) }
    UnpinRequest "JSApiConsumerUnpinRequest" { field("group", Shape::String) }
    ResetRequest "JSApiConsumerResetRequest" { field("seq", Shape::Uint) }
    NextRequest "JSApiConsumerGetNextRequest" {
        field("expires", Shape::DURATION),
        field("batch", Shape::INT),
        field("max_bytes", Shape::INT),
        field("no_wait", Shape::Bool),
        field("idle_heartbeat", Shape::DURATION),
        embedded(&PRIORITY_GROUP),
    }
    StepDownRequest "JSApiLeaderStepdownRequest" {
        field("placement", Shape::Record(&shapes::PLACEMENT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Discard, Retention};

    fn error<R: Request>(text: &str, mode: Mode) -> String {
        match R::read(text.as_bytes(), mode) {
            Ok(_) => "ok".into(),
            Err(error) => error.description.into_owned(),
        }
    }

    // The texts are the answers of nats-server 2.14.5.
    #[test]
    fn errors_of_json_are_those_of_the_reference() {
        for (text, strict, lenient) in [
            ("", "ok", "ok"),
            ("{}", "ok", "ok"),
            ("{", "unexpected EOF", "unexpected end of JSON input"),
            (
                "{\"name\":\"A\"}x",
                "invalid character 'x' looking for beginning of value at offset 13",
                "invalid character 'x' after top-level value",
            ),
            ("{\"nme\":\"A\"}", "json: unknown field \"nme\"", "ok"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type server.StreamConfigRequest",
                "json: cannot unmarshal array into Go value of type server.StreamConfigRequest",
            ),
            (
                "{\"max_msgs\":\"x\"}",
                "json: cannot unmarshal string into Go struct field StreamConfigRequest.StreamConfig.max_msgs of type int64",
                "json: cannot unmarshal string into Go struct field StreamConfigRequest.StreamConfig.max_msgs of type int64",
            ),
            (
                "{\"retention\":\"x\"}",
                r#"can not unmarshal "\"x\"""#,
                r#"can not unmarshal "\"x\"""#,
            ),
        ] {
            let with_prefix = |error: &str| match error {
                "ok" => "ok".to_owned(),
                error => format!("invalid JSON: {error}"),
            };
            assert_eq!(error::<StreamConfigRequest>(text, Mode::Strict), with_prefix(strict));
            assert_eq!(error::<StreamConfigRequest>(text, Mode::Lenient), with_prefix(lenient));
        }
    }

    #[test]
    fn names_are_found_regardless_of_case() {
        let text =
            br#"{"NAME":"A","Discard":"NEW","retention":"workqueue","max_AGE":5,"sources":[null]}"#;
        let request = StreamConfigRequest::read(text, Mode::Strict).unwrap();
        assert_eq!(request.config.name, "A");
        assert_eq!(request.config.discard, Discard::New);
        assert_eq!(request.config.retention, Retention::WorkQueue);
        assert_eq!(request.config.max_age, 5);
        assert_eq!(request.config.sources.len(), 1);
    }

    #[test]
    fn null_is_no_value() {
        let text = br#"{"stream_name":null,"config":{"opt_start_time":null,"backoff":null}}"#;
        let request = ConsumerCreateRequest::read(text, Mode::Strict).unwrap();
        assert_eq!(request.config, ConsumerConfig::default());
    }

    #[test]
    fn a_later_member_replaces_an_earlier_one() {
        let text = br#"{"config":{"name":"a","max_deliver":3},"config":{"name":"b"}}"#;
        let request = ConsumerCreateRequest::read(text, Mode::Strict).unwrap();
        assert_eq!((request.config.name.as_str(), request.config.max_deliver), ("b", 3));
    }

    #[test]
    fn content_may_be_optional_or_required() {
        assert!(StreamInfoRequest::read_optional(b"x", Mode::Strict).is_ok());
        assert!(StreamInfoRequest::read_optional(b" {x", Mode::Strict).is_err());
        assert_eq!(
            MessageDeleteRequest::read_required(b" { } ", Mode::Strict).unwrap_err(),
            ApiError::BAD_REQUEST
        );
        assert!(MessageDeleteRequest::read_required(b"x", Mode::Strict).is_err());
    }
}
