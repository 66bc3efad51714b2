//! Totals of the queues of a broker.

use super::blocks::QueueMemory;
use crate::backlogs::Backlogs;
use crate::latency::Times;
use crate::sync::{Arc, AtomicUsize};

/// Totals of all queues of a broker.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Bytes in all queues.
    pub(crate) pending_bytes: AtomicUsize,
    pub(crate) memory: Arc<QueueMemory>,
    pub(crate) backlogs: Backlogs,
    pub(crate) waits: Times,
}
