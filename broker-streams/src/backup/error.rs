//! The reasons why a backup cannot be made or restored.

use std::io;

use super::index::InvalidIndex;
use super::progress::InvalidProgress;
use crate::error::ApiError;
use crate::store::StorageError;

/// The reason why a backup cannot be made or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The archive cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store cannot read or take messages.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The stream has ended.
    #[error("stream closed")]
    StreamClosed,
    /// The check before the backup has found damaged messages.
    // NATS 2.14: filestore.go Snapshot.
    #[error("snapshot check detected {0} bad messages")]
    BadMessages(u64),
    /// The archive has something else than files, or a name that leads out of it.
    // NATS 2.14: stream.go RestoreStream.
    #[error("unexpected content (account={0})")]
    UnexpectedContent(String),
    /// The archive violates its format.
    #[error("the archive is not valid: {0}")]
    Archive(&'static str),
    /// The archive ends before its end is marked.
    #[error("the backup ends early")]
    Truncated,
    /// The server that made the backup could not finish it.
    #[error("the backup is not complete: {0}")]
    Incomplete(String),
    /// A file is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A file is longer than allowed.
    #[error("{0} is too large")]
    TooLarge(String),
    /// A file is not what its checksum says.
    #[error("{0}: the checksum does not match")]
    Checksum(String),
    /// A file of metadata cannot be read.
    #[error("{file}: {reason}")]
    Meta {
        /// The name of the file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// The backup is one of another stream.
    #[error("stream names do not match")]
    NameMismatch,
    /// A record of a block is not valid.
    #[error("{file}: the record at {offset} is not valid: {reason}")]
    Record {
        /// The name of the file.
        file: String,
        /// The place of the record.
        offset: u64,
        /// The reason.
        reason: &'static str,
    },
    /// The index is not valid.
    #[error("msgs/index.db: {0}")]
    Index(#[from] InvalidIndex),
    /// The blocks have another number of messages than the index says.
    #[error("the blocks have {found} messages, and the index {listed}")]
    Count {
        /// The messages of the blocks that are not removed.
        found: u64,
        /// The messages by the index.
        listed: u64,
    },
    /// A consumer cannot be restored.
    #[error("error restoring consumer [{name:?}]: {source}")]
    Consumer {
        /// The name of the consumer.
        name: String,
        /// The reason.
        source: Box<Self>,
    },
    /// The progress of a consumer is not valid.
    #[error("{0}")]
    Progress(#[from] InvalidProgress),
    /// A limit, or a configuration that cannot be used.
    #[error("{0}")]
    Api(#[from] ApiError),
}
