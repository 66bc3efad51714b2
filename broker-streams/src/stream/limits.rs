//! Limits of streams, with their reasons.

/// The most atomic batches of a stream that are not complete: each holds its messages in memory.
// NATS 2.14: stream.go streamDefaultMaxAtomicBatchInflightPerStream.
pub const MAX_ATOMIC_BATCHES: usize = 50;

/// The most messages of an atomic batch, which are stored under one lock.
// NATS 2.14: stream.go streamDefaultMaxAtomicBatchSize.
pub const MAX_ATOMIC_BATCH_SIZE: u64 = 1000;

/// The most atomic batches of all streams of a server that are not complete.
// NATS 2.14: stream.go streamDefaultMaxAtomicBatchInflightTotal.
pub const MAX_ATOMIC_BATCHES_TOTAL: usize = 1000;

/// The most fast batches of a stream that are not complete.
// NATS 2.14: stream.go streamDefaultMaxFastBatchInflightPerStream.
pub const MAX_FAST_BATCHES: usize = 1000;

/// The most fast batches of all streams of a server that are not complete.
// NATS 2.14: stream.go streamDefaultMaxFastBatchInflightTotal.
pub const MAX_FAST_BATCHES_TOTAL: usize = 50_000;

/// The longest id of a batch, in bytes.
// NATS 2.14: stream.go processJetStreamAtomicBatchMsg.
pub const MAX_BATCH_ID: usize = 64;

/// The time after which a batch without a further message is abandoned, in nanoseconds.
// NATS 2.14: stream.go streamDefaultMaxBatchTimeout.
pub const BATCH_TIMEOUT: i64 = 10_000_000_000;

/// The most ids of messages that a stream remembers: about 1.5 GB. A stream with as many refuses messages with ids until
/// the oldest ones are outside of the window, because a forgotten id would let a duplicate in. It is 130,000 messages a
/// second over the default window of two minutes.
pub const MAX_MESSAGE_IDS: usize = 16 << 20;

/// The most bytes of the ids that a stream remembers. An id may be as long as a header block.
pub const MAX_MESSAGE_ID_BYTES: usize = 1 << 30;

/// The longest header block, in bytes.
// NATS 2.14: stream.go processJetStreamMsgWithBatch: math.MaxUint16.
pub const MAX_HEADERS: usize = 65_535;

/// The longest record of a store of files, in bytes.
// NATS 2.14: filestore.go rlBadThresh.
pub const MAX_RECORD: u64 = 32 << 20;

/// The most messages that are removed one by one because of their age in one call of `tick`, which holds the lock of the
/// stream.
pub const EXPIRED_PER_TICK: usize = 1000;

/// More messages than this are removed without a report of each to each consumer: consumers count again.
pub const REMOVED_ONE_BY_ONE: u64 = 100;

/// The least time between two removals by age, in nanoseconds: a stream with many messages a second removes them in groups.
pub const EXPIRY_INTERVAL: i64 = 20_000_000;

/// The most answers to a request for the last messages of several subjects.
// NATS 2.14: stream.go getDirectMulti maxAllowedResponses.
pub const MAX_MULTI_GET: usize = 1024;

/// The most bytes of the answers to a request for several messages that sets no limit.
// NATS 2.14: const.go MAX_PENDING_SIZE.
pub const MAX_GET_BYTES: usize = 64 << 20;

/// The most digits of a counter. A number of any length would make each increment as slow.
pub const MAX_COUNTER_DIGITS: usize = 4096;

/// The most bytes of messages that were read and wait for the store to be durable. A reader beyond it gets an error.
pub const MAX_WAITING_READS: usize = 64 << 20;

/// The most bytes of republished messages that wait for the store to be durable: each is longer than its record. Publishers
/// beyond it get an error.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// The most bytes of the messages of all atomic batches of a stream, which are in memory until they are complete.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// The most bytes of the messages of all atomic batches of a server.
pub const MAX_BATCH_BYTES_TOTAL: usize = 1 << 30;

/// The most messages of a fast batch between two reports of progress.
// NATS 2.14: jetstream_batching.go fastBatchInit.
pub const MAX_FLOW: u16 = 500;

/// The most scheduled messages that are published in one call of `tick`, which holds the lock of the stream.
pub const DUE_PER_TICK: usize = 1000;

/// The time after which a scheduled message that the stream has refused is published again, in nanoseconds.
pub const SCHEDULE_RETRY: i64 = 1_000_000_000;

/// The limits of batches, which operators may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchLimits {
    /// The most atomic batches of a stream that are not complete.
    pub atomic: usize,
    /// The most atomic batches of all streams that are not complete.
    pub atomic_total: usize,
    /// The most fast batches of a stream that are not complete.
    pub fast: usize,
    /// The most fast batches of all streams that are not complete.
    pub fast_total: usize,
    /// The most messages of an atomic batch.
    pub messages: u64,
    /// The time after which a batch without a further message is abandoned, in nanoseconds.
    pub timeout: i64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            atomic: MAX_ATOMIC_BATCHES,
            atomic_total: MAX_ATOMIC_BATCHES_TOTAL,
            fast: MAX_FAST_BATCHES,
            fast_total: MAX_FAST_BATCHES_TOTAL,
            messages: MAX_ATOMIC_BATCH_SIZE,
            timeout: BATCH_TIMEOUT,
        }
    }
}

/// Returns a limit that is set.
pub(super) fn limit(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}
