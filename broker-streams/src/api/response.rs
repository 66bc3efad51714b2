//! Answers: members in the order in which the reference writes them.
// NATS 2.14: jetstream_api.go, stream.go, jetstream.go.

use std::collections::BTreeMap;

use broker_core::go_json;
use serde::{Serialize, Serializer};

use crate::config::limits::TierLimits;
use crate::config::{StreamConfig, Time};
use crate::consumer::ConsumerInfo;
use crate::error::ApiError;
use crate::outbox::{Outbox, Outgoing};
use crate::stream::FeedInfo;

/// An answer: its type, an error, and its members, which have their defaults beside an error.
#[derive(Debug, Serialize)]
pub(super) struct Response<B> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ApiError>,
    #[serde(flatten)]
    pub(super) body: B,
}

impl<B: Default> Response<B> {
    pub(super) fn new(kind: &str, result: Result<B, ApiError>) -> Self {
        let kind = format!("io.nats.jetstream.api.v1.{kind}_response");
        match result {
            Ok(body) => Self { kind, error: None, body },
            Err(error) => Self { kind, error: Some(error), body: B::default() },
        }
    }
}

/// An answer without members of its own.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nothing {}

/// An answer that says that something was done.
#[derive(Debug, Default, Serialize)]
pub(super) struct Success {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) success: bool,
}

/// The answer to the purge of an account.
#[derive(Debug, Default, Serialize)]
pub(super) struct AccountPurged {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) initiated: bool,
}

impl Success {
    pub(super) const YES: Self = Self { success: true };
}

/// The part of a list that an answer contains.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Page {
    pub(super) total: usize,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Page {
    /// Returns the part of `all` that begins at an offset.
    pub(super) fn of<T>(all: Vec<T>, offset: i64, limit: usize) -> (Self, Vec<T>) {
        let total = all.len();
        let offset = usize::try_from(offset.max(0)).unwrap_or(usize::MAX).min(total);
        let page = Self { total, offset, limit };
        (page, all.into_iter().skip(offset).take(limit).collect())
    }
}

/// The state of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) created: Time,
    pub(crate) state: StreamState,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<ClusterInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mirror: Option<FeedInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<FeedInfo>,
    #[serde(rename = "ts")]
    pub(crate) timestamp: Time,
}

/// The servers of a stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClusterInfo {
    pub(crate) leader: String,
}

/// Totals of messages.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    #[serde(rename = "first_seq")]
    pub(crate) first_sequence: u64,
    #[serde(rename = "first_ts")]
    pub(crate) first_time: Time,
    #[serde(rename = "last_seq")]
    pub(crate) last_sequence: u64,
    #[serde(rename = "last_ts")]
    pub(crate) last_time: Time,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) num_subjects: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) subjects: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) num_deleted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deleted: Vec<u64>,
    #[serde(rename = "consumer_count")]
    pub(crate) consumers: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct StreamCreated {
    #[serde(flatten)]
    pub(super) info: Option<StreamInfo>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) did_create: bool,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct StreamInfoPage {
    #[serde(flatten)]
    pub(super) page: Page,
    #[serde(flatten)]
    pub(super) info: Option<StreamInfo>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct StreamUpdated {
    #[serde(flatten)]
    pub(super) info: Option<StreamInfo>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct StreamNames {
    #[serde(flatten)]
    pub(super) page: Page,
    #[serde(serialize_with = "null_if_empty")]
    pub(super) streams: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct StreamList {
    #[serde(flatten)]
    pub(super) page: Page,
    pub(super) streams: Vec<StreamInfo>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Purged {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) success: bool,
    pub(super) purged: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct MessageFound {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<StoredMessage>,
}

/// A message, with its bytes as base64.
#[derive(Debug, Serialize)]
pub(super) struct StoredMessage {
    pub(super) subject: String,
    #[serde(rename = "seq")]
    pub(super) sequence: u64,
    #[serde(rename = "hdrs", skip_serializing_if = "String::is_empty")]
    pub(super) headers: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) data: String,
    pub(super) time: Time,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ConsumerFound {
    #[serde(flatten)]
    pub(super) info: Option<ConsumerInfo>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ConsumerReset {
    #[serde(flatten)]
    pub(super) info: Option<ConsumerInfo>,
    #[serde(rename = "reset_seq")]
    pub(super) sequence: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ConsumerNames {
    #[serde(flatten)]
    pub(super) page: Page,
    pub(super) consumers: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ConsumerList {
    #[serde(flatten)]
    pub(super) page: Page,
    pub(super) consumers: Vec<ConsumerInfo>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Paused {
    pub(super) paused: bool,
    pub(super) pause_until: Time,
    #[serde(skip_serializing_if = "is_zero_duration")]
    pub(super) pause_remaining: i64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct SnapshotStarted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<StreamConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<StreamState>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct RestoreStarted {
    pub(super) deliver_subject: String,
}

/// Use and limits of an account.
#[derive(Debug, Default, Serialize)]
pub(super) struct AccountStats {
    #[serde(flatten)]
    pub(super) total: Tier,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) domain: String,
    pub(super) api: ApiStats,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tiers: BTreeMap<String, Tier>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct AccountInfo {
    #[serde(flatten)]
    pub(super) stats: Option<AccountStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tier {
    pub(super) memory: u64,
    pub(super) storage: u64,
    pub(super) reserved_memory: u64,
    pub(super) reserved_storage: u64,
    pub(super) streams: u64,
    pub(super) consumers: u64,
    pub(super) limits: TierLimits,
}

impl Default for Tier {
    fn default() -> Self {
        let none = TierLimits {
            max_memory: 0,
            max_storage: 0,
            max_streams: 0,
            max_consumers: 0,
            max_ack_pending: 0,
            memory_max_stream_bytes: 0,
            storage_max_stream_bytes: 0,
            max_bytes_required: false,
        };
        Self {
            memory: 0,
            storage: 0,
            reserved_memory: 0,
            reserved_storage: 0,
            streams: 0,
            consumers: 0,
            limits: none,
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ApiStats {
    pub(super) level: i64,
    pub(super) total: u64,
    pub(super) errors: u64,
}

pub(super) fn encode<B: Serialize + Default>(kind: &str, result: Result<B, ApiError>) -> Vec<u8> {
    go_json::compact(&Response::new(kind, result)).unwrap_or_else(|error| {
        let error = ApiError::stream_general(error);
        go_json::compact(&Response::<Nothing>::new(kind, Err(error))).unwrap_or_default()
    })
}

pub(super) fn send_to(out: &mut dyn Outbox, subject: &[u8], payload: &[u8]) {
    out.send(&Outgoing { to: subject, subject, payload, ..Outgoing::default() });
}

/// Go writes a slice that nothing was added to as null.
fn null_if_empty<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero_duration(value: &i64) -> bool {
    *value == 0
}

/// Returns bytes as Go writes them in JSON: base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(three);
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json<B: Serialize>(response: &Response<B>) -> String {
        serde_json::to_string(response).unwrap()
    }

    #[test]
    fn bytes_are_written_as_base64() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn members_that_are_always_written_are_there_beside_an_error() {
        assert_eq!(
            json(&Response::<StreamNames>::new("stream_names", Err(ApiError::BAD_REQUEST))),
            r#"{"type":"io.nats.jetstream.api.v1.stream_names_response","error":{"code":400,"err_code":10003,"description":"bad request"},"total":0,"offset":0,"limit":0,"streams":null}"#
        );
        assert_eq!(
            json(&Response::<Purged>::new("stream_purge", Ok(Purged { success: true, purged: 2 }))),
            r#"{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":2}"#
        );
        assert_eq!(
            json(&Response::<Paused>::new("consumer_pause", Ok(Paused::default()))),
            r#"{"type":"io.nats.jetstream.api.v1.consumer_pause_response","paused":false,"pause_until":"0001-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn a_page_begins_at_its_offset() {
        let (page, part) = Page::of(vec![1, 2, 3, 4], 1, 2);
        assert_eq!((page.total, page.offset, page.limit, part), (4, 1, 2, vec![2, 3]));
        let (page, part) = Page::of(vec![1], 5, 2);
        assert_eq!((page.total, page.offset, part), (1, 1, vec![]));
        assert_eq!(Page::of(vec![1], -5, 2).1, vec![1]);
    }
}
