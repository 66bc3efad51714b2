//! The metadata of streams and consumers.

use broker_core::go_json;
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::config::{ConsumerConfig, StreamConfig, Time, shapes};
use crate::go::json::{self, Field, Mode, Record, Shape};

/// A stream.
// NATS 2.14: filestore.go FileStreamInfo.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct StreamMeta {
    #[serde(rename = "Created", default)]
    pub(super) created: Time,
    #[serde(flatten)]
    pub(super) config: StreamConfig,
}

/// A consumer.
// NATS 2.14: filestore.go FileConsumerInfo.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ConsumerMeta {
    #[serde(rename = "Created", default)]
    pub(super) created: Time,
    #[serde(rename = "Name", default)]
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) config: ConsumerConfig,
}

static STREAM: Record = Record {
    name: "FileStreamInfo",
    fields: &[
        Field { name: "Created", shape: Shape::Time },
        Field { name: "", shape: Shape::Embedded(&shapes::STREAM_CONFIG) },
    ],
};

static CONSUMER: Record = Record {
    name: "FileConsumerInfo",
    fields: &[
        Field { name: "Created", shape: Shape::Time },
        Field { name: "Name", shape: Shape::String },
        Field { name: "", shape: Shape::Embedded(&shapes::CONSUMER_CONFIG) },
    ],
};

impl StreamMeta {
    /// Reads the metadata of a stream.
    pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        json::read(bytes, &STREAM, Mode::One).map_err(|reason| meta_error(file, reason))
    }
}

impl ConsumerMeta {
    /// Reads the metadata of a consumer.
    pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let mut meta: Self =
            json::read(bytes, &CONSUMER, Mode::One).map_err(|reason| meta_error(file, reason))?;
        let pause = &mut meta.config.pause_until;
        *pause = pause.filter(|until| *until != Time::default());
        Ok(meta)
    }
}

fn meta_error(file: &str, reason: String) -> BackupError {
    BackupError::Meta { file: file.to_owned(), reason }
}

/// Writes metadata.
pub(super) fn encode(file: &str, meta: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    go_json::compact(meta).map_err(|error| meta_error(file, error.to_string()))
}
