//! Bounds of queues and memory, with their reasons.

/// The most answers of one stream that wait for the disk. A disk that syncs once in 10 ms under a million messages a second
/// makes 10,000 wait; more is a disk that has stopped.
pub const WAITING_ANSWERS: usize = 1 << 20;

/// The most bytes of answers of one stream that wait for the disk.
pub const WAITING_ANSWER_BYTES: usize = 64 << 20;

/// The most bytes of one stream that wait for the disk. A disk that hangs is noticed by publishers before it takes all memory.
pub const UNWRITTEN_BYTES: usize = 128 << 20;

/// The bytes of one stream that wait for the disk from which publishers wait: a disk that is slower than its publishers, and proceeds, refuses
/// nothing. Far more than a disk writes between two syncs, so that it is never idle.
pub const BEHIND_BYTES: usize = 32 << 20;

/// The longest time for which publishers wait for a disk that finishes no sync, in nanoseconds: one that writes 16 MB/s has written
/// [`BEHIND_BYTES`] then.
pub const BEHIND_TIME: i64 = 2_000_000_000;

/// The most messages that a consumer delivers before others of its stream do, and before its stream does other work.
pub const DELIVERIES_A_TURN: usize = 256;

/// The bytes of messages of average size that a consumer delivers in one turn: a fraction of what may be pending for one
/// client, so that a client that does not keep up is noticed before it has too much.
pub const DELIVERED_BYTES_A_TURN: u64 = 1 << 20;

/// A journal that is shorter is not worth compacting.
pub const JOURNAL_MIN_BYTES: u64 = 256 << 10;

/// The growth of a journal, as a factor of its size after the last compaction, at which it is compacted again: the bytes
/// written by compactions are at most a third of all bytes of the journal.
pub const JOURNAL_GROWTH: u64 = 4;

/// The most requests to the API that wait.
// NATS 2.14: jetstream_api.go JSDefaultRequestQueueLimit.
pub const WAITING_REQUESTS: usize = 10_000;

/// The most bytes of requests to the API that wait: a request may be as long as the longest message.
pub const WAITING_REQUEST_BYTES: usize = 64 << 20;

/// The most backups that a server makes and restores at once. Each has a thread and up to 20 MiB of memory.
pub const TRANSFERS: usize = 16;

/// The most bytes of chunks of one backup that wait to be restored. Clients wait for the answer to each chunk, so that a client with
/// more does not follow the protocol.
pub const WAITING_CHUNK_BYTES: usize = 32 << 20;

/// The bytes of a chunk of a backup: by default, and the least and the most that a client may ask for.
// NATS 2.14: jetstream_api.go streamSnapshot.
pub const CHUNK_BYTES: (usize, usize, usize) = (128 << 10, 1 << 10, 1 << 20);

/// The bytes of chunks that a client has not acknowledged: by default, and the least and the most that it may ask for.
pub const WINDOW_BYTES: (usize, usize, usize) = (8 << 20, 1 << 10, 32 << 20);
