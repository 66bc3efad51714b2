//! The log lines about connections that read too slowly.
// NATS 2.14: client.go handleWriteTimeout, flushOutbound, queueOutbound.

use std::fmt;
use std::time::Duration;

use crate::endpoint::{ByteQueue, Encoder, SlowWrite};
use crate::error::CloseReason;

/// Logs what the queue reports about a connection that stays open.
pub(super) fn log<E: Encoder>(client: &dyn fmt::Display, queue: &ByteQueue<E>, slow: SlowWrite) {
    match slow {
        SlowWrite::Detected { is_first, pieces, bytes } => {
            log_deadline(client, queue.max_wait(), is_first, (pieces, bytes));
        }
        SlowWrite::Recovered { took, pieces, bytes } => tracing::info!(
            client = %client,
            "Slow Consumer Recovered: Flush took {:.3}s with {pieces} chunks of {bytes} total bytes.",
            took.as_secs_f64()
        ),
    }
}

/// Logs why a slow connection is closed, if it is closed for that.
pub(super) fn log_end<E: Encoder>(
    client: &dyn fmt::Display,
    queue: &ByteQueue<E>,
    reason: CloseReason,
) {
    match reason {
        CloseReason::SlowConsumerPendingBytes => {
            let max = queue.max_pending_bytes();
            tracing::info!(client = %client, "Slow Consumer Detected: MaxPending of {max} Exceeded");
        }
        CloseReason::SlowConsumerWriteDeadline => {
            log_deadline(client, queue.max_wait(), !queue.is_slow(), queue.left_behind());
        }
        _ => {}
    }
}

fn log_deadline(
    client: &dyn fmt::Display,
    deadline: Duration,
    is_first: bool,
    (pieces, bytes): (usize, usize),
) {
    let what = if is_first { "Detected" } else { "State" };
    tracing::info!(
        client = %client,
        "Slow Consumer {what}: WriteDeadline of {deadline:?} exceeded with {pieces} chunks of {bytes} total bytes."
    );
}
