//! Streams for the live page: rows of a table, and single messages, in parts with limits.

use serde::Serialize;

use super::report::ConsumerReport;
use super::unit::Unit;
use super::viewer::Viewer;
use crate::config::{StorageType, Time};
use crate::filters::Filters;
use crate::store::{Record, StorageError};

/// A stream, in one row.
#[derive(Clone, Debug, Serialize)]
pub struct StreamRow {
    /// The account.
    pub account: String,
    /// The name.
    pub name: String,
    /// The place of the messages.
    pub storage: StorageType,
    /// The number of messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The limit of bytes; -1 for none.
    pub max_bytes: i64,
    /// The number of subjects of the messages.
    pub subjects: u64,
    /// The sequence of the first message.
    pub first_seq: u64,
    /// The highest sequence that was used.
    pub last_seq: u64,
    /// When the last message was stored.
    pub last_ts: Time,
    /// The number of consumers.
    pub consumers: usize,
    /// Messages that consumers have delivered and not got acknowledged.
    pub ack_pending: u64,
    /// The reason to refuse messages, if the store has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl StreamRow {
    fn of(account: &str, unit: &Unit) -> Self {
        let error = unit.failure();
        unit.see(|cell| {
            let (config, state) = (cell.stream().config(), cell.stream().state());
            Self {
                account: account.to_owned(),
                name: config.name.clone(),
                storage: config.storage,
                messages: state.messages,
                bytes: state.bytes,
                max_bytes: config.max_bytes,
                subjects: state.subjects,
                first_seq: state.first_sequence,
                last_seq: state.last_sequence,
                last_ts: state.last_time,
                consumers: cell.consumers().filter(|one| !one.config().direct).count(),
                ack_pending: cell.consumers().map(crate::consumer::Consumer::ack_pending).sum(),
                error,
            }
        })
    }
}

/// The part of a message that is shown. A long one is cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessagePreview {
    /// The sequence.
    pub sequence: u64,
    /// When it was stored.
    pub time: Time,
    /// The subject.
    pub subject: String,
    /// The header block, or its beginning.
    pub headers: Vec<u8>,
    /// The length of the header block.
    pub header_bytes: usize,
    /// The payload, or its beginning.
    pub payload: Vec<u8>,
    /// The length of the payload.
    pub payload_bytes: usize,
    /// The stored bytes are not those that were written: nothing is shown of them.
    pub is_damaged: bool,
}

impl MessagePreview {
    fn of(record: &Record<'_>, most: usize) -> Self {
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(most)].to_vec();
        Self {
            sequence: record.sequence,
            time: record.time,
            subject: String::from_utf8_lossy(record.subject).into_owned(),
            headers: cut(record.headers),
            header_bytes: record.headers.len(),
            payload: cut(record.payload),
            payload_bytes: record.payload.len(),
            is_damaged: false,
        }
    }

    fn damaged(sequence: u64) -> Self {
        Self {
            sequence,
            time: Time(0),
            subject: String::new(),
            headers: Vec::new(),
            header_bytes: 0,
            payload: Vec::new(),
            payload_bytes: 0,
            is_damaged: true,
        }
    }
}

/// A selection of messages to show.
#[derive(Clone, Debug, Default)]
pub struct MessageRange {
    /// The first sequence, or with `backwards` the last one.
    pub from: u64,
    /// Shows earlier messages, the latest first.
    pub backwards: bool,
    /// The subjects.
    pub filters: Filters,
    /// The most messages.
    pub count: usize,
    /// The most bytes of the headers and of the payload of each.
    pub bytes: usize,
}

impl Viewer {
    /// Returns all streams of all accounts, by account and name.
    pub fn stream_rows(&self) -> Vec<StreamRow> {
        let mut rows = Vec::new();
        for account in self.all_accounts() {
            let units = account.units();
            rows.extend(units.iter().map(|unit| StreamRow::of(account.name(), unit)));
        }
        rows
    }

    /// Returns the state of a part of the consumers of a stream, by name, and the number of all; `None` if there is no such
    /// stream.
    pub fn consumers(
        &self,
        (account, stream): (&str, &str),
        (offset, limit): (usize, usize),
    ) -> Option<(Vec<ConsumerReport>, usize)> {
        let unit = self.unit(account, stream)?;
        let mut names = unit.see(|cell| {
            let shown = cell.consumers().filter(|one| !one.config().direct);
            shown.map(|one| one.name().to_owned()).collect::<Vec<_>>()
        });
        names.sort_unstable();
        let some: Vec<String> = names.iter().skip(offset).take(limit).cloned().collect();
        Some((super::viewer::consumer_reports(&unit, &some), names.len()))
    }

    /// Returns some of the messages of a stream. Only what is durable is shown. The lock of the stream is held for one
    /// message at a time, because a store in files may read it from the disk. `None` if there is no such stream.
    pub fn messages(
        &self,
        (account, stream): (&str, &str),
        range: &MessageRange,
    ) -> Option<Vec<MessagePreview>> {
        let unit = self.unit(account, stream)?;
        let (mut found, mut from) = (Vec::new(), range.from);
        let mut buffer = Vec::new();
        while found.len() < range.count {
            let Some(preview) = preview(&unit, range, from, &mut buffer) else { break };
            let next = match range.backwards {
                true => preview.sequence.checked_sub(1).filter(|next| *next > 0),
                false => preview.sequence.checked_add(1),
            };
            found.push(preview);
            let Some(next) = next else { break };
            from = next;
        }
        Some(found)
    }
}

/// Returns the next message at or behind `from`, or at or before it if the range goes backwards.
fn preview(
    unit: &Unit,
    range: &MessageRange,
    from: u64,
    buffer: &mut Vec<u8>,
) -> Option<MessagePreview> {
    unit.see(|cell| {
        let (storage, visible) = (cell.stream().storage(), cell.stream().visible());
        let sequence = match range.backwards {
            true => storage.previous_match(&range.filters, from.min(visible)),
            false => storage.next_match(&range.filters, from).filter(|found| *found <= visible),
        }?;
        match storage.load(sequence, buffer) {
            Ok(Some(record)) => Some(MessagePreview::of(&record, range.bytes)),
            Ok(None) => None,
            Err(StorageError::Damaged { .. }) => Some(MessagePreview::damaged(sequence)),
            Err(_) => None,
        }
    })
}
