//! `/streamz` and `/messagez`: streams, their consumers and their messages, in pages, as the live page shows them.
//!
//! Unlike `/jsz`, an answer has a limit whatever the number of streams. Neither is one of nats-server's.

use broker_core::sort::sort_by_key;
use broker_streams::service::{ConsumerReport, MessagePreview, MessageRange, StreamRow, Viewer};
use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, Query, at_least_0};
use super::skip::is_false;
use super::time::Moment;

/// The streams or consumers of a page, if the request does not say, and at most.
const ROWS: usize = 50;
const MAX_ROWS: usize = 250;

/// The messages of a page, if the request does not say, and at most: with the bytes below, an answer has 200 KiB, or 600 if
/// all is escaped.
const MESSAGES: usize = 20;
const MAX_MESSAGES: usize = 100;

/// The bytes that are shown of the headers and of the payload of a message.
const SHOWN_BYTES: usize = 1024;

/// The bytes that are shown of a payload that is not text, in hexadecimal digits.
const SHOWN_BINARY_BYTES: usize = 256;

/// The parameters of `/streamz`.
#[derive(Clone, Debug, Default)]
pub struct StreamzOptions {
    /// The account of the stream whose consumers are listed; empty to list streams.
    pub account: String,
    /// The stream whose consumers are listed; empty to list streams.
    pub stream: String,
    /// Lists the streams whose name or account contains it, whatever the case of its letters.
    pub search: String,
    /// The order of streams; by account and name without one.
    pub sort: StreamOrder,
    /// The number of rows to skip.
    pub offset: usize,
    /// The most rows.
    pub limit: usize,
}

/// The order of streams. All but the first begin with the largest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StreamOrder {
    /// By account and name.
    #[default]
    Name,
    /// By the number of messages.
    Messages,
    /// By their bytes.
    Bytes,
    /// By the number of consumers.
    Consumers,
    /// By the unacknowledged messages of consumers.
    AckPending,
    /// By the time of the last message.
    Last,
}

impl StreamOrder {
    fn parse(text: &str) -> Result<Self, BadRequest> {
        Ok(match text {
            "" | "name" => Self::Name,
            "messages" => Self::Messages,
            "bytes" => Self::Bytes,
            "consumers" => Self::Consumers,
            "ack_pending" => Self::AckPending,
            "last" => Self::Last,
            other => {
                let other = broker_core::error::Quoted::from(other);
                return Err(BadRequest(format!("invalid sorting option: {other}")));
            }
        })
    }

    fn sort(self, rows: &mut [StreamRow]) {
        let key = |row: &StreamRow| match self {
            Self::Name => 0,
            Self::Messages => row.messages,
            Self::Bytes => row.bytes,
            Self::Consumers => row.consumers as u64,
            Self::AckPending => row.ack_pending,
            Self::Last => u64::try_from(row.last_ts.0).unwrap_or(0),
        };
        // The rows are in the order of names, which stays among equals.
        sort_by_key(rows, |row| std::cmp::Reverse(key(row)));
    }
}

impl StreamzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let limit = match query.int("limit")? {
            ..=0 => ROWS,
            limit => at_least_0(limit).min(MAX_ROWS),
        };
        Ok(Self {
            account: query.text("acc").to_owned(),
            stream: query.text("stream").to_owned(),
            search: query.text("search").to_lowercase(),
            sort: StreamOrder::parse(query.text("sort"))?,
            offset: at_least_0(query.int("offset")?),
            limit,
        })
    }
}

/// The answer of `/streamz`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Streamz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// JetStream is disabled.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The number of streams, or of consumers, that are selected.
    pub total: usize,
    /// The number of rows that were skipped.
    pub offset: usize,
    /// The most rows.
    pub limit: usize,
    /// The streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<StreamRow>>,
    /// The consumers of the stream that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Vec<ConsumerReport>>,
    /// `/messagez` shows messages.
    #[serde(skip_serializing_if = "is_false")]
    pub shows_messages: bool,
}

/// The parameters of `/messagez`.
#[derive(Clone, Debug, Default)]
pub struct MessagezOptions {
    /// The account.
    pub account: String,
    /// The stream.
    pub stream: String,
    /// The messages to show.
    pub range: MessageRange,
}

impl MessagezOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let backwards = query.switch("back")?;
        let from = match query.uint("seq")? {
            0 if backwards => u64::MAX,
            from => from,
        };
        let count = match query.int("limit")? {
            ..=0 => MESSAGES,
            limit => at_least_0(limit).min(MAX_MESSAGES),
        };
        let filters = match query.text("subject") {
            "" => broker_streams::filters::Filters::default(),
            text => {
                let filter = broker_core::SubjectFilter::parse(text);
                let filter = filter.map_err(|error| BadRequest(format!("subject: {error}")))?;
                broker_streams::filters::Filters::new(vec![filter])
            }
        };
        Ok(Self {
            account: query.text("acc").to_owned(),
            stream: query.text("stream").to_owned(),
            range: MessageRange { from, backwards, filters, count, bytes: SHOWN_BYTES },
        })
    }
}

/// The answer of `/messagez`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Messagez {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// The account.
    pub account: String,
    /// The stream.
    pub stream: String,
    /// The messages.
    pub messages: Vec<MessageDetail>,
}

/// A message, or its beginning.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MessageDetail {
    /// The sequence.
    pub seq: u64,
    /// When it was stored.
    pub time: broker_streams::config::Time,
    /// The subject.
    pub subject: String,
    /// The headers, or their beginning.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub headers: String,
    /// The length of the headers.
    pub header_bytes: usize,
    /// The payload, or its beginning, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The payload, or its beginning, in hexadecimal digits if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// The length of the payload.
    pub payload_bytes: usize,
    /// The message is damaged; nothing is known of it.
    #[serde(skip_serializing_if = "is_false")]
    pub damaged: bool,
}

impl MessageDetail {
    fn of(preview: MessagePreview) -> Self {
        let is_cut = preview.payload.len() < preview.payload_bytes;
        let text = text_of(&preview.payload, is_cut);
        let hex = || {
            let shown = preview.payload.iter().take(SHOWN_BINARY_BYTES);
            shown.map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            seq: preview.sequence,
            time: preview.time,
            subject: preview.subject,
            headers: String::from_utf8_lossy(&preview.headers).into_owned(),
            header_bytes: preview.header_bytes,
            hex: text.is_none().then(hex),
            payload: text,
            payload_bytes: preview.payload_bytes,
            damaged: preview.is_damaged,
        }
    }
}

/// Returns bytes as text, if they are; a character that was cut is left out.
fn text_of(bytes: &[u8], is_cut: bool) -> Option<String> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut && error.error_len().is_none() => {
            str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_shown = |one: char| !one.is_control() || one.is_whitespace();
    text.chars().all(is_shown).then(|| text.to_owned())
}

impl Observer {
    /// Returns a page of the streams, or of the consumers of one.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if there is no such stream.
    pub fn streamz(&self, options: &StreamzOptions) -> Result<Streamz, BadRequest> {
        let mut streamz = Streamz {
            server_id: self.server_id(),
            now: self.now().moment(),
            disabled: self.streams().is_none(),
            total: 0,
            offset: options.offset,
            limit: options.limit,
            streams: None,
            consumers: None,
            shows_messages: false,
        };
        let Some(viewer) = self.streams() else { return Ok(streamz) };
        if options.stream.is_empty() {
            let rows = rows(viewer, options);
            streamz.total = rows.len();
            streamz.streams =
                Some(rows.into_iter().skip(options.offset).take(options.limit).collect());
            return Ok(streamz);
        }
        let page = (options.offset, options.limit);
        let (consumers, total) = viewer
            .consumers((&options.account, &options.stream), page)
            .ok_or_else(|| no_stream(&options.account, &options.stream))?;
        (streamz.consumers, streamz.total) = (Some(consumers), total);
        Ok(streamz)
    }

    /// Returns messages of a stream.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if there is no such stream.
    pub fn messagez(&self, options: &MessagezOptions) -> Result<Messagez, BadRequest> {
        let MessagezOptions { account, stream, range } = options;
        let found = self.streams().and_then(|viewer| viewer.messages((account, stream), range));
        let messages = found.ok_or_else(|| no_stream(account, stream))?;
        Ok(Messagez {
            server_id: self.server_id(),
            now: self.now().moment(),
            account: account.clone(),
            stream: stream.clone(),
            messages: messages.into_iter().map(MessageDetail::of).collect(),
        })
    }
}

fn rows(viewer: &Viewer, options: &StreamzOptions) -> Vec<StreamRow> {
    let mut rows = viewer.stream_rows();
    if !options.search.is_empty() {
        let has = |text: &str| text.to_lowercase().contains(&options.search);
        rows.retain(|row| has(&row.name) || has(&row.account));
    }
    options.sort.sort(&mut rows);
    rows
}

fn no_stream(account: &str, stream: &str) -> BadRequest {
    let [account, stream] = [account, stream].map(broker_core::error::Quoted::from);
    BadRequest(format!("stream {stream} not found on account {account}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(payload: &[u8], payload_bytes: usize) -> MessagePreview {
        MessagePreview {
            sequence: 7,
            time: broker_streams::config::Time(1),
            subject: "s".to_owned(),
            headers: b"NATS/1.0\r\nA: b\r\n\r\n".to_vec(),
            header_bytes: 18,
            payload: payload.to_vec(),
            payload_bytes,
            is_damaged: false,
        }
    }

    #[test]
    fn payloads_are_shown_as_text_or_in_hexadecimal_digits() {
        for (payload, length, text, hex) in [
            (&b"plain\ttext\n"[..], 11, Some("plain\ttext\n"), None),
            ("größ".as_bytes(), 6, Some("größ"), None),
            (&"größ".as_bytes()[..5], 6, Some("grö"), None),
            (&"größ".as_bytes()[..5], 5, None, Some("6772c3b6c3")),
            (b"a\0", 2, None, Some("6100")),
            (b"\x1b[31m", 5, None, Some("1b5b33316d")),
            (b"", 0, Some(""), None),
        ] {
            let shown = MessageDetail::of(preview(payload, length));
            assert_eq!((shown.payload.as_deref(), shown.hex.as_deref()), (text, hex));
            assert_eq!(shown.headers, "NATS/1.0\r\nA: b\r\n\r\n");
        }
        let long = MessageDetail::of(preview(&[0xff; 1024], 4096));
        assert_eq!(long.hex.map(|hex| hex.len()), Some(2 * SHOWN_BINARY_BYTES));
    }

    #[test]
    fn requests_have_limits() {
        let streams = |query: &str| StreamzOptions::parse(&Query::parse(query));
        for (query, limit) in [("", 50), ("limit=-1", 50), ("limit=9", 9), ("limit=9999", 250)] {
            assert_eq!(streams(query).unwrap().limit, limit, "{query}");
        }
        assert!(streams("sort=x").is_err());
        let messages = |query: &str| MessagezOptions::parse(&Query::parse(query));
        for (query, count, from) in [
            ("", 20, 0),
            ("limit=1000", 100, 0),
            ("back=1", 20, u64::MAX),
            ("back=1&seq=5", 20, 5),
            ("seq=5&limit=3", 3, 5),
        ] {
            let range = messages(query).unwrap().range;
            assert_eq!((range.count, range.from, range.bytes), (count, from, 1024), "{query}");
        }
        assert!(messages("subject=a..b").is_err());
        assert!(messages("seq=-1").is_err());
    }
}
