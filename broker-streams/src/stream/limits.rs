//! Limits of streams, with their reasons.

/// The most atomic batches of a stream that are not complete: each holds its messages in memory.
// NATS 2.14: stream.go streamDefaultMaxAtomicBatchInflightPerStream.
pub const MAX_ATOMIC_BATCHES: usize = 50;

/// The most messages of an atomic batch, which are stored under one lock.
// NATS 2.14: stream.go streamDefaultMaxAtomicBatchSize.
pub const MAX_ATOMIC_BATCH_SIZE: u64 = 1000;

/// How long a batch waits for its next message, in nanoseconds.
// NATS 2.14: stream.go streamDefaultMaxBatchTimeout.
pub const BATCH_TIMEOUT: i64 = 10_000_000_000;
