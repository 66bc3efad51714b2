//! The entries of the journal of a stream.

use serde::{Deserialize, Serialize};

use crate::config::{ConsumerConfig, StreamConfig, Time};

/// A change of a stream or of its consumers.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// The configuration of the stream, as JSON.
    Stream(Vec<u8>),
    /// A consumer, new or with another configuration, as JSON.
    Consumer(Vec<u8>),
    /// The end of a consumer, by its number.
    Removed(u32),
    /// The progress of a consumer, by its number, as the consumer writes it.
    Progress(u32, &'a [u8]),
}

/// A stream in the journal.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct StreamRecord {
    pub(super) config: StreamConfig,
    pub(super) created: Time,
}

/// A consumer in the journal.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ConsumerRecord {
    /// Names the consumer in further entries; no other consumer of the stream ever has it.
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) config: ConsumerConfig,
    pub(super) created: Time,
    /// The sequence up to which messages were passed with other filters.
    #[serde(default)]
    pub(super) passed: u64,
}

const STREAM: u8 = 1;
const CONSUMER: u8 = 2;
const REMOVED: u8 = 3;
const PROGRESS: u8 = 4;

impl<'a> Entry<'a> {
    pub(super) fn stream(config: &StreamConfig, created: Time) -> Self {
        let record = StreamRecord { config: config.clone(), created };
        Self::Stream(serde_json::to_vec(&record).unwrap_or_default())
    }

    pub(super) fn consumer(
        number: u32,
        name: &str,
        config: &ConsumerConfig,
        (created, passed): (Time, u64),
    ) -> Self {
        let (name, config) = (name.to_owned(), config.clone());
        let record = ConsumerRecord { number, name, config, created, passed };
        Self::Consumer(serde_json::to_vec(&record).unwrap_or_default())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stream(json) => {
                out.push(STREAM);
                out.extend_from_slice(json);
            }
            Self::Consumer(json) => {
                out.push(CONSUMER);
                out.extend_from_slice(json);
            }
            Self::Removed(number) => {
                out.push(REMOVED);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Progress(number, progress) => {
                Self::begin_progress(*number, out);
                out.extend_from_slice(progress);
            }
        }
    }

    /// Appends the beginning of [`Self::Progress`]; the consumer appends the rest.
    pub(super) fn begin_progress(number: u32, out: &mut Vec<u8>) {
        out.push(PROGRESS);
        out.extend_from_slice(&number.to_le_bytes());
    }

    /// Reads an entry; `None` for anything else.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            STREAM => Some(Self::Stream(rest.to_vec())),
            CONSUMER => Some(Self::Consumer(rest.to_vec())),
            REMOVED => Some(Self::Removed(u32::from_le_bytes(rest.try_into().ok()?))),
            PROGRESS => {
                let (number, progress) = rest.split_first_chunk()?;
                Some(Self::Progress(u32::from_le_bytes(*number), progress))
            }
            _ => None,
        }
    }
}
