//! Stores of the messages of one stream, and of the changes of its configuration and consumers.
//!
//! A store holds two ordered things: *messages* by sequence, which an index finds by subject, and a *journal*: small opaque
//! entries, one for each change of the stream's configuration and of its consumers, which are read again in order at
//! recovery. Every change has a [`Position`]; a change is durable once [`Storage::durable`] has reached the position
//! that [`Storage::position`] returned after it.

mod answers;
mod file;
mod index;
mod marks;
mod memory;
mod record;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::io;

#[cfg(any(test, feature = "testing"))]
pub(crate) use file::SimulatedDisk;
pub use file::{
    Cipher, Damage, DirectoryLock, Disk, DiskFile, Encryption, FileDisk, FileOptions, FileStorage,
    FramedDisk, KeyChange, KeyError, Opened, Scrub, StoreEncryption, UNREADABLE,
};
pub use memory::MemoryStorage;

use crate::config::{Compression, StorageType, Time};
use crate::filters::Filters;

/// A message to store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Record<'a> {
    /// Above the last sequence of the store. Sequences between the two are never used.
    pub sequence: u64,
    /// When the message was received.
    pub time: Time,
    /// When the message expires by a time to live of its own; `Time(0)` for never. (The age limit of the stream is not
    /// part of it.)
    pub expires: Time,
    /// The subject.
    pub subject: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// Returns the bytes that count against limits, which depend on where messages are stored.
    // NATS 2.14: memstore.go memStoreMsgSize: sequence and time are added; filestore.go fileStoreMsgSize: those, three
    // lengths and a checksum.
    pub fn counted_bytes(&self, storage: StorageType) -> u64 {
        let variable = self.subject.len() + self.headers.len() + self.payload.len();
        Self::overhead(storage, !self.headers.is_empty()) + variable as u64
    }

    fn overhead(storage: StorageType, has_headers: bool) -> u64 {
        match storage {
            StorageType::Memory => 16,
            StorageType::File if has_headers => 34,
            StorageType::File => 30,
        }
    }
}

/// The totals of a store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StoreState {
    /// The number of messages.
    pub messages: u64,
    /// Their bytes, as limits count them.
    pub bytes: u64,
    /// The sequence of the first message; `last_sequence + 1` without messages.
    pub first_sequence: u64,
    /// The highest sequence that was used.
    pub last_sequence: u64,
    /// The time of the last message that was stored.
    pub last_time: Time,
    /// The number of subjects.
    pub subjects: u64,
}

/// The messages of one subject.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SubjectState {
    /// Their number.
    pub messages: u64,
    /// The sequence of the first.
    pub first: u64,
    /// The sequence of the last.
    pub last: u64,
}

/// The number of changes of a store since its creation or recovery.
pub type Position = u64;

/// The reason why an operation of a store fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stored bytes are not those that were written.
    #[error("message {sequence} is damaged")]
    Damaged {
        /// The sequence of the message.
        sequence: u64,
    },
    /// The store is encrypted, and its keys are not there.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// An earlier write or sync failed: it is unknown which records are stored. The store must be opened again.
    #[error("the store has failed: {0}")]
    Failed(String),
}

/// Writes that are to become durable, done without the lock of the stream.
pub trait SyncJob: Any + Send {
    /// Writes and syncs. Takes as long as the disk takes.
    fn run(&mut self);

    /// Returns what was written, once it has run.
    fn written(&self) -> Written {
        Written::default()
    }
}

/// The amount that a job has written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Bytes of messages and the journal.
    pub bytes: u64,
    /// Syncs of the log.
    pub syncs: u64,
}

/// The store of the messages and the journal of one stream.
///
/// Methods that write return when the change is in the memory of the store; see [`Self::begin_sync`]. All methods may be called in any order, and
/// none waits for a disk except to read what is not in memory.
pub trait Storage: Send {
    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] if there is no room, after which nothing has changed; [`StorageError::Failed`].
    fn append(&mut self, record: &Record<'_>) -> Result<(), StorageError>;

    /// Raises the last sequence, without messages, and sets the last time if there is a `time`. Nothing happens if the sequence is higher already.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn skip_to(&mut self, last_sequence: u64, time: Option<Time>) -> Result<(), StorageError>;

    /// Removes a message; overwrites its bytes if `erase`. Returns its size as limits count it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn remove(&mut self, sequence: u64, erase: bool) -> Result<Option<u64>, StorageError>;

    /// Removes all messages before a sequence. Returns their number.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn remove_before(&mut self, sequence: u64) -> Result<u64, StorageError>;

    /// Adds an entry to the journal.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn journal(&mut self, entry: &[u8]) -> Result<(), StorageError>;

    /// Returns the bytes of the journal.
    fn journal_bytes(&self) -> u64;

    /// Replaces the journal, all or nothing.
    ///
    /// # Errors
    ///
    /// As for [`Self::append`].
    fn replace_journal(&mut self, entries: &[Vec<u8>]) -> Result<(), StorageError>;

    /// Reads a message; `None` if there is none with this sequence. A store without the message in memory reads it into
    /// `buffer`.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`], [`StorageError::Io`].
    fn load<'a>(
        &'a self,
        sequence: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<Record<'a>>, StorageError>;

    /// Decides whether messages are compressed that are stored from now on. A store in memory compresses nothing.
    fn set_compression(&mut self, compression: Compression) {
        let _ = compression;
    }

    /// Returns the totals. It costs next to nothing.
    fn state(&self) -> StoreState;

    /// Returns the time of the first message; `Time(0)` without messages. A store in files may have to read it.
    fn first_time(&self) -> Time;

    /// Returns the state of one subject; `None` without messages.
    fn subject(&self, subject: &[u8]) -> Option<SubjectState>;

    /// Returns the subject of a message, without reading the message; `None` if there is none with this sequence.
    fn subject_of(&self, sequence: u64) -> Option<&[u8]>;

    /// Calls `visit` with each subject that a filter selects, in any order, until it returns false.
    fn for_each_subject(
        &self,
        filters: &Filters,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> bool,
    );

    /// Calls `visit` with the sequence and the time of each message that expires by itself, in order. Reads all messages of
    /// those parts of the store that have one: for recovery.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`], [`StorageError::Io`].
    fn for_each_expiry(&self, visit: &mut dyn FnMut(u64, Time)) -> Result<(), StorageError>;

    /// Returns the sequence of the first message at or after `from` that may have headers: a store in files passes over those parts that
    /// have none.
    fn next_with_headers(&self, from: u64) -> Option<u64> {
        self.next_match(&Filters::default(), from)
    }

    /// Returns the sequence of the first selected message at or after `from`.
    fn next_match(&self, filters: &Filters, from: u64) -> Option<u64>;

    /// Returns the sequence of the last selected message at or before `until`.
    fn previous_match(&self, filters: &Filters, until: u64) -> Option<u64>;

    /// Counts the selected messages at or after `from`; only the last of each subject if `last_per_subject`.
    fn count(&self, filters: &Filters, from: u64, last_per_subject: bool) -> u64;

    /// Returns the sequence of the first message that was stored at or after `time`; `last_sequence + 1` without one.
    fn sequence_at(&self, time: Time) -> u64;

    /// Calls `visit` with the first and last sequence of each gap between the first message and the last sequence that was used, in order,
    /// until it returns false.
    fn for_each_gap(&self, visit: &mut dyn FnMut(u64, u64) -> bool);

    /// Returns the number of changes.
    fn position(&self) -> Position;

    /// Returns the position up to which changes are durable. A store in memory has nothing to wait for: it returns
    /// [`Self::position`].
    fn durable(&self) -> Position;

    /// Takes the changes since the last call, to be written and synced without a lock; `None` if there are none, or if a
    /// job is out. [`Self::finish_sync`] must follow.
    ///
    /// While it [has no room](Self::lacks_room), each call returns a job that tries again: once a second is enough.
    fn begin_sync(&mut self) -> Option<Box<dyn SyncJob>>;

    /// Returns the bytes that wait to be written; 0 of a store in memory.
    fn unwritten_bytes(&self) -> usize {
        0
    }

    /// Returns true if messages are refused because the disk is full, until a job has found room.
    fn lacks_room(&self) -> bool {
        false
    }

    /// Returns a check of the next part of what is stored; `None` when all parts were checked, and without any. [`Self::finish_scrub`] must
    /// follow.
    fn begin_scrub(&mut self) -> Option<Scrub> {
        None
    }

    /// Returns the damage that a check has found.
    fn finish_scrub(&mut self, scrub: &Scrub) -> Vec<Damage> {
        let _ = scrub;
        Vec::new()
    }

    /// Takes the job back. Returns an error if its changes could not be made durable, after which the store has failed.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`], and [`StorageError::Failed`] from then on.
    fn finish_sync(&mut self, job: Box<dyn SyncJob>) -> Result<(), StorageError>;
}
