//! Answers to publishers.

use crate::error::ApiError;

/// The acknowledgement of a message, or of a batch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PubAck {
    /// The sequence of the message; of the last one of a batch.
    pub sequence: u64,
    /// The message had been stored before.
    pub is_duplicate: bool,
    /// The value of a counter.
    pub value: Option<String>,
    /// The id and the number of messages of a batch.
    pub batch: Option<(String, u64)>,
}

/// The answer to a publisher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Stored. The acknowledgement leaves when the store is durable up to its present position.
    Ack(PubAck),
    /// Not stored. The answer leaves at once.
    Error(ApiError),
    /// Part of an atomic batch: an empty message, at once.
    Empty,
    /// Progress of a fast batch: this JSON, when the store is durable up to its present position.
    Flow(Vec<u8>),
    /// None.
    Nothing,
}
