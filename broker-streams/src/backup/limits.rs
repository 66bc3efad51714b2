//! Limits of what a backup may contain.

/// The highest sequence that a record can have: two bits of the field have another meaning.
pub(super) const MAX_SEQUENCE: u64 = (1 << 62) - 1;

/// The most bytes of one file of metadata, and of the text of an error. A configuration is the payload of a message.
pub(super) const META_BYTES: u64 = 1 << 20;

/// The most bytes of all files of consumers, which stay in memory until the messages are restored: the progress of a
/// consumer with 1,000 unacknowledged messages takes about 10 KiB.
pub(super) const CONSUMER_BYTES: u64 = 64 << 20;

/// The longest record of a message, in bytes: that of the largest payload that a server can be configured to accept.
pub(super) const RECORD_BYTES: u32 = (64 << 20) + (1 << 20);

/// The bytes of messages after which a block ends. nats-server reads one block at a time into memory.
pub(super) const BLOCK_BYTES: usize = 4 << 20;

/// The most bytes of sets of removed messages in the index: each 264 bytes describe 2,048 sequences.
pub(super) const REMOVED_BYTES: usize = 128 << 20;

/// The most bytes of an extended header of a file, whose only purpose is a long name.
pub(super) const EXTENSION_BYTES: u64 = 64 << 10;

/// The messages that are read before the stream does other work, and the bytes after which no further one is.
pub(super) const PORTION_MESSAGES: usize = 256;
/// See [`PORTION_MESSAGES`].
pub(super) const PORTION_BYTES: usize = 256 << 10;
